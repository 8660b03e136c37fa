"""What a NAT tells packets apart by: what a mapping may be of, messages of ICMP, what is known of a TCP connection."""

from fajita.protocols import ICMP_PROTOCOL, TCP_PROTOCOL, UDP_PROTOCOL

#: Mappings have ports of TCP or UDP, or identifiers of ICMP queries; a host's other protocols have its address alone.
OTHER, TCP, UDP, ICMP = 0, 1, 2, 3
KIND_COUNT = 3
KIND = {"tcp": TCP, "udp": UDP, "icmp": ICMP}
#: By protocol number.
_KIND_OF = {TCP_PROTOCOL: TCP, UDP_PROTOCOL: UDP, ICMP_PROTOCOL: ICMP}
KINDS = [_KIND_OF.get(number, OTHER) for number in range(256)]

#: ICMP types: echo, timestamp, information and address mask (RFC 792, RFC 950), asked and answered; redirect.
QUERIES, REPLIES, REDIRECT = (8, 13, 15, 17), (0, 14, 16, 18), 5
#: By type, a bit for each query and its answer.
ASKED = [sum(1 << at for at in range(4) if number in (QUERIES[at], REPLIES[at])) for number in range(256)]

#: Who has sent something, who has finished, a reset.
OWNER_SENT, REMOTE_SENT, OWNER_FINISHED, REMOTE_FINISHED, RESET = 1, 2, 4, 8, 16
BOTH_SENT, BOTH_FINISHED = OWNER_SENT | REMOTE_SENT, OWNER_FINISHED | REMOTE_FINISHED
