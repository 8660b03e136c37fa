"""Sources of random NFs: every operator, field and type that NF source may use, in no sensible order.

The values do not matter; that CPython and the compiled kernel compute the same ones does.
"""

import importlib.util
import random
import sys
from pathlib import Path

from fajita.nf import NF
from fajita.packet import FACTS, FIELDS, FLAGS, FLOW_PORTS, FORWARD, METADATA, QUOTED, RELATED, TESTS

_WRITABLE = [*(name for name, field in FIELDS.items() if field.write_layer), *METADATA]
_WRITABLE += [name for name, field in QUOTED.items() if field.is_writable]
_INTEGER_TYPES = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "ipv4", "mac")
#: Some are declared with what they are merged by, which matters to what they begin as.
_DECLARED = {kind: kind for kind in _INTEGER_TYPES} | {"u16": "Min[u16]", "u32": "Sum[u32]", "u64": "Min[u64]"}
_LITERALS = (
    0,
    1,
    2,
    7,
    63,
    64,
    255,
    0x7FFF,
    0xFFFF,
    1 << 31,
    (1 << 32) - 1,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
)
_OPERATORS = ("+", "-", "*", "//", "%", "<<", ">>", "&", "|", "^")
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")

_KEYS = (
    "five_tuple",
    "connection",
    "connection",
    "source",
    "source_prefix(20)",
    "vlan",
    "everything",
    'key_of("dscp", "dst_port", "src")',
    'key_of("eth_src", "eth_dst", "tcp_sequence", "ttl")',
)

_HEAD = """\
from fajita import DROP, NF, PASS, Layer, connection, everything, flag, five_tuple, key_of, source, source_prefix, vlan
from fajita import LOOK_UP, Array, Bits, Map, Min, Sum, hash_of
from fajita import i8, i16, i32, i64, ipv4, mac, u8, u16, u32, u64

LIMIT = 0x123456789ABCDEF0


class RandomNF(NF):
    key = {key}

    class Params:
        values: list[int] = [1, -1, 9223372036854775807, -9223372036854775808, 5]
        step: int = 3
        width: int = 7

    class State:
{state}
        seen: flag
        marks: Bits[21]
        expire_in: i64

    class Core:
{core}
        odd: flag
        flags: Array[flag, "width"]
        one: Map[1, 3]
        two: Map[2, "width"]
        four: Map[4, 1]
"""
#: Words of the keys of its maps.
_MAPS = {"one": 1, "two": 2, "four": 4}


class _Writer:
    """Writes one NF; every choice comes from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.locals: list[str] = []
        #: Whether what is written has a state.
        self.stateful = True
        #: Elements in indices of elements.
        self.nesting = 0

    def source(self) -> str:
        # Some states span more lines than are prefetched with an entry.
        long = self.random.choice((3, 100))
        state = "\n".join(f"        s_{kind}: {declared}" for kind, declared in _DECLARED.items())
        state += "".join(f"\n        a_{kind}: Array[{declared}, {long}]" for kind, declared in _DECLARED.items())
        core = "\n".join(f"        c_{kind}: {declared}" for kind, declared in _DECLARED.items())
        core += "".join(f'\n        a_{kind}: Array[{declared}, "width"]' for kind, declared in _DECLARED.items())
        key = self.random.choice(_KEYS)
        parts = [_HEAD.format(key=key, state=state, core=core)]
        if self.random.random() < 0.5:
            self.stateful = False
            verdict = self._verdict().replace("PASS", "LOOK_UP")
            parts += self._method("before_lookup", "pkt", 6, packet=True, last=f"return {verdict}")
            self.stateful = True
        parts += self._method("new_flow", "pkt, state", 4, packet=True)
        parts += self._method("expire", "state", 3, packet=False)
        parts += self._method("packet", "pkt, state", 14, packet=True, last="return " + self._verdict())
        if self.random.random() < 0.5:
            parts += self._method("error", "pkt, state", 8, packet=True, last="return " + self._verdict())
        return "\n".join(parts) + "\n"

    def _method(self, name: str, parameters: str, statements: int, *, packet: bool, last: str = "return") -> list[str]:
        self.packet, self.locals = packet, []
        lines = ["", f"    def {name}(self, {parameters}):"]
        for _ in range(statements):
            lines += self._statement(2, name in ("packet", "before_lookup", "error"))
            if name == "error" or not self.stateful:
                continue
            if self.random.random() < 0.1:
                lines += ["        self.emit(state)"]
            elif self.random.random() < 0.1:
                lines += [f"        if {self._condition(2)}:", "            self.emit(state)"]
        return [*lines, f"        {last}"]

    def _verdict(self) -> str:
        self.packet, self.locals = True, []
        return self.random.choice(("PASS", f'PASS if {self._condition(2)} else pkt.drop("why")'))

    def _statement(self, level: int, may_return: bool) -> list[str]:
        pad, choice = "    " * level, self.random.random()
        if choice < 0.25:
            return [f"{pad}{self._target()} {self.random.choice((*_OPERATORS, ''))}= {self._integer(3)}"]
        if choice < 0.35:
            name = f"local{len(self.locals)}"
            line = f"{pad}{name} = {self._integer(3)}"
            if level == 2:
                self.locals.append(name)
            return [line]
        if choice < 0.5 and self.packet:
            return [f"{pad}pkt.{self.random.choice(_WRITABLE)} = {self._integer(2)}"]
        if choice < 0.55:
            flags = ["self.core.odd", f"self.core.flags[{self._index()}]"]
            if self.stateful:
                flags += ["state.seen", f"state.marks[{self._index()}]"]
            return [f"{pad}{self.random.choice(flags)} = {self._condition(2)}"]
        if choice < 0.6:
            return [f"{pad}{self._target()}, {self._target()} = {self._integer(2)}, {self._integer(2)}"]
        if choice < 0.62:
            return [f"{pad}{self._change_of_map()}"]
        if choice < 0.72 and level < 4:
            bounds = self.random.choice(("{0} & 7", "-3, {0} & 7", "{0} & 7, -2, -1", "0, {0} & 15, 3"))
            loop = f"step{level}"
            lines = [f"{pad}for {loop} in range({bounds.format(f'({self._integer(1)})')}):"]
            self.locals.append(loop)
            lines += self._statement(level + 1, may_return)
            if self.random.random() < 0.3:
                lines += [
                    f"{pad}    if {self._condition(1)}:",
                    f"{pad}        {self.random.choice(('break', 'continue'))}",
                ]
            self.locals.remove(loop)
            return lines
        if level >= 4:
            return [f"{pad}pass"]
        if may_return and choice < 0.75:
            # Compared integers are decided by the packet, so that what follows can be reached.
            test = f"{self._integer(3)} {self.random.choice(_COMPARISONS)} {self._integer(3)}"
            verdict = self.random.choice(("PASS", "DROP", 'pkt.drop("first")') + ("LOOK_UP",) * (not self.stateful))
            return [f"{pad}if {test}:", *self._statement(level + 1, False), f"{pad}    return {verdict}"]
        lines = [f"{pad}if {self._condition(3)}:", *self._statement(level + 1, may_return)]
        if self.random.random() < 0.5:
            lines += [f"{pad}else:", *self._statement(level + 1, may_return)]
        return lines

    def _target(self) -> str:
        if self.stateful and self.random.random() < 0.03:
            return "state.expire_in"
        area, short = self.random.choice((("state", "s"), ("self.core", "c"))[0 if self.stateful else 1 :])
        if self.random.random() < 0.3:
            return f"{area}.a_{self.random.choice(_INTEGER_TYPES)}[{self._index()}]"
        return f"{area}.{short}_{self.random.choice(_INTEGER_TYPES)}"

    def _map_call(self, method: str) -> str:
        name = self.random.choice(tuple(_MAPS))
        # Of few keys, so that there are some to be found.
        arguments = [f"{self._leaf_of_key()} & 3" for _ in range(_MAPS[name])]
        arguments += [self._leaf_of_key()] * (method == "set")
        return f"self.core.{name}.{method}({', '.join(arguments)})"

    def _leaf_of_key(self) -> str:
        names = [*self.locals, "self.core.c_u8", "self.core.c_i64", "len(self.core.two)", "5", "-1"]
        return self.random.choice(names + ["pkt.src_port", "pkt.length", "pkt.src"] * self.packet)

    def _change_of_map(self) -> str:
        return self._map_call(self.random.choice(("set", "set", "remove")))

    def _index(self) -> str:
        """Of an element: a small number mostly, as arrays are short."""
        self.nesting += 1
        number = self._integer(1) if self.nesting < 3 else "2"
        self.nesting -= 1
        return self.random.choice((f"{number} & 7", f"{number} % 101", number))

    def _integer(self, depth: int) -> str:
        choice = self.random.random()
        if depth == 0 or choice < 0.2:
            return self._leaf()
        if choice < 0.7:
            return f"({self._integer(depth - 1)} {self.random.choice(_OPERATORS)} {self._integer(depth - 1)})"
        if choice < 0.8:
            return f"({self.random.choice('-~+')}{self._integer(depth - 1)})"
        if choice < 0.9:
            function = self.random.choice(("min({}, {})", "max({}, {})", "abs({})", "min({}, {}, {})"))
            return function.format(*(self._integer(depth - 1) for _ in range(3)))
        return f"({self._integer(depth - 1)} if {self._condition(depth - 1)} else {self._integer(depth - 1)})"

    def _leaf(self) -> str:
        choices = [
            str(self.random.choice(_LITERALS)),
            "LIMIT",
            "self.step",
            "len(self.values)",
            "10**9",
            self._target(),
        ]
        choices += self.random.sample(self.locals, min(2, len(self.locals)))
        choices.append(f"self.values[{self.random.choice((-1, 0, 2, 4, 5))}]")
        choices += [f"self.random({self.random.choice(_LITERALS)})", "len(self.core.flags)"]
        choices += ["len(state.marks)"] * self.stateful
        kept = "state.s_i8" if self.stateful else "self.core.c_i8"
        choices.append(f"{kept}.bit_length()")
        choices.append(f"hash_of({', '.join(self.random.choices(('1', 'self.step', kept), k=3))})")
        if self.packet:
            names = [*FIELDS, *FACTS, *QUOTED, *FLOW_PORTS, *FLOW_PORTS]
            choices += [f"pkt.{name}" for name in self.random.sample(names, 4)]
            choices += [f"pkt.{self.random.choice([*METADATA])}"]
            choices += [f"pkt.payload[{self.random.choice((-1, 0, 3, 1500))}]", "len(pkt.payload)"]
            choices += ["self.values[pkt.src_port & 7]", "pkt.payload[pkt.src & 3]"]
            choices += [f"pkt.tcp_options[{self.random.choice((-1, 0, 3, 39))}]", "len(pkt.tcp_options)"]
        choices += [self._map_call("get"), "len(self.core.one)"]
        return self.random.choice(choices)

    def _condition(self, depth: int) -> str:
        choice = self.random.random()
        if depth > 0 and choice < 0.3:
            return f"({self._condition(depth - 1)} {self.random.choice(('and', 'or'))} {self._condition(depth - 1)})"
        if depth > 0 and choice < 0.4:
            return f"(not {self._condition(depth - 1)})"
        if choice < 0.47:
            among = self.random.choice(("self.values", f"({self._integer(1)}, {self._pure(0)}, 80)"))
            return f"({self._pure(1)} {self.random.choice(('in', 'not in'))} {among})"
        if choice < 0.48:
            return self._change_of_map()
        if choice < 0.55:
            flags = ["self.core.odd", "True", "False", f"self.core.flags[{self._index()}]"]
            if self.stateful:
                flags += ["state.seen", f"state.marks[{self._index()}]"]
            names = [*FLAGS, *TESTS, FORWARD, RELATED] if self.stateful else [*FLAGS, *TESTS]
            return self.random.choice(flags + [f"pkt.{name}" for name in names] * self.packet)
        signs = self.random.choices(_COMPARISONS, k=self.random.choice((1, 1, 2)))
        operands = [*(self._pure(depth) for _ in signs[1:]), self._integer(depth)]
        return (
            "("
            + self._integer(depth)
            + "".join(f" {sign} {each}" for sign, each in zip(signs, operands, strict=True))
            + ")"
        )

    def _pure(self, depth: int) -> str:
        """An integer without an effect: where the translation has it more than once, that is refused."""
        while True:
            text = self._integer(depth)
            if not any(effect in text for effect in ("random", ".set(", ".remove(")):
                return text


def random_nf(seed: int, folder: Path) -> type[NF]:
    """The class of a random NF, from a file in `folder`, as the source of an NF has to come from one."""
    name = f"random_nf_{seed}"
    path = folder / f"{name}.py"
    path.write_text(_Writer(seed).source())
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    nf_class: type[NF] = module.RandomNF
    return nf_class
