"""`pkt.mark` and `pkt.connection_state`: what NFs of a chain tell each other about a packet."""

from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from fajita import NF, PASS, Array, Chain, Packet, destination, five_tuple, key_of, source, u64
from fajita.errors import InputError
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import ethernet


class Marks(NF):
    """Marks with the port, IPv6 packets with nothing; what does not fit is cut off."""

    def packet(self, pkt: Packet) -> int:
        if pkt.is_ipv4:
            pkt.mark = pkt.src_port - (1 << 40)
            pkt.connection_state = 0x102
        return PASS


class Reads(NF):
    key = five_tuple

    class State:
        mark: u64
        connection_state: u64

    class Core:
        counts: Array[u64, 100_000]

    def packet(self, pkt: Packet, state: State) -> int:
        state.mark += pkt.mark
        state.connection_state += pkt.connection_state
        self.core.counts[pkt.mark] += 1
        pkt.mark += 1
        return PASS


class Rewrites(NF):
    """So that the next key is read in a segment of its own."""

    key = source

    def packet(self, pkt: Packet, state: Any) -> int:
        pkt.dst = 7
        return PASS


class ReadsLater(Reads):
    key = destination


def frames() -> list[bytes]:
    packets = [IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=port, dport=53) for port in range(1, 41)]
    packets[7] = IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=8, dport=53)
    return [bytes(ethernet() / packet) for packet in packets]


@both_engines
def test_later_nfs_see_what_is_written_and_each_packet_begins_with_zeros(engine: Any) -> None:
    result = run(engine, [Reads(name="before"), Marks(), Reads(), Rewrites(), ReadsLater()], frames())
    assert [row[-2:] for row in result.rows(0)] == [(0, 0)] * 40
    assert sorted(row[-2:] for row in result.rows(2)) == [(1, 0), *((port, 2) for port in range(1, 41) if port != 8)]
    ipv4, ipv6 = result.rows(4)
    assert ipv4[-2:] == (sum(range(1, 41)) - 8 + 39, 2 * 39)
    assert ipv6[-2:] == (2, 0)
    assert result.frames != frames()


@both_engines
def test_a_mark_leaves_no_trace_in_the_frame(engine: Any) -> None:
    result = run(engine, [Marks(), Reads()], frames())
    assert result.frames == frames()


def test_a_chain_without_metadata_keeps_none() -> None:
    assert not Chain([Rewrites()]).plan.has_metadata
    assert Chain([Rewrites(), Marks()]).plan.has_metadata


def test_elements_that_a_mark_decides_are_not_asked_for_ahead() -> None:
    translated = Chain([Marks(), Reads()]).plan.nfs[1].translated
    assert [access.ahead for access in translated.accesses] == [False]


def test_a_mark_does_not_hang_a_rewrite_on_the_packet() -> None:
    class Fixed(Rewrites):
        def packet(self, pkt: Packet, state: Any) -> int:
            pkt.dst = 7
            pkt.mark = pkt.length
            return PASS

    assert Chain([Fixed()]).plan.nfs[0].translated.rewrites_per_flow


def test_metadata_is_no_key_and_no_truth_value() -> None:
    class Wrong(NF):
        def packet(self, pkt: Packet) -> int:
            pkt.mark = pkt.is_tcp
            return PASS

    with pytest.raises(InputError, match=r"pkt\.mark is an integer, not a bool"):
        Chain([Wrong()]).plan  # noqa: B018
    with pytest.raises(InputError, match="a packet has no field mark"):
        key_of("src", "mark")
