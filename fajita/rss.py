"""Receive-side scaling: which worker gets a packet, as NICs decide it.

A Toeplitz hash of some header fields, of which the low seven bits choose a bucket; a table of indirection says whose
that is. Pure data and the definition: the compiled and the interpreted sharder both do this, and a NIC can be told to.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from fajita.errors import InputError, nearest

#: Buckets, and entries of the table of indirection, as the specification has at most.
INDIRECTION_ENTRIES = 128
#: A worker's number, and two more, have to fit a byte: of the table of indirection, and of an entry that workers share.
MAXIMUM_WORKERS = 254

#: Microsoft's, "Verifying the RSS hash calculation".
DEFAULT_KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
#: One that repeats after 16 bits, with which both directions of a connection have the same hash (Woo and Park, 2012).
SYMMETRIC_KEY = bytes.fromhex("6d5a" * 20)
#: The most that is hashed: two IPv6 addresses and two ports.
MAXIMUM_INPUT_BYTES = 36


def toeplitz(key: bytes, data: bytes) -> int:
    """The hash of 32 bits: each bit of `data` that is set adds (modulo 2) the 32 bits of `key` that begin where it is.

    ValueError if the key is too short.
    """
    if len(key) < len(data) + 4:
        raise ValueError(f"a key of {len(key)} bytes; {len(data)} bytes of data need {len(data) + 4}")
    key_bits, data_bits = int.from_bytes(key, "big"), int.from_bytes(data, "big")
    first_shift = 8 * len(key) - 32
    windows = (
        key_bits >> (first_shift - place) & 0xFFFFFFFF
        for place in range(8 * len(data))
        if data_bits >> (8 * len(data) - 1 - place) & 1
    )
    return reduce(int.__xor__, windows, 0)


@dataclass(frozen=True)
class HashFields:
    """What is hashed, of IPv4 and IPv6 alike: at least one field. symmetric: both directions get the same hash.

    ValueError for none, and for a symmetric hash of a field without its counterpart.
    """

    source: bool = False
    destination: bool = False
    source_port: bool = False
    destination_port: bool = False
    symmetric: bool = False

    def __post_init__(self) -> None:
        if not self.fields:
            raise ValueError("a hash of no field")
        if self.symmetric and (self.source, self.source_port) != (self.destination, self.destination_port):
            raise ValueError("a symmetric hash takes the source and the destination alike")

    @property
    def fields(self) -> tuple[str, ...]:
        """The names that the fields have in keys, in the order in which they are hashed."""
        flags = {
            "src": self.source,
            "dst": self.destination,
            "src_port": self.source_port,
            "dst_port": self.destination_port,
        }
        return tuple(name for name, is_hashed in flags.items() if is_hashed)

    @property
    def name(self) -> str:
        """That of the key with these fields, or else the fields."""
        known = {fields: name for name, fields in SHARD_KEYS.items()}
        return known.get(self) or ", ".join(self.fields) + (", symmetric" if self.symmetric else "")

    @property
    def key(self) -> bytes:
        """The key of the Toeplitz hash."""
        return SYMMETRIC_KEY if self.symmetric else DEFAULT_KEY

    def input(self, source: bytes, destination: bytes, source_port: int, destination_port: int) -> bytes:
        """What is hashed of a packet: the fields, one after the other; ports are 0 where a packet has none."""
        values = {
            "src": source,
            "dst": destination,
            "src_port": source_port.to_bytes(2, "big"),
            "dst_port": destination_port.to_bytes(2, "big"),
        }
        return b"".join(values[name] for name in self.fields)

    def bucket(self, source: bytes, destination: bytes, source_port: int, destination_port: int) -> int:
        """The entry of the table of indirection for a packet."""
        hashed = toeplitz(self.key, self.input(source, destination, source_port, destination_port))
        return hashed % INDIRECTION_ENTRIES


#: Keys of NFs by whose fields packets can be spread. The protocol is in none of these hashes.
SHARD_KEYS: dict[str, HashFields] = {
    "five_tuple": HashFields(source=True, destination=True, source_port=True, destination_port=True),
    "connection": HashFields(source=True, destination=True, source_port=True, destination_port=True, symmetric=True),
    "source": HashFields(source=True),
    "destination": HashFields(destination=True),
    "address_pair": HashFields(source=True, destination=True),
}


def fields_of_key_name(name: str) -> HashFields:
    """What to hash so that packets with the same key come to the same worker; InputError for a key that cannot be."""
    if name not in SHARD_KEYS:
        raise InputError(f"packets cannot be spread by {name}", right=nearest(name, SHARD_KEYS))
    return SHARD_KEYS[name]


def check_workers(workers: int) -> None:
    """InputError for more workers than a table of indirection can name, or none."""
    if not 1 <= workers <= MAXIMUM_WORKERS:
        raise InputError(f"--cores {workers}", right=f"1 to {MAXIMUM_WORKERS} workers")


def usual_indirection(workers: int) -> NDArray[np.uint8]:
    """The worker of each bucket, in turn; ValueError for too many, or none."""
    if not 1 <= workers <= MAXIMUM_WORKERS:
        raise ValueError(f"{workers} workers; 1 to {MAXIMUM_WORKERS} are possible")
    return (np.arange(INDIRECTION_ENTRIES) % workers).astype(np.uint8)
