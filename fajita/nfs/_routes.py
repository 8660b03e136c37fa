"""Files of routes and of neighbours in iproute2's notation, as `ip route` and `ip neigh` print them: a subset."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import NoReturn

import numpy as np

from fajita import TextFileValue
from fajita.nfs._prefix_table import Prefixes

#: What an address has by the kind of its route; from FIRST_HOP on, the number of a next hop.
NO_ROUTE, BLACKHOLE, UNREACHABLE, PROHIBIT, FIRST_HOP = range(5)
KINDS = {"blackhole": BLACKHOLE, "unreachable": UNREACHABLE, "prohibit": PROHIBIT, "throw": NO_ROUTE}
#: What makes no difference here: whether a word follows.
_IGNORED = dict.fromkeys(("proto", "scope", "src", "mtu", "advmss", "pref", "hoplimit", "expires", "error"), True)
_IGNORED |= dict.fromkeys(("initcwnd", "initrwnd", "rto_min"), True) | dict.fromkeys(("onlink", "linkdown"), False)
#: States of a neighbour, as iproute2 writes them; what has no address yet is skipped.
_STATES = ("REACHABLE", "STALE", "DELAY", "PROBE", "PERMANENT", "NOARP", "FAILED", "INCOMPLETE", "NONE")
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")
_DEFAULTS: dict[int, bytes] = {AF_INET: bytes(4), AF_INET6: bytes(16)}
_EXAMPLE = "198.51.100.0/24 via 192.0.2.1 dev eth0, or blackhole 198.51.100.0/24"


@dataclass(frozen=True)
class Hop:
    """Where packets go next. via: the address of a router there; None: to the destination itself. dev: by which
    interface."""

    via: bytes | None
    dev: str | None

    @property
    def shown(self) -> dict[str, str]:
        """As the report names it."""
        via = {} if self.via is None else {"via": shown_address(self.via)}
        return via | ({} if self.dev is None else {"dev": self.dev})


@dataclass
class Family:
    """Routes of one family. What they have in common is not looked at again."""

    family: int
    addresses: list[bytes] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    metrics: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def add(self, address: bytes, length: int, value: int, metric: int = 0, line: int = 0) -> None:
        """Add a route."""
        self.addresses.append(address)
        self.lengths.append(length)
        self.values.append(value)
        self.metrics.append(metric)
        self.lines.append(line)


@dataclass
class Routes:
    """What a file says. hops: by value, from FIRST_HOP on."""

    families: dict[int, Family]
    hops: list[Hop]


def shown_address(packed: bytes) -> str:
    """An address as people write it."""
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def packed_address(text: str) -> bytes | None:
    """An address as it is in a packet; None if the text is none."""
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):
        return None


def parse_mac(text: str) -> int | None:
    """A MAC address as a number; None if the text is none."""
    return int(re.sub("[:-]", "", text), 16) if _MAC.fullmatch(text) else None


def _statements(file: TextFileValue) -> Iterator[tuple[int, str]]:
    """The lines that say something, without comments, with their numbers."""
    for number, line in enumerate(file.text.split("\n"), 1):
        statement = line.partition("#")[0].strip()
        if statement:
            yield number, statement


def _refuse(file: TextFileValue, number: int, word: str, what: str, right: str) -> NoReturn:
    """Say what is wrong with a word of a line."""
    column = file.text.split("\n")[number - 1].find(word) + 1
    raise file.refuse(what, number, max(1, column), right)


def read_routes(file: TextFileValue) -> Routes:
    """The routes of a file; InputError says what is wrong where, and what would be right."""
    return _RouteReader(file).read()


class _RouteReader:
    def __init__(self, file: TextFileValue) -> None:
        self.file = file
        self.families = {family: Family(family) for family in _DEFAULTS}
        self.hops: dict[Hop, int] = {}
        #: What follows a prefix, as a value, a metric and the family of the prefix, if that is said.
        self.known: dict[str, tuple[int, int, int | None]] = {}

    def read(self) -> Routes:
        for number, statement in _statements(self.file):
            prefix, *others = statement.split(None, 1)
            rest, kind = others[0] if others else "", ""
            if prefix in KINDS:
                kind = prefix
                prefix, *others = rest.split(None, 1) or [""]
                rest = others[0] if others else ""
            said = self.known.get(f"{kind} {rest}")
            if said is None:
                self._prefix(number, prefix, None)  # whatever is wrong with that is to be said first
                said = self.known[f"{kind} {rest}"] = self._attributes(number, kind, rest)
            value, metric, family = said
            address, length = self._prefix(number, prefix, family)
            routes = self.families[AF_INET if len(address) == 4 else AF_INET6]
            if family is not None and family != routes.family:
                what = "the gateway is of another family than the prefix"
                self._refuse(number, rest, what, "via inet6 ADDRESS, or one of the same")
            routes.add(address, length, value, metric, number)
        return Routes(self.families, list(self.hops))

    def _refuse(self, number: int, word: str, what: str, right: str) -> NoReturn:
        _refuse(self.file, number, word, what, right)

    def _prefix(self, number: int, text: str, family: int | None) -> tuple[bytes, int]:
        """Address and length. family: by which it is told whose default route it is."""
        if text == "default":
            return _DEFAULTS[family or AF_INET], 0
        address_text, slash, length_text = text.partition("/")
        address = packed_address(address_text)
        if address is None:
            self._refuse(number, text, f"{text!r} stands where a prefix should be", _EXAMPLE)
        width = 8 * len(address)
        length = int(length_text) if length_text.isdecimal() and len(length_text) < 4 else -1
        if not slash:
            length = width
        if not 0 <= length <= width:
            self._refuse(number, text, f"{text!r} has no prefix length of 0 to {width}", _EXAMPLE)
        if int.from_bytes(address) & ((1 << (width - length)) - 1):
            kept = int.from_bytes(address) >> (width - length) << (width - length)
            right = f"{shown_address(kept.to_bytes(len(address)))}/{length}, or {address_text}/{width}"
            self._refuse(number, text, f"{text} has bits set beyond its length", right)
        return address, length

    def _attributes(self, number: int, kind: str, text: str) -> tuple[int, int, int | None]:
        """What follows a prefix."""
        words = text.split()
        via, dev, metric, family = None, None, 0, None
        while words:
            word = words.pop(0)
            if word == "via":
                # Said only where the gateway is of the other family.
                other = {"inet": AF_INET6, "inet6": AF_INET}.get(words[0]) if words else None
                if other is not None:
                    words.pop(0)
                via = packed_address(gateway := self._argument(number, word, words))
                if via is None:
                    self._refuse(number, gateway, f"{gateway!r} is no address of a gateway", "via 192.0.2.1")
                family = other or (AF_INET if len(via) == 4 else AF_INET6)
            elif word == "dev":
                dev = self._argument(number, word, words)
            elif word == "metric":
                given = self._argument(number, word, words)
                if not given.isdecimal() or len(given) > 10 or int(given) >= 1 << 32:
                    self._refuse(number, given, f"{given!r} is no metric", "metric 100")
                metric = int(given)
            elif word in _IGNORED:
                if _IGNORED[word]:
                    self._argument(number, word, words)
            elif word in ("nexthop", "nhid"):
                self._refuse(number, word, "several next hops are not supported", "one route with one via")
            else:
                right = f"known: via, dev, metric, {', '.join(_IGNORED)}"
                self._refuse(number, word, f"{word!r} is not known in a route", right)
        if kind:
            return KINDS[kind], metric, None
        if via is None and dev is None:
            self._refuse(number, text, "the route does not say where to", _EXAMPLE)
        hop = self.hops.setdefault(Hop(via, dev), FIRST_HOP + len(self.hops))
        return hop, metric, family

    def _argument(self, number: int, word: str, words: list[str]) -> str:
        if not words:
            self._refuse(number, word, f"nothing follows {word}", _EXAMPLE)
        return words.pop(0)


@dataclass(frozen=True)
class Neighbour:
    """A station on a link. dev: the interface that leads there; None: any. mac: a number."""

    address: bytes
    dev: str | None
    mac: int


def read_neighbours(file: TextFileValue) -> list[Neighbour]:
    """The neighbours of a file that have a MAC address."""
    found: dict[tuple[bytes, str | None], Neighbour] = {}
    for number, statement in _statements(file):
        first, *words = statement.split()
        address = packed_address(first)
        if address is None:
            right = "192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01"
            _refuse(file, number, first, f"{first!r} stands where the address of a neighbour should be", right)
        neighbour = _neighbour(file, number, address, words)
        if neighbour is not None and found.setdefault((address, neighbour.dev), neighbour) != neighbour:
            _refuse(file, number, first, f"{first} has another MAC address in a line before", "one of the two")
    return list(found.values())


def _neighbour(file: TextFileValue, number: int, address: bytes, words: list[str]) -> Neighbour | None:
    dev, mac = None, 0
    while words:
        word = words.pop(0)
        if word in _STATES or word in ("router", "proxy", "extern_learn"):
            continue
        if word not in ("dev", "lladdr") or not words:
            right = f"dev NAME, lladdr MAC, router, proxy, {', '.join(_STATES)}"
            _refuse(file, number, word, f"{word!r} is not known here, or nothing follows it", right)
        given = words.pop(0)
        if word == "dev":
            dev = given
        elif (parsed := parse_mac(given)) is None:
            _refuse(file, number, given, f"{given!r} is not a MAC address", "02:00:00:00:00:01")
        else:
            mac = parsed
    return Neighbour(address, dev, mac) if mac else None


def mac_addresses(neighbours: list[Neighbour]) -> Callable[[Hop], int]:
    """What tells the MAC address of a next hop, 0 if there is none: of another interface only if it names none."""
    known = {(neighbour.address, neighbour.dev): neighbour.mac for neighbour in neighbours}
    somewhere = {neighbour.address: neighbour.mac for neighbour in neighbours}

    def mac_of(hop: Hop) -> int:
        if hop.via is None:
            return 0
        anywhere = known.get((hop.via, None))
        if hop.dev is None:
            return somewhere.get(hop.via, 0) if anywhere is None else anywhere
        return known.get((hop.via, hop.dev), anywhere or 0)

    return mac_of


def prefixes_of(routes: Family, refuse: Callable[[int, str], NoReturn], over: list[int]) -> Prefixes:
    """The routes of a family for a table: of those with one prefix the one with the lowest metric.

    over: of the last of them, what they count over. refuse: called with the line of one that says what another does.
    """
    kind, count = (">u4", 1) if routes.family == AF_INET else (">u8", 2)
    halves = np.frombuffer(b"".join(routes.addresses), kind).astype(np.uint64).reshape(-1, count)
    upper, lower = halves[:, 0], halves[:, 1] if count == 2 else np.zeros(len(halves), np.uint64)
    lengths, metrics = np.array(routes.lengths, np.int64), np.array(routes.metrics, np.int64)
    overs = np.full(len(lengths), -1)
    overs[len(lengths) - len(over) :] = over
    found = Prefixes(upper, lower, lengths, np.array(routes.values, np.int64), overs)
    order = np.lexsort([metrics, overs, lengths, lower, upper])
    keys = (upper, lower, lengths, overs)
    is_first = np.ones(len(order), bool)
    if len(order):
        is_first[1:] = np.any([np.diff(key[order]) != 0 for key in keys], axis=0)
        same_metric = ~is_first[1:] & (np.diff(metrics[order]) == 0)
        if same_metric.any():
            place = order[1 + int(np.argmax(same_metric))]
            refuse(routes.lines[place], f"{shown_address(routes.addresses[place])}/{lengths[place]}")
    return found.those(order[is_first])
