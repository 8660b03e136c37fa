"""What a NAT tells packets apart by: what a mapping may be of, messages of ICMP, what is known of a TCP connection."""

from typing import Any

from fajita import Packet
from fajita.nfs._tcp_states import COUNT, IGNORED, MALFORMED, REFUSED, SYN_SENT, TIME_WAIT, TRANSITIONS
from fajita.nfs._tcp_states import KINDS as SEGMENTS
from fajita.protocols import ACK_FLAG, FIN_FLAG, ICMP_PROTOCOL, RST_FLAG, SYN_FLAG, TCP_PROTOCOL, UDP_PROTOCOL

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


class NatPackets:
    """Looks at lengths and flags, and follows TCP by them. kind: of those above."""

    # Parameters of the NAT.
    strict: bool
    established: int
    transitory: int

    def is_malformed(self, pkt: Packet, kind: int) -> bool:
        """Whether lengths or flags cannot be."""
        missing = pkt.length - pkt.captured_length
        options = 4 * pkt.tcp_data_offset - 20
        if pkt.is_tcp and (
            SEGMENTS[pkt.tcp_flags & 63] == MALFORMED or not 0 <= options <= pkt.tcp_options_length + missing
        ):
            return True
        reach = 65535 if pkt.is_fragment else 8 + pkt.payload_length + missing
        if pkt.is_udp and not 8 <= pkt.udp_length <= reach:
            return True
        return pkt.is_error and kind != OTHER and pkt.payload_length + missing < (pkt.payload[0] & 15) * 4 + 8

    def follow_stage(self, pkt: Packet, state: Any) -> bool:
        """Whether the state of a connection of TCP allows a segment, which may change it."""
        way = 0 if pkt.forward else 1
        stage = TRANSITIONS[(way * MALFORMED + SEGMENTS[pkt.tcp_flags & 63]) * COUNT + state.stage]
        if stage == REFUSED:
            return False
        if stage == SYN_SENT and state.stage >= TIME_WAIT and state.tcp & BOTH_FINISHED == 0:
            stage = IGNORED  # it was reset, or so it seemed
        if stage != IGNORED:
            state.stage = stage
        return True

    def follow_tcp(self, pkt: Packet, state: Any, from_owner: bool) -> None:
        """How long a session of TCP may be idle."""
        tcp = state.tcp
        if pkt.tcp_flags & RST_FLAG:
            tcp |= RESET
        else:
            over = tcp & RESET != 0 or tcp & BOTH_FINISHED == BOTH_FINISHED
            if over and pkt.tcp_flags & (SYN_FLAG | ACK_FLAG) == SYN_FLAG:
                tcp = 0
            tcp = tcp & ~RESET | (OWNER_SENT if from_owner else REMOTE_SENT)
            if pkt.tcp_flags & FIN_FLAG:
                tcp |= OWNER_FINISHED if from_owner else REMOTE_FINISHED
        state.tcp = tcp
        lasts = tcp & (BOTH_SENT | RESET) == BOTH_SENT and tcp & BOTH_FINISHED != BOTH_FINISHED
        state.expire_in = self.established if lasts else self.transitory
        if self.strict and tcp & RESET != 0 and tcp & BOTH_SENT != BOTH_SENT:
            state.expire_in = 1  # nobody has answered: there is none
