"""Whether the order of packets matters to the states of an NF: what is taken as a reason that it does, and where."""

import pytest

from fajita.translation import TranslatedNF, translate
from tests.chains import shipped_nfs, variants
from tests.translation.test_translate import Translate
from tests.translation.test_translate import translated as translated

HEAD = """\
from fajita import DROP, NF, PASS, Array, Bits, Max, Min, Or, Sum, five_tuple, flag, hash_of, u8, u16, u32, u64


class Own(NF):
    key = five_tuple

    class Params:
        strict: bool = False
        most: int = 7

    class State:
        packets: Sum[u64]
        longest: Max[u64]
        small: Max[u8]
        ttl: Min[u8]
        first: Min[u64]
        flags: Or[u8]
        seen: Or[flag]
        sizes: Array[Sum[u16], 11]
        highest: Array[Max[u64], 4]
        ports: Or[Bits[1024]]
        plain: u32
        marks: Bits[8]

    class Core:
        turn: u64

    def packet(self, pkt, state):
"""
FIRST = HEAD.count("\n") + 1


def why_not(translated: Translate, *lines: str, after: str = "", **params: object) -> str:
    body = "".join(f"        {line}\n" for line in (*lines, "return PASS"))
    nf: TranslatedNF = translated(body + after, HEAD, **params)
    assert nf.commutes is (nf.why_not == "")
    return nf.why_not


@pytest.mark.parametrize(
    "line",
    [
        "pass",
        "state.packets += pkt.length",
        "state.packets -= 1",
        "state.longest = max(state.longest, pkt.time_ns)",
        "state.longest = max(pkt.length, state.longest, self.most)",
        "state.first = min(state.first, -pkt.length)",
        "state.ttl = min(pkt.ttl, state.ttl)",
        "state.small = max(state.small, pkt.length & 0xFF)",
        "state.small = max(state.small, self.most)",
        "state.flags |= pkt.tcp_flags",
        "state.seen = True",
        "state.seen = state.seen or pkt.is_tcp",
        "state.sizes[pkt.length & 7] += 1",
        "state.highest[3] = max(state.highest[3], pkt.length)",
        "state.ports[pkt.dst_port & 1023] = True",
        "x = pkt.length; state.packets += x",
        "if pkt.is_tcp: state.packets += self.random(3)",
        "for i in range(len(state.sizes)): state.sizes[i] += 1",
        "state.packets += self.core.turn; self.core.turn += 1",
        "if self.strict: state.packets = state.packets * 2",
        "state.packets += state.packets if self.strict else 1",
        "if self.strict and state.packets > 3: return DROP",
        # Nothing stores them: they are 0.
        "state.packets += state.plain",
        "if state.marks[1]: state.packets += 1",
    ],
)
def test_updates_in_any_order(translated: Translate, line: str) -> None:
    assert why_not(translated, line) == ""


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("pkt.ttl = state.packets; state.packets += 1", "packet reads state.packets"),
        ("x = state.packets; state.packets += x", "packet reads state.packets"),
        ("if state.packets == 3: state.packets += 1", "packet reads state.packets"),
        ("for i in range(state.packets & 3): state.packets += 1", "packet reads state.packets"),
        ("state.packets += state.packets", "packet reads state.packets"),
        ("state.packets += state.sizes[0]; state.sizes[0] += 1", "packet reads state.sizes"),
        ("state.sizes[state.packets & 7] += 1; state.packets += 1", "packet reads state.packets"),
        ("self.core.turn = state.packets; state.packets += 1", "packet reads state.packets"),
        (
            "state.packets += 1; if pkt.is_tcp: return PASS if state.packets == 1 else DROP",
            "packet reads state.packets",
        ),
        ("state.packets += 1; self.emit(state)", "packet emits the state"),
        ("if self.lands_here(1, 2, 3, 4): state.packets += 1", "packet asks where packets land"),
        ("state.seen = state.seen or self.lands_here(1, 2, 3, 4)", "packet asks where packets land"),
        ("state.sizes[1 if self.lands_here(1, 2, 3, 4) else 2] += 1", "packet asks where packets land"),
        ("if self.strict: state.seen = self.lands_here(1, 2, 3, 4)", ""),
        ("state.packets = 5", "packet changes state.packets, a Sum, otherwise than by `+= x` or `-= x`"),
        ("state.packets *= 5", "packet changes state.packets, a Sum, otherwise than by `+= x` or `-= x`"),
        ("state.packets |= 5", "packet changes state.packets, a Sum, otherwise than by `+= x` or `-= x`"),
        ("state.packets = max(state.packets, 5)", "packet changes state.packets, a Sum"),
        ("state.longest += 1", "packet changes state.longest, a Max, otherwise than by `= max(…, x)`"),
        ("state.longest = min(state.longest, 1)", "packet changes state.longest, a Max"),
        ("state.longest = max(state.longest, state.longest)", "packet changes state.longest, a Max"),
        ("state.longest = max(state.first, 3); state.first = min(state.first, 1)", "packet changes state.longest"),
        ("state.longest = max(state.longest, state.packets); state.packets += 1", "packet reads state.packets"),
        ("state.highest[0] = max(state.highest[1], 5)", "packet changes state.highest, a Max"),
        ("i = self.random(4); state.highest[i] = max(state.highest[i], 1); i = 2", ""),
        ("state.highest[self.random(4)] = max(state.highest[self.random(4)], 1)", "packet changes state.highest"),
        ("state.flags |= state.packets; state.packets += 1", "packet reads state.packets"),
        ("state.flags = 3", "packet changes state.flags, a Or, otherwise than by `|= x`, of a flag `= True`"),
        ("state.seen = pkt.is_tcp", "packet changes state.seen, a Or"),
        ("state.seen = False", "packet changes state.seen, a Or"),
        ("state.seen = state.seen or self.random(2) == 1", "packet changes state.seen, a Or"),
        ("state.ports[1] = state.ports[2]", "packet changes state.ports, a Or"),
        ("state.plain = 3", "packet assigns state.plain"),
        ("state.marks[1] = True", "packet assigns state.marks"),
        (
            "state.small = max(state.small, pkt.length)",
            "packet gives small what may not fit u8 (`& 0xff` makes it fit)",
        ),
        ("state.ttl = min(state.ttl, pkt.ttl - 3)", "packet gives ttl what may not fit u8"),
    ],
)
def test_what_looks_at_a_state_or_sets_it(translated: Translate, line: str, why: str) -> None:
    found = why_not(translated, *line.split("; "))
    assert found.startswith(why)
    assert found == "" or "(own.py:" in found


def test_the_line_is_that_of_the_file(translated: Translate) -> None:
    found = why_not(translated, "state.packets += 1", "if state.packets > 5:", "    return DROP")
    assert found == f"packet reads state.packets (own.py:{FIRST + 1})"


def test_a_field_that_is_not_declared(translated: Translate) -> None:
    assert why_not(translated, "state.plain += 1") == "plain is not declared as Sum, Max, Min or Or"


def test_new_flow_is_for_the_first_packet(translated: Translate) -> None:
    method = "\n    def new_flow(self, pkt, state):\n        {}state.packets += 1\n"
    assert why_not(translated, after=method.format("")) == "it has a new_flow"
    assert why_not(translated, after=method.format("if self.strict: ")) == ""


def test_parameters_decide(translated: Translate) -> None:
    lines = ("if self.strict:", "    state.packets = 5")
    assert why_not(translated, *lines) == ""
    assert why_not(translated, *lines, strict=True).startswith("packet changes state.packets")


def test_expire_may_do_what_it_likes(translated: Translate) -> None:
    method = "\n    def expire(self, state):\n        self.core.turn = state.packets\n        self.emit(state)\n"
    assert why_not(translated, "state.packets += 1", after=method) == ""


def test_which_shipped_nfs_commute() -> None:
    found = {nf.__name__ for nf in shipped_nfs() if all(translate(nf(**given)).commutes for given in variants(nf))}
    assert found == {
        "DestinationCounter",
        "FlowCounter",
        "HeavyHitters",
        "MacSwap",
        "SourceCounter",
        "Superspreaders",
    }
