"""Checks of NICs: which there are, whose they are, and what it takes that DPDK can have one."""

from dataclasses import dataclass

from fajita.doctor.finding import Finding, ok, warning
from fajita.doctor.machine import Machine

_DEVICES = "/sys/bus/pci/devices"
_ETHERNET_CLASS = "0x0200"
#: Drivers that hand a device over to a program; and those with which the kernel and DPDK share one.
_FOR_PROGRAMS = ("vfio-pci", "igb_uio", "uio_pci_generic")
_SHARED = ("mlx4_core", "mlx5_core", "mana")


@dataclass(frozen=True)
class Nic:
    """A device on the PCI bus. driver: empty if it has none; interfaces: the kernel's, with their names."""

    address: str
    identity: str
    driver: str
    interfaces: tuple[str, ...]

    @property
    def is_for_dpdk(self) -> bool:
        """Whether DPDK can have it as it is."""
        return self.driver in _FOR_PROGRAMS + _SHARED


def nics(machine: Machine) -> list[Nic]:
    """All of the machine."""
    return [
        Nic(
            address,
            ":".join(machine.text(f"{_DEVICES}/{address}/{name}").strip()[2:] for name in ("vendor", "device")),
            machine.link(f"{_DEVICES}/{address}/driver"),
            tuple(_interfaces(machine, address)),
        )
        for address in machine.names(_DEVICES)
        if machine.text(f"{_DEVICES}/{address}/class").startswith(_ETHERNET_CLASS)
    ]


def _interfaces(machine: Machine, address: str) -> list[str]:
    """Of the device; a virtio device is a bus of its own."""
    folder = f"{_DEVICES}/{address}"
    below = [f"{folder}/{name}" for name in machine.names(folder) if name.startswith("virtio")]
    return [name for place in (folder, *below) for name in machine.names(f"{place}/net")]


def check_nics(machine: Machine) -> list[Finding]:
    """A finding for each, or one that there is none."""
    found = nics(machine)
    if not found:
        instead = "virtual devices: --vdev=net_af_packet0,iface=INTERFACE, or net_pcap0 with files"
        return [warning("NIC", "none on the PCI bus", instead)]
    return [_judged(machine, nic) for nic in found]


def _judged(machine: Machine, nic: Nic) -> Finding:
    what, names = f"NIC {nic.address}", " ".join(nic.interfaces)
    whose = f"{nic.identity}, driver {nic.driver or 'none'}" + (f", interface {names}" if names else "")
    if nic.is_for_dpdk:
        return ok(what, whose)
    bind = f"dpdk-devbind.py --bind=vfio-pci {nic.address}"
    if not machine.has_command("dpdk-devbind.py") and machine.has_command("driverctl"):
        bind = f"driverctl set-override {nic.address} vfio-pci"
    steps = [f"ip link set {name} down" for name in nic.interfaces] + [bind]
    if not machine.names("/sys/bus/pci/drivers/vfio-pci"):
        steps.insert(0, "modprobe vfio-pci")
    if _has_default_route(machine, nic):
        instead = f"another NIC; or, sharing this one, --vdev=net_af_packet0,iface={nic.interfaces[0]}"
        return warning(what, f"{whose}: the kernel's, with the default route", instead)
    loss = f"the kernel's, which loses {names}" if names else "nobody's"
    return warning(what, f"{whose}: {loss}", " && ".join(steps))


def _has_default_route(machine: Machine, nic: Nic) -> bool:
    """Without it, who sits at the machine from afar would be cut off."""
    routes = [line.split() for line in machine.text("/proc/net/route").splitlines()]
    return any(route[:2] == [name, "00000000"] for route in routes for name in nic.interfaces)


def check_iommu(machine: Machine) -> list[Finding]:
    """What vfio-pci needs, where there is a NIC that would need it."""
    if all(nic.driver in _SHARED for nic in nics(machine)):
        return []
    if machine.names("/sys/kernel/iommu_groups"):
        return [ok("IOMMU", "on")]
    unsafe = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
    if machine.text(unsafe).strip() in ("Y", "1"):
        return [ok("IOMMU", "off, and vfio goes without: a NIC may write anywhere")]
    right = f"intel_iommu=on iommu=pt for the kernel at boot; or, where there is none, echo 1 > {unsafe}"
    return [warning("IOMMU", "off: vfio-pci takes no NIC", right)]
