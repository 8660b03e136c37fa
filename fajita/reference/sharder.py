"""Which bucket a frame belongs to, as the rules say it: what the compiled sharder is held against."""

from fajita.key import Packing, address_pair
from fajita.plan import Plan
from fajita.reference.fragments import Fragments
from fajita.reference.integer import Int64
from fajita.reference.packet_view import PacketView
from fajita.reference.parse import parse
from fajita.reference.tunnels import parse_inner
from fajita.rss import HashFields

#: Of a frame without an IP header, and of a fragment that the chain drops.
NO_BUCKET = 0
_PORTS = ("src_port", "dst_port")


class Sharder:
    """Gives the frames of a source their buckets, in their order, by what the keys of the plan's tables see."""

    def __init__(self, plan: Plan, fields: HashFields) -> None:
        self.fields = fields
        self._follows_errors = plan.takes_errors
        self._parse = parse_inner if plan.settings.inner else parse
        #: None: no key of the plan asks for the ports of a later fragment.
        self._fragments = Fragments(plan) if plan.datagrams else None

    def bucket(self, frame: memoryview, link: int, time_ns: int) -> int:
        """The bucket of the next frame, 0 to 127; its headers are as they came, before any NF has rewritten them."""
        headers, first = self._parse(frame, link), None
        if self._fragments is not None:
            followed, first = self._fragments.follow(headers, Int64(time_ns))
            if followed is None:
                return NO_BUCKET
            headers = followed
        pkt = PacketView(frame, headers, len(frame), time_ns)
        if first is not None:
            first.enter(0, pkt)
        if self._follows_errors:
            pkt = pkt.quoted() or pkt
        packing = next((packing for packing in address_pair.packings if pkt.has(packing.layer)), None)
        return NO_BUCKET if packing is None else self._bucket(pkt, packing)

    def _bucket(self, pkt: PacketView, packing: Packing) -> int:
        family, size = packing.family, {4: 4, 6: 16}[packing.family]
        source, destination = (pkt.key_field(name, family).to_bytes(size, "big") for name in address_pair.fields)
        source_port, destination_port = (pkt.key_field(name, family) for name in _PORTS)
        return self.fields.bucket(source, destination, source_port, destination_port)
