"""Matchers in an NF's source: what is refused, and what the calls of its methods become."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fajita.errors import InputError
from fajita.nf import NF
from fajita.translation import translate
from tests.chains import has_patterns
from tests.own_nf import load_own

pytestmark = pytest.mark.skipif(not has_patterns(), reason="the library Hyperscan (Debian: libhyperscan5) is not here")

HEAD = """\
from fajita import NF, PASS, Matcher, Pattern, Patterns, five_tuple, u32


class Own(NF):
    key = five_tuple

    class State:
        stream: u32

    class Core:
        matcher: Matcher["compiled", 2]
        {core}

    def prepare(self):
        self.compiled = Patterns([Pattern("ab")])

    def packet(self, pkt, state):
        {packet}
        return PASS
"""
Load = Callable[..., NF]


@pytest.fixture
def own_nf(tmp_path: Path) -> Load:
    """The NF with these lines, from a file."""

    def load(packet: str = "pass", *, core: str = "", source: str = HEAD) -> NF:
        return load_own(tmp_path, source.format(packet=packet, core=core))

    return load


@pytest.mark.parametrize(
    ("line", "what", "right"),
    [
        ("x = self.core.matcher.find(pkt)", "self.core.matcher is a matcher, which has no find", "known: scan, open"),
        ("x = self.core.matcher.scan(pkt, 0)", "does not have the arguments of scan", "scan(pkt, stream, skip)"),
        ("x = self.core.matcher.scan(pkt, 0, skip=0)", "has keyword arguments", ""),
        ("x = self.core.matcher.scan(0, 0, 0)", "does not scan the packet", "scan(pkt, stream, skip)"),
        ("x = self.core.matcher.scan()", "does not scan the packet", "scan(pkt, stream, skip)"),
        ("x = self.core.matcher.open(1)", "does not have the arguments of open", "0 in all"),
        ("x = self.core.matcher.pattern()", "does not have the arguments of pattern", "1 in all"),
        ("x = self.core.matcher.pattern(pkt.is_tcp)", "`pkt.is_tcp` is a bool where an integer is needed", ""),
        ("state.stream = self.core.matcher.close(1)", "stream is a u32 and cannot hold a bool", "write 1 if x else 0"),
        ("self.core.matcher = 1", "the matcher matcher cannot be assigned to", ".scan(pkt, "),
        ("x = self.core.matcher", "cannot be assigned", "integers and conditions can"),
        ("x = self.core.matcher + 1", "where an integer is needed", ""),
        ("x = self.core.matchr.open()", "has no core variable matchr", "did you mean matcher"),
    ],
)
def test_a_mistake_is_refused_with_its_line(own_nf: Load, line: str, what: str, right: str) -> None:
    nf = own_nf(line)
    with pytest.raises(InputError, match=r"own\.py:18") as refused:
        translate(nf)
    assert what in refused.value.what
    assert right in refused.value.right


@pytest.mark.parametrize(
    ("declared", "what", "right"),
    [
        ("other: Matcher['compiled']", "lacks its patterns or the number of its streams", 'Matcher["patterns", 65536]'),
        ("other: Matcher[3, 4]", "has the patterns 3", "the name of an attribute that prepare sets"),
        ("other: Matcher['compiled', 0]", "has the size 0", "at least 1"),
        ("other: Matcher['absent', 4]", ".Core.other has no patterns", "prepare sets self.absent = Patterns(…)"),
    ],
)
def test_a_wrong_declaration_is_refused(own_nf: Load, declared: str, what: str, right: str) -> None:
    with pytest.raises(InputError) as refused:
        translate(own_nf(core=declared))
    assert what in refused.value.what
    assert right in refused.value.right


def test_a_matcher_is_in_core_alone(own_nf: Load) -> None:
    source = HEAD.replace("stream: u32", 'stream: u32\n        own: Matcher["compiled", 2]')
    with pytest.raises(InputError, match=r"State\.own .* for Core"):
        translate(own_nf(source=source))


def test_what_the_methods_become(own_nf: Load) -> None:
    nf = own_nf("x = self.core.matcher.scan(pkt, state.stream, 3) + self.core.matcher.pattern(15)")
    (line,) = [line for line in translate(nf).hooks["packet"].lines if "matcher_scan" in line]
    assert "payload_address(frame, headers), payload_length(frame, headers, captured)" in line
    assert "matcher_pattern(" in line
