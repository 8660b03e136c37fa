"""What an NF's source may be: every refusal with its line, and what the planner learns from what is accepted."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fajita.errors import InputError
from fajita.nf import NF
from fajita.translation import TranslatedNF, translate

HEAD = """\
from fajita import DROP, NF, PASS, five_tuple, flag, u8, u16, u64
import math

LIMIT = 10
HUGE = 1 << 64
NAMES = ["a"]
THIRTY = list(range(30))
MANY = list(range(33))
WIDE = [1 << 64]


def unchanged(method):
    return method


def passed(self, pkt, state):
    return PASS


class Own(NF):
    key = five_tuple
    weights = {"a": 1}

    class Params:
        numbers: list[int] = [1, 2]
        mode: str = "fast"
        on: bool = True
        ratio: float = 0.5

    class State:
        packets: u64
        port: u16
        seen: flag

    class Core:
        turn: u64

"""
#: The line of the file that the text after HEAD begins with.
FIRST = HEAD.count("\n") + 1

Translate = Callable[..., TranslatedNF]


@pytest.fixture
def translated(tmp_path: Path) -> Iterator[Translate]:
    """Translate the NF whose methods are given, from a file `own.py`."""

    def load(methods: str, head: str = HEAD, **params: object) -> TranslatedNF:
        path = tmp_path / "own.py"
        path.write_text(head + methods)
        specification = importlib.util.spec_from_file_location("own_nf_under_test", path)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules["own_nf_under_test"] = module
        specification.loader.exec_module(module)
        own: type[NF] = module.Own
        return translate(own(**params))

    yield load
    sys.modules.pop("own_nf_under_test", None)


def packet(*lines: str) -> str:
    """The method `packet` with these lines, the first of them in line FIRST + 1."""
    return "\n".join(["    def packet(self, pkt, state):", *(f"        {line}" for line in lines), ""])


def refused(translated: Translate, tmp_path: Path, methods: str) -> tuple[InputError, int]:
    """The error and how many lines after FIRST it is."""
    with pytest.raises(InputError) as caught:
        translated(methods)
    file, _, line = caught.value.where.rpartition(":")
    assert file == str(tmp_path / "own.py")
    return caught.value, int(line) - FIRST


@pytest.mark.parametrize(
    ("line", "what", "right"),
    [
        # Names that do not exist.
        ("state.packets = pkt.lenght", "a packet has no field lenght", "did you mean length"),
        ("state.packets += state.packet", "Own has no state packet", "did you mean packets?"),
        ("state.pakets = 1", "Own has no state pakets", "did you mean packets?"),
        ("self.core.tern += 1", "Own has no core variable tern", "did you mean turn?"),
        ("self.core.tern = 1", "Own has no core variable tern", "did you mean turn?"),
        ("pkt.dts = 1", "pkt.dts cannot be written", "did you mean dst or"),
        ("pkt.protocol = 6", "pkt.protocol cannot be written", "known:"),
        ("pkt.length = 6", "pkt.length cannot be written", "known:"),
        ("state.packets = count", "count is not known", ""),
        ("state.packets = self.number", "self.number is not a parameter", "did you mean numbers?"),
        ("state.packets = self.packet", "self.packet is not a parameter", "known:"),
        ("state.packets = self.core", "self.core has to be followed by a variable", "known: turn"),
        ("state.packets = math.pi", "`math.pi` is not known", ""),
        # Types that an NF does not compute with.
        ("state.packets = 1.5", "1.5 is a float; NFs compute with integers", "scale it"),
        ("state.packets = None", "`None` is not supported in an NF", ""),
        ("state.packets = b'a'", "`b'a'` is not supported in an NF", ""),
        ("state.packets = 1 << 64 | 18446744073709551616", "18446744073709551616 does not fit 64 bits", ""),
        ("state.packets = HUGE", "HUGE is 18446744073709551616, which does not fit 64 bits", ""),
        ("state.packets = WIDE[0]", "WIDE has an element that does not fit 64 bits", ""),
        ("state.packets = NAMES[0]", "NAMES is a list, which a packet cannot use", "derive integers from it"),
        ("state.packets = self.ratio", "self.ratio is a float, which a packet cannot use", "derive integers from it"),
        ("state.packets = self.weights", "self.weights is a dict, which a packet cannot use", "derive integers"),
        ("state.packets = self.numbers", "a list cannot be assigned", "integers and conditions can"),
        ("state.packets = self.mode", "a str cannot be assigned", "integers and conditions can"),
        ("state.packets = PASS", "a verdict cannot be assigned", "return it directly"),
        ("state.packets = self.mode + 1", "`self.mode` is a str where an integer is needed", ""),
        ("state.packets = pkt.is_tcp", "packets is a u64 and cannot hold a bool", "write 1 if x else 0"),
        ("state.seen = 1", "seen is a flag and cannot hold an int", "write x != 0"),
        ("pkt.ttl = pkt.is_tcp", "pkt.ttl is an integer, not a bool", ""),
        ("state.seen = pkt.is_tcp and 1", "`1` is an int in and/or", "compare it: x != 0"),
        ("state.seen = pkt.is_tcp == 1", "`pkt.is_tcp == 1` compares things of different types", ""),
        ("state.seen = self.mode == 1", "`self.mode == 1` cannot be decided", "compare a text parameter"),
        ("state.seen = self.mode < 'a'", "`self.mode < 'a'` cannot be decided", "compare a text parameter"),
        ("state.packets = 1 if pkt.is_tcp else False", "the two sides of `1 if pkt.is_tcp else False` are of", ""),
        # Operators and calls that there are not.
        ("state.packets = pkt.length / 2", "`pkt.length / 2` uses an operator that NFs do not have", "use //"),
        ("state.packets = pkt.length ** 2", "`pkt.length ** 2` uses an operator that NFs do not have", "multiply"),
        ("state.packets /= 2", "`state.packets / 2` uses an operator that NFs do not have", "use //"),
        ("state.seen = pkt.ttl in pkt.src", "`pkt.src` is not a list of integers", "in (53, 80)"),
        ("state.seen = pkt.ttl in (1, True)", "`True` is a bool where an integer is needed", ""),
        ("state.seen = pkt.is_tcp in (1, 2)", "`pkt.is_tcp` is a bool where an integer is needed", ""),
        ("state.seen = 1 < pkt.ttl in (2, 3)", "`1 < pkt.ttl in (2, 3)` is a chain of comparisons", "join them"),
        ("state.seen = pkt.ttl in MANY", "`in` looks through 33 elements one by one; at most 32", "loop: for i in"),
        ("state.seen = " + "(1 if " * 3 + "pkt.ttl" + " in THIRTY else 0)" * 3 + " in THIRTY", "`(1 if", ""),
        ("state.packets = 10 ** 20", "`10 ** 20` is not an integer of 64 bits", ""),
        ("state.packets = 2 ** (-1)", "`2 ** (-1)` is not an integer of 64 bits", ""),
        ("state.packets = 10 ** 10 ** 9", "`10 ** 10 ** 9` is not an integer", ""),
        ("state.seen = pkt.ttl is LIMIT", "`pkt.ttl is LIMIT` uses a comparison that NFs do not have", "==, !="),
        ("state.packets = hash(pkt.src)", "hash cannot be called in an NF", "known: min, max, abs, len"),
        ("state.packets = self.helper(1)", "self.helper cannot be called in an NF", "known: min"),
        ("state.packets = min(1)", "min has the wrong number of arguments", "abs takes one"),
        ("state.packets = abs(1, 2)", "abs has the wrong number of arguments", "abs takes one"),
        ("state.packets = min(1, 2, key=3)", "`min(1, 2, key=3)` has keyword arguments", ""),
        ("state.packets = min(*self.numbers)", "`*self.numbers` is not supported in an NF", "integers"),
        ("state.packets = len(pkt)", "pkt is not known", ""),
        ("state.packets = len(1)", "`len(1)` is not the length of a list or of the payload", ""),
        ("state.packets = len()", "`len()` is not the length of a list or of the payload", ""),
        ("state.packets = pkt.payload", "a packet has no field payload", "did you mean payload"),
        ("state.packets = pkt.ttl[0]", "`pkt.ttl` cannot be indexed", "only lists"),
        ("state.packets = [1, 2]", "`[1, 2]` is not supported in an NF", "integers"),
        ("state.packets = (lambda: 1)()", "lambda: 1 cannot be called in an NF", "known: min"),
        ("state.packets = (x := 1)", "`(x := 1)` is not supported in an NF", "integers"),
        ("state.packets = f'{pkt.ttl}'", "`f'{pkt.ttl}'` is not supported in an NF", "integers"),
        # Statements that there are not.
        ("while pkt.ttl: pass", "`while` is not supported in an NF", "assignments, if, for over range, return"),
        ("with pkt: pass", "`with` is not supported in an NF", "assignments"),
        ("import os", "`import` is not supported in an NF", "assignments"),
        ("global LIMIT", "`global` is not supported in an NF", "assignments"),
        ("del state.packets", "`delete` is not supported in an NF", "assignments"),
        ("assert pkt.ttl", "`assert` is not supported in an NF", "assignments"),
        ("raise ValueError", "`raise` is not supported in an NF", "assignments"),
        ("def inner(): pass", "`functiondef` is not supported in an NF", "assignments"),
        ("pkt.ttl", "`pkt.ttl` has no effect", "assign or return it"),
        ("print(pkt.ttl)", "`print(pkt.ttl)` has no effect", "assign or return it"),
        ("pkt.drop('why')", "`pkt.drop('why')` has no effect", "assign or return it"),
        ("for x in self.numbers: pass", "a loop has to be `for name in range(...)`", ""),
        ("for x, y in range(3): pass", "a loop has to be `for name in range(...)`", ""),
        ("for x in range(3, 5, pkt.ttl): pass", "the step of range has to be a number known beforehand", ""),
        ("for x in range(3, 5, 0): pass", "the step of range has to be a number known beforehand", ""),
        ("for x in range(pkt.is_tcp): pass", "`pkt.is_tcp` is a bool where an integer is needed", ""),
        # Records.
        ("self.emit()", "`self.emit()` does not emit the state", "self.emit(state)"),
        ("self.emit(pkt)", "`self.emit(pkt)` does not emit the state", "self.emit(state)"),
        ("self.emit(state, 1)", "`self.emit(state, 1)` does not emit the state", "self.emit(state)"),
        ("self.emit(state=state)", "`self.emit(state=state)` does not emit the state", "self.emit(state)"),
        ("state.packets = self.emit(state)", "self.emit gives no value", "write self.emit(state) on a line of its own"),
        ("state.packets = self.emit", "self.emit is not a parameter", ""),
        ("for i in range(2): self.emit(state)", "self.emit in a loop: nothing bounds its records", "emit before the"),
        # Assignments.
        ("a = b = 1", "one assignment assigns to several targets", "write one line for each"),
        ("a, b = 1", "both sides of an assignment need the same number of values", ""),
        ("a, b = 1, 2, 3", "both sides of an assignment need the same number of values", ""),
        ("a: int", "a declaration needs a variable and a value", "count: int = 0"),
        ("self.turn = 1", "`self.turn` cannot be assigned to", "only pkt, state and self.core change per packet"),
        ("self.core = 1", "`self.core` cannot be assigned to", "only pkt, state and self.core"),
        ("self.numbers[0] = 1", "`self.numbers[0]` cannot be assigned to", ""),
        ("self.numbers[0] += 1", "`self.numbers[0]` cannot be assigned to", "elements of lists"),
        ("pkt.payload[0] = 1", "`pkt.payload[0]` cannot be assigned to", ""),
        ("self = 1", "self cannot be replaced", ""),
        ("pkt = 1", "pkt cannot be replaced", ""),
        ("state = 1", "state cannot be replaced", ""),
        # Verdicts.
        ("return", "packet returns nothing", "return PASS, DROP or pkt.drop"),
        ("return 1", "packet returns `1`", "return PASS, DROP or pkt.drop"),
        ("return True", "packet returns `True`", "return PASS, DROP or pkt.drop"),
        ("return pkt.drop()", "pkt.drop needs the reason as text", 'pkt.drop("over rate")'),
        ("return pkt.drop(self.mode)", "pkt.drop needs the reason as text", 'pkt.drop("over rate")'),
        ("return pkt.drop('a', 'b')", "pkt.drop needs the reason as text", 'pkt.drop("over rate")'),
    ],
)
def test_line_that_is_refused(translated: Translate, tmp_path: Path, line: str, what: str, right: str) -> None:
    methods = packet("x1 = 1", "", "# a comment", line, "x2 = 1", "return PASS")
    error, after = refused(translated, tmp_path, methods)
    assert error.what.startswith(what)
    assert error.right.startswith(right)
    assert after == 4


@pytest.mark.parametrize(
    ("lines", "what", "line"),
    [
        (["if pkt.is_tcp:", "    x = 1", "state.packets = x", "return PASS"], "x may not have a value here", 3),
        (["for i in range(3):", "    x = i", "state.packets = x", "return PASS"], "x may not have a value here", 3),
        (["for i in range(3):", "    pass", "state.packets = i", "return PASS"], "i may not have a value here", 3),
        (["x += 1", "return PASS"], "x is not known", 1),
        (["x = 1", "x = pkt.is_tcp", "return PASS"], "x is an int and cannot become a bool", 2),
        (
            ["x = pkt.is_tcp", "for x in range(2):", "    pass", "return PASS"],
            "x is a bool and cannot become an int",
            2,
        ),
        (["return PASS", "x = 1"], "this line is never reached", 2),
        (
            ["for i in range(3):", "    if pkt.ttl == i:", "        self.emit(state)", "return PASS"],
            "self.emit in a loop: nothing bounds its records",
            3,
        ),
        (["for i in range(3):", "    break", "    x = 1", "return PASS"], "this line is never reached", 3),
        (["x = (1 +", "     2 +", "     3.5)", "return PASS"], "3.5 is a float", 3),
        (['"""Text', "that goes on.", '"""', "x = y", "return PASS"], "y is not known", 4),
        (["if pkt.is_tcp:", "    return PASS"], "Own.packet can end without a verdict", 0),
        (["for i in range(3):", "    return PASS"], "Own.packet can end without a verdict", 0),
        (["if pkt.is_tcp:", "    return PASS", "else:", "    state.packets = 1"], "Own.packet can end without", 0),
    ],
)
def test_body_that_is_refused(translated: Translate, tmp_path: Path, lines: list[str], what: str, line: int) -> None:
    error, after = refused(translated, tmp_path, packet(*lines))
    assert error.what.startswith(what)
    assert after == line


@pytest.mark.parametrize(
    ("signature", "right"),
    [
        ("packet(self)", "def packet(self, pkt, state)"),
        ("packet(self, pkt)", "def packet(self, pkt, state)"),
        ("packet(self, pkt, state, more)", "def packet(self, pkt, state)"),
        ("packet(self, pkt, state=None)", "def packet(self, pkt, state)"),
        ("packet(self, *both)", "def packet(self, pkt, state)"),
        ("packet(self, pkt, state, **more)", "def packet(self, pkt, state)"),
        ("packet(self, pkt, *, state)", "def packet(self, pkt, state)"),
    ],
)
def test_wrong_parameters_of_packet(translated: Translate, tmp_path: Path, signature: str, right: str) -> None:
    error, after = refused(translated, tmp_path, f"    def {signature}:\n        return PASS\n")
    assert (error.what, error.right, after) == ("Own.packet has the wrong parameters", right, 0)


@pytest.mark.parametrize(
    ("hook", "right"),
    [
        ("new_flow(self, state)", "def new_flow(self, pkt, state)"),
        ("expire(self, pkt, state)", "def expire(self, state)"),
    ],
)
def test_wrong_parameters_of_other_hooks(translated: Translate, tmp_path: Path, hook: str, right: str) -> None:
    methods = f"{packet('return PASS')}\n    def {hook}:\n        pass\n"
    error, after = refused(translated, tmp_path, methods)
    assert (error.right, after) == (right, 3)
    assert error.what.endswith("has the wrong parameters")


@pytest.mark.parametrize("value", ["PASS", "1", "pkt.drop('why')"])
def test_other_hooks_return_nothing(translated: Translate, tmp_path: Path, value: str) -> None:
    methods = f"{packet('return PASS')}\n    def new_flow(self, pkt, state):\n        return {value}\n"
    error, after = refused(translated, tmp_path, methods)
    assert (error.what, after) == ("new_flow returns nothing", 4)


@pytest.mark.parametrize(
    "methods",
    [
        "    packet = lambda self, pkt, state: PASS\n",
        "    async def packet(self, pkt, state):\n        return PASS\n",
        "    @unchanged\n    def packet(self, pkt, state):\n        return PASS\n",
        "    @staticmethod\n    def packet(pkt, state):\n        return PASS\n",
    ],
)
def test_what_is_not_a_plain_method(translated: Translate, tmp_path: Path, methods: str) -> None:
    error, after = refused(translated, tmp_path, methods)
    assert (error.what, after) == ("Own.packet is not a plain method", 0)


def test_method_without_source() -> None:
    names: dict[str, type[NF]] = {}
    exec("from fajita import NF, PASS\nclass Own(NF):\n    def packet(self, pkt): return PASS\n", names)
    with pytest.raises(InputError, match=r"the source of Own\.packet cannot be found; define the class in a file"):
        translate(names["Own"]())


def test_comments_and_text_at_the_left_edge_do_not_confuse(translated: Translate, tmp_path: Path) -> None:
    methods = (
        '    def packet(self, pkt, state):\n        """One\ntwo."""\n# three\n        x = y\n        return PASS\n'
    )
    error, after = refused(translated, tmp_path, methods)
    assert (error.what, after) == ("y is not known", 4)
    translated(methods.replace("x = y", "x = 1"))


def test_function_of_the_module_as_method(translated: Translate) -> None:
    assert translated("    packet = passed\n").hooks["packet"].lines == ("    return 0",)


def test_names_of_the_parameters_are_free(translated: Translate) -> None:
    planned = translated("    def packet(self, p, s):\n        s.packets += p.length\n        return PASS\n")
    assert planned.hooks["packet"].arguments == ("length", "state")


def test_fields_read_and_written(translated: Translate) -> None:
    planned = translated(packet("pkt.ttl = pkt.ttl - 1", "state.port = pkt.src_port", "return PASS"))
    assert planned.reads == {"ttl", "src_port"}
    assert planned.writes == {"ttl"}


def test_reasons_are_numbered_in_the_order_they_stand(translated: Translate) -> None:
    planned = translated(
        packet(
            "if pkt.ttl == 0:",
            "    return pkt.drop('ttl')",
            "if pkt.is_tcp:",
            "    return DROP",
            "return PASS if pkt.is_udp else pkt.drop('ttl')",
        )
    )
    assert planned.reasons == ("ttl", "dropped")
    assert planned.may_drop
    assert [line.split()[-1] for line in planned.hooks["packet"].lines if "return" in line][:2] == ["1", "2"]


def test_nf_that_only_passes_cannot_drop(translated: Translate) -> None:
    assert not translated(packet("return PASS")).may_drop


def test_parameters_decide_which_branch_is_compiled(translated: Translate) -> None:
    methods = packet("if self.mode == 'fast':", "    return PASS", "return pkt.drop('slow')")
    assert not translated(methods).may_drop
    assert translated(methods, mode="slow").reasons == ("slow",)


def test_text_parameter_may_decide_with_not_and_or(translated: Translate) -> None:
    methods = packet("return DROP if not self.on or self.mode != 'fast' and pkt.is_tcp else PASS")
    assert not translated(methods).may_drop
    assert translated(methods, on=False).may_drop


@pytest.mark.parametrize(
    ("write", "new_flow", "per_flow"),
    [
        ("pkt.dst = state.port", "state.port = 1", True),
        ("pkt.dst = self.numbers[0]", "pass", True),
        ("pkt.dst = LIMIT", "pass", False),
        ("pkt.dst = pkt.src", "pass", False),
        ("pkt.dst += 1", "pass", False),
        ("pkt.dst = self.core.turn", "pass", False),
        ("if pkt.is_tcp: pkt.dst = state.port", "pass", False),
        ("state.port += 1; pkt.dst = state.port", "pass", False),
        ("pkt.src, pkt.dst = pkt.dst, pkt.src", "pass", False),
        ("pass", "pkt.dst = 1", False),
    ],
)
def test_rewrite_is_per_flow_if_it_depends_on_nothing_that_changes(
    translated: Translate, write: str, new_flow: str, per_flow: bool
) -> None:
    methods = f"{packet(write, 'return PASS')}\n    def new_flow(self, pkt, state):\n        {new_flow}\n"
    assert translated(methods).rewrites_per_flow is per_flow


def test_rewrite_after_a_possible_drop_is_not_for_every_packet(translated: Translate) -> None:
    planned = translated(packet("if pkt.ttl == 0:", "    return DROP", "pkt.dst = state.port", "return PASS"))
    assert not planned.rewrites_per_flow


def test_origin_of_a_function_is_told_in_the_kernel(translated: Translate, tmp_path: Path) -> None:
    hook = translated(packet("return PASS")).hooks["packet"]
    assert hook.origin == f"Own.packet, {tmp_path / 'own.py'}:{FIRST}"
    assert hook.text().splitlines()[1] == "def own_packet():"
    assert hook.call() == "own_packet()"


def test_records_are_counted_by_where_they_are_emitted(translated: Translate) -> None:
    methods = packet(
        "if self.on:", "    self.emit(state)", "for i in range(3): pass", "self.emit(state)", "return PASS"
    )
    expire = "    def expire(self, old):\n        if self.mode == 'slow':\n            self.emit(old)\n"
    assert translated(methods + expire).emits == {"packet": 2, "expire": 0}
    planned = translated(methods + expire, on=False, mode="slow")
    assert planned.emits == {"packet": 1, "expire": 1}
    assert planned.may_emit
    assert planned.hooks["expire"].arguments == ("state", "records")
    assert not translated(packet("return PASS") + expire).may_emit


def test_an_nf_without_a_key_has_nothing_to_emit(translated: Translate) -> None:
    no_key = HEAD.replace("key = five_tuple", "key = None").replace("    class State:", "    class Unused:")
    assert no_key != HEAD
    with pytest.raises(InputError, match="Own keeps no state that it could emit; give it a key and State"):
        translated("    def packet(self, pkt):\n        self.emit(1)\n        return PASS\n", head=no_key)


def test_fields_that_are_stored_are_known_and_others_read_as_zero(translated: Translate) -> None:
    reading = "state.port = state.packets + 2 if not state.seen else 3"
    kept = translated(packet("if self.on:", "    state.packets = 1", reading, "return PASS"))
    assert kept.stored == {"packets", "port"}
    assert any("state_packets)" in line for line in kept.hooks["packet"].lines)
    planned = translated(packet("if self.on:", "    state.packets = 1", reading, "return PASS"), on=False)
    assert planned.stored == {"port"}
    assert planned.hooks["packet"].lines[1].endswith("__state_port, ((0 + 2) if (not False) else 3))")


def test_a_field_that_another_method_stores_is_stored(translated: Translate) -> None:
    methods = packet("state.port = state.packets", "return PASS")
    assert translated(methods + "    def expire(self, state):\n        state.packets = 1\n").stored == {
        "packets",
        "port",
    }


def test_the_other_direction_is_known_where_there_is_none(translated: Translate) -> None:
    body = packet("if pkt.forward:", "    state.packets += 1", "else:", "    state.port += 1", "return PASS")
    assert translated(body).stored == {"packets"}
    both = HEAD.replace("five_tuple", "connection")
    assert translated(body, head=both).stored == {"packets", "port"}


@pytest.mark.parametrize(
    "body",
    [
        ["x = 1", "if pkt.is_tcp:", "    x = 2", "else:", "    return DROP", "state.packets = x", "return PASS"],
        ["if pkt.is_tcp:", "    x = 1", "else:", "    x = 2", "state.packets = x", "return PASS"],
        ["for i in range(10, 0, -2):", "    if i == 4:", "        continue", "    state.packets += i", "return PASS"],
        ["a, b = pkt.src, pkt.dst", "pkt.src, pkt.dst = b, a", "return PASS"],
        ["state.seen = pkt.ttl in (1, LIMIT, pkt.dst) and pkt.dst not in self.numbers", "return PASS"],
        ["state.seen = pkt.ttl in THIRTY or pkt.ttl in [] or pkt.ttl in {5}", "return PASS"],
        ["state.packets = 10**9 + 2**63 + (-2) ** 63", "return PASS"],
        ["count: int = 1", "state.packets = -count if not pkt.is_tcp else ~count", "return PASS"],
        ["state.seen = 1 < pkt.ttl <= LIMIT and not state.seen", "return PASS"],
        [
            "state.packets = pkt.payload[0] + len(pkt.payload) + self.numbers[pkt.ttl] + len(self.numbers)",
            "return PASS",
        ],
        ["if pkt.ttl:", "    return PASS", "elif pkt.is_udp:", "    return DROP", "else:", "    return PASS"],
        ["read_src, table, frame = 1, 2, 3", "return PASS"],
    ],
)
def test_body_that_is_accepted(translated: Translate, body: list[str]) -> None:
    assert translated(packet(*body)).hooks["packet"].lines
