"""What an NF sees of a packet: the header fields, where each lies, and which checksums a write must repair.

Pure data. The compiled engine turns each row into a load and a store, the interpreted engine into a property,
and the checker of NF sources knows from here which names exist.
"""

from dataclasses import dataclass
from enum import IntFlag

# The framework takes these from here, with what else it knows of packets.
from fajita.protocols import (  # noqa: F401
    ARP_TYPE,
    GRE_PROTOCOL,
    ICMP_PROTOCOL,
    ICMPV6_PROTOCOL,
    IPV4_PROTOCOL,
    IPV4_TYPE,
    IPV6_PROTOCOL,
    IPV6_TYPE,
    MAXIMUM_FRAME,
    MPLS_TYPES,
    PPPOE_TYPE,
    SCTP_PROTOCOL,
    TCP_PROTOCOL,
    UDP_PROTOCOL,
    VLAN_TYPES,
)


class Layer(IntFlag):
    """Which headers of a frame are wholly captured and well formed; a field is there if its layer is.

    IP: IPV4 or IPV6. FLOW: the 5-tuple is known: IP, and ports where the protocol has them; of a later fragment, those
    of its first. PORTS: the four bytes of source and destination port (TCP, UDP, SCTP). TCP, UDP, ICMP (or ICMPv6): the
    whole fixed header. A later fragment has none of these four.
    VLAN: an IEEE 802.1Q tag right after the MAC addresses.
    FRAGMENT: a part of an IP packet that was cut up, the first or a later one.
    """

    ETHERNET = 1
    IPV4 = 2
    FLOW = 4
    PORTS = 8
    TCP = 16
    UDP = 32
    ICMP = 64
    VLAN = 128
    IPV6 = 256
    IP = 512
    FRAGMENT = 1024


#: No layer: a field that cannot be written.
READ_ONLY = Layer(0)
#: Of a transport header that is wholly captured the checksum can be repaired.
TRANSPORT = Layer.TCP | Layer.UDP

#: Protocols whose first four bytes are the source and the destination port.
PORT_PROTOCOLS = (TCP_PROTOCOL, UDP_PROTOCOL, SCTP_PROTOCOL)


@dataclass(frozen=True)
class Field:
    """One header field. Numbers are in host order to an NF and in network byte order in the frame.

    start: which header `offset` (bytes) counts from: frame, ip or transport; `protocol` is no header, but what the last
    header before the transport's says. bits: 8, 16, 32, 48 or 64 are loaded, then `shift` and `mask` cut the field out.
    layer: must be there to read it, else it reads as 0. write_layer: must be there (any of its bits) to write it, else
    the write has no effect; 0: read only. repairs: what changes with it (RFC 1624): nothing, the `ip` header checksum,
    both `ip` and `pseudo` header (addresses), or the `transport` checksum.
    """

    name: str
    start: str
    offset: int
    bits: int
    layer: Layer
    write_layer: Layer = READ_ONLY
    repairs: str = ""
    shift: int = 0
    mask: int = -1
    text: str = ""

    @property
    def value_mask(self) -> int:
        """The bits of a value that fit the field."""
        return self.mask if self.mask >= 0 else (1 << self.bits) - 1


_ETHERNET, _IPV4, _IPV6 = Layer.ETHERNET, Layer.IPV4, Layer.IPV6
_TCP, _UDP, _ICMP = Layer.TCP, Layer.UDP, Layer.ICMP

FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("eth_dst", "frame", 0, 48, _ETHERNET, _ETHERNET, text="destination MAC address"),
        Field("eth_src", "frame", 6, 48, _ETHERNET, _ETHERNET, text="source MAC address"),
        Field("eth_type", "frame", 12, 16, _ETHERNET, text="EtherType of the outermost header"),
        Field("vlan", "frame", 14, 16, Layer.VLAN, Layer.VLAN, mask=0xFFF, text="number of the outermost VLAN"),
        Field("vlan_priority", "frame", 14, 16, Layer.VLAN, Layer.VLAN, shift=13, mask=7, text="its priority (PCP)"),
        Field("dscp", "ip", 1, 8, _IPV4, _IPV4, "ip", shift=2, mask=0x3F, text="differentiated services code point"),
        Field("ecn", "ip", 1, 8, _IPV4, _IPV4, "ip", mask=0x3, text="explicit congestion notification"),
        Field("total_length", "ip", 2, 16, _IPV4, text="IPv4 total length in bytes"),
        Field("ip_id", "ip", 4, 16, _IPV4, _IPV4, "ip", text="IPv4 identification"),
        Field("ttl", "ip", 8, 8, _IPV4, _IPV4, "ip", text="time to live, or hop limit"),
        Field("protocol", "protocol", 0, 8, Layer.IP, text="IP protocol number, after IPv6 extension headers"),
        Field("src", "ip", 12, 32, _IPV4, _IPV4, "ip pseudo", text="IPv4 source address"),
        Field("dst", "ip", 16, 32, _IPV4, _IPV4, "ip pseudo", text="IPv4 destination address"),
        Field("flow_label", "ip", 0, 32, _IPV6, _IPV6, mask=0xFFFFF, text="IPv6 flow label"),
        Field("src_high", "ip", 8, 64, _IPV6, _IPV6, "pseudo", text="upper half of the IPv6 source address"),
        Field("src_low", "ip", 16, 64, _IPV6, _IPV6, "pseudo", text="lower half of the IPv6 source address"),
        Field("dst_high", "ip", 24, 64, _IPV6, _IPV6, "pseudo", text="upper half of the IPv6 destination address"),
        Field("dst_low", "ip", 32, 64, _IPV6, _IPV6, "pseudo", text="lower half of the IPv6 destination address"),
        Field("src_port", "transport", 0, 16, Layer.PORTS, TRANSPORT, "transport", text="TCP, UDP or SCTP source port"),
        Field("dst_port", "transport", 2, 16, Layer.PORTS, TRANSPORT, "transport", text="and destination port"),
        Field("tcp_sequence", "transport", 4, 32, _TCP, _TCP, "transport", text="TCP sequence number"),
        Field("tcp_acknowledgment", "transport", 8, 32, _TCP, _TCP, "transport", text="TCP acknowledgment number"),
        Field(
            "tcp_flags",
            "transport",
            13,
            8,
            _TCP,
            _TCP,
            "transport",
            text="CWR ECE URG ACK PSH RST SYN FIN, FIN the lowest bit",
        ),
        Field("tcp_window", "transport", 14, 16, _TCP, _TCP, "transport", text="TCP window, not scaled"),
        Field(
            "tcp_data_offset", "transport", 12, 8, _TCP, shift=4, mask=0xF, text="TCP header length in words of 4 bytes"
        ),
        Field("udp_length", "transport", 4, 16, _UDP, text="UDP length in bytes"),
        Field("icmp_type", "transport", 0, 8, _ICMP, _ICMP, "transport", text="ICMP type"),
        Field("icmp_code", "transport", 1, 8, _ICMP, _ICMP, "transport", text="ICMP code"),
        Field("icmp_id", "transport", 4, 16, _ICMP, _ICMP, "transport", text="ICMP echo identifier"),
        Field("icmp_sequence", "transport", 6, 16, _ICMP, _ICMP, "transport", text="ICMP echo sequence number"),
    )
}

#: Fields of IPv4 that IPv6 (RFC 8200, 3) has in another place.
IPV6_FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("dscp", "ip", 0, 16, _IPV6, _IPV6, shift=6, mask=0x3F),
        Field("ecn", "ip", 0, 16, _IPV6, _IPV6, shift=4, mask=0x3),
        Field("ttl", "ip", 7, 8, _IPV6, _IPV6),
    )
}


#: Those that lie in the IP or the transport header.
HEADER_FIELDS = frozenset(name for name, field in FIELDS.items() if field.start in ("ip", "transport"))

#: Fields that are halves of what keys have as one.
HALVES = {"src_high": "src", "src_low": "src", "dst_high": "dst", "dst_low": "dst"}


def places(name: str) -> tuple[Field, ...]:
    """Where a field may be: in a packet it is in the first place whose layer is there."""
    return (FIELDS[name], IPV6_FIELDS[name]) if name in IPV6_FIELDS else (FIELDS[name],)


#: Types of ICMP (RFC 792) and ICMPv6 (RFC 4443) messages that quote the packet that they are about.
ICMP_ERRORS, ICMPV6_ERRORS = (3, 4, 5, 11, 12), (1, 2, 3, 4)


@dataclass(frozen=True)
class QuotedField:
    """A field of the packet that an ICMP error quotes. field: what it is in that packet."""

    name: str
    field: Field

    @property
    def is_writable(self) -> bool:
        """Whether it can be written: in every quoted packet that has it, but for the ports of SCTP."""
        return self.field.write_layer != READ_ONLY

    @property
    def text(self) -> str:
        """What it is."""
        return f"quoted in an ICMP error: {self.field.text.removeprefix('and ')}"


QUOTED: dict[str, QuotedField] = {
    f"quoted_{name}": QuotedField(f"quoted_{name}", FIELDS[name])
    for name in (
        "protocol",
        "src",
        "dst",
        "src_high",
        "src_low",
        "dst_high",
        "dst_low",
        "src_port",
        "dst_port",
        "icmp_id",
    )
}
#: What decides whether a packet is an error, and of what flow.
ERROR_FIELDS = frozenset({"icmp_type", *QUOTED})
#: In the method `error`: whether the flow that the ICMP error is about has a state. In others it is true.
RELATED = "related"

#: A fact that takes the IP header to find out.
IP_LENGTH = "ip_length"
#: Facts about a packet that are not header fields: name, what it is.
FACTS: dict[str, str] = {
    "length": "bytes of the frame on the wire, without the Ethernet checksum",
    "captured_length": "bytes of the frame that the capture holds",
    IP_LENGTH: "bytes of the IP packet as its header states them; where it states 0, what the frame has on the wire",
    "time_ns": "the packet's own time, nanoseconds since 1970; may go backwards in a capture",
    "payload_length": "captured bytes after the TCP, UDP or ICMP header, padding left out",
    "tcp_options_length": "captured bytes of TCP options",
}
#: The facts that are the length of something: what has to be there for it.
SEQUENCES: dict[str, Layer] = {"payload": Layer.TCP | Layer.UDP | Layer.ICMP, "tcp_options": Layer.TCP}

#: Flags: true if all bits of the layer are there.
FLAGS: dict[str, Layer] = {
    "is_ipv4": Layer.IPV4,
    "is_ipv6": Layer.IPV6,
    "is_tcp": Layer.TCP,
    "is_udp": Layer.UDP,
    "is_icmp": Layer.ICMP,
    "is_fragment": Layer.FRAGMENT,
}

#: Truth values that take some work to find out.
TESTS: dict[str, str] = {
    "checksum_valid": "neither IPv4's checksum nor that of TCP, UDP or ICMP is wrong, as far as that can be told",
    "is_error": "an ICMP error, of which is known what flow it is about",
}


@dataclass(frozen=True)
class Metadata:
    """What NFs of a chain tell each other about a packet. It is 0 when the packet comes in, and leaves no trace after.

    offset: bytes into the word that the kernel has for each packet.
    """

    name: str
    offset: int
    bits: int
    text: str

    @property
    def value_mask(self) -> int:
        """The bits of a value that fit."""
        return (1 << self.bits) - 1


METADATA: dict[str, Metadata] = {
    each.name: each
    for each in (
        Metadata("mark", 0, 32, "a number of your own: not in the frame, seen by the NFs after this one"),
        Metadata("connection_state", 4, 8, "likewise, what a connection tracker says; 0: none saw the packet"),
    )
}

#: Ports of a packet's flow, which later fragments have too: name, the header field, what it is.
FLOW_PORTS: dict[str, tuple[str, str]] = {
    "flow_src_port": ("src_port", "the source port, of a later fragment that of its first; 0 if that is not known"),
    "flow_dst_port": ("dst_port", "the destination port, likewise"),
}

#: Of an NF keyed by `connection`: whether the packet goes the way of the connection's first packet. Else always true.
FORWARD = "forward"

#: Why no NF of a chain was about a frame, for its counter; an engine gives the index in this tuple.
OTHER_REASONS: tuple[str, ...] = (
    "not an NF's traffic",
    "unknown link type",
    "truncated",
    "arp",
    "malformed ipv6",
    "not ip",
    "malformed ipv4",
    "fragment",
    "ports not captured",
)
(
    OTHER_TRAFFIC,
    UNKNOWN_LINK_TYPE,
    TRUNCATED,
    ARP,
    MALFORMED_IPV6,
    NOT_IP,
    MALFORMED_IPV4,
    LATER_FRAGMENT,
    PORTS_NOT_CAPTURED,
) = range(len(OTHER_REASONS))

#: The bytes of the frame itself, `pkt.frame[i]`.
FRAME = "frame"
#: By so many bytes an NF can make a frame longer at once.
MAXIMUM_GROWTH = 128

#: At most so many VLAN tags and MPLS labels are stepped over, so that a hostile frame costs bounded work.
MAXIMUM_TAGS = 8

#: And so many IPv6 extension headers.
MAXIMUM_EXTENSIONS = 8
#: IPv6 extension headers by how their length is told (RFC 8200, 4; RFC 4302, 2.2): in units of 8 bytes beyond the first
#: (hop-by-hop, routing, destination options, mobility, HIP, shim6); 8 bytes (fragment); in units of 4 beyond two.
EXTENSIONS = (0, 43, 60, 135, 139, 140)
FRAGMENT_EXTENSION, AUTHENTICATION_EXTENSION = 44, 51

#: What tells a fragment from a whole packet: more fragments and the offset, of IPv4 (RFC 791, 3.1) in a field with two
#: other flags, of IPv6 (RFC 8200, 4.5) with two reserved bits.
IPV4_FRAGMENT_BITS, IPV4_OFFSET_BITS = 0x3FFF, 0x1FFF
IPV6_FRAGMENT_BITS, IPV6_OFFSET_BITS = 0xFFF9, 0xFFF8
#: Later fragments find the flow of one of the latest so many first fragments,
MAXIMUM_DATAGRAMS = 4096
#: if that came less than so long before (nanoseconds of packet time; RFC 791, 3.2 suggests 15 s, RFC 8200, 4.5 60 s).
REMEMBERED_NS = 30 * 10**9

PPP_IPV4, PPP_IPV6 = 0x0021, 0x0057

#: Of a chain about the packets inside tunnels: so many tunnels, one in the other, are followed, so that a hostile frame
#: costs bounded work, and an IP header that begins further in the frame is not looked at: every offset has 16 bits.
MAXIMUM_TUNNELS = 4
MAXIMUM_INNER_OFFSET = 1 << 15
TUNNEL_PROTOCOLS = (IPV4_PROTOCOL, IPV6_PROTOCOL, GRE_PROTOCOL)
#: UDP destination ports: RFC 7348, RFC 8926, 3GPP TS 29.281.
VXLAN_PORT, GENEVE_PORT, GTP_PORT = 4789, 6081, 2152
TUNNEL_PORTS = (VXLAN_PORT, GENEVE_PORT, GTP_PORT)
#: The type of an Ethernet frame in GRE (RFC 7637) and GENEVE.
BRIDGING_TYPE = 0x6558
#: GRE (RFC 2784, RFC 2890): a checksum, a key and a sequence number are there; and what has to be 0: the rest of RFC
#: 1701 and the version.
GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE, GRE_ZEROS = 0x8000, 0x2000, 0x1000, 0x4C07
#: The flag of VXLAN that says that there is a network identifier (RFC 7348, 5).
VXLAN_VALID = 0x08
#: GENEVE (RFC 8926, 3.4): version; a control packet is for the tunnel's ends alone; words of options.
GENEVE_VERSION, GENEVE_CONTROL, GENEVE_OPTIONS = 0xC0, 0x80, 0x3F
#: GTP-U (3GPP TS 29.281, 5): version 1 and not GTP'; a user's packet; the flags for four bytes more (extension headers,
#: sequence number, N-PDU number); and so many extension headers are stepped over.
GTP_KIND_BITS, GTP_KIND, GTP_USER_PACKET = 0xF0, 0x30, 255
GTP_OPTIONAL, GTP_EXTENSION = 0x07, 0x04
MAXIMUM_GTP_EXTENSIONS = 8
