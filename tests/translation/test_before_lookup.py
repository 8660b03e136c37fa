"""`before_lookup` in an NF's source: what it may do there, and what it may not."""

from pathlib import Path

import pytest

from fajita.errors import InputError
from fajita.nf import NF
from fajita.translation import translate, with_prefetch
from tests.own_nf import load_own

HEAD = """\
from fajita import DROP, LOOK_UP, NF, PASS, Array, connection, u64


class Own(NF):
    key = connection

    class State:
        packets: u64

    class Core:
        number: u64
        numbers: Array[u64, 1000]

"""
PACKET = """\

    def packet(self, pkt, state):
        return PASS
"""
FIRST = HEAD.count("\n") + 1


def own_nf(folder: Path, methods: str) -> NF:
    return load_own(folder, HEAD + methods)


def before(*lines: str) -> str:
    return "\n".join(["    def before_lookup(self, pkt):", *(f"        {line}" for line in lines), PACKET])


@pytest.mark.parametrize(
    ("lines", "what", "line"),
    [
        (["pass"], "Own.before_lookup can end without a verdict; return LOOK_UP on every path", 0),
        (["return 1"], "before_lookup returns `1`; return LOOK_UP, PASS, DROP or pkt.drop", 1),
        (["return PASS if pkt.forward else DROP"], "before its state is looked up nobody knows pkt.forward", 1),
        (["return PASS if state.packets == 0 else DROP"], "state is not known|`state.packets` is not known", 1),
        (["self.emit(pkt)", "return PASS"], "before_lookup keeps no state that it could emit; emit in packet", 1),
    ],
)
def test_what_it_cannot_do_is_refused_with_file_and_line(
    tmp_path: Path, lines: list[str], what: str, line: int
) -> None:
    with pytest.raises(InputError, match=what) as caught:
        translate(own_nf(tmp_path, before(*lines)))
    assert f"own.py:{FIRST + line}:" in str(caught.value)


def test_look_up_is_no_verdict_of_packet(tmp_path: Path) -> None:
    methods = before("return LOOK_UP") + PACKET.replace("PASS", "LOOK_UP")
    with pytest.raises(InputError, match="LOOK_UP is a verdict of before_lookup, not of packet; return PASS"):
        translate(own_nf(tmp_path, methods))


def test_it_takes_a_packet_alone(tmp_path: Path) -> None:
    methods = before("return LOOK_UP").replace("(self, pkt)", "(self, pkt, state)")
    with pytest.raises(InputError, match=r"has the wrong parameters; def before_lookup\(self, pkt\)"):
        translate(own_nf(tmp_path, methods))


def test_an_nf_without_a_key_has_none() -> None:
    with pytest.raises(InputError, match="Keyless has before_lookup but no key"):

        class Keyless(NF):
            def before_lookup(self, pkt: object) -> int:
                return 0

            def packet(self, pkt: object) -> int:
                return 0


def test_a_misspelt_one_is_refused() -> None:
    with pytest.raises(InputError, match="before_look_up is not called by fajita; did you mean before_lookup"):

        class Misspelt(NF):
            def before_look_up(self, pkt: object) -> int:
                return 0

            def packet(self, pkt: object) -> int:
                return 0


def test_what_it_reads_and_writes_is_known_apart(tmp_path: Path) -> None:
    translated = translate(own_nf(tmp_path, before("pkt.dst = pkt.src", "pkt.ttl = 3", "return LOOK_UP")))
    assert translated.before_reads == {"src"}
    assert translated.before_writes == {"dst", "ttl"}
    assert translated.asks
    assert not translated.rewrites_per_flow


def test_foresight_changes_nothing_but_fields_that_matter(tmp_path: Path) -> None:
    lines = [
        "self.core.number += 1",
        "self.core.numbers[2] = self.core.numbers[pkt.dst_port] + self.random(9)",
        "self.core.numbers[3] += 1",
        "pkt.dst = self.core.number",
        "pkt.ttl = 3",
        "return LOOK_UP",
    ]
    translated = translate(own_nf(tmp_path, before(*lines)))
    assert translated.foresight is not None
    assert translated.foreseen == ("dst",)
    assert not any(word in translated.foresight.text() for word in ("store_", "write_", "draw(", "ttl"))


def first_foresight(folder: Path, *lines: str) -> str:
    own = with_prefetch(translate(own_nf(folder, before(*lines))), {("core", "numbers")})
    return own.first_foresight.text() if own.first_foresight else ""


def test_elements_that_decide_are_asked_for_first(tmp_path: Path) -> None:
    text = first_foresight(
        tmp_path,
        "place = -1",
        "for i in range(2):",
        "    if pkt.dst == i:",
        "        place = pkt.dst_port + i",
        "if place < 0:",
        "    return LOOK_UP",
        "number = self.core.numbers[place]",
        "if number == 7:",
        "    return PASS",
        "pkt.src = self.core.numbers[number] + self.core.numbers[place + 1]",
        "return LOOK_UP",
    )
    assert text.count("prefetch_array_8") == 2  # not that of which the other says where it is
    assert "read_array" not in text
    assert "poke" not in text
    assert text.count("return") == 2
    assert text.count("if awaits == 0 else -2") == 2


@pytest.mark.parametrize(
    "lines",
    [
        ("return LOOK_UP if pkt.ttl > 1 else PASS",),
        ("self.core.number = 5", "pkt.src = self.core.number", "return LOOK_UP"),
        ("place = self.random(9)", "pkt.dst = pkt.mark", "return LOOK_UP"),
    ],
)
def test_without_elements_there_is_nothing_to_ask_for(tmp_path: Path, lines: tuple[str, ...]) -> None:
    assert first_foresight(tmp_path, *lines) == ""


@pytest.mark.parametrize(
    "lines",
    [
        ("return LOOK_UP if self.core.numbers[pkt.ttl] > 1 else PASS",),
        ("if pkt.ttl == 1:", "    self.core.numbers[pkt.ttl] += 1", "return LOOK_UP"),
        ("for i in range(self.core.numbers[2]):", "    pkt.src = i", "return LOOK_UP"),
    ],
)
def test_elements_are_asked_for_wherever_they_stand(tmp_path: Path, lines: tuple[str, ...]) -> None:
    assert "prefetch_array_8" in first_foresight(tmp_path, *lines)


@pytest.mark.parametrize("line", ["pkt.mark = 1", "pkt.dst = pkt.mark"])
def test_what_needs_more_than_the_header_and_core_is_not_foreseen_or_left_out(tmp_path: Path, line: str) -> None:
    foresight = translate(own_nf(tmp_path, before(line, "return LOOK_UP"))).foresight
    assert foresight is None or "metadata" not in foresight.text()
