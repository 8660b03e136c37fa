"""Information elements (RFC 7012 and its registry at IANA): what the fields of records are called in IPFIX."""

from dataclasses import dataclass, replace

from fajita.errors import InputError, nearest

#: The enterprise number under which elements are those of a biflow's other direction (RFC 5103, 6.1).
REVERSE = 29305
#: What the names of those begin with.
_REVERSED = "reverse"


@dataclass(frozen=True)
class Element:
    """number, enterprise: what tells it; bytes: in a record, where integers stand in network byte order.

    kind: of its values; `nanoseconds` are in the format of NTP (RFC 7011, 6.1.10), `milliseconds` since 1970.
    """

    name: str
    number: int
    bytes: int
    kind: str = "number"
    enterprise: int = 0


ELEMENTS: dict[str, Element] = {
    element.name: element
    for element in (
        Element("octetDeltaCount", 1, 8),
        Element("packetDeltaCount", 2, 8),
        Element("deltaFlowCount", 3, 8),
        Element("protocolIdentifier", 4, 1),
        Element("ipClassOfService", 5, 1),
        Element("tcpControlBits", 6, 1),  # as NetFlow has it; the upper byte may be left out (RFC 7125, 3)
        Element("sourceTransportPort", 7, 2),
        Element("sourceIPv4Address", 8, 4),
        Element("destinationTransportPort", 11, 2),
        Element("destinationIPv4Address", 12, 4),
        Element("minimumIpTotalLength", 25, 8),
        Element("maximumIpTotalLength", 26, 8),
        Element("sourceIPv6Address", 27, 16),
        Element("destinationIPv6Address", 28, 16),
        Element("flowLabelIPv6", 31, 4),
        Element("icmpTypeCodeIPv4", 32, 2),
        Element("sourceIPv4Prefix", 44, 4),
        Element("destinationIPv4Prefix", 45, 4),
        Element("minimumTTL", 52, 1),
        Element("maximumTTL", 53, 1),
        Element("fragmentIdentification", 54, 4),
        Element("sourceMacAddress", 56, 6),
        Element("vlanId", 58, 2),
        Element("destinationMacAddress", 80, 6),
        Element("octetTotalCount", 85, 8),
        Element("packetTotalCount", 86, 8),
        Element("flowEndReason", 136, 1),
        Element("icmpTypeCodeIPv6", 139, 2),
        Element("flowId", 148, 8),
        Element("flowStartMilliseconds", 152, 8, "milliseconds"),
        Element("flowEndMilliseconds", 153, 8, "milliseconds"),
        Element("flowStartNanoseconds", 156, 8, "nanoseconds"),
        Element("flowEndNanoseconds", 157, 8, "nanoseconds"),
        Element("destinationIPv6Prefix", 169, 16),
        Element("sourceIPv6Prefix", 170, 16),
        Element("icmpTypeIPv4", 176, 1),
        Element("icmpCodeIPv4", 177, 1),
        Element("icmpTypeIPv6", 178, 1),
        Element("icmpCodeIPv6", 179, 1),
        Element("tcpSequenceNumber", 184, 4),
        Element("tcpAcknowledgementNumber", 185, 4),
        Element("tcpWindowSize", 186, 2),
        Element("totalLengthIPv4", 190, 2),
        Element("ipTTL", 192, 1),
        Element("ipDiffServCodePoint", 195, 1),
        Element("udpMessageLength", 205, 2),
        Element("tcpSynTotalCount", 218, 8),
        Element("tcpFinTotalCount", 219, 8),
        Element("tcpRstTotalCount", 220, 8),
        Element("dot1qVlanId", 243, 2),
        Element("dot1qPriority", 244, 1),
        Element("ethernetType", 256, 2),
    )
}

#: Of the fields of keys; where IPv4 and IPv6 have different ones, with `{}` for the 4 or 6.
KEY_ELEMENTS = {
    "src": "sourceIPv{}Address",
    "dst": "destinationIPv{}Address",
    "src_port": "sourceTransportPort",
    "dst_port": "destinationTransportPort",
    "protocol": "protocolIdentifier",
    "vlan": "vlanId",
    "vlan_priority": "dot1qPriority",
    "eth_src": "sourceMacAddress",
    "eth_dst": "destinationMacAddress",
    "eth_type": "ethernetType",
    "dscp": "ipDiffServCodePoint",
    "ttl": "ipTTL",
    "ip_id": "fragmentIdentification",
    "flow_label": "flowLabelIPv6",
    "total_length": "totalLengthIPv4",
    "icmp_type": "icmpTypeIPv{}",
    "icmp_code": "icmpCodeIPv{}",
    "tcp_flags": "tcpControlBits",
    "tcp_sequence": "tcpSequenceNumber",
    "tcp_acknowledgment": "tcpAcknowledgementNumber",
    "tcp_window": "tcpWindowSize",
    "udp_length": "udpMessageLength",
}
#: Of an address of which the key has a part.
PREFIX_ELEMENTS = {"src": "sourceIPv{}Prefix", "dst": "destinationIPv{}Prefix"}
#: Of type and code of ICMP as one, as NetFlow has them where others have the destination port.
ICMP_ELEMENT = "icmpTypeCodeIPv{}"


def find_element(name: str, where: str) -> Element:
    """The element of that name; reversePacketDeltaCount is a biflow's other direction. InputError if there is none."""
    if name.startswith(_REVERSED):
        forward = name.removeprefix(_REVERSED)
        element = ELEMENTS.get(forward[:1].lower() + forward[1:])
        if element is not None:
            return replace(element, name=name, enterprise=REVERSE)
    if name not in ELEMENTS:
        raise InputError(f"there is no information element {name}", where, nearest(name, ELEMENTS))
    return ELEMENTS[name]
