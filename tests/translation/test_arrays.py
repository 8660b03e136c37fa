"""Arrays, random numbers and hashes in an NF's source: what is refused, and in which order things are evaluated."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fajita.errors import InputError
from fajita.nf import NF
from fajita.translation import TranslatedNF, translate
from tests.own_nf import load_own

HEAD = """\
from fajita import NF, PASS, Array, Bits, five_tuple, flag, hash_of, u16, u32
from fajita import hash_of as scatter


class Own(NF):
    key = five_tuple

    class Params:
        numbers: list[int] = [1, 2]
        mode: str = "fast"

    class State:
        packets: u32
        sizes: Array[u16, 8]
        seen: Bits[100]
        flags: Array[flag, 3]

    class Core:
        counts: Array[u32, 1000]

    def new_flow(self, pkt, state):
        state.packets = 1

    def packet(self, pkt, state):
"""
Translate = Callable[..., TranslatedNF]


@pytest.fixture
def own_nf(tmp_path: Path) -> Callable[..., NF]:
    """The NF whose `packet` has the lines given, from a file."""

    def load(*lines: str) -> NF:
        return load_own(tmp_path, HEAD + "".join(f"        {line}\n" for line in lines))

    return load


def lines_of(nf: NF) -> list[str]:
    return [line.strip() for line in translate(nf).hooks["packet"].lines]


@pytest.mark.parametrize(
    ("line", "what", "right"),
    [
        ("state.size[0] = 1", "Own has no state size", "did you mean sizes"),
        ("self.core.count[0] += 1", "Own has no core variable count", "did you mean counts"),
        ("x = state.sizes", "an array cannot be assigned", "integers and conditions can"),
        ("x = state.sizes + 1", "`state.sizes` is an array where an integer is needed", ""),
        ("state.sizes = 1", "the array sizes cannot be assigned to", "assign to its elements"),
        ("state.packets[0] = 1", "`state.packets[0]` cannot be assigned to", "elements of lists"),
        ("x = state.packets[0]", "`state.packets` cannot be indexed", "only lists among the parameters, arrays"),
        ("state.sizes[1:2] = 1", "`1:2` is not supported in an NF", ""),
        ("x = state.sizes[pkt.is_tcp]", "`pkt.is_tcp` is a bool where an integer is needed", ""),
        ("state.sizes[0] = True", "sizes is Array[u16, 8], whose elements cannot be a bool", "write 1 if x else 0"),
        ("state.seen[0] = 1", "seen is Bits[100], whose elements cannot be an int", "write x != 0"),
        ("state.flags[0] = 1", "flags is Array[flag, 3], whose elements cannot be an int", "write x != 0"),
        ("state.seen[0] += 1", "`state.seen[0]` is a bool where an integer is needed", ""),
        ("x = 5 in state.sizes", "`state.sizes` is not a list of integers", ""),
        ("for x in state.sizes: pass", "a loop has to be `for name in range(...)`", ""),
        ("x = len(state.packets)", "`len(state.packets)` is not the length of a list", ""),
        ("x = hash_of()", "hash_of takes 1 to 6 integers, not 0", "hash_of(hash_of(a, b), c)"),
        ("x = hash_of(1, 2, 3, 4, 5, 6, 7)", "hash_of takes 1 to 6 integers, not 7", "hash_of(hash_of(a, b), c)"),
        ("x = hash_of(pkt.is_tcp)", "`pkt.is_tcp` is a bool where an integer is needed", ""),
        ("x = pkt.is_tcp.bit_length()", "`pkt.is_tcp` is a bool where an integer is needed", ""),
        ("x = pkt.ttl.bit_length(1)", "bit_length takes no arguments", "pkt.ttl.bit_length()"),
        ("x = self.random()", "self.random takes one number, not 0", "self.random(6) is one of 0 to 5"),
        ("x = self.random(1, 2)", "self.random takes one number, not 2", "self.random(6) is one of 0 to 5"),
        ("x = self.random", "self.random is not a parameter", ""),
        ("x = self.random(3) in (1, 2)", "`self.random(3) in (1, 2)` draws in its midst", "assign the random number"),
        (
            "x = pkt.ttl in (1, self.random(3))",
            "`pkt.ttl in (1, self.random(3))` draws in its midst",
            "assign the random",
        ),
        ("x = 0 < self.random(3) < 2", "`0 < self.random(3) < 2` draws in its midst", "assign the random number"),
    ],
)
def test_line_that_is_refused(own_nf: Callable[..., NF], line: str, what: str, right: str) -> None:
    with pytest.raises(InputError) as caught:
        translate(own_nf("y = 1", line, "return PASS"))
    assert caught.value.what.startswith(what)
    assert caught.value.right.startswith(right)
    assert caught.value.where.endswith(f"own.py:{HEAD.count(chr(10)) + 2}")


def test_an_index_of_a_change_is_evaluated_once(own_nf: Callable[..., NF]) -> None:
    lines = lines_of(own_nf("self.core.counts[self.random(9)] += self.random(2)", "return PASS"))
    assert lines[0].startswith("place = draw(")
    assert "".join(lines).count("draw(") == 2
    assert lines[1].index("read_array_u4") < lines[1].index("draw(")


def test_a_value_is_evaluated_before_the_index_of_its_place(own_nf: Callable[..., NF]) -> None:
    lines = lines_of(own_nf("state.sizes[self.random(9)] = self.random(1000)", "return PASS"))
    assert lines[0].index(", 1000)") < lines[0].index(", 9)")


def test_a_number_is_drawn_even_where_the_rest_is_known(own_nf: Callable[..., NF]) -> None:
    lines = lines_of(own_nf("x = self.random(2) == 1 and self.mode == 'slow'", "return PASS"))
    assert "draw(" in lines[0]


def test_a_length_is_known(own_nf: Callable[..., NF]) -> None:
    lines = lines_of(own_nf("state.packets = len(state.seen) + len(self.core.counts)", "return PASS"))
    assert "(100 + 1000)" in lines[0]


def test_hash_of_may_have_another_name(own_nf: Callable[..., NF]) -> None:
    assert "hash_of_2(" in lines_of(own_nf("x = scatter(1, 2)", "return PASS"))[0]


def test_an_integer_of_any_kind_has_a_length(own_nf: Callable[..., NF]) -> None:
    lines = lines_of(own_nf("x = (pkt.ttl + self.core.counts[0] ^ state.packets).bit_length()", "return PASS"))
    assert lines[0].startswith("x_ = bit_length(((")


@pytest.mark.parametrize(
    ("line", "per_flow"),
    [
        ("pkt.ip_id = state.sizes[3]", True),
        ("pkt.ip_id = self.random(9)", False),
        ("pkt.ip_id = self.core.counts[0]", False),
        ("pkt.ip_id = state.sizes[pkt.ttl]", False),
    ],
)
def test_rewrites_from_arrays(own_nf: Callable[..., NF], line: str, per_flow: bool) -> None:
    assert translate(own_nf(line, "return PASS")).rewrites_per_flow is per_flow


def test_a_rewrite_from_an_array_that_changes_is_not_the_same_for_the_flow(own_nf: Callable[..., NF]) -> None:
    nf = own_nf("pkt.ip_id = state.sizes[3]", "state.sizes[3] += 1", "return PASS")
    assert not translate(nf).rewrites_per_flow
