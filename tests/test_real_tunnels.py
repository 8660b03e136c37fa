"""Real captures with tunnels, in a folder beside the project: the flows inside are those that scapy dissects.

Skipped where the folder is missing.
"""

import csv
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from scapy.contrib import geneve, gtp, mpls  # noqa: F401  they make scapy dissect these
from scapy.layers import vxlan  # noqa: F401
from scapy.layers.inet import IP, ICMPerror, IPerror, TCPerror, UDPerror
from scapy.layers.inet6 import (
    IPerror6,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
)
from scapy.layers.l2 import Ether
from scapy.packet import NoPayload

from fajita import Chain
from fajita.io.capture import open_capture
from fajita.nfs.flow_counter import FlowCounter

CAPTURES = Path(__file__).parents[2] / "shared" / "pcaps"
pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the real captures (../shared/pcaps) are not here")

TUNNELS = ("GRE", "GTPU", "6in4", "VXLAN", "IPIP", "GENEVE")
#: Captures of which scapy sees something else, and why.
OTHERS = {
    "malcolm--Tunnels.pcap": "GRE of version 1, GTP-U's extension headers, a protocol of IPv6 with another version",
    "small/zeek--mpls-6in6-broken.pcap.gz": "scapy follows a protocol of IPv6 whatever the version in the header",
    "small/zeek--mpls-6in6-6in6-invalid-version-6.pcap": "the same",
    "small/suricata-verify--wrong-version-ipv6-ipv6.pcap": "the same",
    "small/pcapplusplus--gtp.pcap": "GTP-U's extension headers; scapy also follows its source port",
    "small/zeek--gtp_ext_header.pcap": "GTP-U's extension headers",
    "small/27-suricata-verify--input.pcap": "a later fragment of GRE version 1 is of its first's flow",
    "small/14-suricata-verify--input.pcap": "reserved bits of VXLAN that scapy takes for other versions",
}

Flow = tuple[str, str, int, int, int]
_EXTENSIONS = (IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, IPv6ExtHdrSegmentRouting, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment)
#: What an ICMP error quotes is in no tunnel.
_QUOTED = (IPerror, IPerror6, TCPerror, UDPerror, ICMPerror)


def _captures() -> list[str]:
    if not CAPTURES.is_dir():
        return []
    with (CAPTURES / "INDEX.tsv").open() as file:
        rows = csv.DictReader(file, delimiter="\t")
        return [row["file"] for row in rows if any(kind in row["tun"] for kind in TUNNELS)]


def flow_by_scapy(frame: bytes) -> Flow | None:
    """The 5-tuple of the innermost IP header, None where there is none or it is a later fragment's."""
    layer, innermost = Ether(frame), None
    while not isinstance(layer, (NoPayload, *_QUOTED)):
        innermost = layer if isinstance(layer, IP | IPv6) else innermost
        layer = layer.payload
    if innermost is None:
        return None
    protocol, transport = innermost.proto if isinstance(innermost, IP) else innermost.nh, innermost.payload
    offset = innermost.frag if isinstance(innermost, IP) else 0
    while isinstance(transport, _EXTENSIONS):
        offset = transport.offset if isinstance(transport, IPv6ExtHdrFragment) else offset
        protocol, transport = transport.nh, transport.payload
    if offset:
        return None
    ports = bytes(transport)[:4] if protocol in (6, 17, 132) else bytes(4)
    if len(ports) < 4:
        return None
    source, destination = (str(ip_address(address)) for address in (innermost.src, innermost.dst))
    return source, destination, int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big"), protocol


@pytest.mark.parametrize("name", [name for name in _captures() if name not in OTHERS])
def test_flows_inside_tunnels_are_those_that_scapy_sees(name: str) -> None:
    theirs: Counter[Flow] = Counter()
    with open_capture(CAPTURES / name) as capture:
        for block in capture:
            found = (flow_by_scapy(bytes(block.frame(index))) for index in range(len(block)))
            theirs.update(flow for flow in found if flow is not None)
    rows: list[dict[str, Any]] = (
        Chain([FlowCounter()], inner=True).run(CAPTURES / name).table("flow_counter").to_pylist()
    )
    ours = {(row["src"], row["dst"], row["src_port"], row["dst_port"], row["protocol"]): row["packets"] for row in rows}
    assert ours == dict(theirs)
