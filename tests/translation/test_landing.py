"""`self.lands_here` in an NF's source: where it may stand, what it takes, and what the planner learns from it."""

from pathlib import Path

import pytest

from fajita.errors import InputError
from fajita.nf import NF
from fajita.translation import translate
from fajita.translation.translate import with_prefetch
from tests.own_nf import load_own

HEAD = """\
from fajita import DROP, NF, PASS, Array, five_tuple, flag, u64


class Own(NF):
    key = five_tuple

    class Params:
        mode: str = "fast"

    class State:
        port: u64
        lands: flag

    class Core:
        counts: Array[u64, 1000]

"""
FIRST = HEAD.count("\n") + 1


def own_nf(folder: Path, methods: str, head: str = HEAD) -> NF:
    return load_own(folder, head + methods)


def method(name: str, *lines: str) -> str:
    parameters = "self, state" if name == "expire" else "self, pkt, state"
    return "\n".join([f"    def {name}({parameters}):", *(f"        {line}" for line in lines), "", ""])


def packet(*lines: str) -> str:
    return method("packet", *lines, "return PASS")


@pytest.mark.parametrize(
    "lines",
    [
        ["state.lands = self.lands_here(pkt.dst, 1, pkt.dst_port, state.port)"],
        ["here = self.lands_here(pkt.dst, pkt.src, 0, 0)", "state.lands = here"],
        ["if self.lands_here(1, 2, 3, 4) and pkt.is_udp:", "    return DROP"],
        ["if not self.lands_here(1, 2, self.random(5), 4):", "    return DROP"],
        ["state.port = 1 if self.lands_here(1, -2, 3 << 40, 4) else 2"],
        [
            "for port in range(64):",
            "    if self.lands_here(1, 2, 3, port):",
            "        state.port = port",
            "        break",
        ],
        ["state.lands = self.lands_here(1, 2, 3, 4) == pkt.is_tcp"],
    ],
)
def test_forms_that_are_accepted(tmp_path: Path, lines: list[str]) -> None:
    in_new_flow = method("new_flow", *(line.replace("return DROP", "return") for line in lines)) + packet()
    for methods in (packet(*lines), in_new_flow):
        translated = translate(own_nf(tmp_path, methods))
        assert translated.asks_landing
        assert sum("lands_here(context, " in line for hook in translated.hooks.values() for line in hook.lines) == 1
        assert any("context" in hook.arguments for hook in translated.hooks.values())


@pytest.mark.parametrize(
    ("line", "what", "right"),
    [
        ("x = self.lands_here()", "self.lands_here takes four numbers, not 0", "self.lands_here(src, dst, src_port"),
        ("x = self.lands_here(1, 2, 3)", "self.lands_here takes four numbers, not 3", "self.lands_here(src, dst"),
        ("x = self.lands_here(1, 2, 3, 4, 5)", "self.lands_here takes four numbers, not 5", "self.lands_here(src"),
        ("x = self.lands_here(pkt)", "self.lands_here takes four numbers, not 1", "self.lands_here(src, dst"),
        ("x = self.lands_here(1, 2, 3, dst_port=4)", "`self.lands_here(1, 2, 3, dst_port=4)` has keyword", ""),
        ("x = self.lands_here(1, 2, 3, pkt.is_tcp)", "`pkt.is_tcp` is a bool where an integer is needed", ""),
        ("x = self.lands_here(True, 2, 3, 4)", "`True` is a bool where an integer is needed", ""),
        ("x = self.lands_here(1, '10.0.0.1', 3, 4)", "`'10.0.0.1'` is a str where an integer is needed", ""),
        ("x = self.lands_here(*range(4))", "self.lands_here takes four numbers, not 1", ""),
        ("x = self.lands_here(1, 2, 3, 4) + 1", "`self.lands_here(1, 2, 3, 4)` is a bool where an integer", ""),
        ("self.lands_here(1, 2, 3, 4)", "`self.lands_here(1, 2, 3, 4)` has no effect", "assign or return it"),
        ("x = self.lands_here", "self.lands_here is not a parameter", ""),
        ("self.lands_here = 1", "`self.lands_here` cannot be assigned to", ""),
        ("x = self.land_here(1, 2, 3, 4)", "self.land_here cannot be called in an NF", "known: "),
        ("x = lands_here(1, 2, 3, 4)", "lands_here cannot be called in an NF", "known: "),
    ],
)
@pytest.mark.parametrize("name", ["packet", "new_flow"])
def test_line_that_is_refused(tmp_path: Path, name: str, line: str, what: str, right: str) -> None:
    after = ["return PASS"] if name == "packet" else []
    others = "" if name == "packet" else packet()
    with pytest.raises(InputError) as caught:
        translate(own_nf(tmp_path, method(name, "y = 1", line, *after) + others))
    assert caught.value.what.startswith(what)
    assert caught.value.right.startswith(right)
    assert caught.value.where == f"{tmp_path / 'own.py'}:{FIRST + 2}"


def test_expire_has_no_packet_and_cannot_ask(tmp_path: Path) -> None:
    methods = method("expire", "self.core.counts[0] = 1 if self.lands_here(1, 2, 3, 4) else 2") + packet()
    with pytest.raises(InputError) as caught:
        translate(own_nf(tmp_path, methods))
    assert caught.value.where == f"{tmp_path / 'own.py'}:{FIRST + 1}"
    assert caught.value.what == "expire has no packet, so it cannot ask where one would land"
    assert caught.value.right.startswith("ask in new_flow or packet")


def test_an_attribute_that_prepare_sets_does_not_hide_it(tmp_path: Path) -> None:
    prepare = "    def prepare(self):\n        self.lands_here = 5\n\n"
    translated = translate(own_nf(tmp_path, prepare + packet("state.lands = self.lands_here(1, 2, 3, 4)")))
    assert translated.asks_landing
    with pytest.raises(InputError, match=r"self\.lands_here is not a parameter"):
        translate(own_nf(tmp_path, prepare + packet("state.port = self.lands_here")))


def test_what_a_parameter_leaves_out_does_not_ask(tmp_path: Path) -> None:
    lines = ("if self.mode == 'slow':", "    state.lands = self.lands_here(1, 2, 3, 4)")
    assert not translate(own_nf(tmp_path, packet(*lines))).asks_landing


@pytest.mark.parametrize("keeps_state", [True, False])
def test_an_nf_that_asks_in_packet_does_not_commute(tmp_path: Path, keeps_state: bool) -> None:
    head, methods = HEAD, packet("pkt.ttl = 1 if self.lands_here(1, 2, 3, 4) else 2")
    if not keeps_state:
        head = HEAD.replace("key = five_tuple", "key = None").replace("    class State:", "    class Unused:")
        methods = methods.replace("self, pkt, state", "self, pkt")
    translated = translate(own_nf(tmp_path, methods, head))
    assert not translated.commutes
    assert translated.why_not.startswith("packet asks where packets land, which depends on the worker (own.py:")


def test_a_rewrite_by_it_is_not_taken_for_one_per_flow(tmp_path: Path) -> None:
    rewrite = "pkt.src_port = 1 if {} else 2"
    assert not translate(own_nf(tmp_path, packet(rewrite.format("self.lands_here(1, 2, 3, 4)")))).rewrites_per_flow
    assert translate(own_nf(tmp_path, packet(rewrite.format("state.port == 3")))).rewrites_per_flow


def test_an_element_that_it_decides_is_not_known_ahead(tmp_path: Path) -> None:
    lines = [
        "if self.lands_here(1, 2, 3, 4):",
        "    self.core.counts[pkt.ttl] += 1",
        "i = 3 if self.lands_here(1, 2, 3, 4) else 4",
        "self.core.counts[i] += 1",
    ]
    translated = with_prefetch(translate(own_nf(tmp_path, packet(*lines))), {("core", "counts")})
    assert [(access.text, access.ahead) for access in translated.accesses] == [
        ("self.core.counts[pkt.ttl]", True),
        ("self.core.counts[i]", False),
    ]
    assert translated.prefetch is not None
    assert "context" not in translated.prefetch.arguments
