"""What a TCP segment does to the state that a connection tracker has for its connection.

The tracker stands between the two ends and sees what they send, not what they get. So its states are not those of an
end (RFC 9293, 3.3.2), and many a segment leaves them as they are: IGNORED are those that may belong to a connection
that the tracker has not got right, so that what comes after them decides; REFUSED are those that belong to none.
"""

from fajita.protocols import ACK_FLAG, FIN_FLAG, PSH_FLAG, RST_FLAG, SYN_FLAG, URG_FLAG

#: States by the last segment that counted: SYN, SYN with ACK, ACK after these; FIN, its ACK, the other end's FIN, its
#: ACK; RST; SYN from both ends.
STATES = (
    "none",
    "syn_sent",
    "syn_received",
    "established",
    "fin_wait",
    "close_wait",
    "last_ack",
    "time_wait",
    "closed",
    "syn_sent_both",
)
(
    NONE,
    SYN_SENT,
    SYN_RECEIVED,
    ESTABLISHED,
    FIN_WAIT,
    CLOSE_WAIT,
    LAST_ACK,
    TIME_WAIT,
    CLOSED,
    SYN_SENT_BOTH,
) = range(len(STATES))
COUNT = len(STATES)
IGNORED, REFUSED = COUNT, COUNT + 1

#: Kinds of segments.
SYN, SYN_ACK, FIN, ACK, RST, MALFORMED = range(6)

_SENSIBLE = {
    SYN_FLAG: SYN,
    SYN_FLAG | URG_FLAG: SYN,
    SYN_FLAG | ACK_FLAG: SYN_ACK,
    FIN_FLAG | ACK_FLAG: FIN,
    FIN_FLAG | ACK_FLAG | URG_FLAG: FIN,
    ACK_FLAG: ACK,
    ACK_FLAG | URG_FLAG: ACK,
    RST_FLAG: RST,
    RST_FLAG | ACK_FLAG: RST,
}
#: The kind by the low six bits of the flags, of which PSH may always be set.
KINDS = [_SENSIBLE.get(flags & ~PSH_FLAG, MALFORMED) for flags in range(64)]

_CLOSING = {
    SYN_RECEIVED: FIN_WAIT,
    ESTABLISHED: FIN_WAIT,
    FIN_WAIT: LAST_ACK,
    CLOSE_WAIT: LAST_ACK,
    LAST_ACK: LAST_ACK,
    TIME_WAIT: TIME_WAIT,
    CLOSED: CLOSED,
}
_GOING_ON = {
    ESTABLISHED: ESTABLISHED,
    FIN_WAIT: CLOSE_WAIT,
    CLOSE_WAIT: CLOSE_WAIT,
    LAST_ACK: TIME_WAIT,
    TIME_WAIT: TIME_WAIT,
    CLOSED: CLOSED,
}
_RESETTING = dict.fromkeys(range(SYN_SENT, SYN_SENT_BOTH + 1), CLOSED)
_OPENING = {
    NONE: SYN_SENT,
    SYN_SENT: SYN_SENT,
    TIME_WAIT: SYN_SENT,
    CLOSED: SYN_SENT,
    SYN_SENT_BOTH: SYN_SENT_BOTH,
}
#: By kind: what follows each state, and what follows all others. First what the end sends that began, then the other.
_RULES: tuple[dict[int, tuple[dict[int, int], int]], ...] = (
    {
        SYN: (_OPENING, IGNORED),
        SYN_ACK: ({SYN_RECEIVED: SYN_RECEIVED, SYN_SENT_BOTH: SYN_RECEIVED}, REFUSED),
        FIN: (_CLOSING, REFUSED),
        ACK: (_GOING_ON | {NONE: ESTABLISHED, SYN_RECEIVED: ESTABLISHED}, REFUSED),
        RST: (_RESETTING, REFUSED),
    },
    {
        SYN: ({SYN_SENT: SYN_SENT_BOTH, SYN_SENT_BOTH: SYN_SENT_BOTH, TIME_WAIT: SYN_SENT}, REFUSED),
        SYN_ACK: ({SYN_SENT: SYN_RECEIVED, SYN_SENT_BOTH: SYN_RECEIVED}, IGNORED),
        FIN: (_CLOSING, REFUSED),
        ACK: (_GOING_ON | {SYN_RECEIVED: SYN_RECEIVED}, IGNORED),
        RST: (_RESETTING, REFUSED),
    },
)
#: The state after a segment, or IGNORED or REFUSED; at (way * MALFORMED + kind) * COUNT + state before; way: 0 or 1.
TRANSITIONS = [
    following.get(state, others)
    for rules in _RULES
    for following, others in (rules[kind] for kind in range(MALFORMED))
    for state in range(COUNT)
]
