"""Tunnels: what goes in is as scapy builds it and tshark reads it, and what comes out is what went in."""

import shutil
import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from fajita import Chain, InputError
from fajita.engine.interface import Engine
from fajita.io.frames import RAW_IP
from fajita.nfs.tunnel import Tunnel
from fajita.verify import verify_blocks
from tests.command import write_capture
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import ethernet, ip_packet, ip_variants, udp_frame
from tests.traffic import many_flows

KINDS = ("ip_in_ip", "gre", "vxlan")
ENDS = {"ipv4": ("192.0.2.1", "198.51.100.9"), "ipv6": ("2001:db8::1", "2001:db8:ffff::9")}
INNER = {
    **ip_variants(),
    "ipv6": IPv6(src="2001:db8::a", dst="2001:db8::b", tc=0xB9) / TCP(sport=5, dport=6) / b"data",
    "marked": ip_packet(UDP(sport=1, dport=2) / b"data", tos=0xB9),
}


def tunnel(kind: str, mode: str, over: str, **others: object) -> Tunnel:
    local, remote = ENDS[over] if mode == "encapsulate" else ENDS[over][::-1]
    return Tunnel(name=mode, kind=kind, mode=mode, local=local, remote=remote, **others)


def outer(over: str, inner: Packet, **fields: int) -> Packet:
    """The outer IP header with the traffic class of the inner packet."""
    local, remote = ENDS[over]
    ip = inner.getlayer(IP) or inner.getlayer(IPv6)
    class_ = 0 if ip is None else ip.tos if isinstance(ip, IP) else ip.tc
    if over == "ipv4":
        return IP(src=local, dst=remote, tos=class_, id=0, flags="DF", ttl=64)
    return IPv6(src=local, dst=remote, tc=class_, hlim=64, **fields)


def flow_of(frame: bytes) -> dict[str, int]:
    """The flow label, which is a hash."""
    packet = Ether(frame)
    return {"fl": packet[IPv6].fl} if isinstance(packet.payload, IPv6) else {}


@both_engines
@pytest.mark.parametrize("over", ENDS)
@pytest.mark.parametrize("name", INNER)
def test_what_goes_in_is_as_scapy_builds_it(engine: type[Engine], name: str, over: str) -> None:
    inner = INNER[name]
    frame = bytes(ethernet() / inner)
    (made,) = run(engine, tunnel("ip_in_ip", "encapsulate", over), [frame]).frames
    assert made == bytes(ethernet() / outer(over, inner, **flow_of(made)) / inner)
    for key in (None, 7, 0xFFFFFFFF):
        (made,) = run(engine, tunnel("gre", "encapsulate", over, gre_key=key), [frame]).frames
        header = GRE() if key is None else GRE(key_present=1, key=key)
        assert made == bytes(ethernet() / outer(over, inner, **flow_of(made)) / header / inner)
    macs = {"source_mac": "02:00:00:00:01:01", "destination_mac": "02:00:00:00:01:02"}
    (made,) = run(engine, tunnel("vxlan", "encapsulate", over, vni=0xABCDEF, port=4790, **macs), [frame]).frames
    udp = UDP(sport=Ether(made)[UDP].sport, dport=4790, chksum=0)
    header = Ether(src=macs["source_mac"], dst=macs["destination_mac"])
    vxlan = VXLAN(vni=0xABCDEF, flags="Instance", NextProtocol=0)
    assert made == bytes(header / outer(over, inner, **flow_of(made)) / udp / vxlan / Raw(frame))
    assert udp.sport >= 0xC000


@both_engines
@pytest.mark.parametrize("over", ENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_out_again_it_is_what_went_in(engine: type[Engine], kind: str, over: str) -> None:
    frames = [bytes(ethernet() / inner) for inner in INNER.values()]
    frames += [bytes(ethernet() / Dot1Q(vlan=7) / Dot1Q(vlan=8) / inner) for inner in INNER.values()]
    frames += [udp_frame() + bytes(6), bytes(ethernet() / ARP(psrc="10.0.0.1", pdst="10.0.0.2"))]
    nfs = [tunnel(kind, "encapsulate", over), tunnel(kind, "decapsulate", over)]
    result = run(engine, nfs, frames, other="pass")
    assert result.frames == frames
    assert result.verdicts == [1] * len(frames)
    count = len(frames) if kind == "vxlan" else len(frames) - 1
    assert result.summary(0)["encapsulated_packets"] == result.summary(1)["decapsulated_packets"] == count
    assert result.counters.bytes_in == result.counters.bytes_out


@both_engines
@pytest.mark.parametrize("over", ENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_exceeds_the_mtu_is_dropped_and_counted(engine: type[Engine], kind: str, over: str) -> None:
    header = {"ipv4": 20, "ipv6": 40}[over] + {"ip_in_ip": 0, "gre": 4, "vxlan": 16}[kind]
    inside = 1500 - header - (14 if kind == "vxlan" else 0)
    frames = [udp_frame(payload=bytes(inside - 28 + more)) for more in (0, 1)]
    result = run(engine, tunnel(kind, "encapsulate", over), frames)
    assert result.verdicts == [1, 0]
    assert result.counters.nfs[0].drops["mtu exceeded"] == 1
    assert run(engine, tunnel(kind, "encapsulate", over, mtu=1501), frames).verdicts == [1, 1]


def wrapped(*layers: Packet, tos: int = 0, src: str = ENDS["ipv4"][0], **fields: object) -> bytes:
    packet = ethernet() / IP(src=src, dst=ENDS["ipv4"][1], tos=tos, **fields)
    for layer in layers:
        packet /= layer
    return bytes(packet)


INSIDE = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / b"data"


@both_engines
def test_what_is_not_of_the_tunnel_passes_by(engine: type[Engine]) -> None:
    others = {
        "ip_in_ip": [wrapped(GRE(), INSIDE), wrapped(INSIDE, src="192.0.2.2"), wrapped(UDP())],
        "gre": [wrapped(INSIDE), wrapped(GRE(key_present=1, key=7), INSIDE), wrapped(ICMP())],
        "vxlan": [
            wrapped(UDP(dport=4789), VXLAN(vni=2), ethernet(), INSIDE),
            wrapped(UDP(dport=4790), VXLAN(vni=1), ethernet(), INSIDE),
        ],
    }
    for kind, frames in others.items():
        result = run(engine, tunnel(kind, "decapsulate", "ipv4"), frames)
        assert (result.frames, result.verdicts) == (frames, [1] * len(frames)), kind
    keyed = [wrapped(GRE(), INSIDE), wrapped(GRE(key_present=1, key=8), INSIDE)]
    assert run(engine, tunnel("gre", "decapsulate", "ipv4", gre_key=7), keyed).frames == keyed


@both_engines
def test_optional_fields_of_gre_and_extension_headers_are_stepped_over(engine: type[Engine]) -> None:
    plain = bytes(ethernet() / INSIDE)
    full = GRE(chksum_present=1, key_present=1, key=7, seqnum_present=1, sequence_number=9)
    result = run(engine, tunnel("gre", "decapsulate", "ipv4", gre_key=7), [wrapped(full, INSIDE)])
    assert result.frames == [plain]
    local, remote = ENDS["ipv6"]
    options = bytes(ethernet() / IPv6(src=local, dst=remote) / IPv6ExtHdrDestOpt() / INSIDE)
    assert run(engine, tunnel("ip_in_ip", "decapsulate", "ipv6"), [options]).frames == [plain]
    long = wrapped(INSIDE, options=[b"\x01"] * 8)
    assert run(engine, tunnel("ip_in_ip", "decapsulate", "ipv4"), [long]).frames == [plain]


@both_engines
@pytest.mark.parametrize("kind", KINDS)
def test_all_fragments_of_a_tunnels_packet_are_dropped(engine: type[Engine], kind: str) -> None:
    vxlan = UDP(sport=9, dport=4789) / VXLAN(vni=1) / ethernet()
    inside = {"ip_in_ip": INSIDE, "gre": GRE() / INSIDE, "vxlan": vxlan / INSIDE}[kind]
    whole = IP(src=ENDS["ipv4"][0], dst=ENDS["ipv4"][1], id=3) / inside / bytes(100)
    frames = [bytes(ethernet() / part) for part in fragment(whole, fragsize=64)]
    result = run(engine, tunnel(kind, "decapsulate", "ipv4"), frames)
    assert len(frames) > 2
    assert result.verdicts == [0] * len(frames)
    assert result.counters.nfs[0].drops["fragment"] == len(frames)


@both_engines
@pytest.mark.parametrize("over", ENDS)
@pytest.mark.parametrize("kind", ["ip_in_ip", "gre"])
def test_a_length_left_to_the_network_card_is_what_is_there(engine: type[Engine], kind: str, over: str) -> None:
    known = IPv6(src="2001:db8::a", dst="2001:db8::b") / TCP(sport=5, dport=6) / bytes(1200)
    unknown = known.copy()
    unknown.plen = 0
    expected, made = run(
        engine, tunnel(kind, "encapsulate", over), [bytes(ethernet() / known), bytes(ethernet() / unknown)]
    ).frames
    empty = bytes(ethernet() / IPv6(src="2001:db8::a", dst="2001:db8::b", nh=59))
    (padded,) = run(engine, tunnel(kind, "encapsulate", over), [empty + bytes(6)]).frames
    assert padded == run(engine, tunnel(kind, "encapsulate", over), [empty]).frames[0] + bytes(6)
    at = 14 + (4 if over == "ipv6" else 2)  # the outer length
    assert made[at : at + 2] == expected[at : at + 2]
    assert len(made) == len(expected)
    large = unknown / bytes(800)
    result = run(engine, tunnel(kind, "encapsulate", over), [bytes(ethernet() / large)])
    assert (result.verdicts, result.counters.nfs[0].drops["mtu exceeded"]) == ([0], 1)


@both_engines
def test_another_key_passes_by_whatever_is_inside(engine: type[Engine]) -> None:
    frames = [wrapped(GRE(key_present=1, key=8, proto=0x6558), ethernet(), INSIDE), wrapped(GRE(proto=0x6558), b"x")]
    result = run(engine, tunnel("gre", "decapsulate", "ipv4", gre_key=7), frames)
    assert (result.verdicts, result.frames) == ([1, 1], frames)
    mine = [wrapped(GRE(key_present=1, key=7, proto=0x6558), ethernet(), INSIDE)]
    assert run(engine, tunnel("gre", "decapsulate", "ipv4", gre_key=7), mine).verdicts == [0]


@both_engines
def test_what_cannot_be_taken_out_is_dropped_and_counted(engine: type[Engine]) -> None:
    local, remote = ENDS["ipv6"]
    fragment6 = bytes(ethernet() / IPv6(src=local, dst=remote) / IPv6ExtHdrFragment(m=1, nh=47) / GRE() / INSIDE)
    for kind, over, frame, reason in (
        ("ip_in_ip", "ipv4", wrapped(INSIDE, flags="MF"), "fragment"),
        ("gre", "ipv4", wrapped(GRE(), INSIDE, frag=7), "fragment"),
        ("gre", "ipv6", fragment6, "fragment"),
        ("gre", "ipv4", wrapped(GRE(routing_present=1), INSIDE), "malformed"),
        ("gre", "ipv4", wrapped(GRE(version=1), INSIDE), "malformed"),
        ("gre", "ipv4", wrapped(GRE(proto=0x6558), INSIDE), "malformed"),
        ("gre", "ipv4", wrapped(GRE(proto=0x86DD), INSIDE), "malformed"),
        ("ip_in_ip", "ipv4", wrapped(INSIDE)[:53], "malformed"),
        ("vxlan", "ipv4", wrapped(UDP(dport=4789), VXLAN(vni=1, flags=0), ethernet(), INSIDE), "malformed"),
        ("vxlan", "ipv4", wrapped(UDP(dport=4789), VXLAN(vni=1, flags="Instance"), ethernet())[:63], "malformed"),
    ):
        result = run(engine, tunnel(kind, "decapsulate", over), [frame])
        assert (result.verdicts, result.frames) == ([0], [frame]), (kind, reason)
        assert result.counters.nfs[0].drops[reason] == 1


#: RFC 6040, figure 4: by the inner ECN (rows) and the outer one, what comes out; None: dropped.
NOT_ECT, ECT_1, ECT_0, CE = range(4)
OUTGOING = {
    NOT_ECT: {NOT_ECT: NOT_ECT, ECT_0: NOT_ECT, ECT_1: NOT_ECT, CE: None},
    ECT_0: {NOT_ECT: ECT_0, ECT_0: ECT_0, ECT_1: ECT_1, CE: CE},
    ECT_1: {NOT_ECT: ECT_1, ECT_0: ECT_1, ECT_1: ECT_1, CE: CE},
    CE: {NOT_ECT: CE, ECT_0: CE, ECT_1: CE, CE: CE},
}


@both_engines
@pytest.mark.parametrize("inner", OUTGOING)
def test_congestion_on_the_way_is_marked_on_what_comes_out(engine: type[Engine], inner: int) -> None:
    inside = {ecn: IP(src="10.0.0.1", dst="10.0.0.2", tos=0x28 | ecn) / UDP() / b"data" for ecn in range(4)}
    frames = [wrapped(inside[inner], tos=outside) for outside in OUTGOING[inner]]
    result = run(engine, tunnel("ip_in_ip", "decapsulate", "ipv4"), frames)
    expected = [b"" if ecn is None else bytes(ethernet() / inside[ecn]) for ecn in OUTGOING[inner].values()]
    assert [made * out for made, out in zip(result.frames, result.verdicts, strict=True)] == expected
    assert result.counters.nfs[0].drops["congested"] == expected.count(b"")


@both_engines
def test_other_links_and_frames_without_ip_pass(engine: type[Engine]) -> None:
    raw, arp = bytes(INSIDE), bytes(ethernet() / ARP(psrc="10.0.0.1", pdst="10.0.0.2"))
    nf = tunnel("gre", "encapsulate", "ipv4")
    assert run(engine, nf, [raw], links=RAW_IP, other="pass").frames == [raw]
    assert run(engine, nf, [arp, arp[:13], arp[:14]], other="pass").frames == [arp, arp[:13], arp[:14]]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="no tshark")
@pytest.mark.parametrize("over", ENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_tshark_reads_what_comes_out(tmp_path: Path, kind: str, over: str) -> None:
    write_capture(tmp_path / "in.pcap", [bytes(ethernet() / INNER[name]) for name in ("tcp", "marked", "ipv6")])
    Chain([tunnel(kind, "encapsulate", over)]).run(tmp_path / "in.pcap", out=tmp_path / "out.pcap")
    command = ["tshark", "-r", str(tmp_path / "out.pcap"), "-o", "ip.check_checksum:TRUE"]
    fields = ["-T", "fields", "-e", "frame.protocols", "-e", "_ws.malformed", "-e", "ip.checksum.status"]
    lines = subprocess.run([*command, *fields], capture_output=True, text=True, check=True).stdout.splitlines()
    ip = "ip" if over == "ipv4" else "ipv6"
    between = {"ip_in_ip": "", "gre": "gre:", "vxlan": "udp:vxlan:eth:ethertype:"}[kind]
    for line, (inner, transport) in zip(lines, (("ip", "tcp"), ("ip", "udp"), ("ipv6", "tcp")), strict=True):
        protocols, malformed, checksums = (line + "\t\t").split("\t")[:3]
        assert protocols.startswith(f"eth:ethertype:{ip}:{between}{inner}:{transport}")
        assert malformed == ""
        assert "0" not in checksums.split(",")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"local": "x"}, "Tunnel: local is 'x', which is no address; give 192.0.2.1 or 2001:db8::1"),
        ({"remote": "::1"}, "Tunnel: local and remote are of different families; give two of one"),
        ({"gre_key": 7}, "Tunnel: gre_key is for kind: gre; leave it out"),
        ({"source_mac": "02:00:00:00:00:01"}, "Tunnel: source_mac is for kind: vxlan; leave it out"),
        (
            {"kind": "vxlan", "destination_mac": "02:00"},
            "Tunnel: destination_mac is '02:00', which is not a MAC address such as 02:00:00:00:00:01",
        ),
        ({"vni": 1}, "Tunnel: vni is for kind: vxlan; leave it out"),
        ({"kind": "gre", "port": 4789}, "Tunnel: port is for kind: vxlan; leave it out"),
        ({"mode": "decapsulate", "mtu": 1500}, "Tunnel: mtu is for mode: encapsulate; leave it out"),
        ({"mode": "decapsulate", "ttl": 64}, "Tunnel: ttl is for mode: encapsulate; leave it out"),
        (
            {"kind": "vxlan", "mode": "decapsulate", "source_mac": "02:00:00:00:00:01"},
            "Tunnel: source_mac is for mode: encapsulate; leave it out",
        ),
        (
            {"kind": "vxlan", "mode": "decapsulate", "destination_mac": "02:00:00:00:00:01"},
            "Tunnel: destination_mac is for mode: encapsulate; leave it out",
        ),
        ({"kind": "sit"}, "parameter kind of Tunnel: Input should be 'ip_in_ip', 'gre' or 'vxlan'"),
        ({"mtu": 67}, "parameter mtu of Tunnel: Input should be greater than or equal to 68"),
        ({"vni": 1 << 24}, "parameter vni of Tunnel: Input should be less than 16777216"),
        ({"mode": None}, "parameter mode of Tunnel: Input should be 'encapsulate' or 'decapsulate'"),
    ],
)
def test_bad_parameters(params: dict[str, object], message: str) -> None:
    given = {"kind": "ip_in_ip", "mode": "encapsulate", "local": "192.0.2.1", "remote": "192.0.2.2"}
    with pytest.raises(InputError) as caught:
        Tunnel(**given | params)
    assert str(caught.value).startswith(message)


def test_engines_agree_on_the_example_and_back() -> None:
    chain = Chain.load(Path(__file__).parents[2] / "chains" / "tunnel.yaml")
    into = Tunnel(name="into", kind="gre", mode="encapsulate", local="198.51.100.1", remote="192.0.2.1")
    blocks = many_flows(500, repeats=2).blocks()
    assert verify_blocks(Chain([into, *chain.nfs]).plan, blocks).difference is None
