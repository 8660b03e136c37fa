"""Checks of what DPDK wants of the operating system: huge pages, permissions, processors."""

import re

from fajita.doctor.finding import Finding, ok, warning
from fajita.doctor.machine import Machine

_HUGE_PAGES = "/sys/kernel/mm/hugepages"
#: What a run with a port on each side takes, without the tables of its chain.
_ENOUGH_HUGE_BYTES = 64 << 20
_WITHOUT_HUGE_PAGES = (
    "without, with --no-huge -m 256, packets lie on small pages: more misses of the TLB, and no NIC without an IOMMU"
)
_STATUS = "/proc/self/status"
#: Capabilities (linux/capability.h), by what DPDK does with them.
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_IPC_LOCK": 14, "CAP_SYS_ADMIN": 21}


def check_huge_pages(machine: Machine) -> Finding:
    """Free ones of each size, and where they are mounted."""
    what, pages, free_bytes = "huge pages", [], 0
    for folder in machine.names(_HUGE_PAGES):
        size_kib = int(re.sub(r"\D", "", folder) or 0)
        total, free = (machine.number(f"{_HUGE_PAGES}/{folder}/{name}_hugepages") for name in ("nr", "free"))
        free_bytes += free * size_kib << 10
        pages.append(f"{free} of {total} of {_size(size_kib)} free")
    mounts = [line.split()[1] for line in machine.text("/proc/mounts").splitlines() if " hugetlbfs " in line]
    found = ", ".join([*(pages or ["the kernel has none"]), *(f"mounted at {mount}" for mount in mounts)])
    if free_bytes >= _ENOUGH_HUGE_BYTES:
        return ok(what, found)
    return warning(what, f"{found}; {_WITHOUT_HUGE_PAGES}", "sysctl vm.nr_hugepages=512")


def _size(kib: int) -> str:
    return f"{kib >> 20} GiB" if kib >= 1 << 20 else f"{kib >> 10} MiB"


def check_permissions(machine: Machine) -> Finding:
    """Whether this user may have interfaces and devices."""
    what = "permissions"
    status = machine.fields(_STATUS)
    held = int(status.get("CapEff") or "0", 16)
    lacking = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if not lacking:
        user = "root" if status.get("Uid", "").split()[:1] == ["0"] else "a user with the capabilities of one"
        return ok(what, user)
    found = f"no {', '.join(lacking)}: files (net_pcap) and no hardware, with --no-huge"
    return warning(what, found, "run it as root: sudo fajita run …")


def check_locked_memory(machine: Machine) -> Finding:
    """What may be locked, as a device writes there by itself."""
    what, held = "locked memory", int(machine.fields(_STATUS).get("CapEff") or "0", 16)
    found = re.search(r"^Max locked memory\s+(\S+)", machine.text("/proc/self/limits"), re.MULTILINE)
    limit = found[1] if found else "unlimited"
    if held >> _CAPABILITIES["CAP_IPC_LOCK"] & 1:
        return ok(what, "as much as is wanted, by CAP_IPC_LOCK")
    if limit == "unlimited" or int(limit) >= _ENOUGH_HUGE_BYTES:
        return ok(what, f"at most {limit}" if limit.isdigit() else limit)
    return warning(what, f"at most {int(limit) >> 10} KiB, too little for a NIC", "ulimit -l unlimited, as root")


def check_processors(machine: Machine) -> Finding:
    """Those that workers can have for themselves: one that polls leaves nothing to others."""
    what = "processors"
    usable = _numbers(machine.fields(_STATUS).get("Cpus_allowed_list", ""))
    isolated = _numbers(machine.text("/sys/devices/system/cpu/isolated"))
    kept = f"{len(isolated)} isolated from other programs" if isolated else "none isolated from other programs"
    found = f"{len(usable)} usable, {kept}"
    if isolated - usable:
        names = ",".join(map(str, sorted(isolated | {min(usable, default=0)})))
        return warning(what, f"{found}, which this process may not use", f"taskset -c {names} fajita run …")
    if len(usable) < 2:
        return warning(what, f"{found}: a worker, which polls all the time, shares it", "taskset -c 0,1 fajita run …")
    return ok(what, found)


def _numbers(text: str) -> set[int]:
    """A list as the kernel writes it: 0-3,7."""
    numbers: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        numbers |= set(range(int(first), int(last or first) + 1))
    return numbers
