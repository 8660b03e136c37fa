"""Later fragments find the flow of their first: what the interpreted engine remembers of datagrams.

A later fragment has no transport header. What it is a part of is told by addresses, identification and, in IPv4, the
protocol (RFC 791, 3.2; RFC 8200, 4.5). The first fragment of a datagram whose 5-tuple is known is remembered, until so
many others have come as the plan says; the newest of a datagram counts. A later one that finds it less than
REMEMBERED_NS old has its flow: the key of the first's ports. One that finds none has come too early (or too late) and
goes the way of the chain's `fragments`.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace

from fajita.engine.counters import FragmentCounters
from fajita.packet import FIELDS, OTHER_TRAFFIC, REMEMBERED_NS, Layer
from fajita.plan import Plan
from fajita.reference.integer import Int64
from fajita.reference.packet_view import PacketView
from fajita.reference.parse import Datagram, Headers

_PORTS = ("src_port", "dst_port")


@dataclass
class FirstFragment:
    """A first fragment that is remembered. number: it was the n-th one.

    ports: by moment of the plan (Plan.moments), as its header had them then, for NFs rewrite ports. A moment that it
    never came to has those of the last that it came to; None: its protocol has none.
    """

    number: int
    time_ns: Int64
    protocol: int
    ports: list[dict[str, int] | None]

    def enter(self, moment: int, pkt: PacketView) -> None:
        """What happens where keys are read: the first fragment leaves its ports, a later one finds them."""
        if pkt.is_later_fragment:
            pkt.ports_of_first = self.ports[moment]
        elif pkt.has(Layer.PORTS):
            self.ports[moment:] = [{name: pkt.read(FIELDS[name]) for name in _PORTS}] * (len(self.ports) - moment)


class Fragments:
    """The first fragments that a worker remembers; what became of later ones is counted."""

    def __init__(self, plan: Plan) -> None:
        self.counters = FragmentCounters()
        self._capacity, self._moments, self._setting = plan.datagrams, plan.moments, plan.settings.fragments
        self._count = 0
        self._remembered: OrderedDict[Datagram, FirstFragment] = OrderedDict()

    def follow(self, headers: Headers, time_ns: Int64) -> tuple[Headers | None, FirstFragment | None]:
        """The headers with what is known from the first fragment, and that one. No headers: the frame is dropped."""
        if headers.datagram is None:
            return headers, None
        if headers.is_later:
            return self._find(headers, headers.datagram, time_ns)
        if Layer.FLOW in headers.layers:
            return headers, self._remember(headers, headers.datagram, time_ns)
        return headers, None

    def _remember(self, headers: Headers, datagram: Datagram, time_ns: Int64) -> FirstFragment:
        self._count += 1
        self._remembered.pop(datagram, None)
        first = FirstFragment(self._count, time_ns, headers.protocol, [None] * self._moments)
        self._remembered[datagram] = first
        oldest = next(iter(self._remembered.values()))
        if oldest.number <= self._count - self._capacity:
            self._remembered.popitem(last=False)
        return first

    def _find(
        self, headers: Headers, datagram: Datagram, time_ns: Int64
    ) -> tuple[Headers | None, FirstFragment | None]:
        with_flow = replace(headers, layers=headers.layers | Layer.FLOW, reason=OTHER_TRAFFIC)
        first = self._remembered.get(datagram)
        if first is not None and time_ns - first.time_ns < REMEMBERED_NS:
            self.counters.followed += 1
            return replace(with_flow, protocol=first.protocol), first
        self.counters.early += 1
        return {"pass": headers, "flow": with_flow, "drop": None}[self._setting], None
