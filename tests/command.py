"""The command line for tests: called in this process, which is fast, or started in one of its own, which is real."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from fajita import cli
from tests.io.captures import pcap_header, pcap_record
from tests.traffic import many_flows

CHAINS = Path(__file__).parents[1] / "chains"
THREE = CHAINS / "three.yaml"


class Result(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What stands on standard error, which has to be one line of fajita's."""
        assert self.err.startswith("fajita: ")
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        return self.err.removeprefix("fajita: ").removesuffix("\n")


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Result:
    """Call main() with these arguments."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fajita", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert isinstance(ended.value.code, int)
    return Result(ended.value.code, *capsys.readouterr())


def start(*arguments: object, **options) -> subprocess.Popen:
    """A process of its own."""
    return subprocess.Popen([sys.executable, "-m", "fajita", *map(str, arguments)], **options)


def call_process(*arguments: object, **options) -> Result:
    """What a process of its own writes and how it ends."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    with start(*arguments, text=True, **pipes) as process:
        out, err = process.communicate(timeout=60)
    return Result(process.returncode, out or "", err or "")


def write_capture(path: Path, frames: list[bytes], *, gap_us: int = 1, link: int = 1) -> Path:
    """A pcap file of these frames, the first at second 1, `gap_us` apart."""
    times = [divmod(10**6 + index * gap_us, 10**6) for index in range(len(frames))]
    records = (pcap_record(frame, *time) for frame, time in zip(frames, times, strict=True))
    path.write_bytes(pcap_header(link=link) + b"".join(records))
    return path


def some_capture(folder: Path, flows: int = 10, repeats: int = 2) -> Path:
    """A pcap file of UDP frames of so many 5-tuples."""
    return write_capture(folder / "some.pcap", many_flows(flows, repeats).frames)
