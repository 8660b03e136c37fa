"""Synthetic traffic in memory: valid Ethernet/IPv4 frames of TCP and UDP flows, in slots of whole cache lines.

Flow f belongs to client f // 16, an address of 10.0.0.0/8, with an ephemeral source port of its own; it goes to one of
4,096 servers from 198.18.0.0 (the network for benchmarks, RFC 2544), port 443, 80, 8443 or 8080; one flow in four is
UDP (all in the traffic `udp`, none in `tcp`), the others TCP with the flag ACK. Which, is a fixed mix of f: a flow's
frame is the same bytes every time, in every trace. The payload counts 0, 1, 2, ...; all checksums are right. A million
flows come from 62,500 clients.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from fajita.cache_line import LINE_BYTES
from fajita.engine.memory import huge_pages
from fajita.errors import InputError
from fajita.io.flow_order import MAXIMUM_FLOWS, FlowOrder
from fajita.io.frames import FrameBlock
from fajita.io.synthesize import write_frames
from fajita.kernel.bounds import allow_only
from fajita.packet import IPV4_TYPE, TCP_PROTOCOL, UDP_PROTOCOL

#: Bytes of a frame without the Ethernet checksum: from the smallest Ethernet sends to a payload of 9,000 ("jumbo").
MINIMUM_SIZE, MAXIMUM_SIZE = 60, 9014
#: Frames begin at multiples of a cache line.
SLOT_BYTES = LINE_BYTES

#: 2026-01-01 00:00:00 UTC, the time of the first packet.
START_NS = 1_767_225_600 * 10**9
#: One million packets per second.
DEFAULT_GAP_NS = 1000

_MACS = bytes.fromhex("020000000002 020000000001")  # destination and source, locally administered
_ETHERNET_BYTES, _IP_BYTES = 14, 20
_DO_NOT_FRAGMENT, _TIME_TO_LIVE = 0x4000, 64
#: Of four flows so many are UDP, by the name of the traffic.
TRAFFIC = {"mixed": 1, "udp": 4, "tcp": 0}

_TCP_DATA_OFFSET_AND_ACK, _TCP_WINDOW = 5 << 12 | 0x10, 65535


class Synthesizer:
    """Makes frames of one size. slot: bytes from one frame to the next, the size rounded up to whole cache lines."""

    def __init__(self, size: int, traffic: str = "mixed") -> None:
        """traffic: a name of TRAFFIC. InputError for a size or traffic that cannot be made."""
        if traffic not in TRAFFIC:
            raise InputError(f"no traffic {traffic!r}", right=f"one of {', '.join(TRAFFIC)}")
        self._udp_of_four = TRAFFIC[traffic]
        if not MINIMUM_SIZE <= size <= MAXIMUM_SIZE:
            raise InputError(
                f"frames of {size} bytes",
                right=f"{MINIMUM_SIZE} to {MAXIMUM_SIZE} bytes, Ethernet checksum not counted",
            )
        self.size = size
        self.slot = -(-size // SLOT_BYTES) * SLOT_BYTES
        frames = (_template(TCP_PROTOCOL, size), _template(UDP_PROTOCOL, size))
        self._templates = np.zeros((2, self.slot), np.uint8)
        for template, frame in zip(self._templates, frames, strict=True):
            template[:size] = np.frombuffer(frame, np.uint8)
        self._ip_sums = np.array([_sum_words(frame[_ETHERNET_BYTES:][:_IP_BYTES]) for frame in frames], np.int64)
        self._transport_sums = np.array([_transport_sum(frame) for frame in frames], np.int64)

    def write(self, flows: NDArray[np.uint32], slots: NDArray[np.uint8]) -> None:
        """Fill row i of `slots` (uint8, C-contiguous, at least (len(flows), slot)) with the frame of flow `flows[i]`.

        ValueError if the areas do not fit together.
        """
        fits = slots.ndim == 2 and len(slots) >= len(flows) and slots.shape[1] == self.slot
        if not fits or slots.dtype != np.uint8 or not slots.flags.c_contiguous or not slots.flags.writeable:
            raise ValueError(f"slots must be a writable C-contiguous uint8 array with one row of {self.slot} per flow")
        if flows.dtype != np.uint32 or not flows.flags.c_contiguous or (len(flows) and flows.max() >= MAXIMUM_FLOWS):
            raise ValueError(f"flows must be a contiguous uint32 array of numbers below {MAXIMUM_FLOWS}")
        allow_only([flows, slots, self._templates, self._ip_sums, self._transport_sums])
        write_frames(
            flows.ctypes.data,
            len(flows),
            slots.ctypes.data,
            self.slot,
            self._templates.ctypes.data,
            self._ip_sums.ctypes.data,
            self._transport_sums.ctypes.data,
            self._udp_of_four,
        )


def make_frames(flows: NDArray[np.uint32], size: int = MINIMUM_SIZE, traffic: str = "mixed") -> NDArray[np.uint8]:
    """The frames of the given flows: uint8 (len(flows), slot), the frame is the first `size` bytes of a row."""
    synthesizer = Synthesizer(size, traffic)
    area = huge_pages(max(1, len(flows)) * synthesizer.slot)
    slots = area[: len(flows) * synthesizer.slot].reshape(len(flows), synthesizer.slot)
    synthesizer.write(flows, slots)
    return slots


def packet_times(first: int, count: int, gap_ns: int) -> NDArray[np.uint64]:
    """Nanoseconds since 1970 of `count` packets `gap_ns` apart from number `first` on; packet 0 is at START_NS."""
    return np.uint64(START_NS) + np.arange(first, first + count, dtype=np.uint64) * np.uint64(gap_ns)


def synthetic_block(
    order: FlowOrder,
    packets: int,
    *,
    first: int = 0,
    size: int = MINIMUM_SIZE,
    traffic: str = "mixed",
    gap_ns: int = DEFAULT_GAP_NS,
) -> FrameBlock:
    """The next `packets` frames of an order, of `size` bytes each, `memory` being their slots (uint8, a row each).

    first: the number of the first of them, which says when it is. InputError for an argument out of range.
    """
    slots = make_frames(order.take(packets), size, traffic)
    return FrameBlock.from_slots(slots, np.full(packets, size, np.uint32), packet_times(first, packets, gap_ns))


def _template(protocol: int, size: int) -> bytes:
    """A frame of `size` bytes whose addresses, ports and checksums are 0."""
    ethernet = _MACS + struct.pack("!H", IPV4_TYPE)
    total = size - _ETHERNET_BYTES
    ip = struct.pack("!BBHHHBBH8x", 0x45, 0, total, 0, _DO_NOT_FRAGMENT, _TIME_TO_LIVE, protocol, 0)
    if protocol == TCP_PROTOCOL:
        transport = struct.pack("!4xIIHHHH", 1, 1, _TCP_DATA_OFFSET_AND_ACK, _TCP_WINDOW, 0, 0)
    else:
        transport = struct.pack("!4xHH", total - _IP_BYTES, 0)
    headers = ethernet + ip + transport
    return headers + bytes(index & 0xFF for index in range(size - len(headers)))


def _transport_sum(frame: bytes) -> int:
    """The sum over a segment and the constant part of its pseudo-header (RFC 9293, 3.1; RFC 768)."""
    segment = frame[_ETHERNET_BYTES + _IP_BYTES :]
    protocol = frame[_ETHERNET_BYTES + 9]
    return _sum_words(segment) + protocol + len(segment)


def _sum_words(data: bytes) -> int:
    """The sum of 16-bit big-endian words, the last one filled up with a zero byte (RFC 1071)."""
    return int(np.frombuffer(data + bytes(len(data) % 2), ">u2").sum(dtype=np.int64))
