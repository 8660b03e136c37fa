"""A router: the longest prefix that a destination begins with says where a packet goes."""

from socket import AF_INET, AF_INET6
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fajita import NF, PASS, Array, Packet, Sum, TextFile, TextFileValue, u64
from fajita.nfs._prefix_table import MAXIMUM_PLACES, STEP_BITS, Prefixes, direct_bits, distinct_values, prefix_table
from fajita.nfs._routes import (
    BLACKHOLE,
    FIRST_HOP,
    NO_ROUTE,
    PROHIBIT,
    UNREACHABLE,
    Hop,
    Routes,
    mac_addresses,
    parse_mac,
    prefixes_of,
    read_neighbours,
    read_routes,
)

STEPS = (1 << STEP_BITS) - 1
#: IPv6's halves compare as numbers without a sign if this is turned.
SIGN = 1 << 63
WIDTHS = {AF_INET: 32, AF_INET6: 64}
MOST_BITS = 24
#: Places of an array, and so of next hops, at least; the same for most tables, so that few kernels differ by it.
LEAST_ROOM = 1 << 8
#: Next hops that the report names, those of most packets.
SHOWN_HOPS = 100


class Router(NF):
    """Forwards by the longest prefix of the destination (RFC 1812, 5.2.4.3; RFC 4632), IPv4 and IPv6.

    routes are lines as `ip route` prints them, in a file or as a list: `198.51.100.0/24 via 192.0.2.1 dev eth0`,
    `192.0.2.0/24 dev eth0`, `default via 192.0.2.1`, `blackhole 203.0.113.0/24`, also unreachable, prohibit and throw;
    what says nothing about where a packet goes (proto, scope, src, …) is read and left aside, several next hops and
    tables are refused. Of routes with one prefix that with the lowest metric counts. What is dropped is counted as no
    route, blackhole, unreachable or prohibit; the ICMP error that a router sends then is not sent, as a chain makes no
    packets of its own.

    With neighbours, lines as `ip neigh` prints them (`192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01`), a frame gets the
    MAC address of its next hop, on a route without a gateway that of its destination, and is dropped as no neighbour if
    that has none. Of a route with dev that is one on this interface. interfaces are the router's own MAC addresses, by
    name: a frame that leaves by a route with dev has that one as its source. Without either, MAC addresses stay as they
    are.

    decrement_ttl does what the network function ttl does. Routes, neighbours and interfaces can change during a run, as
    long as there are not many more. The report counts what leaves by next hop, by those too that are none any more,
    while there is room for them. A table with more than 65,536 prefixes takes 64 MiB and 8 bytes for each range
    within what its first 24 bits tell apart, which all workers share.
    """

    class Params:
        routes: TextFile
        neighbours: TextFile = TextFileValue("", "")
        interfaces: dict[str, str] = {}
        decrement_ttl: bool = False

    class Core:
        counts: Array[Sum[u64], "counters"]  # noqa: F821 - packets and bytes in turn, by next hop

    def prepare(self) -> None:
        routes = read_routes(self.routes)
        own = self._own_addresses()
        self._resolve(routes, own)
        self._make_tables(routes)

    def _own_addresses(self) -> dict[str, int]:
        own: dict[str, int] = {}
        for name, text in self.interfaces.items():
            mac = parse_mac(text)
            if mac is None:
                raise ValueError(f"interfaces: {text!r} of {name} is not a MAC address; give 02:00:00:00:00:01")
            own[name] = mac
        return own

    def _resolve(self, routes: Routes, own: dict[str, int]) -> None:
        """Make the lists of MAC addresses, and neighbours on the router's own links routes of their own."""
        neighbours = read_neighbours(self.neighbours)
        self.resolves = bool(self.neighbours.text.strip())
        self.names_source = bool(own)
        for hop in routes.hops:
            if own and hop.dev is not None and hop.dev not in own:
                raise ValueError(f"a route has dev {hop.dev}, of which interfaces has no MAC address; give it one")
        links = [hop for hop in routes.hops if hop.via is None]
        stations = [
            (neighbour.address, link, Hop(neighbour.address, link.dev))
            for neighbour in neighbours
            for link in links
            if neighbour.dev in (None, link.dev)
        ]
        numbers = self._numbered([*routes.hops, *(hop for _, _, hop in stations)])
        self.renumbered = np.array([*range(FIRST_HOP), *(numbers[hop] for hop in routes.hops)], np.int64)
        self.over: dict[int, dict[tuple[bytes, int], int]] = {AF_INET: {}, AF_INET6: {}}
        for address, link, hop in stations:
            self.over[AF_INET if len(address) == 4 else AF_INET6][address, numbers[link]] = numbers[hop]
        self.hops = {number: hop for hop, number in numbers.items()}
        mac_of = mac_addresses(neighbours)
        found, sources = ([0] * (max(self.hops, default=0) + 1) for _ in range(2))
        for number, hop in self.hops.items():
            found[number], sources[number] = mac_of(hop), own.get(hop.dev, 0) if hop.dev else 0
        self.macs, self.sources = self._with_room(found, "macs"), self._with_room(sources, "sources")
        self.counters = 2 * len(self.macs)

    def _numbered(self, hops: list[Hop]) -> dict[Hop, int]:
        """The numbers of next hops, with those of before that are none any more, whose packets stay counted.

        A number goes to another one only where there is no room for more.
        """
        if self.replaces is None:
            self.numbers: dict[Hop, int] = {}
            room = 0
        else:
            self.numbers, room = self.replaces.numbers, len(self.replaces.macs)
        needed = dict.fromkeys(hops)
        gone = [hop for hop in self.numbers if hop not in needed]
        following = FIRST_HOP + len(self.numbers)
        for hop in needed:
            if hop in self.numbers:
                continue
            if room and following >= room and gone:
                self.numbers[hop] = self.numbers.pop(gone.pop(0))
            else:
                self.numbers[hop] = following
                following += 1
        return dict(self.numbers)

    def _with_room(self, values: list[int] | NDArray[Any], name: str) -> NDArray[Any]:
        """An array that is as long as the one that it takes the place of, or has some room for more."""
        room = max(LEAST_ROOM, 1 << (5 * len(values) // 4).bit_length())
        if self.replaces is not None and len(values) <= len(getattr(self.replaces, name)):
            room = len(getattr(self.replaces, name))
        padded = np.zeros(room, np.int64)
        padded[: len(values)] = values
        return padded

    def _make_tables(self, routes: Routes) -> None:
        self.counted_routes = {family: len(routes.families[family].lengths) for family in WIDTHS}
        prefixes = {family: self._prefixes(routes, family) for family in WIDTHS}
        long_halves = len(distinct_values(prefixes[AF_INET6].upper[prefixes[AF_INET6].lengths > 64]))
        #: Greater values than those of next hops are upper halves of IPv6 of which the lower one decides.
        self.first_long = len(self.macs)
        self._choose_bits({family: len(prefixes[family]) for family in WIDTHS}, self.first_long + long_halves)
        ipv4 = prefix_table(prefixes[AF_INET], 32, self.ipv4_bits, self.value_bits, 0, 0)
        first = len(ipv4.ranges)
        ipv6 = prefix_table(prefixes[AF_INET6], 64, self.ipv6_bits, self.value_bits, first, self.first_long)
        if len(ipv4.ranges) + len(ipv6.ranges) > MAXIMUM_PLACES:
            raise ValueError(f"the routes need more than {MAXIMUM_PLACES:,} ranges; give fewer long prefixes")
        self.direct_ipv4, self.direct_ipv6 = ipv4.direct, ipv6.direct
        self.ranges = self._with_room(np.concatenate([ipv4.ranges, ipv6.ranges]), "ranges")
        self.lower_entries = self._with_room(ipv6.lower_entries, "lower_entries")
        self.lower_firsts = self._with_room(ipv6.lower_firsts, "lower_firsts")
        self.lower_values = self._with_room(ipv6.lower_values, "lower_values")

    def _choose_bits(self, counts: dict[int, int], values: int) -> None:
        """How many bits of an address are the place of an entry, and how many bits are a value. values: how many."""
        if self.replaces is None:
            self.ipv4_bits, self.ipv6_bits = (direct_bits(counts[family]) for family in WIDTHS)
            while values > 1 << (self.ipv6_bits - 1) and self.ipv6_bits < MOST_BITS:
                self.ipv6_bits += 4
        else:
            self.ipv4_bits, self.ipv6_bits = self.replaces.ipv4_bits, self.replaces.ipv6_bits
        # What 63 bits have room for beside those of half an IPv6 address that are no place of an entry.
        self.value_bits = self.ipv6_bits - 1
        if values > 1 << self.value_bits:
            what = f"{values:,} next hops and IPv6 prefixes beyond 64 bits"
            raise ValueError(f"{what}, room for others included; at most {1 << self.value_bits:,}")
        self.ipv4_shift, self.ipv6_shift = 32 - self.ipv4_bits, 64 - self.ipv6_bits
        self.ipv4_rest, self.ipv6_rest = (1 << self.ipv4_shift) - 1, (1 << self.ipv6_shift) - 1
        self.value_mask, self.ipv6_places = (1 << self.value_bits) - 1, (1 << self.ipv6_bits) - 1

    def _prefixes(self, routes: Routes, family: int) -> Prefixes:
        rows, over = routes.families[family], []
        rows.values = self.renumbered[rows.values].tolist()
        for (address, link), value in self.over[family].items():
            rows.add(address, 8 * len(address), value)
            over.append(link)

        def refuse(line: int, prefix: str) -> NoReturn:
            what = f"there are two routes with the prefix {prefix} and one metric"
            raise self.routes.refuse(what, line, 1, "delete one, or give one another metric")

        return prefixes_of(rows, refuse, over)

    def packet(self, pkt: Packet) -> int:
        if pkt.is_ipv6:
            entry = self.direct_ipv6[(pkt.dst_high >> self.ipv6_shift) & self.ipv6_places]
            rest = (pkt.dst_high & self.ipv6_rest) << self.value_bits
        else:
            entry = self.direct_ipv4[pkt.dst >> self.ipv4_shift]
            rest = (pkt.dst & self.ipv4_rest) << self.value_bits
        steps = entry & STEPS
        hop = entry >> STEP_BITS
        if steps != 0:
            rest |= self.value_mask
            for step in range(steps):
                half = 1 << (steps - 1 - step)
                hop += half if self.ranges[hop + half] <= rest else 0
            hop = self.ranges[hop] & self.value_mask
        if hop >= self.first_long:
            entry = self.lower_entries[hop - self.first_long]
            steps = entry & STEPS
            hop = entry >> STEP_BITS
            for step in range(steps):
                half = 1 << (steps - 1 - step)
                hop += half if self.lower_firsts[hop + half] <= pkt.dst_low ^ SIGN else 0
            hop = self.lower_values[hop]

        if hop == NO_ROUTE:
            return pkt.drop("no route")
        if hop == BLACKHOLE:
            return pkt.drop("blackhole")
        if hop == UNREACHABLE:
            return pkt.drop("unreachable")
        if hop == PROHIBIT:
            return pkt.drop("prohibit")
        if self.resolves and self.macs[hop] == 0:
            return pkt.drop("no neighbour")
        if self.decrement_ttl:
            if pkt.ttl <= 1:
                return pkt.drop("expired")
            pkt.ttl -= 1
        if self.resolves:
            pkt.eth_dst = self.macs[hop]
        if self.names_source and self.sources[hop] != 0:
            pkt.eth_src = self.sources[hop]
        self.core.counts[2 * hop] += 1
        self.core.counts[2 * hop + 1] += pkt.length
        return PASS

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        counts = core["counts"].reshape(-1, 2)
        used: list[dict[str, Any]] = [
            hop.shown | {"packets": int(counts[number, 0]), "bytes": int(counts[number, 1])}
            for number, hop in self.hops.items()
            if counts[number, 0]
        ]
        used.sort(key=lambda row: -row["packets"])
        routes = {"routes_ipv4": self.counted_routes[AF_INET], "routes_ipv6": self.counted_routes[AF_INET6]}
        others = {"next_hops_not_listed": len(used) - SHOWN_HOPS} if len(used) > SHOWN_HOPS else {}
        return routes | {"next_hops": used[:SHOWN_HOPS]} | others
