"""Literal packets through the firewall: rules, states of connections, counters, what it refuses."""

from functools import partial
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from fajita import NF, PASS, Chain, Change, InputError, Packet, TextFileValue, five_tuple
from fajita.engine.interface import Engine
from fajita.nfs.connection_tracker import ConnectionTracker
from fajita.nfs.firewall import Firewall
from fajita.verify import both_engines as compiled_and_reference
from fajita.verify import verify_blocks
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import ethernet, tcp_frame, udp_frame
from tests.traffic import many_flows

CLIENT, SERVER = "10.0.0.1", "192.0.2.9"


def firewall(*rules: str, policy: str = "drop", family: str = "inet", name: str = "firewall") -> Firewall:
    head = f"type filter hook forward priority 0; policy {policy}"
    text = "\n".join([f"table {family} t {{", "  chain c {", head, *rules, "  }", "}", ""])
    return Firewall(rules=TextFileValue("rules.nft", text), name=name)


def there(sport: int = 1024, dport: int = 80) -> bytes:
    return tcp_frame(sport, dport, src=CLIENT, dst=SERVER)


def back(sport: int = 80, dport: int = 1024) -> bytes:
    return tcp_frame(sport, dport, src=SERVER, dst=CLIENT)


def in_ethernet(packet: ScapyPacket) -> bytes:
    return bytes(ethernet() / packet)


@both_engines
def test_the_first_rule_that_matches_decides(engine: type[Engine]) -> None:
    nf = firewall("tcp dport 22 drop", "ip saddr 10.0.0.0/8 accept", "tcp dport 80 drop")
    result = run(engine, nf, [there(dport=22), there(dport=80), tcp_frame(dport=80, src="11.0.0.1"), udp_frame()])
    assert result.verdicts == [0, 1, 0, 0]
    assert result.counters.nfs[0].drops == {"rule": 2, "policy": 1}


@both_engines
def test_packets_and_bytes_are_counted_by_rule(engine: type[Engine]) -> None:
    nf = firewall("tcp dport 22 drop", 'ip saddr 10.0.0.0/8 counter accept comment "inside"', policy="accept")
    frames = [there(), there(), there(sport=7), there(dport=22), udp_frame()]
    result = run(engine, nf, frames)
    assert result.summary() == {
        "connections": 4,
        "rules": [
            {"line": 4, "rule": "tcp dport 22 drop", "packets": 1, "bytes": len(frames[3])},
            {"line": 5, "rule": "ip saddr 10.0.0.0/8 counter accept", "packets": 3, "bytes": 3 * len(frames[0])},
        ],
        "policy": {"policy": "accept", "packets": 1, "bytes": len(frames[4])},
    }


@both_engines
def test_a_connection_is_established_once_its_other_side_has_answered(engine: type[Engine]) -> None:
    nf = firewall("ct state established accept", "ip saddr 10.0.0.0/8 tcp dport 80 ct state new accept")
    result = run(engine, nf, [back(), there(), there(), back(), there(), back()])
    assert result.verdicts == [0, 1, 1, 1, 1, 1]
    assert [rule["packets"] for rule in result.summary()["rules"]] == [3, 2]


@both_engines
def test_what_was_dropped_begins_no_connection(engine: type[Engine]) -> None:
    nf = firewall("ct state established accept", "ip saddr 192.0.2.0/24 accept")
    result = run(engine, nf, [there(), back(), there(), back()])
    assert result.verdicts == [0, 1, 1, 1]


class Tracker(NF):
    """Says of each packet what its time to live is."""

    key = five_tuple

    def packet(self, pkt: Packet, state: object) -> int:
        pkt.connection_state = pkt.ttl
        return PASS


@both_engines
def test_what_a_tracker_before_it_says_counts(engine: type[Engine]) -> None:
    nf = firewall("ct state invalid drop", "ct state related,new accept", policy="drop")
    frames = [
        in_ethernet(IP(src=CLIENT, dst=SERVER, ttl=state) / UDP(sport=1, dport=2)) for state in (1, 2, 3, 4, 2, 1, 0, 5)
    ]
    result = run(engine, [Tracker(), nf], frames)
    assert result.verdicts == [0, 1, 0, 1, 1, 0, 1, 1]
    assert [rule["packets"] for rule in result.summary(1)["rules"]] == [2, 5]


@both_engines
def test_behind_the_connection_tracker_a_connection_is_what_that_says(engine: type[Engine]) -> None:
    nf = firewall("ct state invalid drop", "ct state established accept", "tcp dport 80 ct state new accept")

    def segment(flags: str, sequence: int, acknowledgment: int, *, returns: bool = False) -> bytes:
        ends = (SERVER, CLIENT, 80, 1024) if returns else (CLIENT, SERVER, 1024, 80)
        tcp = TCP(sport=ends[2], dport=ends[3], flags=flags, seq=sequence, ack=acknowledgment, window=1000)
        return in_ethernet(IP(src=ends[0], dst=ends[1]) / tcp)

    frames = [
        segment("S", 99, 0),
        segment("SA", 499, 100, returns=True),
        segment("A", 100, 500),
        segment("A", 100 + (1 << 30), 500),  # far out of window
        segment("SA", 7, 1, returns=True),
    ]
    result = run(engine, [ConnectionTracker(), nf], frames)
    assert result.verdicts[:4] == [1, 1, 1, 0]
    assert [rule["packets"] for rule in result.summary(1)["rules"]][2] == 1


@both_engines
def test_icmp_messages_between_two_hosts_are_told_apart(engine: type[Engine]) -> None:
    nf = firewall("icmp type echo-request accept", "icmp type destination-unreachable icmp code 4 accept")
    messages = [ICMP(type=8), ICMP(type=3, code=4), ICMP(type=3, code=1), ICMP(type=8), ICMP(type=0)]
    frames = [in_ethernet(IP(src=CLIENT, dst=SERVER) / message / Raw(b"x" * 20)) for message in messages]
    assert run(engine, nf, frames).verdicts == [1, 1, 0, 1, 0]


@both_engines
def test_ipv6(engine: type[Engine]) -> None:
    nf = firewall("ip6 saddr 2001:db8::/32 tcp dport 80 accept", "icmpv6 type echo-request ip6 daddr ::1 accept")
    frames = [
        in_ethernet(IPv6(src=src, dst=dst) / transport)
        for src, dst, transport in (
            ("2001:db8::1", "::1", TCP(dport=80)),
            ("2001:db9::1", "::1", TCP(dport=80)),
            ("2001:db8::1", "::1", TCP(dport=81)),
            ("fe80::1", "::1", ICMPv6EchoRequest()),
            ("fe80::1", "::2", ICMPv6EchoRequest()),
        )
    ]
    assert run(engine, nf, frames).verdicts == [1, 0, 0, 1, 0]


@both_engines
def test_a_table_of_one_family_does_not_see_the_other(engine: type[Engine]) -> None:
    frames = [there(), in_ethernet(IPv6(src="::1", dst="::2") / UDP())]
    result = run(engine, firewall("tcp dport 81 accept", family="ip"), frames)
    assert result.verdicts == [0, 1]
    assert result.summary()["other family"] == 1
    assert run(engine, firewall(family="ip6"), frames).verdicts == [1, 0]


@both_engines
def test_frames_without_ip_are_not_seen(engine: type[Engine]) -> None:
    result = run(engine, firewall(), [in_ethernet(ARP()), there()])
    assert result.verdicts == [1, 0]
    assert result.counters.other == {"arp": 1}


@both_engines
def test_later_fragments_go_the_way_of_their_first(engine: type[Engine]) -> None:
    datagram = IP(src=CLIENT, dst=SERVER, id=5) / UDP(sport=7, dport=53) / Raw(b"x" * 64)
    whole = bytes(datagram)[20:]
    first = IP(src=CLIENT, dst=SERVER, id=5, flags="MF", proto=17) / Raw(whole[:32])
    later = IP(src=CLIENT, dst=SERVER, id=5, frag=4, proto=17) / Raw(whole[32:])
    result = run(engine, firewall("udp dport 53 accept"), [in_ethernet(first), in_ethernet(later)])
    assert result.verdicts == [1, 1]
    lost = run(
        engine, firewall("udp dport 0-65535 accept", "udp sport 0 accept"), [in_ethernet(later)], fragments="flow"
    )
    assert lost.verdicts == [0]


@both_engines
def test_what_a_later_fragment_is_judged_by_is_not_remembered(engine: type[Engine]) -> None:
    def datagram(src: str, dst: str, *, sport: int, dport: int) -> ScapyPacket:
        return IP(src=src, dst=dst, id=5) / UDP(sport=sport, dport=dport) / Raw(b"x" * 64)

    whole = bytes(datagram(CLIENT, SERVER, sport=7, dport=53))[20:]
    first = IP(src=CLIENT, dst=SERVER, id=5, flags="MF", proto=17) / Raw(whole[:32])
    later = IP(src=CLIENT, dst=SERVER, id=5, frag=4, proto=17) / Raw(whole[32:])
    answer = datagram(SERVER, CLIENT, sport=53, dport=7)
    again = datagram(CLIENT, SERVER, sport=7, dport=53)
    # The answer makes the connection established, of which no packet went there before the later fragment.
    frames = [in_ethernet(packet) for packet in (first, answer, later, again)]
    assert run(engine, firewall("udp dport 53 accept", "udp sport 53 accept"), frames).verdicts == [1, 1, 0, 1]


def test_results_do_not_depend_on_engine_or_number_of_workers() -> None:
    sent = many_flows(300, repeats=3)
    chain = Chain([firewall("ct state established accept", "udp sport 0-100 drop", "udp dport 53 accept")])
    for workers in (1, 2, 3):
        result = verify_blocks(chain.plan, sent.blocks(), partial(compiled_and_reference, cores=workers))
        assert (result.difference, result.packets) == (None, 900)
    one, three = (chain.run(sent.blocks(), cores=cores).report for cores in (1, 3))
    assert one["nfs"][0]["summary"] == three["nfs"][0]["summary"]


def test_rules_cannot_change_during_a_run() -> None:
    other = firewall("udp dport 53 drop").rules
    with pytest.raises(InputError, match="rules cannot change during a run"):
        Chain([firewall()]).run(many_flows(3, 1).blocks(), changes=[Change("firewall", at="1us", rules=other)])


def test_the_file_is_found_beside_the_chain(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "office.nft").write_text(
        "table inet t {\n  chain c {\n    type filter hook input priority 0\n    tcp dport 99999 drop\n  }\n}\n"
    )
    (tmp_path / "office.yaml").write_text("nfs:\n  - firewall: {rules: rules/office.nft}\n")
    with pytest.raises(InputError) as refused:
        Chain.load(tmp_path / "office.yaml")
    assert refused.value.where == f"{tmp_path}/rules/office.nft:4:15"
    assert refused.value.what == "'99999' is not a port"


def test_a_file_that_is_not_there_is_refused_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "office.yaml").write_text("nfs:\n  - firewall:\n      rules: none.nft\n")
    with pytest.raises(InputError, match=r"office.yaml:3.*none.nft cannot be read: No such file"):
        Chain.load(tmp_path / "office.yaml")
