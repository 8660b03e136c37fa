"""What is said where DPDK, or what builds fajita's module for it, is missing; without DPDK these pass too."""

import sys

import pytest

from fajita import InputError
from fajita.dpdk import build, library


def test_declarations_are_what_cffi_takes():
    text = build.declarations()
    assert "int64_t fajita_receive(int64_t queue, int64_t most);" in text
    assert "/*" not in text
    assert "#" not in text


def test_a_missing_tool_is_said_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="pkg-config is not installed; apt-get install libdpdk-dev pkg-config gcc"):
        build.build(tmp_path)


def tool(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_dpdk_that_is_missing_or_old_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    tool(tmp_path, "gcc", "exit 1")
    tool(tmp_path, "pkg-config", "exit 1")
    with pytest.raises(InputError, match="pkg-config does not find libdpdk; apt-get install libdpdk-dev"):
        build.build(tmp_path)
    tool(tmp_path, "pkg-config", "echo 21.11.3")
    with pytest.raises(InputError, match=r"DPDK 21.11.3 is too old; DPDK 22.11 or newer"):
        build.build(tmp_path)


def test_a_module_that_has_not_been_built_is_said_with_the_command_that_builds_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "fajita.dpdk._shim", None)
    monkeypatch.delattr("fajita.dpdk._shim", raising=False)
    with pytest.raises(InputError, match=r"the module for DPDK has not been built; .* -m fajita.dpdk.build"):
        library.library.__wrapped__()
