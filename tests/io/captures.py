"""Capture files byte by byte, for tests: what a reader must understand is written here a second time, on its own."""

import struct
from pathlib import Path
from typing import NamedTuple

from fajita.io.capture import open_capture


class Packet(NamedTuple):
    frame: bytes
    time_ns: int
    wire: int
    link_number: int = 1


def pcap_header(order="<", magic=0xA1B2C3D4, link=1, version=(2, 4)):
    return struct.pack(f"{order}IHHiIII", magic, *version, 0, 0, 262144, link)


def pcap_record(frame, seconds=0, subseconds=0, order="<", captured=None, wire=None, more_header=b""):
    lengths = (len(frame) if captured is None else captured, len(frame) if wire is None else wire)
    return struct.pack(f"{order}IIII", seconds, subseconds, *lengths) + more_header + frame


def block(kind, body, order="<", length=None, trailer=None):
    body += bytes(-len(body) % 4)
    length = 12 + len(body) if length is None else length
    return (
        struct.pack(f"{order}II", kind, length)
        + body
        + struct.pack(f"{order}I", length if trailer is None else trailer)
    )


def section(order="<", version=(1, 0), options=b""):
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, *version, -1) + options, order)


def option(code, value, order="<"):
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(order="<", link=1, snap_length=0, options=b""):
    return block(1, struct.pack(f"{order}HHI", link, 0, snap_length) + options, order)


def enhanced(frame, ticks=0, order="<", number=0, captured=None, wire=None, options=b""):
    captured = len(frame) if captured is None else captured
    wire = len(frame) if wire is None else wire
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, captured, wire)
    return block(6, head + frame + bytes(-len(frame) % 4) + options, order)


def obsolete(frame, ticks=0, order="<", number=0):
    head = struct.pack(f"{order}HHIIII", number, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(2, head + frame, order)


def simple(frame, order="<", wire=None):
    return block(3, struct.pack(f"{order}I", len(frame) if wire is None else wire) + frame, order)


def read_packets(path: Path, packets: list[Packet], **settings) -> list[str]:
    """Append what a capture holds to `packets`, also where it raises InputError; give the warnings.

    Checks for each block what no input may break: its frames lie inside the memory that it names.
    """
    with open_capture(path, **settings) as capture:
        for frames in capture:
            low = frames.memory.ctypes.data
            assert (frames.address >= low).all()
            assert (frames.address + frames.captured <= low + len(frames.memory)).all()
            assert (frames.wire >= frames.captured).all()
            assert len(frames) > 0
            assert frames.first == len(packets)
            numbers = zip(frames.time_ns.tolist(), frames.wire.tolist(), frames.link_number.tolist(), strict=True)
            packets += [Packet(bytes(frames.frame(i)), *facts) for i, facts in enumerate(numbers)]
        assert capture.packets == len(packets)
        return capture.warnings


def read_bytes(data: bytes, folder: Path, **settings) -> tuple[list[Packet], list[str]]:
    """The packets and warnings of a capture given as bytes."""
    path = folder / "capture"
    path.write_bytes(data)
    packets: list[Packet] = []
    return packets, read_packets(path, packets, **settings)
