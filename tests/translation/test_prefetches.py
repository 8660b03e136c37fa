"""Which elements are asked for before an NF runs: what is derived from its `packet`, and what is left out."""

from collections.abc import Callable

import pytest

from fajita import Chain
from fajita.nf import NF
from fajita.translation import translate, with_prefetch
from tests.translation.test_arrays import own_nf as own_nf

WANTED = {("core", "counts"), ("state", "sizes"), ("state", "seen")}
Load = Callable[..., NF]


def hook_lines(nf: NF, wanted: set[tuple[str, str]] = WANTED) -> list[str]:
    """The hook, names of places cut short."""
    hook = with_prefetch(translate(nf), wanted).prefetch
    return [] if hook is None else [line.strip().replace("own__", "") for line in hook.lines]


def counts(index: str) -> str:
    return f"prefetch_array_4(core + core_counts, 1000, {index})"


@pytest.mark.parametrize(
    ("lines", "hook"),
    [
        (["self.core.counts[pkt.time_ns & 7] += 1"], [counts("(time_ns & 7)")]),
        (["x = self.core.counts[state.packets]"], [counts("load_u32(state + state_packets)")]),
        (["state.seen[3] = True"], ["prefetch_bits(state + state_seen, 100, 3)"]),
        (["i = pkt.time_ns", "state.sizes[i] = 1"], ["i_ = time_ns", "prefetch_array_2(state + state_sizes, 8, i_)"]),
        (["i: int = pkt.time_ns", "self.core.counts[i] = 1"], ["i_ = time_ns", counts("i_")]),
        (["i, j = pkt.time_ns, 2", "self.core.counts[i] = j"], ["i_ = time_ns", "j_ = 2", counts("i_")]),
        # The same twice, and neighbours.
        (["i = pkt.time_ns", "self.core.counts[i] = self.core.counts[i] + 1"], ["i_ = time_ns", counts("i_")]),
        (
            ["i = 16 * state.packets", "self.core.counts[i + 1] = self.core.counts[i + 15]"],
            ["i_ = (16 * load_u32(state + state_packets))", counts("(i_ + 1)")],
        ),
        (
            ["i = 8 * state.packets", "self.core.counts[i + 1] = self.core.counts[i + 15]"],
            ["i_ = (8 * load_u32(state + state_packets))", counts("(i_ + 1)"), counts("(i_ + 15)")],
        ),
        # Conditions.
        (
            ["if pkt.is_tcp:", "    self.core.counts[pkt.length] = 1"],
            ["if ((headers & 16) == 16):", counts("length")],
        ),
        (
            ["if pkt.is_tcp:", "    return PASS", "self.core.counts[pkt.length] = 1"],
            ["if ((headers & 16) == 16):", "return 0", counts("length")],
        ),
        (
            ["if self.core.counts[pkt.length] > 3:", "    state.seen[pkt.ttl] = True", "    return PASS"],
            [counts("length"), "prefetch_bits(state + state_seen, 100, read_ttl(frame, headers))"],
        ),
        (["if self.mode == 'slow':", "    self.core.counts[pkt.length] = 1"], []),
        # Loops.
        (
            ["for i in range(4):", "    k = i * 100 + hash_of(i, pkt.src) % 100", "    self.core.counts[k] += 1"],
            [
                "for i_ in range(4):",
                "k_ = ((i_ * 100) + floor_modulo(hash_of_2(i_, read_src(frame, headers)), 100))",
                counts("k_"),
            ],
        ),
        (["for i in range(9):", "    self.core.counts[i + pkt.length] += 1"], []),
        (["for i in range(pkt.length):", "    self.core.counts[i] += 1"], []),
        (["for i in range(100):", "    self.core.counts[pkt.length] += i"], [counts("length")]),
        # What is known too late.
        (["self.core.counts[self.random(9)] += 1"], []),
        (["i = 0", "i += pkt.length", "self.core.counts[i] += 1"], []),
        (["i = self.random(3)", "self.core.counts[i] += 1"], []),
        (
            ["self.core.counts[self.core.counts[pkt.length]] += 1"],
            [counts("length")],
        ),
        # The one element that every packet touches.
        (["self.core.counts[7] += 1"], []),
    ],
)
def test_elements_that_are_asked_for(own_nf: Load, lines: list[str], hook: list[str]) -> None:
    found = hook_lines(own_nf(*lines, "return PASS"))
    assert [line for line in found if line != "return 0" or "return 0" in hook][: len(hook)] == hook
    assert [line for line in found[len(hook) :] if line != "return 0"] == []


def test_only_arrays_that_are_wanted(own_nf: Load) -> None:
    nf = own_nf("self.core.counts[pkt.length] = 1", "state.sizes[pkt.length] = 1", "return PASS")
    assert hook_lines(nf, set()) == []
    assert hook_lines(nf, {("core", "counts")}) == [counts("length"), "return 0"]


def test_a_hook_takes_what_it_needs_and_is_none_of_the_others(own_nf: Load) -> None:
    translated = with_prefetch(translate(own_nf("self.core.counts[pkt.length] = 1", "return PASS")), WANTED)
    assert translated.prefetch is not None
    assert translated.prefetch.arguments == ("length", "core")
    assert list(translated.hooks) == ["packet", "new_flow"]


@pytest.mark.parametrize(
    ("lines", "core", "reads"),
    [
        (["self.core.counts[state.packets] = 1"], 1, set()),
        (["for i in range(4):", "    self.core.counts[hash_of(i, pkt.src)] += 1"], 4, {"src"}),
        (
            ["for i in range(2):", "    for j in range(3):", "        self.core.counts[i + j * pkt.ttl] += 1"],
            6,
            {"ttl"},
        ),
        (["self.core.counts[pkt.length] = 1"], 1, None),
    ],
)
def test_how_many_elements_and_what_decides_which(own_nf: Load, lines: list[str], core: int, reads: object) -> None:
    asked = with_prefetch(translate(own_nf(*lines, "return PASS")), WANTED).asked
    assert asked is not None
    assert (asked.core, asked.reads) == (core, reads)


LISTS = """
    def prepare(self):
        import numpy as np
        self.table, self.narrow = list(range(1 << 15)), np.zeros(1 << 18, np.uint16)
"""


@pytest.mark.parametrize(
    ("lines", "hook"),
    [
        (
            ["x = self.table[pkt.src >> 17]"],
            ["prefetch_array_8(constants + list_table, 32768, right_shift(read_src(frame, headers), 17))"],
        ),
        (["x = self.narrow[pkt.length]"], ["prefetch_array_2(constants + list_narrow, 262144, length)"]),
        # What every packet needs is in the cache, and what few need is not asked for.
        (["x = self.table[7]"], []),
        (
            ["if state.packets > 3:", "    x = self.table[pkt.length]"],
            ["if (load_u32(state + state_packets) > 3):", "prefetch_array_8(constants + list_table, 32768, length)"],
        ),
        (["if self.core.counts[7] > 3:", "    x = self.table[pkt.length]"], []),
        # An index that waits for memory is none; one that is made of a short list is.
        (["x = self.narrow[self.table[pkt.length]]"], ["prefetch_array_8(constants + list_table, 32768, length)"]),
        (
            ["x = self.narrow[self.numbers[pkt.length]]"],
            ["prefetch_array_2(constants + list_narrow, 262144, read_list(constants + list_numbers, 2, length))"],
        ),
    ],
)
def test_large_lists(own_nf: Load, lines: list[str], hook: list[str]) -> None:
    nf = own_nf(*lines, "return PASS", LISTS)
    plan = Chain([nf]).plan.nfs[0]
    prefetch = plan.translated.prefetch
    found = [] if prefetch is None else [line.strip().replace("own__", "") for line in prefetch.lines]
    assert [line for line in found if line != "return 0"] == hook


def test_accesses_tell_which_are_known_ahead(own_nf: Load) -> None:
    nf = own_nf("state.sizes[pkt.ttl] += 1", "self.core.counts[self.random(3)] = 1", "return PASS")
    accesses = with_prefetch(translate(nf), set()).accesses
    assert [(access.text, access.ahead) for access in accesses] == [
        ("state.sizes[pkt.ttl]", True),
        ("self.core.counts[self.random(3)]", False),
    ]
