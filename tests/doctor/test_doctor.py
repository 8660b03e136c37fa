"""What `fajita doctor` finds on machines that are folders of files, and what it says to that."""

import json
import os
import sysconfig
from pathlib import Path

import pytest

from fajita import InputError
from fajita.doctor.check import examine, is_possible
from fajita.doctor.finding import State, missing, ok
from fajita.doctor.machine import Machine
from fajita.doctor.nics import check_iommu, check_nics
from fajita.doctor.programs import check_cache, check_module, check_what_builds
from fajita.doctor.system import check_huge_pages, check_locked_memory, check_permissions, check_processors
from tests.command import call

HUGE = "sys/kernel/mm/hugepages/hugepages-2048kB"
DEVICES = "sys/bus/pci/devices"
ALL_CAPABILITIES, NONE = "000001ffffffffff", "0000000000000000"
BUILT = ok("module for DPDK", "built, with DPDK 22.11.11")


def machine(root: Path, files: dict[str, str], version: str | None = "22.11.11", **links: str) -> Machine:
    """One with these files, whose pkg-config says this of libdpdk; links: drivers by device."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for device, driver in links.items():
        folder = root / DEVICES / device.replace("_", ":")
        os.symlink(f"../../drivers/{driver}", folder / "driver")
    return Machine(root, lambda command: version, ("/usr/bin", "/usr/sbin"))


def status(uid: int = 0, capabilities: str = ALL_CAPABILITIES, processors: str = "0-3") -> dict[str, str]:
    text = f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{capabilities}\nCpus_allowed_list:\t{processors}\n"
    return {"proc/self/status": text}


def nic(address: str, interface: str = "") -> dict[str, str]:
    files = {"class": "0x020000\n", "vendor": "0x8086\n", "device": "0x1572\n"}
    files |= {f"net/{interface}/mtu": "1500\n"} if interface else {}
    return {f"{DEVICES}/{address}/{name}": text for name, text in files.items()}


def limits(locked: str) -> dict[str, str]:
    line = f"Max locked memory         {locked}              {locked}              bytes\n"
    return {"proc/self/limits": f"Limit   Soft Limit   Hard Limit   Units\n{line}"}


def tools(*names: str) -> dict[str, str]:
    return {f"usr/bin/{name}": "" for name in names} | {f"{sysconfig.get_path('include')}/Python.h".lstrip("/"): ""}


def test_a_machine_with_everything_needs_nothing(tmp_path):
    files = tools("gcc", "pkg-config") | status() | nic("0000:01:00.0")
    files |= {f"{HUGE}/nr_hugepages": "512\n", f"{HUGE}/free_hugepages": "500\n", "proc/mounts": ""}
    files |= {"sys/kernel/iommu_groups/0/type": "DMA\n", "sys/devices/system/cpu/isolated": "\n"}
    complete = machine(tmp_path, files, **{"0000_01_00.0": "vfio-pci"})
    findings = examine(complete, BUILT, tmp_path)
    assert [finding for finding in findings if finding.state is not State.ok] == []
    assert not any(finding.fix for finding in findings)
    assert is_possible(findings)


def test_a_bare_machine_lacks_dpdk_and_is_warned_of_the_rest(tmp_path):
    findings = examine(machine(tmp_path, {}, None), missing("module for DPDK", "not built", "build it"), tmp_path)
    assert not is_possible(findings)
    states = {finding.what: finding.state for finding in findings}
    assert [what for what, state in states.items() if state is State.missing] == [
        "libdpdk",
        "C compiler",
        "module for DPDK",
    ]
    assert all(finding.fix for finding in findings if finding.state is not State.ok)


@pytest.mark.parametrize(
    ("version", "state", "found"),
    [
        ("22.11.0", State.ok, "22.11.0"),
        ("24.11.2", State.ok, "24.11.2"),
        ("21.11.9", State.missing, "21.11.9 is too old"),
        (None, State.missing, "pkg-config does not find it"),
    ],
)
def test_versions_of_dpdk(tmp_path, version, state, found):
    library, *_ = check_what_builds(machine(tmp_path, {}, version), is_built=False)
    assert (library.state, library.found) == (state, found)
    assert ("apt-get install libdpdk-dev" in library.fix) == (state is State.missing)


@pytest.mark.parametrize("version", [None, "21.11.3"])
def test_where_the_module_is_built_nothing_is_needed_to_build_it(tmp_path, version):
    findings = check_what_builds(machine(tmp_path, {}, version), is_built=True, modules=lambda name: False)
    assert {finding.state for finding in findings} == {State.ok}


def test_what_builds_the_module_is_named_with_the_command_that_brings_it(tmp_path):
    findings = check_what_builds(machine(tmp_path, tools("gcc")), is_built=False, modules=lambda name: name != "cffi")
    compiler, cffi = findings[1:]
    assert (compiler.found, compiler.fix.split()[:2]) == ("no pkg-config", ["apt-get", "install"])
    assert (cffi.found, cffi.fix.split()[1:]) == ("no cffi", ["-m", "pip", "install", "cffi"])


def test_a_module_that_does_not_load_says_why():
    def load() -> str:
        raise InputError("the module for DPDK was built from other sources")

    finding = check_module(load)
    assert finding.state is State.missing
    assert finding.found == "the module for DPDK was built from other sources"
    assert finding.fix.endswith("-m fajita.dpdk.build")
    assert check_module(lambda: "DPDK 22.11.11").found == "built, with DPDK 22.11.11"


@pytest.mark.parametrize(("free", "state"), [(0, State.warning), (31, State.warning), (32, State.ok)])
def test_huge_pages(tmp_path, free, state):
    files = {f"{HUGE}/nr_hugepages": "32\n", f"{HUGE}/free_hugepages": f"{free}\n"}
    files |= {f"{HUGE.replace('2048', '1048576')}/{name}_hugepages": "0\n" for name in ("nr", "free")}
    files["proc/mounts"] = "proc /proc proc rw 0 0\nhugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n"
    finding = check_huge_pages(machine(tmp_path, files))
    assert finding.state is state
    assert f"{free} of 32 of 2 MiB free" in finding.found
    assert "0 of 0 of 1 GiB free" in finding.found
    assert "mounted at /dev/hugepages" in finding.found
    assert ("--no-huge" in finding.found) == (state is State.warning)


def test_a_kernel_without_huge_pages(tmp_path):
    assert check_huge_pages(machine(tmp_path, {})).found.startswith("the kernel has none")


@pytest.mark.parametrize(
    ("uid", "capabilities", "state", "found"),
    [
        (0, ALL_CAPABILITIES, State.ok, "root"),
        (1000, ALL_CAPABILITIES, State.ok, "a user with the capabilities of one"),
        (1000, NONE, State.warning, "no CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_SYS_ADMIN"),
        (0, "0000000000003000", State.warning, "no CAP_IPC_LOCK, CAP_SYS_ADMIN"),
    ],
)
def test_permissions(tmp_path, uid, capabilities, state, found):
    finding = check_permissions(machine(tmp_path, status(uid, capabilities)))
    assert finding.state is state
    assert finding.found.partition(":")[0] == found


@pytest.mark.parametrize(
    ("capabilities", "locked", "state"),
    [
        (ALL_CAPABILITIES, "8388608", State.ok),
        (NONE, "8388608", State.warning),
        (NONE, "67108864", State.ok),
        (NONE, "unlimited", State.ok),
    ],
)
def test_locked_memory(tmp_path, capabilities, locked, state):
    finding = check_locked_memory(machine(tmp_path, status(1000, capabilities) | limits(locked)))
    assert finding.state is state


@pytest.mark.parametrize(
    ("allowed", "isolated", "state", "fix"),
    [
        ("0-3", "", State.ok, ""),
        ("0-3", "2-3", State.ok, ""),
        ("0-1", "2-3,5", State.warning, "taskset -c 0,2,3,5 fajita run …"),
        ("0", "", State.warning, "taskset -c 0,1 fajita run …"),
    ],
)
def test_processors(tmp_path, allowed, isolated, state, fix):
    files = status(processors=allowed) | {"sys/devices/system/cpu/isolated": f"{isolated}\n"}
    finding = check_processors(machine(tmp_path, files))
    assert (finding.state, finding.fix) == (state, fix)


def test_a_machine_without_a_nic_has_virtual_devices(tmp_path):
    files = {f"{DEVICES}/0000:00:01.0/class": "0x030000\n"}
    (finding,) = check_nics(machine(tmp_path, files))
    assert finding.state is State.warning
    assert "--vdev=net_af_packet0,iface=" in finding.fix
    assert check_iommu(machine(tmp_path, {})) == []


@pytest.mark.parametrize("driver", ["vfio-pci", "uio_pci_generic", "mlx5_core"])
def test_nics_that_dpdk_can_have(tmp_path, driver):
    here = machine(tmp_path, nic("0000:01:00.0"), **{"0000_01_00.0": driver})
    (finding,) = check_nics(here)
    assert (finding.state, finding.found) == (State.ok, f"8086:1572, driver {driver}")
    assert len(check_iommu(here)) == (driver != "mlx5_core")


def test_a_nic_of_the_kernel_comes_with_the_commands_that_hand_it_over(tmp_path):
    files = nic("0000:01:00.0", "eth1") | tools("dpdk-devbind.py", "driverctl")
    (finding,) = check_nics(machine(tmp_path, files, **{"0000_01_00.0": "i40e"}))
    assert finding.found == "8086:1572, driver i40e, interface eth1: the kernel's, which loses eth1"
    bind = "dpdk-devbind.py --bind=vfio-pci 0000:01:00.0"
    assert finding.fix == f"modprobe vfio-pci && ip link set eth1 down && {bind}"
    os.remove(tmp_path / "usr/bin/dpdk-devbind.py")
    (finding,) = check_nics(machine(tmp_path, {"sys/bus/pci/drivers/vfio-pci/bind": ""}))
    assert finding.fix == "ip link set eth1 down && driverctl set-override 0000:01:00.0 vfio-pci"


def test_the_nic_with_the_default_route_stays_with_the_kernel(tmp_path):
    files = {f"{DEVICES}/0000:01:00.0/virtio0/net/eth0/mtu": "1500\n"} | nic("0000:01:00.0")
    files["proc/net/route"] = "Iface\tDestination\tGateway\neth0\t00000000\t010011AC\neth0\t000011AC\t00000000\n"
    (finding,) = check_nics(machine(tmp_path, files, **{"0000_01_00.0": "virtio-pci"}))
    assert finding.found.endswith("interface eth0: the kernel's, with the default route")
    assert "dpdk-devbind" not in finding.fix


def test_an_iommu(tmp_path):
    files = nic("0000:01:00.0")
    (finding,) = check_iommu(machine(tmp_path, files))
    assert finding.state is State.warning
    files["sys/module/vfio/parameters/enable_unsafe_noiommu_mode"] = "Y\n"
    (finding,) = check_iommu(machine(tmp_path, files))
    assert (finding.state, finding.found) == (State.ok, "off, and vfio goes without: a NIC may write anywhere")
    files["sys/kernel/iommu_groups/0/type"] = "DMA\n"
    assert check_iommu(machine(tmp_path, files)) == [ok("IOMMU", "on")]


def test_the_cache_of_kernels(tmp_path):
    assert check_cache(tmp_path / "not" / "there" / "yet").state is State.ok
    (tmp_path / "file").write_text("")
    finding = check_cache(tmp_path / "file" / "fajita")
    assert (finding.state, finding.fix) == (State.warning, "export FAJITA_CACHE_DIR=/a/folder/that/can")


def test_the_command_says_what_it_found_and_its_status_whether_that_is_enough(capsys, tmp_path):
    file = tmp_path / "doctor.json"
    result = call(capsys, "doctor", "--json", file)
    found = json.loads(file.read_text())
    assert result.status == (0 if found["ok"] else 2)
    assert result.err == ""
    lines = result.out.splitlines()
    for check in found["checks"]:
        assert any(line.startswith(check["what"]) and check["state"] in line for line in lines)
        assert not check["fix"] or f"    {check['fix']}" in lines
    assert json.loads(call(capsys, "doctor", "--json", "-").out) == found
