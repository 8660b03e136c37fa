"""What the methods that an NF's hooks call become, and what is refused, with file and line."""

import ast
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fajita import PASS, Chain
from fajita.errors import InputError
from fajita.translation.own_calls import find_hook, is_own
from tests.own_nf import load_own

HEAD = """\
from fajita import NF, PASS, five_tuple, u64

turn = 3

class Own(NF):
    key = five_tuple
    class State:
        packets: u64
    def packet(self, pkt, state):
"""

Expanded = Callable[..., str]


@pytest.fixture
def expanded(tmp_path: Path) -> Expanded:
    """The body of `packet` with what it calls; given are its lines, and the other methods."""

    def expand(body: str, methods: str) -> str:
        indented = [textwrap.indent(textwrap.dedent(text), " " * by) for text, by in ((body, 8), (methods, 4))]
        nf = load_own(tmp_path, HEAD + "".join(indented))
        hook = find_hook(type(nf), "packet")
        assert hook is not None
        return "\n".join(ast.unparse(statement) for statement in hook.tree.body)

    return expand


def test_a_returned_call_is_the_methods_body(expanded: Expanded) -> None:
    method = "def judged(self, p):\n    if p.ttl:\n        return p.drop('why')\n    return PASS\n"
    assert expanded("return self.judged(pkt)\n", method) == "if pkt.ttl:\n    return pkt.drop('why')\nreturn PASS"


def test_what_comes_after_the_end_of_a_method_is_not_the_callers_next_line(expanded: Expanded) -> None:
    body = "if pkt.ttl:\n    return self.judged(pkt)\nreturn PASS\n"
    shown = "if pkt.ttl:\n    if pkt.ttl > 3:\n        return PASS\n    return\nreturn PASS"
    assert expanded(body, "def judged(self, p):\n    if p.ttl > 3:\n        return PASS\n") == shown


def test_a_value_is_assigned_on_every_path(expanded: Expanded) -> None:
    method = "def kind(self, x):\n    if x > 3:\n        return 1\n    x += 2\n    return x\n"
    assert expanded("k = self.kind(pkt.ttl)\nreturn PASS\n", method) == textwrap.dedent("""\
        x_1 = pkt.ttl
        if x_1 > 3:
            kind_1 = 1
        else:
            x_1 += 2
            kind_1 = x_1
        k = kind_1
        return PASS""")


def test_what_follows_an_if_that_may_return_is_done_on_both_of_its_sides(expanded: Expanded) -> None:
    method = "def f(self, a):\n    if a:\n        if a > 1:\n            return 1\n        a = 2\n    return a\n"
    assert expanded("x = self.f(pkt.ttl)\nreturn PASS\n", method) == textwrap.dedent("""\
        a_1 = pkt.ttl
        if a_1:
            if a_1 > 1:
                f_1 = 1
            else:
                a_1 = 2
                f_1 = a_1
        else:
            f_1 = a_1
        x = f_1
        return PASS""")


def test_a_call_may_be_what_is_evaluated_first(expanded: Expanded) -> None:
    body = "if not self.f() > 3 and pkt.ttl:\n    pass\nelif min(self.f(), 2): pass\n"
    body += "return PASS if 1 + self.f() else PASS\n"
    assert expanded(body, "def f(self):\n    return 1\n") == textwrap.dedent("""\
        f_1 = 1
        if not f_1 > 3 and pkt.ttl:
            pass
        else:
            f_2 = 1
            if min(f_2, 2):
                pass
        f_3 = 1
        return PASS if 1 + f_3 else PASS""")


def test_too_much_is_refused(expanded: Expanded) -> None:
    methods = "".join(f"def f{n}(self):\n    self.f{n + 1}()\n    self.f{n + 1}()\n" for n in range(13))
    with pytest.raises(InputError, match=r"packet has more than 5,000 statements with all that it calls; call less"):
        expanded("self.f0()\nreturn PASS\n", methods + "def f13(self):\n    pass\n")


def test_variables_and_parameters_of_a_method_are_its_own(expanded: Expanded) -> None:
    method = "def twice(self, y):\n    x = y\n    return x + x\n"
    shown = "x = 1\nx_1 = x\ntwice_1 = x_1 + x_1\ny = twice_1\nx_2 = y\ntwice_2 = x_2 + x_2\nz = twice_2\nreturn PASS"
    assert expanded("x = 1\ny = self.twice(x)\nz = self.twice(y)\nreturn PASS\n", method) == shown


def test_a_hook_that_calls_nothing_is_as_it_is(expanded: Expanded) -> None:
    assert expanded("return PASS\n", "def f(self):\n    return 1\n") == "return PASS"


def test_what_is_fajitas_is_not_the_nfs_own(tmp_path: Path) -> None:
    own = type(load_own(tmp_path, HEAD + "        return PASS\n    def f(self):\n        return 1\n"))
    assert [is_own(own, name) for name in ("f", "random", "emit", "prepare", "params", "g")] == [True] + [False] * 5


@pytest.mark.parametrize(
    ("body", "methods", "line", "what", "right"),
    [
        (
            "x = pkt.ttl + self.f()",
            "def f(self):\n    return 1",
            10,
            "self.f is called within an expression",
            "value =",
        ),
        (
            "x = max(pkt.ttl, self.f())",
            "def f(self):\n    return 1",
            10,
            "self.f is called within an expression",
            "value =",
        ),
        ("x = 1\nx += self.f()", "def f(self):\n    return 1", 11, "self.f is called within an expression", "value ="),
        ("if pkt.ttl and self.f(): pass", "def f(self):\n    return 1", 10, "self.f is called within an", "value ="),
        (
            "for x in range(1, self.f()): pass",
            "def f(self):\n    return 1",
            10,
            "self.f is called within an",
            "value =",
        ),
        (
            "x = self.f(1)",
            "def f(self):\n    return 1",
            10,
            "`self.f(1)` gives other arguments than f takes",
            "self.f()",
        ),
        ("x = self.f(a=1)", "def f(self, a):\n    return 1", 10, "`self.f(a=1)` gives other arguments", "self.f(a)"),
        (
            "x = self.f()",
            "def f(self, a=1):\n    return 1",
            12,
            "f has parameters that a call in an NF cannot",
            "def f(",
        ),
        ("x = self.f()", "def f(self):\n    if turn:\n        return 1", 10, "self.f can end without a value", "path"),
        ("x = self.f()", "def f(self):\n    return", 13, "self.f returns nothing here", "return a value"),
        ("self.f()", "def f(self):\n    return 1", 13, "self.f returns something that is not taken here", "assign it"),
        ("x = self.f(1)", "def f(self, a):\n    return self.f(a)", 13, "self.f calls itself", "write a loop"),
        (
            "x = self.f()",
            "def f(self):\n    return self.g()\ndef g(self):\n    return self.f()",
            15,
            "self.f calls",
            "",
        ),
        (
            "x = self.f(2)",
            "def f(self, a):\n    for i in range(a):\n        if i:\n            return i\n    return 0",
            13,
            "f returns from within a loop, and gives a value",
            "break, and return after the loop",
        ),
    ],
)
def test_what_is_refused(
    expanded: Expanded, tmp_path: Path, body: str, methods: str, line: int, what: str, right: str
) -> None:
    with pytest.raises(InputError) as caught:
        expanded(f"{body}\nreturn PASS\n", f"{methods}\n")
    assert what in str(caught.value)
    assert right in str(caught.value)
    assert f"{tmp_path / 'own.py'}:{line}:" in str(caught.value)


def test_names_of_the_module_are_those_of_the_method(expanded: Expanded) -> None:
    shown = "turn = 1\nf_1 = turn_1\nx = f_1\nreturn PASS"
    assert expanded("turn = 1\nx = self.f()\nreturn PASS\n", "def f(self):\n    return turn\n") == shown


def derived(folder: Path, method: str) -> type:
    """An NF whose `packet` calls a method that is in another file, with other names."""
    (folder / "base").mkdir()
    base = type(load_own(folder / "base", HEAD + "        return self.f(pkt)\n"))
    (folder / "derived.py").write_text(f"turn, more = 5, 6\nclass Derived(Own):\n{textwrap.indent(method, '    ')}\n")
    names: dict[str, Any] = {"Own": base, "PASS": PASS}
    exec(compile((folder / "derived.py").read_text(), str(folder / "derived.py"), "exec"), names)
    made: type = names["Derived"]
    return made


def test_a_method_in_another_file_has_the_names_of_that(tmp_path: Path) -> None:
    nf_class = derived(tmp_path, "def f(self, p):\n    p.ttl = turn + more\n    return PASS\n")
    hook = find_hook(nf_class, "packet")
    assert hook is not None
    assert ast.unparse(hook.tree.body[0]) == "pkt.ttl = turn_1 + more"
    assert (hook.names["turn_1"], hook.names["more"], hook.names["turn"]) == (5, 6, 3)


def test_what_is_wrong_in_another_file_is_said_with_its_line(tmp_path: Path) -> None:
    nf_class = derived(tmp_path, "def f(self, p):\n    p.ttl = turn / more\n    return PASS\n")
    with pytest.raises(InputError, match=rf"{tmp_path / 'derived.py'}:4: `turn_1 / more` uses an operator"):
        Chain([nf_class()]).plan  # noqa: B018 - it translates
