"""`error`: ICMP errors come to the flow that they are about."""

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from fajita import NF, PASS, Chain, Min, Packet, connection, five_tuple, flag, source, u8, u64
from fajita.errors import InputError
from fajita.explain import explain
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import ethernet


class Tracks(NF):
    """Notes of each error in the source's MAC address: 1 of a flow, 2 of none, 0x10 forward."""

    key = connection
    keys = (five_tuple, source)

    class State:
        packets: u64
        errors: u64
        last: u8

    def packet(self, pkt: Packet, state: Any) -> int:
        state.packets += 1
        return PASS

    def error(self, pkt: Packet, state: Any) -> int:
        state.errors += 1
        state.last += pkt.icmp_type
        pkt.eth_src = (0x10 if pkt.forward else 0) + (1 if pkt.related else 2) + (state.errors << 8)
        return PASS if pkt.related else pkt.drop("no such flow")


CLIENT, SERVER, ROUTER = "10.0.0.1", "192.0.2.7", "198.51.100.1"
REQUEST = IP(src=CLIENT, dst=SERVER) / UDP(sport=4000, dport=53) / Raw(b"12345678")
REPLY = IP(src=SERVER, dst=CLIENT) / UDP(sport=53, dport=4000) / Raw(b"12345678")


def error(about: ScapyPacket | bytes, to: str = CLIENT, kind: int = 3, cut: int | None = None) -> bytes:
    return framed(IP(src=ROUTER, dst=to) / ICMP(type=kind) / Raw(bytes(about)[:cut]))


def framed(packet: ScapyPacket) -> bytes:
    return bytes(ethernet() / packet)


def noted(engine: Any, frames: list[bytes], nf: NF | None = None, **options: Any) -> list[int]:
    """What an NF notes in the last of some frames; 0: it took none for an error."""
    made = run(engine, [nf or Tracks()], frames, **options).frames
    return [int.from_bytes(frame[6:12], "big") for frame in made]


NOT_NOTED = 0x02000000000A


@both_engines
@pytest.mark.parametrize("cut", [None, 28, 24])
def test_an_error_is_of_the_flow_that_it_quotes(engine: Any, cut: int | None) -> None:
    frames = [framed(REQUEST), error(REQUEST, cut=cut), error(REPLY, to=SERVER, cut=cut)]
    result = run(engine, Tracks(), frames)
    assert [int.from_bytes(frame[6:12], "big") for frame in result.frames] == [NOT_NOTED, 0x101, 0x211]
    assert [row[-3:] for row in result.rows()] == [(1, 2, 6)]
    assert result.counters.nfs[0].received == 3


@both_engines
def test_an_error_begins_no_flow_and_its_state_is_lost(engine: Any) -> None:
    result = run(engine, Tracks(), [error(REQUEST), error(REQUEST), framed(REPLY)])
    assert result.verdicts == [0, 0, 1]
    assert [int.from_bytes(frame[6:12], "big") for frame in result.frames] == [0x102, 0x102, NOT_NOTED]
    assert [row[-3:] for row in result.rows()] == [(1, 0, 0)]
    assert result.counters.nfs[0].drops == {"no such flow": 2}
    assert result.counters.tables[0].created == 1


@both_engines
def test_an_error_keeps_no_flow_alive_and_ends_none(engine: Any) -> None:
    frames = [framed(REQUEST), error(REQUEST), error(REQUEST), error(REQUEST)]
    times = [0, 900_000_000, 999_999_999, 1_000_000_000]
    assert noted(engine, frames, Tracks(timeout="1s"), times_ns=times)[1:] == [0x101, 0x201, 0x102]


@both_engines
@pytest.mark.parametrize("kind", range(20))
def test_which_types_are_errors(engine: Any, kind: int) -> None:
    is_error = noted(engine, [error(REQUEST, kind=kind)]) != [NOT_NOTED]
    assert is_error == (kind in (3, 4, 5, 11, 12))


NO_ERRORS = {
    "quoted header cut off": error(REQUEST, cut=19),
    "ports cut off": error(REQUEST, cut=23),
    "later fragment": error(IP(src=CLIENT, dst=SERVER, frag=1) / Raw(b"12345678")),
    "not ipv4": error(IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP()),
    "malformed": error(b"\x44" + bytes(REQUEST)[1:]),
    "shorter than its header": error(IP(src=CLIENT, dst=SERVER, len=19) / UDP()),
    "not captured": error(REQUEST)[:61],
    "icmpv6 in ipv4": framed(IP(src=ROUTER, dst=CLIENT, proto=58) / ICMP(type=3) / REQUEST),
}


@both_engines
@pytest.mark.parametrize("name", NO_ERRORS)
def test_what_quotes_no_flow_is_a_packet_as_any(engine: Any, name: str) -> None:
    result = run(engine, Tracks(), [framed(REQUEST), NO_ERRORS[name]])
    assert result.frames[1] == NO_ERRORS[name]
    assert sorted(row[-3:] for row in result.rows()) == [(1, 0, 0)] * 2


@both_engines
def test_the_key_of_a_direction_is_that_of_the_quoted_packet(engine: Any) -> None:
    frames = [framed(REQUEST), error(REQUEST), error(REPLY)]
    assert noted(engine, frames, Tracks(key="five_tuple"))[1:] == [0x111, 0x112]
    assert noted(engine, frames, Tracks(key="source"))[1:] == [0x111, 0x112]


@both_engines
def test_errors_of_ipv6(engine: Any) -> None:
    request = IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=1, dport=2)
    unreachable = IPv6(src="2001:db8::99", dst="2001:db8::1") / ICMPv6DestUnreach() / Raw(bytes(request))
    assert noted(engine, [framed(request), framed(unreachable)]) == [NOT_NOTED, 0x101]


class Counts(NF):
    key = connection

    class State:
        packets: u64

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        return PASS


@both_engines
def test_an_nf_without_error_sees_them_as_packets(engine: Any) -> None:
    chain = [Counts(), Tracks(), Counts(name="again")]
    result = run(engine, chain, [framed(REQUEST), error(REQUEST)])
    assert [table.errors for table in result.chain.plan.tables] == [False, True]
    assert [row[-1] for row in result.rows(0)] == [1, 1]
    assert [row[-3:-1] for row in result.rows(1)] == [(1, 1)]
    assert [row[-1] for row in result.rows(2)] == [1, 1]


class Translates(NF):
    """Writes all there is to write of the quoted packet."""

    key = five_tuple

    def packet(self, pkt: Packet, state: Any) -> int:
        return PASS

    def error(self, pkt: Packet, state: Any) -> int:
        pkt.quoted_src = 0xCB007107
        pkt.quoted_dst = 0xC0A80102
        pkt.quoted_src_port = 1234
        pkt.quoted_dst_port = 4321
        pkt.quoted_icmp_id = 99
        pkt.quoted_src_high = 0x20010DB8_00000001
        pkt.quoted_src_low = 7
        pkt.quoted_dst_high = 0x20010DB8_00000002
        pkt.quoted_dst_low = 8
        return PASS


QUOTED = {
    "udp": (REQUEST, IP(src="203.0.113.7", dst="192.168.1.2") / UDP(sport=1234, dport=4321) / Raw(b"12345678")),
    "tcp": (
        IP(src=CLIENT, dst=SERVER) / TCP(sport=1, dport=2, options=[("MSS", 1460)]) / Raw(b"odd"),
        IP(src="203.0.113.7", dst="192.168.1.2") / TCP(sport=1234, dport=4321, options=[("MSS", 1460)]) / Raw(b"odd"),
    ),
    "icmp": (
        IP(src=CLIENT, dst=SERVER) / ICMP(id=5, seq=6),
        IP(src="203.0.113.7", dst="192.168.1.2") / ICMP(id=99, seq=6),
    ),
    "udp without a checksum": (
        IP(src=CLIENT, dst=SERVER) / UDP(sport=1, dport=2, chksum=0) / Raw(b"1"),
        IP(src="203.0.113.7", dst="192.168.1.2") / UDP(sport=1234, dport=4321, chksum=0) / Raw(b"1"),
    ),
    "another protocol": (
        IP(src=CLIENT, dst=SERVER, proto=99) / Raw(b"12345678"),
        IP(src="203.0.113.7", dst="192.168.1.2", proto=99) / Raw(b"12345678"),
    ),
}


@both_engines
@pytest.mark.parametrize("name", QUOTED)
@pytest.mark.parametrize("cut", [None, 28])
def test_a_write_repairs_the_quoted_checksums_and_the_errors(engine: Any, name: str, cut: int | None) -> None:
    before, after = QUOTED[name]
    assert run(engine, Translates(), [error(before, cut=cut)]).frames == [error(after, cut=cut)]


@both_engines
def test_a_write_in_an_error_of_ipv6(engine: Any) -> None:
    def unreachable(src: str, dst: str, sport: int, dport: int) -> bytes:
        request = IPv6(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(b"odd")
        return framed(IPv6(src="2001:db8::99", dst="2001:db8::1") / ICMPv6DestUnreach() / Raw(bytes(request)))

    before = unreachable("2001:db8::1", "2001:db8::2", 1, 2)
    after = unreachable("2001:db8:0:1::7", "2001:db8:0:2::8", 1234, 4321)
    assert run(engine, Translates(), [before]).frames == [after]


def vxlan(packet: bytes) -> bytes:
    return framed(IP(src="10.9.9.1", dst="10.9.9.2") / UDP(sport=5, dport=4789) / VXLAN(vni=7) / Raw(packet))


@both_engines
def test_a_write_in_a_tunnel_leaves_the_tunnels_checksum_right(engine: Any) -> None:
    before, after = (vxlan(error(about)) for about in QUOTED["tcp"])
    assert run(engine, Translates(), [before], inner=True).frames == [after]


class Reads(NF):
    """Takes errors for packets, and says what they quote."""

    key = source

    class State:
        is_error: flag
        src: u64
        dst: u64
        ports: u64
        protocol: u64
        icmp_id: u64

    def packet(self, pkt: Packet, state: Any) -> int:
        state.is_error = pkt.is_error and pkt.related
        state.src, state.dst = pkt.quoted_src, pkt.quoted_dst
        state.ports = pkt.quoted_src_port << 16 | pkt.quoted_dst_port
        state.protocol, state.icmp_id = pkt.quoted_protocol, pkt.quoted_icmp_id
        return PASS


@both_engines
def test_what_is_quoted_can_be_read_without_error_too(engine: Any) -> None:
    client, server = 0x0A000001, 0xC0000207
    expected = (True, client, server, 4000 << 16 | 53, 17, 0)
    assert [row[1:] for row in run(engine, Reads(), [error(REQUEST, cut=28)]).rows()] == [expected]
    echo = QUOTED["icmp"][0]
    assert [row[1:] for row in run(engine, Reads(), [error(echo)]).rows()] == [(True, client, server, 0, 1, 5)]
    assert [row[1:] for row in run(engine, Reads(), [framed(REQUEST)]).rows()] == [(False, 0, 0, 0, 0, 0)]


class CountsMin(Tracks):
    class State:
        packets: u64
        errors: u64
        last: u8
        least: Min[u8]

    def error(self, pkt: Packet, state: Any) -> int:
        state.least = min(state.least, 200)
        pkt.eth_src = state.least
        return PASS


@both_engines
def test_a_state_of_no_flow_begins_as_any(engine: Any) -> None:
    assert noted(engine, [error(REQUEST), error(REQUEST)], CountsMin()) == [200, 200]


def test_explain_tells_tables_with_errors_from_others() -> None:
    text = explain(Chain([Counts(), Tracks()]).plan)
    assert text.count("an ICMP error has the key of the packet that it quotes") == 1
    assert "only one of the network functions with this key has the method error" in text
    assert "what would change that: a method error of counts" in text


def test_wrong_uses_are_refused() -> None:
    with pytest.raises(InputError, match="has error but no key"):

        class Keyless(NF):
            def packet(self, pkt: Packet) -> int:
                return PASS

            def error(self, pkt: Packet) -> int:
                return PASS

    class Emits(Tracks):
        def error(self, pkt: Packet, state: Any) -> int:
            self.emit(state)
            return PASS

    class Ends(Tracks):
        def error(self, pkt: Packet, state: Any) -> int:
            if pkt.related:
                return PASS

    class Writes(Tracks):
        def error(self, pkt: Packet, state: Any) -> int:
            pkt.quoted_protocol = 6
            return PASS

    for nf, what in ((Emits, r"self\.emit in error"), (Ends, "without a verdict"), (Writes, "cannot be written")):
        with pytest.raises(InputError, match=what):
            Chain([nf()]).plan  # noqa: B018
