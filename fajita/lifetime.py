"""What both engines hold to when they end flows, so that they end the same ones in the same order.

A worker's clock is the latest packet time so far; it never goes back. A state ends when the clock has moved on by its
timeout since its flow's last packet: at the flow's next packet, or when a hand that goes round all slots of the table
comes by. The hand goes round in half the shortest timeout of the table (`round_ns`), slot by slot, so that it has
always the same little to do; it moves before every sixteenth packet, as far as is due then. What it could not do in
time, as the clock jumped, it does before the next ones.

In a table that workers share a state ends at a tick instead, before the packet with which the clock comes to it: no
worker is at work then, so that all agree on what is idle, and entries end in the order of their keys.

Where a full table evicts, another hand looks for a flow that had no packet since it last came by (second chance,
Corbató 1968: an approximation of least recently used). A flow that had one is never evicted, unless all that may be
looked at for one new flow had.
"""

from fajita.integers import wrap

#: Before so many packets a table is looked through for idle entries, if that is due: a burst of the compiled engine.
PACKETS_PER_SWEEP = 16
#: Slots that are looked at then, at most. A flood of flows of one packet each takes up to 3 a packet: one and a half
#: timeouts' worth of slots in half a timeout.
SWEPT_AT_ONCE = 64
#: Slots that are looked at to evict one; if all flows had a packet in between, the last of them goes. A flow that is
#: passed by has had a packet for that, so that on average an eviction looks at no more slots than packets came.
EXAMINED_PER_EVICTION = 256
#: The shortest timeout of a table whose NFs choose their timeouts packet by packet, for the round of its hand, if they
#: do not say more (NF.shortest_expire_in).
CHOSEN_TIMEOUT_NS = 10**9
#: The clock before the first packet.
FIRST_CLOCK_NS = -(1 << 63)


def next_due(due_ns: int, clock_ns: int, round_ns: int, slots: int) -> int:
    """When the hand has to move on, after it has moved at `due_ns`: at most a round is made up for."""
    if slots == 0:
        return wrap(clock_ns + round_ns)
    return wrap(max(due_ns, wrap(clock_ns - round_ns)) + max(round_ns // slots, 1))


def tick_of(clock_ns: int, round_ns: int) -> int:
    """The number of the last tick; there are two in the shortest timeout of a table."""
    return clock_ns // round_ns
