"""The longest prefix against one search after the other, on random tables.

For the sizes of the Internet's tables and beyond: FAJITA_PREFIXES=1000000 FAJITA_IPV6_PREFIXES=200000
"""

import os
from random import Random
from socket import AF_INET, AF_INET6, inet_ntop

import numpy as np
import pytest

from fajita import Chain, FrameBlock, TextFileValue
from fajita.engine.compiled import CompiledEngine
from fajita.nfs.router import Router
from fajita.reference import ReferenceEngine
from tests.nfs.running import run
from tests.traffic import ipv4_packet, ipv6_packet, udp_datagram

#: By address bits: how many prefixes.
SIZES = {
    32: int(os.environ.get("FAJITA_PREFIXES", "3000")),
    128: int(os.environ.get("FAJITA_IPV6_PREFIXES", "3000")),
}
PROBES = 200_000 if max(SIZES.values()) > 10_000 else 5_000
GATEWAYS = 250
#: Lengths that are more common than others, as in the Internet's tables.
COMMON = {32: (8, 16, 19, 20, 22, 23, 24, 24, 24, 24), 128: (19, 29, 32, 32, 36, 40, 44, 48, 48, 48, 64, 127, 128)}

Table = dict[tuple[int, int], int]


def random_table(random: Random, width: int, count: int) -> Table:
    """Gateways by address and length; some prefixes lie within others, and some are their neighbours."""
    table: Table = {}
    known: list[tuple[int, int]] = []
    while len(table) < count:
        length = random.choice(COMMON[width]) if random.random() < 0.9 else random.randint(0, width)
        address = random.getrandbits(width)
        if known and random.random() < 0.5:
            near, near_length = random.choice(known)
            shift = width - min(near_length, length)
            upper = (near >> shift) + random.choice((0, 0, 1))
            address = (upper << shift | address & ((1 << shift) - 1)) % (1 << width)
        prefix = address >> (width - length) << (width - length), length
        if prefix not in table:
            known.append(prefix)
            table[prefix] = random.randint(1, GATEWAYS)
    return table


def longest(table: Table, address: int, width: int) -> int:
    """The gateway of the longest prefix; 0: there is none."""
    lengths = range(width, -1, -1)
    found = (table.get((address >> (width - length) << (width - length), length)) for length in lengths)
    return next((gateway for gateway in found if gateway is not None), 0)


def probes(random: Random, table: Table, width: int) -> list[int]:
    """Addresses anywhere, at the edges of prefixes, and within them."""
    made = [random.getrandbits(width) for _ in range(PROBES // 4)]
    known = list(table)
    while len(made) < PROBES:
        first, length = random.choice(known)
        size = 1 << (width - length)
        made.append((first + random.choice((-1, 0, size - 1, size, random.randrange(size)))) % (1 << width))
    return made


def as_text(table: Table, width: int) -> str:
    family, via = (AF_INET, "via") if width == 32 else (AF_INET6, "via inet")
    return "".join(
        f"{inet_ntop(family, address.to_bytes(width // 8))}/{length} {via} 192.0.2.{gateway}\n"
        for (address, length), gateway in table.items()
    )


def frames_to(addresses: list[int], width: int) -> np.ndarray:
    """A frame to each, in rows."""
    size = width // 8
    packet = ipv4_packet if width == 32 else ipv6_packet
    zero = 0 if width == 32 else bytes(16)
    udp = udp_datagram(zero, zero, 1, 2, b"data") if width == 32 else bytes(8)
    frame = bytes(12) + (b"\x08\x00" if width == 32 else b"\x86\xdd") + packet(zero, zero, 17, udp)
    rows = np.tile(np.frombuffer(frame, np.uint8), (len(addresses), 1))
    start = 14 + (16 if width == 32 else 24)
    destinations = b"".join(address.to_bytes(size) for address in addresses)
    rows[:, start : start + size] = np.frombuffer(destinations, np.uint8).reshape(-1, size)
    return rows


@pytest.mark.parametrize("seed", range(3))
def test_longest_prefixes_are_those_of_a_search_one_by_one(seed: int) -> None:
    random = Random(seed)
    tables = {width: random_table(random, width, count) for width, count in SIZES.items()}
    text = "".join(as_text(table, width) for width, table in tables.items())
    known = "".join(f"192.0.2.{gateway} lladdr 02:00:00:00:00:{gateway:02x}\n" for gateway in range(1, GATEWAYS + 1))
    nf = Router(routes=TextFileValue("routes", text), neighbours=TextFileValue("neighbours", known))
    engine = CompiledEngine(Chain([nf]).plan)
    for width, table in tables.items():
        addresses = probes(random, table, width)
        rows = frames_to(addresses, width)
        block = FrameBlock.from_slots(rows, np.full(len(rows), rows.shape[1]), np.arange(len(rows)))
        engine.process(block)
        expected = np.array([longest(table, address, width) for address in addresses])
        assert (rows[:, 5] == expected).all()
        assert (block.verdict == (expected != 0)).all()


@pytest.mark.parametrize("bits", [16, 20, 24])
def test_the_size_of_the_first_array_does_not_matter(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fajita.nfs._prefix_table.DIRECT_BITS", ((1 << 62, bits),))
    random = Random(bits)
    for width in SIZES:
        table = random_table(random, width, 200)
        addresses = probes(random, table, width)[-500:]
        nf = Router(routes=TextFileValue("routes", as_text(table, width)))
        frames = [bytes(row) for row in frames_to(addresses, width)]
        expected = [longest(table, address, width) != 0 for address in addresses]
        for engine in (CompiledEngine, ReferenceEngine):
            assert run(engine, nf, frames).verdicts == expected
