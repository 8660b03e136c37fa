"""A router: literal packets, MAC addresses, what it drops; routes that change; what it refuses."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1Q

from fajita import NF, Chain, FrameBlock, InputError, TextFileValue
from fajita.change import changed_nf
from fajita.engine.interface import Engine
from fajita.nfs.router import Router
from fajita.nfs.ttl import Ttl
from fajita.verify import both_engines as compiled_and_reference
from fajita.verify import verify_blocks
from tests.nfs.running import both_engines, change, run
from tests.nfs.scapy_frames import DST_MAC, LINKS, SRC_MAC, ethernet, ip_packet
from tests.traffic import many_flows

CHAIN = Path(__file__).parents[2] / "chains" / "router.yaml"
OWN = {"eth0": "02:00:00:00:01:00", "eth1": "02:00:00:00:01:01"}


def to(destination: str, ttl: int = 64, macs: tuple[str, str] = (DST_MAC, SRC_MAC)) -> bytes:
    ethernet_header = ethernet()
    ethernet_header.dst, ethernet_header.src = macs
    if ":" in destination:
        return bytes(ethernet_header / IPv6(src="2001:db8::99", dst=destination, hlim=ttl) / UDP() / b"data")
    return bytes(ethernet_header / IP(src="192.0.2.99", dst=destination, ttl=ttl) / UDP() / b"data")


def mac(last: int) -> str:
    return f"02:00:00:00:00:{last:02x}"


def neighbours(**others: str) -> list[str]:
    return [f"10.0.0.{n} dev eth0 lladdr {mac(n)} REACHABLE" for n in range(1, 10)] + list(others.values())


def gateways(engine: type[Engine], routes: list[str], destinations: list[str], **params: Any) -> list[int]:
    """The last number of the gateway that each destination is sent to, 0 where it is dropped."""
    result = run(engine, Router(routes=routes, neighbours=neighbours(), **params), [to(each) for each in destinations])
    return [frame[5] * verdict for frame, verdict in zip(result.frames, result.verdicts, strict=True)]


@both_engines
def test_the_longest_prefix_decides(engine: type[Engine]) -> None:
    routes = [
        "default via 10.0.0.1 dev eth0",
        "128.0.0.0/1 via 10.0.0.2 dev eth0",
        "198.51.100.0/24 via 10.0.0.3 dev eth0",
        "198.51.0.0/16 via 10.0.0.4 dev eth0",
        "198.51.100.128/25 via 10.0.0.5 dev eth0",
        "198.51.100.255 via 10.0.0.6 dev eth0",
        "255.255.255.255/32 via 10.0.0.7 dev eth0",
        "0.0.0.0/32 via 10.0.0.8 dev eth0",
    ]
    expected = {
        "0.0.0.0": 8,
        "0.0.0.1": 1,
        "127.255.255.255": 1,
        "128.0.0.0": 2,
        "198.50.255.255": 2,
        "198.51.0.0": 4,
        "198.51.99.255": 4,
        "198.51.100.0": 3,
        "198.51.100.127": 3,
        "198.51.100.128": 5,
        "198.51.100.254": 5,
        "198.51.100.255": 6,
        "198.51.101.0": 4,
        "198.52.0.0": 2,
        "255.255.255.254": 2,
        "255.255.255.255": 7,
    }
    for lines in (routes, routes[::-1]):
        assert gateways(engine, lines, list(expected)) == list(expected.values())


@both_engines
def test_so_it_does_of_ipv6_beyond_64_bits_too(engine: type[Engine]) -> None:
    routes = {
        "::/0": 1,
        "2001:db8::/32": 2,
        "2001:db8:0:1::/64": 3,
        "2001:db8:0:1:8000::/65": 4,
        "2001:db8:0:1::7/128": 5,
        "2001:db8:0:2::/127": 6,
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128": 7,
        "8000::/1": 8,
        "::/128": 9,
    }
    expected = {
        "::": 9,
        "::1": 1,
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff": 1,
        "2001:db8::": 2,
        "2001:db8:0:1::": 3,
        "2001:db8:0:1::6": 3,
        "2001:db8:0:1::7": 5,
        "2001:db8:0:1::8": 3,
        "2001:db8:0:1:7fff:ffff:ffff:ffff": 3,
        "2001:db8:0:1:8000::": 4,
        "2001:db8:0:1:ffff:ffff:ffff:ffff": 4,
        "2001:db8:0:2::1": 6,
        "2001:db8:0:2::2": 2,
        "2001:db9::": 1,
        "7fff:ffff::": 1,
        "8000::": 8,
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe": 8,
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": 7,
    }
    lines = [f"{prefix} via inet 10.0.0.{number} dev eth0" for prefix, number in routes.items()]
    assert gateways(engine, lines, list(expected)) == list(expected.values())


@both_engines
def test_a_frame_gets_the_mac_addresses_of_its_way_and_nothing_else_changes(engine: type[Engine]) -> None:
    routes = ["10.1.0.0/16 via 10.0.0.1 dev eth0", "2001:db8::/32 via fe80::1 dev eth1", "10.2.0.0/16 via 10.0.0.9"]
    nf = Router(routes=routes, neighbours=neighbours(ipv6=f"fe80::1 dev eth1 lladdr {mac(0x61)}"), interfaces=OWN)
    result = run(engine, nf, [to("10.1.2.3"), to("2001:db8::1"), to("10.2.0.1")])
    assert result.frames == [
        to("10.1.2.3", macs=(mac(1), OWN["eth0"])),
        to("2001:db8::1", macs=(mac(0x61), OWN["eth1"])),
        to("10.2.0.1", macs=(mac(9), SRC_MAC)),
    ]


@both_engines
@pytest.mark.parametrize("link", LINKS)
def test_tags_are_kept_and_other_links_have_no_mac_addresses(engine: type[Engine], link: str) -> None:
    code, build = LINKS[link]
    frame = bytes(build(ip_packet(UDP() / b"data", dst="10.1.2.3")))
    nf = Router(routes=["10.1.0.0/16 via 10.0.0.1 dev eth0"], neighbours=neighbours(), interfaces=OWN)
    result = run(engine, nf, [frame], links=code)
    macs = bytes.fromhex(mac(1).replace(":", "") + OWN["eth0"].replace(":", ""))
    assert result.frames == [macs + frame[12:] if code == 1 else frame]
    assert result.verdicts == [1]


@both_engines
def test_on_a_link_of_its_own_the_destination_is_the_neighbour(engine: type[Engine]) -> None:
    routes = [
        "10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.254",
        "10.0.0.4/30 via 10.0.0.1 dev eth0",
        "10.0.0.6/32 via 10.0.0.2 dev eth0",
        "10.0.1.0/24 dev eth1",
        "2001:db8::/64 dev eth1",
        "2001:db8::8/125 via inet 10.0.0.3 dev eth0",
    ]
    known = neighbours(
        elsewhere=f"10.0.1.1 dev eth0 lladdr {mac(0x77)}",
        ipv6=f"2001:db8::5 dev eth1 lladdr {mac(0x65)}",
        covered=f"2001:db8::9 dev eth1 lladdr {mac(0x69)}",
        unknown="10.0.0.20 dev eth0 FAILED",
    )
    # What the more specific route covers is no neighbour, whatever is known of it; nor is who is on another link.
    expected = {
        "10.0.0.1": 1,
        "10.0.0.4": 1,
        "10.0.0.6": 2,
        "10.0.0.8": 8,
        "10.0.0.20": 0,
        "10.0.0.21": 0,
        "10.0.1.1": 0,
        "2001:db8::5": 0x65,
        "2001:db8::6": 0,
        "2001:db8::9": 3,
    }
    result = run(engine, Router(routes=routes, neighbours=known), [to(each) for each in expected])
    assert [frame[5] * out for frame, out in zip(result.frames, result.verdicts, strict=True)] == [*expected.values()]
    assert result.counters.nfs[0].drops["no neighbour"] == 4
    without = run(engine, Router(routes=routes), [to(each) for each in expected])
    assert (without.verdicts, without.frames) == ([1] * len(expected), [to(each) for each in expected])


@both_engines
def test_what_is_dropped_is_counted_by_what_the_route_says(engine: type[Engine]) -> None:
    routes = [
        "10.0.0.0/8 via 192.0.2.1",
        "blackhole 10.1.0.0/16",
        "unreachable 10.2.0.0/16 metric 4278198272",
        "prohibit 10.3.0.0/16 dev lo",
        "throw 10.4.0.0/16",
        "blackhole default",
    ]
    destinations = ["10.1.0.1", "10.2.0.1", "10.2.0.2", "10.3.0.1", "10.4.0.1", "10.5.0.1", "11.0.0.1", "2001:db8::1"]
    result = run(engine, Router(routes=routes), [to(each) for each in destinations])
    assert result.verdicts == [0, 0, 0, 0, 0, 1, 0, 0]
    drops = result.counters.nfs[0].drops
    assert drops == {"no route": 2, "blackhole": 2, "unreachable": 2, "prohibit": 1}
    assert result.summary() == {
        "routes_ipv4": 6,
        "routes_ipv6": 0,
        "next_hops": [{"via": "192.0.2.1", "packets": 1, "bytes": len(to("10.5.0.1"))}],
    }


@both_engines
def test_of_routes_with_one_prefix_the_lowest_metric_counts(engine: type[Engine]) -> None:
    routes = [f"10.0.0.0/8 via 10.0.0.{n} dev eth0 metric {metric}" for n, metric in ((1, 100), (2, 0), (3, 50))]
    assert gateways(engine, routes, ["10.9.9.9"]) == [2]
    assert gateways(engine, routes[::2], ["10.9.9.9"]) == [3]


@both_engines
def test_the_report_names_next_hops_by_their_packets(engine: type[Engine]) -> None:
    routes = ["10.1.0.0/16 via 10.0.0.1 dev eth0", "10.2.0.0/16 via 10.0.0.2 dev eth1", "10.3.0.0/16 dev eth1"]
    frames = [to("10.1.0.1"), to("10.2.0.1"), to("10.2.0.2"), to("10.3.0.1"), to("10.3.0.1"), to("10.3.0.1")]
    size = len(frames[0])
    assert run(engine, Router(routes=routes), frames).summary()["next_hops"] == [
        {"dev": "eth1", "packets": 3, "bytes": 3 * size},
        {"via": "10.0.0.2", "dev": "eth1", "packets": 2, "bytes": 2 * size},
        {"via": "10.0.0.1", "dev": "eth0", "packets": 1, "bytes": size},
    ]


@both_engines
def test_the_time_to_live_if_asked_for(engine: type[Engine]) -> None:
    frames = [to(destination, ttl) for destination in ("10.1.0.1", "2001:db8::1", "11.0.0.1") for ttl in (0, 1, 2)]
    nf = Router(routes=["10.0.0.0/8 via 192.0.2.1", "::/0 via fe80::1"], decrement_ttl=True)
    result = run(engine, nf, frames)
    assert result.verdicts == [0, 0, 1, 0, 0, 1, 0, 0, 0]
    assert (result.frames[2], result.frames[5]) == (to("10.1.0.1", 1), to("2001:db8::1", 1))
    assert result.counters.nfs[0].drops["expired"] == 4
    assert run(engine, [Router(routes=["10.0.0.0/8 via 192.0.2.1"]), Ttl()], frames[:3]).verdicts == [0, 0, 1]


@both_engines
def test_fragments_are_routed_and_what_is_not_ip_is_not(engine: type[Engine]) -> None:
    later = bytes(ethernet() / IP(src="1.1.1.1", dst="10.1.0.1", frag=100, proto=17) / b"data")
    later6 = bytes(ethernet() / IPv6(src="::2", dst="2001:db8::1") / IPv6ExtHdrFragment(offset=9, nh=17) / b"datadata")
    arp = bytes(ethernet() / ARP(psrc="10.0.0.1", pdst="10.0.0.2"))
    tagged = bytes(ethernet() / Dot1Q(vlan=7) / IP(src="1.1.1.1", dst="11.0.0.1"))
    nf = Router(routes=["10.0.0.0/8 via 192.0.2.1", "2001:db8::/32 via fe80::1"])
    result = run(engine, nf, [later, later6, arp, tagged], other="pass")
    assert result.verdicts == [1, 1, 1, 0]
    assert result.counters.nfs[0].received == 3


@both_engines
def test_routes_and_neighbours_change_during_a_run(engine: type[Engine]) -> None:
    routes = ["10.0.0.0/8 via 10.0.0.1 dev eth0", "2001:db8::/32 via inet 10.0.0.1 dev eth0"]
    frames = [to("10.1.0.1"), to("10.1.2.3"), to("2001:db8::1"), to("11.0.0.1")]
    nf = Router(routes=routes, neighbours=neighbours(), interfaces=OWN)
    result = run(engine, nf, frames)

    def now() -> list[int]:
        block = FrameBlock.from_frames(frames)
        result.engine.process(block)
        return [int(block.frame(index)[5]) * int(block.verdict[index]) for index in range(len(block))]

    assert now() == [1, 1, 1, 0]
    others = ["10.1.2.0/24 via 10.0.0.2 dev eth0", "2001:db8::1 via inet 10.0.0.3 dev eth0", "11.0.0.0/8 dev eth1"]
    change(result.engine, "router", routes=[*routes, *others])
    assert now() == [1, 2, 3, 0]
    change(result.engine, "router", neighbours=neighbours(other=f"11.0.0.1 dev eth1 lladdr {mac(0x11)}"))
    assert now() == [1, 1, 1, 0]
    change(
        result.engine,
        "router",
        routes=[*routes, *others],
        neighbours=[f"10.0.0.1 dev eth0 lladdr {mac(4)}", f"11.0.0.1 dev eth1 lladdr {mac(0x11)}"],
    )
    assert now() == [4, 0, 0, 0x11]
    many = [f"10.{n >> 8}.{n & 255}.{m}/32 via 10.0.0.1 dev eth0" for n in range(2000) for m in (1, 3)]
    with pytest.raises(InputError, match="router cannot be given other routes while it runs"):
        change(result.engine, "router", routes=many)


def counted(result: Any, params: dict[str, Any]) -> dict[str, int]:
    """What the report says of next hops, as the NF with these parameters says it."""
    plan = result.chain.plan.nfs[0]
    rows = changed_nf(plan, plan.nf, params).nf.summary(None, result.engine.core(plan))["next_hops"]
    return {row["via"]: row["packets"] for row in rows}


@both_engines
def test_counts_stay_with_their_next_hop_when_routes_come_and_go(engine: type[Engine]) -> None:
    first, second, third = (f"10.{n}.0.0/16 via 10.0.0.{n} dev eth0" for n in (1, 2, 3))
    result = run(engine, Router(routes=[first, second]), [to("10.1.0.1"), to("10.2.0.1"), to("10.2.0.1")])
    routes: list[str] = []
    for routes in ([second], [third, second], [second, third, first]):
        change(result.engine, "router", routes=routes)
        result.engine.process(FrameBlock.from_frames([to("10.2.0.1"), to("10.3.0.1")]))
    assert counted(result, {"routes": routes}) == {"10.0.0.1": 1, "10.0.0.2": 5, "10.0.0.3": 2}
    assert counted(result, {"routes": []}) == {"10.0.0.1": 1, "10.0.0.2": 5, "10.0.0.3": 2}


@both_engines
def test_next_hops_may_change_more_often_than_there_is_room_for(engine: type[Engine]) -> None:
    routes = [f"10.0.{n}.0/24 via 10.1.{n}.1" for n in range(100)]
    result = run(engine, Router(routes=routes), [to("10.0.7.1")])
    for turn in range(2, 6):
        routes = [f"10.0.{n}.0/24 via 10.1.{n}.{turn if n != 7 else 1}" for n in range(100)]
        change(result.engine, "router", routes=routes)
    assert counted(result, {"routes": routes}) == {"10.1.7.1": 1}


@both_engines
def test_next_hops_count_what_leaves(engine: type[Engine]) -> None:
    routes = ["10.1.0.0/16 via 10.0.0.1 dev eth0", "10.2.0.0/16 via 10.0.0.99 dev eth0"]
    frames = [to("10.1.0.1"), to("10.1.0.1", ttl=1), to("10.2.0.1")]
    result = run(engine, Router(routes=routes, neighbours=neighbours(), decrement_ttl=True), frames)
    assert result.verdicts == [1, 0, 0]
    assert result.summary()["next_hops"] == [{"via": "10.0.0.1", "dev": "eth0", "packets": 1, "bytes": len(frames[0])}]


@both_engines
def test_a_gateway_of_an_interface_has_no_mac_address_of_another(engine: type[Engine]) -> None:
    routes = [
        "10.1.0.0/16 via fe80::1 dev eth0",
        "10.2.0.0/16 via fe80::1 dev eth1",
        "10.3.0.0/16 via fe80::1",
        "10.4.0.0/16 via fe80::2 dev eth0",
    ]
    routes = [line.replace("via", "via inet6") for line in routes]
    known = [f"fe80::1 dev eth1 lladdr {mac(0x31)}", f"fe80::2 lladdr {mac(0x32)}"]
    frames = [to(f"10.{n}.0.1") for n in (1, 2, 3, 4)]
    result = run(engine, Router(routes=routes, neighbours=known), frames)
    made = [frame[5] * verdict for frame, verdict in zip(result.frames, result.verdicts, strict=True)]
    assert made == [0, 0x31, 0x31, 0x32]


def test_results_do_not_depend_on_engine_or_number_of_workers() -> None:
    chain, sent = Chain.load(CHAIN), many_flows(500, repeats=3)
    for workers in (1, 2, 3):
        result = verify_blocks(chain.plan, sent.blocks(), partial(compiled_and_reference, cores=workers))
        assert (result.difference, result.packets) == (None, 1500)


@both_engines
def test_the_example_sends_each_where_it_says(engine: type[Engine]) -> None:
    expected = {
        "203.0.113.1": (0x01, 0),
        "192.0.2.1": (0x01, 0),
        "198.51.100.7": (0x05, 1),
        "10.1.2.3": (0x11, 2),
        "10.255.0.77": (0x77, 2),
        "10.255.0.78": None,
        "172.31.0.1": (0x12, 2),
        "127.0.0.1": None,
        "239.0.0.1": None,
        "192.168.0.1": None,
        "2001:db8:1::1": (0x11, 2),
        "2001:db8:ffff::1": None,
        "2a00::1": (0x01, 0),
        "fe80::1": None,
    }
    result = run(engine, Chain.load(CHAIN).nfs, [to(each) for each in expected])
    assert result.verdicts == [each is not None for each in expected.values()]
    for made, (destination, way) in zip(result.frames, expected.items(), strict=True):
        if way is not None:
            gateway, dev = way
            assert made == to(destination, 63, (mac(gateway), f"02:00:00:00:01:0{dev}"))
    drops = {reason: count for reason, count in result.counters.nfs[0].drops.items() if count}
    assert drops == {"blackhole": 3, "prohibit": 1, "no neighbour": 2}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "10.0.0.0/8",
            "line 2 of the parameter, column 1: the route does not say where to; 198.51.100.0/24 via 192.0.2.1",
        ),
        ("10.0.0.0/33 via 192.0.2.1", "column 1: '10.0.0.0/33' has no prefix length of 0 to 32"),
        ("2001:db8::/129 dev eth0", "column 1: '2001:db8::/129' has no prefix length of 0 to 128"),
        ("10.0.0.0/-1 dev eth0", "column 1: '10.0.0.0/-1' has no prefix length"),
        ("10.0.0.1/8 dev eth0", "10.0.0.1/8 has bits set beyond its length; 10.0.0.0/8, or 10.0.0.1/32"),
        ("2001:db8::1/64 dev eth0", "has bits set beyond its length; 2001:db8::/64, or 2001:db8::1/128"),
        ("10/8 dev eth0", "'10/8' stands where a prefix should be"),
        ("unicast", "'unicast' stands where a prefix should be"),
        ("blackhole", "'' stands where a prefix should be"),
        ("local 10.0.0.1 dev lo", "'local' stands where a prefix should be"),
        ("10.0.0.0/8 via eth0", "column 16: 'eth0' is no address of a gateway; via 192.0.2.1"),
        ("10.0.0.0/8 via", "column 12: nothing follows via"),
        ("10.0.0.0/8 dev", "column 12: nothing follows dev"),
        ("10.0.0.0/8 dev eth0 metric x", "column 28: 'x' is no metric; metric 100"),
        ("10.0.0.0/8 dev eth0 metric 4294967296", "column 28: '4294967296' is no metric; metric 100"),
        (f"10.0.0.0/8 dev eth0 metric {'9' * 20}", f"column 28: '{'9' * 20}' is no metric; metric 100"),
        ("10.0.0.0/8 through eth0", "column 12: 'through' is not known in a route; known: via, dev, metric, proto"),
        ("10.0.0.0/8 via fe80::1 dev eth0", "the gateway is of another family than the prefix; via inet6 ADDRESS"),
        ("default nexthop via 192.0.2.1 weight 1", "several next hops are not supported; one route with one via"),
        (
            "0.0.0.0/0 via 192.0.2.9",
            "line 2 of the parameter, column 1: there are two routes with the prefix 0.0.0.0/0",
        ),
    ],
)
def test_a_route_that_is_none(line: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Router(routes=["default via 192.0.2.1", line])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "eth0 10.0.0.1",
            "neigh:2:1: 'eth0' stands where the address of a neighbour should be; 192.0.2.1 dev eth0",
        ),
        ("10.0.0.1 lladdr 02:00:00", "neigh:2:17: '02:00:00' is not a MAC address; 02:00:00:00:00:01"),
        ("10.0.0.1 dev eth0 lladdr", "neigh:2:19: 'lladdr' is not known here, or nothing follows it"),
        ("10.0.0.1 dev eth0 ref 1", "neigh:2:19: 'ref' is not known here"),
        ("10.0.0.7 dev eth0 lladdr 02:00:00:00:00:01", "neigh:2:1: 10.0.0.7 has another MAC address in a line before"),
    ],
)
def test_a_neighbour_that_is_none(line: str, message: str) -> None:
    text = f"10.0.0.7 dev eth0 lladdr 02:00:00:00:00:07 # so far\n{line}\n"
    with pytest.raises(InputError) as caught:
        Router(routes=["default via 192.0.2.1"], neighbours=TextFileValue("neigh", text))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "Router needs the parameter routes"),
        ({"routes": "no such file"}, "parameter routes of Router: no such file cannot be read: No such file"),
        ({"routes": [7]}, "parameter routes of Router: [7] is not the name of a file, or a list of lines"),
        (
            {"routes": ["default dev eth0"], "interfaces": {"eth1": mac(1)}},
            "Router: a route has dev eth0, of which interfaces has no MAC address; give it one",
        ),
        (
            {"routes": ["default dev eth0"], "interfaces": {"eth0": "02-00"}},
            "Router: interfaces: '02-00' of eth0 is not a MAC address; give 02:00:00:00:00:01",
        ),
    ],
)
def test_bad_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Router(**params)
    assert str(caught.value).startswith(message)


def test_a_bad_line_of_a_file_is_said_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "routes.txt").write_text("# mine\n\ndefault  by 192.0.2.1\n")
    (tmp_path / "chain.yaml").write_text("nfs:\n- router: {routes: routes.txt}\n")
    with pytest.raises(InputError) as caught:
        Chain.load(tmp_path / "chain.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'routes.txt'}:3:10: 'by' is not known in a route")


def test_no_route_at_all() -> None:
    assert isinstance(Router(routes=[]), NF)
