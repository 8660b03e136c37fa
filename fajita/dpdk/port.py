"""Ports of DPDK: found by name or number, set up, started, counted and stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fajita.dpdk.environment import failure, why_no_port
from fajita.dpdk.library import library
from fajita.errors import InputError, nearest
from fajita.rss import INDIRECTION_ENTRIES, HashFields, usual_indirection

_MOST_PORTS = 1024
DESCRIPTORS = 1024


@dataclass(frozen=True)
class Description:
    """What a port is and can."""

    name: str
    driver: str
    mac: str
    receive_queues: int
    transmit_queues: int
    mtu: int
    indirection_entries: int
    key_bytes: int
    hash_types: int
    socket: int


@dataclass(frozen=True)
class Counts:
    """What a port has counted that fajita does not. missed, no_memory: for want of room in a queue, of mbufs."""

    missed: int
    in_errors: int
    out_errors: int
    no_memory: int


class Port:
    """A port, which nobody uses until it is set up and started."""

    def __init__(self, number: int) -> None:
        lib, ffi = library()
        self.number = number
        found = ffi.new("struct fajita_port *")
        if (status := lib.fajita_describe_port(number, found)) < 0:
            raise InputError(f"port {number}: {failure(status)}")
        self.description = Description(
            ffi.string(found.name).decode(),
            ffi.string(found.driver).decode(),
            ":".join(f"{byte:02x}" for byte in found.mac),
            found.receive_queues,
            found.transmit_queues,
            found.mtu,
            found.indirection_entries,
            found.key_bytes,
            found.hash_types,
            found.socket,
        )
        self._is_started = self.is_spreading = False
        self.receive_queues = 0

    @property
    def name(self) -> str:
        """As DPDK calls it."""
        return self.description.name

    def set_up(self, pools: Sequence[Any], transmit_queues: int, fields: HashFields | None = None) -> None:
        """With a queue that receives for each pool of mbufs, and so many that transmit; InputError if the port cannot.

        fields: by which packets are to be spread over the queues, if the port can do that.
        """
        lib, ffi = library()
        self.receive_queues = len(pools)
        self._setup_pools = ffi.new("struct rte_mempool *[]", list(pools))
        self._setup = ffi.new("struct fajita_setup *")
        self._setup.receive_queues, self._setup.transmit_queues = len(pools), transmit_queues
        self._setup.receive_descriptors = self._setup.transmit_descriptors = DESCRIPTORS
        self._setup.pools = self._setup_pools
        self.is_spreading = False
        if fields is not None and len(pools) > 1:
            self._tell_hash(fields, len(pools))
        self._do("cannot be set up", lib.fajita_set_up_port(self.number, self._setup))

    def _tell_hash(self, fields: HashFields, queues: int) -> None:
        """Have the port choose queues as fajita does, as far as it can: what it gets wrong workers hand over."""
        lib, ffi = library()
        types = lib.fajita_hash_types(fields.source, fields.destination, fields.source_port, fields.destination_port)
        key_bytes = self.description.key_bytes or len(fields.key)
        if not types & self.description.hash_types or key_bytes < len(fields.key):
            return
        # Nothing that is hashed reaches what a longer key has behind ours.
        self._key = ffi.new("uint8_t[]", fields.key.ljust(key_bytes, b"\0"))
        self._indirection = ffi.new("uint8_t[]", usual_indirection(queues).tobytes())
        self._setup.key, self._setup.key_bytes, self._setup.hash_types = self._key, key_bytes, types
        self._setup.indirection, self._setup.buckets = self._indirection, INDIRECTION_ENTRIES
        self.is_spreading = True

    def start(self) -> None:
        """From now on packets come."""
        lib, _ = library()
        self._do("does not start", lib.fajita_start_port(self.number))
        self._is_started = True
        if self.is_spreading and self.description.indirection_entries:
            self.is_spreading = lib.fajita_spread(self.number, self._setup) == 0

    def stop(self) -> None:
        """No packet comes any more."""
        if self._is_started:
            self._is_started = False
            self._do("does not stop", library().lib.fajita_stop_port(self.number))

    def close(self) -> None:
        """Give the port back: it cannot be used again."""
        self.stop()
        library().lib.fajita_close_port(self.number)

    def _do(self, what: str, status: int) -> None:
        if status < 0:
            raise InputError(f"the port {what}: {failure(status)}", self.name)

    def is_up(self) -> bool:
        """Whether there is a link."""
        return bool(library().lib.fajita_link(self.number) == 1)

    def counts(self) -> Counts:
        """What it has counted so far; zeros from a device that does not tell."""
        lib, ffi = library()
        counts = ffi.new("struct fajita_counts *")
        lib.fajita_count_port(self.number, counts)
        return Counts(**{name: int(getattr(counts, name)) for name in Counts.__dataclass_fields__})


def list_ports() -> list[Port]:
    """All ports that DPDK has."""
    lib, ffi = library()
    numbers = ffi.new("uint16_t[]", _MOST_PORTS)
    return [Port(numbers[index]) for index in range(lib.fajita_list_ports(numbers, _MOST_PORTS))]


def find_port(name: str, option: str) -> Port:
    """The port with a name, or a number, of DPDK's; InputError, naming the option, if there is none."""
    ports = {port.name: port for port in list_ports()}
    numbers = {str(port.number): port for port in ports.values()}
    if (found := ports.get(name) or numbers.get(name)) is not None:
        return found
    if not ports:
        right = "a device that DPDK can drive: --vdev, or a NIC bound to vfio-pci and not excluded by --no-pci"
        raise InputError(f"DPDK has no port{_because()}", f"{option} {name}", right)
    raise InputError(f"no port {name}{_because()}", f"{option} {name}", nearest(name, ports))


def _because() -> str:
    why = why_no_port()
    return f" ({why})" if why else ""
