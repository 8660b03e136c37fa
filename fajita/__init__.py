"""Stateful network functions in typed Python, compiled into one batched kernel. These are the public names."""

from typing import Any

from fajita.chain import Chain
from fajita.change import Change
from fajita.errors import InputError
from fajita.fixed_hash import hash_of
from fajita.io.frames import FrameBlock
from fajita.key import (
    Key,
    address_pair,
    connection,
    destination,
    destination_port,
    destination_prefix,
    everything,
    five_tuple,
    key_of,
    source,
    source_prefix,
    vlan,
)
from fajita.matcher_type import Matcher
from fajita.nf import ANY_KEY, DRAINED, DROP, EVICTED, IDLE, LOOK_UP, NF, PASS
from fajita.packet import Layer
from fajita.packet_attributes import Packet
from fajita.patterns import PATTERN_FLAGS, Pattern, PatternError, Patterns
from fajita.quantities import Burst, ByteSize, Duration, IPv4, Rate
from fajita.state_types import (
    Array,
    Bits,
    Map,
    Max,
    Min,
    Or,
    Sum,
    flag,
    i8,
    i16,
    i32,
    i64,
    ipv4,
    mac,
    u8,
    u16,
    u32,
    u64,
)
from fajita.text_file import TextFile, TextFileValue

__all__ = [
    "ANY_KEY",
    "DRAINED",
    "DROP",
    "EVICTED",
    "IDLE",
    "LOOK_UP",
    "NF",
    "PASS",
    "PATTERN_FLAGS",
    "Array",
    "Bits",
    "Burst",
    "ByteSize",
    "Chain",
    "Change",
    "Duration",
    "FrameBlock",
    "IPv4",
    "InputError",
    "Key",
    "Layer",
    "Map",
    "Matcher",
    "Max",
    "Min",
    "Or",
    "Packet",
    "Pattern",
    "PatternError",
    "Patterns",
    "Rate",
    "Sum",
    "TextFile",
    "TextFileValue",
    "address_pair",
    "connection",
    "destination",
    "destination_port",
    "destination_prefix",
    "everything",
    "five_tuple",
    "flag",
    "hash_of",
    "i8",
    "i16",
    "i32",
    "i64",
    "ipv4",
    "key_of",
    "mac",
    "source",
    "source_prefix",
    "u8",
    "u16",
    "u32",
    "u64",
    "vlan",
]


def __getattr__(name: str) -> Any:
    """`__version__`, which takes a while to find and which few ask for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("fajita")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
