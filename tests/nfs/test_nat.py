"""The NAT: literal packets, built by scapy, there and back, on both engines."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from fajita import Chain, FrameBlock, InputError
from fajita.verify import verify_blocks
from tests.nfs.nat_steps import (
    ALICE,
    BOB,
    EXTERNAL,
    OTHER,
    SECOND,
    SERVER,
    Steps,
    echo,
    error,
    frames_of,
    gre,
    nat,
    sctp,
    seen,
    tcp,
    udp,
)
from tests.nfs.running import both_engines, run


@both_engines
def test_there_and_back(engine: Any) -> None:
    steps = Steps()
    for number, make in enumerate((udp, tcp)):
        steps.then(make(ALICE, 5000 + number, SERVER, 80), make(EXTERNAL, 5000 + number, SERVER, 80))
        steps.then(make(SERVER, 80, EXTERNAL, 5000 + number), make(SERVER, 80, ALICE, 5000 + number))
    steps.then(echo(ALICE, SERVER, 7), echo(EXTERNAL, SERVER, 7))
    steps.then(echo(SERVER, EXTERNAL, 7, type=0), echo(SERVER, ALICE, 7, type=0))
    result = steps.check(engine, nat())
    assert result.summary() == {"sessions": 3, "tcp_mappings": 1, "udp_mappings": 1, "icmp_mappings": 1}


@both_engines
def test_what_is_not_its_business_passes_as_it_is(engine: Any) -> None:
    strangers = udp("192.0.2.1", 1, SERVER, 2)
    multicast = udp(ALICE, 5353, "224.0.0.251", 5353)
    neighbours = udp(ALICE, 1, BOB, 2)
    steps = Steps().then(strangers, strangers).then(multicast, multicast).then(neighbours, neighbours)
    assert steps.check(engine, nat()).counters.nfs[0].received == 0


@both_engines
def test_ttl_options_and_a_udp_checksum_of_zero_stay(engine: Any) -> None:
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 2)), ("NOP", None), ("WScale", 7)]
    steps = Steps()
    for src, changed in ((ALICE, EXTERNAL),):
        steps.then(
            IP(src=src, dst=SERVER, ttl=3, id=9, tos=0x28, flags="DF")
            / TCP(sport=5000, dport=80, flags="S", options=options),
            IP(src=changed, dst=SERVER, ttl=3, id=9, tos=0x28, flags="DF")
            / TCP(sport=5000, dport=80, flags="S", options=options),
        )
        steps.then(udp(src, 5000, SERVER, 53, chksum=0), udp(changed, 5000, SERVER, 53, chksum=0))
    steps.check(engine, nat())


@both_engines
def test_two_hosts_with_the_same_port(engine: Any) -> None:
    steps = Steps().then(udp(ALICE, 5000, SERVER, 53), udp(EXTERNAL, 5000, SERVER, 53))
    steps.then(udp(BOB, 5000, SERVER, 53), udp(EXTERNAL, 1024, SERVER, 53))
    steps.then(udp(SERVER, 53, EXTERNAL, 1024), udp(SERVER, 53, BOB, 5000))
    steps.then(udp(SERVER, 53, EXTERNAL, 5000), udp(SERVER, 53, ALICE, 5000))
    steps.check(engine, nat())


@both_engines
def test_a_mapping_is_the_same_for_all_destinations(engine: Any) -> None:
    steps = Steps().then(udp(ALICE, 80, SERVER, 53), udp(EXTERNAL, 1024, SERVER, 53))
    steps.then(udp(ALICE, 80, OTHER, 99), udp(EXTERNAL, 1024, OTHER, 99))
    steps.then(tcp(ALICE, 80, OTHER, 99), tcp(EXTERNAL, 1024, OTHER, 99))  # TCP's ports are others
    assert steps.check(engine, nat()).summary()["udp_mappings"] == 1


@both_engines
def test_or_each_destination_has_its_own(engine: Any) -> None:
    steps = Steps().then(udp(ALICE, 80, SERVER, 53), udp(EXTERNAL, 1024, SERVER, 53))
    steps.then(udp(ALICE, 80, OTHER, 99), udp(EXTERNAL, 1026, OTHER, 99))
    steps.then(udp(OTHER, 99, EXTERNAL, 1026), udp(OTHER, 99, ALICE, 80))
    assert steps.check(engine, nat(mapping="address_and_port_dependent")).summary()["udp_mappings"] == 2


@both_engines
def test_sequential_ports(engine: Any) -> None:
    steps = Steps()
    for number in range(4):
        steps.then(udp(ALICE, 6001 + number, SERVER, 53), udp(EXTERNAL, 2000 + number, SERVER, 53))
    steps.check(engine, nat(allocation="sequential", parity=False, ports="2000-2009"))


@both_engines
def test_sequential_ports_keep_their_parity(engine: Any) -> None:
    steps = Steps()
    for inside, external in ((6001, 2001), (6003, 2003), (6002, 2000), (6005, 2005)):
        steps.then(udp(ALICE, inside, SERVER, 53), udp(EXTERNAL, external, SERVER, 53))
    steps.check(engine, nat(allocation="sequential", ports="2000-2009"))


@both_engines
def test_random_ports_are_different_and_of_the_range(engine: Any) -> None:
    packets = [udp(ALICE, 6000 + number, SERVER, 53) for number in range(60)]
    result = run(engine, nat(allocation="random", ports="2000-2099"), frames_of(packets))
    ports = [seen(frame)[1] for frame in result.frames]
    assert all(result.verdicts)
    assert len(set(ports)) == 60
    assert all(2000 <= port <= 2099 for port in ports)
    assert [port % 2 for port in ports[:40]] == [0, 1] * 20
    assert ports[:10] != sorted(ports[:10])


@both_engines
@pytest.mark.parametrize("allocation", ["preserve", "sequential", "random"])
def test_exhaustion_is_refused_and_counted(engine: Any, allocation: str) -> None:
    packets = [udp(ALICE, 2000 + number, SERVER, 53) for number in range(14)]
    result = run(engine, nat(allocation=allocation, ports="2000-2009"), frames_of(packets))
    assert sum(result.verdicts) == 10
    assert result.counters.nfs[0].drops["no port"] == 4
    assert len({seen(frame)[1] for frame, verdict in zip(result.frames, result.verdicts, strict=True) if verdict}) == 10


@both_engines
def test_a_port_is_given_back_when_its_last_session_ends(engine: Any) -> None:
    steps = Steps().then(udp(ALICE, 2000, SERVER, 53), udp(EXTERNAL, 2000, SERVER, 53))
    steps.then(udp(BOB, 2000, SERVER, 53), udp(EXTERNAL, 2002, SERVER, 53))
    steps.then(udp(ALICE, 2002, SERVER, 53), udp(EXTERNAL, 2001, SERVER, 53))  # of the other parity, for want of better
    steps.then(udp(ALICE, 2004, SERVER, 53), udp(EXTERNAL, 2003, SERVER, 53))
    steps.then(udp(BOB, 2004, SERVER, 53), "no port")
    steps.then(udp(ALICE, 2000, OTHER, 53), udp(EXTERNAL, 2000, OTHER, 53), after=200)
    # Only Alice's first mapping has a session that has not been idle for 300 s.
    steps.others(after=150)
    steps.then(udp(BOB, 2004, SERVER, 53), udp(EXTERNAL, 2002, SERVER, 53))
    steps.then(udp(SERVER, 53, EXTERNAL, 2001), "no mapping")
    steps.then(udp(OTHER, 53, EXTERNAL, 2000), udp(OTHER, 53, ALICE, 2000))
    steps.check(engine, nat(ports="2000-2003"))


@both_engines
def test_the_port_that_has_been_free_for_longest_is_next(engine: Any) -> None:
    steps = Steps()
    for number in range(3):
        steps.then(udp(ALICE, 6000 + number, SERVER, 53), udp(EXTERNAL, 2000 + number, SERVER, 53))
    steps.others(after=301)
    for number in range(3):
        steps.then(udp(BOB, 7000 + number, SERVER, 53), udp(EXTERNAL, 2003 + number, SERVER, 53))
    steps.then(udp(BOB, 7003, SERVER, 53), udp(EXTERNAL, 2000, SERVER, 53))
    steps.check(engine, nat(allocation="sequential", parity=False, ports="2000-2005"))


UNSOLICITED = {
    "endpoint_independent": (True, True),
    "address_dependent": (True, False),
    "address_and_port_dependent": (False, False),
}


@both_engines
@pytest.mark.parametrize("filtering", UNSOLICITED)
@pytest.mark.parametrize("mapping", ["endpoint_independent", "address_and_port_dependent"])
def test_who_may_send_to_a_mapping(engine: Any, filtering: str, mapping: str) -> None:
    other_port, other_address = UNSOLICITED[filtering]
    steps = Steps().then(udp(ALICE, 5000, SERVER, 53), udp(EXTERNAL, 5000, SERVER, 53))
    steps.then(udp(SERVER, 53, EXTERNAL, 5000), udp(SERVER, 53, ALICE, 5000))
    steps.then(udp(SERVER, 99, EXTERNAL, 5000), udp(SERVER, 99, ALICE, 5000) if other_port else "filtered")
    steps.then(udp(OTHER, 53, EXTERNAL, 5000), udp(OTHER, 53, ALICE, 5000) if other_address else "filtered")
    steps.then(udp(SERVER, 53, EXTERNAL, 5001), "no mapping")
    steps.then(udp(SERVER, 53, EXTERNAL, 80), "no mapping")
    if mapping == "endpoint_independent":
        # Once its host has sent there, the other may.
        steps.then(udp(ALICE, 5000, OTHER, 53), udp(EXTERNAL, 5000, OTHER, 53))
        steps.then(udp(OTHER, 53, EXTERNAL, 5000), udp(OTHER, 53, ALICE, 5000))
    steps.check(engine, nat(filtering=filtering, mapping=mapping))


@both_engines
def test_a_permission_ends_with_the_last_session(engine: Any) -> None:
    steps = Steps().then(udp(ALICE, 5000, SERVER, 53), udp(EXTERNAL, 5000, SERVER, 53))
    steps.then(udp(ALICE, 5000, OTHER, 53), udp(EXTERNAL, 5000, OTHER, 53), after=200)
    steps.then(udp(SERVER, 99, EXTERNAL, 5000), udp(SERVER, 99, ALICE, 5000), after=50)
    steps.then(udp(OTHER, 53, EXTERNAL, 5000), udp(OTHER, 53, ALICE, 5000), after=240)
    steps.then(udp(SERVER, 98, EXTERNAL, 5000), udp(SERVER, 98, ALICE, 5000))
    steps.then(udp(OTHER, 53, EXTERNAL, 5000), udp(OTHER, 53, ALICE, 5000), after=290)
    steps.others(after=20)
    steps.then(udp(SERVER, 97, EXTERNAL, 5000), "filtered")
    steps.check(engine, nat())


HANDSHAKE = ((True, "S"), (False, "SA"), (True, "A"))


def connection_of(*packets: tuple[bool, str]) -> Steps:
    steps = Steps()
    for forward, flags in packets:
        if forward:
            steps.then(tcp(ALICE, 5000, SERVER, 80, flags), tcp(EXTERNAL, 5000, SERVER, 80, flags))
        else:
            steps.then(tcp(SERVER, 80, EXTERNAL, 5000, flags), tcp(SERVER, 80, ALICE, 5000, flags))
    return steps


@both_engines
@pytest.mark.parametrize(
    ("packets", "seconds"),
    [
        (((True, "S"),), 240),
        (HANDSHAKE, 7440),
        ((*HANDSHAKE, (True, "FA")), 7440),
        ((*HANDSHAKE, (True, "FA"), (False, "FA"), (True, "A")), 240),
        ((*HANDSHAKE, (False, "R")), 240),
        ((*HANDSHAKE, (True, "R")), 240),
        ((*HANDSHAKE, (True, "R"), (False, "A")), 7440),  # a reset that nobody has minded
        ((*HANDSHAKE, (True, "FA"), (False, "FA"), (True, "S")), 240),
        ((*HANDSHAKE, (True, "FA"), (False, "FA"), (True, "S"), (False, "SA")), 7440),
        (((True, "A"), (False, "A")), 7440),  # the capture began in its midst
    ],
)
def test_tcp_timeouts(engine: Any, packets: tuple[tuple[bool, str], ...], seconds: int) -> None:
    answer, inside = tcp(SERVER, 80, EXTERNAL, 5000, "PA"), tcp(SERVER, 80, ALICE, 5000, "PA")
    connection_of(*packets).then(answer, inside, after=seconds - 1).check(engine, nat())
    connection_of(*packets).then(answer, "filtered", after=seconds + 1).check(engine, nat())
    connection_of(*packets).others(after=seconds + 1).then(answer, "no mapping").check(engine, nat())


@both_engines
@pytest.mark.parametrize(("seconds", "make"), [(300, udp), (60, None)])
def test_udp_and_icmp_timeouts(engine: Any, seconds: int, make: Any) -> None:
    if make is not None:
        first = (udp(ALICE, 5000, SERVER, 53), udp(EXTERNAL, 5000, SERVER, 53))
        answer = (udp(SERVER, 53, EXTERNAL, 5000), udp(SERVER, 53, ALICE, 5000))
    else:
        first = (echo(ALICE, SERVER, 7), echo(EXTERNAL, SERVER, 7))
        answer = (echo(SERVER, EXTERNAL, 7, type=0), echo(SERVER, ALICE, 7, type=0))
    Steps().then(*first).then(*answer, after=seconds - 1).then(*answer, after=seconds - 1).check(engine, nat())
    Steps().then(*first).then(answer[0], "filtered", after=seconds + 1).check(engine, nat())
    Steps().then(*first).others(after=seconds + 1).then(answer[0], "no mapping").check(engine, nat())


@both_engines
def test_hairpin(engine: Any) -> None:
    steps = Steps().then(udp(BOB, 2000, SERVER, 53), udp(EXTERNAL, 2000, SERVER, 53))
    steps.then(udp(ALICE, 5000, EXTERNAL, 2000), udp(EXTERNAL, 5000, BOB, 2000))
    steps.then(udp(BOB, 2000, EXTERNAL, 5000), udp(EXTERNAL, 2000, ALICE, 5000))
    steps.then(udp(ALICE, 5000, EXTERNAL, 2000), udp(EXTERNAL, 5000, BOB, 2000))
    steps.then(udp(ALICE, 5000, EXTERNAL, 2222), "no mapping")
    steps.check(engine, nat(filtering="endpoint_independent"))


@both_engines
@pytest.mark.parametrize("filtering", ["address_dependent", "address_and_port_dependent"])
def test_hairpin_through_filters_takes_both_sides(engine: Any, filtering: str) -> None:
    steps = Steps().then(udp(BOB, 2000, SERVER, 53), udp(EXTERNAL, 2000, SERVER, 53))
    steps.then(udp(ALICE, 5000, EXTERNAL, 2000), "filtered")
    steps.then(udp(BOB, 2000, EXTERNAL, 5000), udp(EXTERNAL, 2000, ALICE, 5000))
    steps.then(udp(ALICE, 5000, EXTERNAL, 2000), udp(EXTERNAL, 5000, BOB, 2000))
    steps.check(engine, nat(filtering=filtering))


STATIC: dict[str, Any] = {
    "static": [
        {"external": f"{EXTERNAL}:80/tcp", "inside": f"{BOB}:8080"},
        {"external": f"{EXTERNAL}:4000/udp", "inside": f"{BOB}:53"},
    ]
}


@both_engines
@pytest.mark.parametrize("filtering", UNSOLICITED)
def test_static_mappings_let_everybody_in(engine: Any, filtering: str) -> None:
    steps = Steps().then(tcp(SERVER, 999, EXTERNAL, 80, "S"), tcp(SERVER, 999, BOB, 8080, "S"))
    steps.then(tcp(BOB, 8080, SERVER, 999, "SA"), tcp(EXTERNAL, 80, SERVER, 999, "SA"))
    steps.then(udp(OTHER, 5, EXTERNAL, 4000), udp(OTHER, 5, BOB, 53))
    steps.then(udp(OTHER, 5, EXTERNAL, 80), "no mapping")
    # From inside by its external address, and what its host begins itself.
    steps.then(tcp(ALICE, 5000, EXTERNAL, 80, "S"), tcp(EXTERNAL, 5000, BOB, 8080, "S"))
    steps.then(tcp(BOB, 8080, EXTERNAL, 5000, "SA"), tcp(EXTERNAL, 80, ALICE, 5000, "SA"))
    steps.then(udp(BOB, 53, SERVER, 53), udp(EXTERNAL, 4000, SERVER, 53))
    # It is never given to others, nor does it end.
    steps.then(udp(ALICE, 4000, SERVER, 53), udp(EXTERNAL, 1024, SERVER, 53))
    steps.then(udp(OTHER, 5, EXTERNAL, 4000), udp(OTHER, 5, BOB, 53), after=10_000)
    steps.check(engine, nat(filtering=filtering, **STATIC))


@both_engines
def test_a_host_keeps_its_address_of_a_pool(engine: Any) -> None:
    packets = [udp(f"10.0.{host}.1", 5000 + port, SERVER, 53) for host in range(40) for port in range(4)]
    result = run(engine, nat(external=["203.0.113.0/28", "192.0.2.9"]), frames_of(packets))
    assert all(result.verdicts)
    addresses = [seen(frame)[0] for frame in result.frames]
    by_host = [set(addresses[4 * host : 4 * host + 4]) for host in range(40)]
    assert all(len(of_host) == 1 for of_host in by_host)
    assert len(set.union(*by_host)) > 8
    back = [udp(SERVER, 53, *seen(frame)[:2]) for frame in result.frames]
    result = run(engine, nat(external=["203.0.113.0/28", "192.0.2.9"]), frames_of([*packets, *back]))
    assert [seen(frame)[2] for frame in result.frames[160:]] == [packet[IP].src for packet in packets]


@both_engines
def test_a_pool_that_is_nearly_exhausted_gives_another_address(engine: Any) -> None:
    packets = [udp(ALICE, 2000 + number, SERVER, 53) for number in range(7)]
    result = run(engine, nat(external=["203.0.113.6/31"], ports="2000-2001"), frames_of(packets))
    assert result.verdicts == [1] * 4 + [0] * 3
    assert len({seen(frame)[:2] for frame in result.frames[:4]}) == 4


@both_engines
def test_capacity_of_the_table_evicts_sessions_with_their_ports(engine: Any) -> None:
    packets = [udp(ALICE, 2000 + 2 * number, SERVER, 53) for number in range(40)]
    result = run(engine, nat(ports="2000-2039"), frames_of(packets), capacity=5, full="evict")
    assert all(result.verdicts)
    assert result.summary()["udp_mappings"] == 5


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"inside": []}, "inside is empty"),
        ({"external": []}, "external is empty"),
        ({"inside": ["10.0.0.1/8"]}, "inside: 10.0.0.1/8 has host bits set; give IPv4 addresses or prefixes"),
        ({"external": ["fd00::1"]}, "external: .*fd00::1.*; give IPv4 addresses or prefixes"),
        ({"external": ["10.2.0.0/16"]}, "the external address 10.2.0.0 is inside, too; give others"),
        ({"external": ["0.0.0.0/1"]}, "the inside address 10.0.0.0 is external, too; give others"),
        ({"ports": "1024"}, "ports is '1024'; give two of 1 to 65535, such as 1024-65535"),
        ({"ports": "9-3"}, "ports is '9-3'"),
        ({"ports": "0-65536"}, "ports is '0-65536'"),
        ({"ports": "1025-65535"}, "with parity give an even one to an odd one"),
        ({"ports": "1024-65534"}, "with parity give an even one to an odd one"),
        ({"static": [{"inside": "10.0.0.1:1"}]}, "static has {'inside': '10.0.0.1:1'}; write {external:"),
        ({"static": [{"inside": "10.0.0.1:1", "external": EXTERNAL}]}, "static has the protocol ''; give tcp or udp"),
        ({"static": [{"inside": "10.0.0.1", "external": f"{EXTERNAL}:1/udp"}]}, "static has '10.0.0.1', which is no"),
        ({"static": [{"inside": "a:1", "external": f"{EXTERNAL}:1/udp"}]}, "static has 'a:1', which is no address"),
        ({"static": [{"inside": "10.0.0.1:1", "external": f"{EXTERNAL}:0/udp"}]}, "static has '203.0.113.7:0', which"),
        (
            {"static": [{"inside": "1.0.0.1:1", "external": f"{EXTERNAL}:1/udp"}]},
            "static leads to 1.0.0.1, which",
        ),
        ({"static": [{"inside": "10.0.0.1:1", "external": f"{SERVER}:1/udp"}]}, "static has 198.51.100.1, which"),
        ({"static": STATIC["static"][:1] * 2}, "static has an external endpoint twice"),
        (
            {"static": [STATIC["static"][0], STATIC["static"][0] | {"external": f"{EXTERNAL}:81/tcp"}]},
            "static has an inside endpoint twice",
        ),
    ],
)
def test_parameters_that_make_no_sense(params: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what.replace("{", r"\{").replace("[", r"\[").replace("}", r"\}")):
        nat(**params)


#: Few hosts and ports, so that mappings meet, run out, end and begin again.
_hosts = st.sampled_from((ALICE, BOB, SERVER, OTHER, EXTERNAL, "203.0.113.6"))
_ports = st.sampled_from((53, 80, 2000, 2001, 2002, 2003, 2004))
_ids = st.sampled_from((0, 3, 2000, 2001, 2004))
_packets = st.one_of(
    st.builds(udp, _hosts, _ports, _hosts, _ports),
    st.builds(tcp, _hosts, _ports, _hosts, _ports, st.sampled_from(("S", "SA", "A", "FA", "R", "SF"))),
    st.builds(echo, _hosts, _hosts, _ids, st.sampled_from((8, 0, 13))),
    st.builds(gre, _hosts, _hosts),
    st.builds(sctp, _hosts, _ports, _hosts, _ports),
)
_errors = st.builds(error, _hosts, _hosts, _packets, bytes_after=st.sampled_from((4, 8, 20)))
_gaps = st.sampled_from((0, 1, SECOND, 61 * SECOND, 301 * SECOND))
_steps = st.lists(st.tuples(st.one_of(_packets, _packets, _errors), _gaps), max_size=40)
VARIANTS: list[dict[str, Any]] = [
    {"ports": "2000-2003", **STATIC},
    {"ports": "2000-2003", "filtering": "endpoint_independent", "allocation": "random", "parity": False},
    {"external": ["203.0.113.6/31"], "ports": "2000-2001", "mapping": "address_and_port_dependent", **STATIC},
    {"ports": "2000-2003", "allocation": "sequential", "filtering": "address_and_port_dependent"},
    {"external": ["203.0.113.6/31"], "ports": "2000-2003", "other_protocols": "translate", "strict": True, **STATIC},
    {"ports": "2000-2003", "other_protocols": "translate", "strict": True, "filtering": "endpoint_independent"},
]
CHAINS = [Chain([nat(**params)], fragments="drop") for params in VARIANTS]
CHAINS[1:2] = [Chain([nat(**VARIANTS[1])], capacity=4, full="evict")]


@pytest.mark.parametrize("number", range(len(CHAINS)))
@given(steps=_steps)
def test_engines_agree(number: int, steps: list[tuple[Packet, int]]) -> None:
    times_ns = [SECOND + sum(gap for _, gap in steps[: index + 1]) for index in range(len(steps))]
    block = FrameBlock.from_frames(frames_of([packet for packet, _ in steps]), times_ns)
    result = verify_blocks(CHAINS[number].plan, [block])
    assert result.difference is None, str(result.difference)
