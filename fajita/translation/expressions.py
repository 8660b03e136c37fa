"""Expressions of an NF: checked, typed and translated.

Integers are 64 bits, signed, and wrap. Division rounds down; by zero it gives zero, as the kernel cannot stop for an
exception; shift counts are taken modulo 64. The interpreted engine computes with the same rules.
"""

import ast

from fajita import nf as api
from fajita.errors import nearest, with_article
from fajita.integers import integers, wrap
from fajita.packet import (
    ERROR_FIELDS,
    FACTS,
    FIELDS,
    FLAGS,
    FLOW_PORTS,
    FORWARD,
    FRAME,
    HEADER_FIELDS,
    IP_LENGTH,
    METADATA,
    QUOTED,
    RELATED,
    SEQUENCES,
    TESTS,
)
from fajita.state_types import StateType
from fajita.translation.arrays import array_value, arrays_in, read_element
from fajita.translation.calls import call, has_effect
from fajita.translation.comparisons import compare
from fajita.translation.lists import read_list_element
from fajita.translation.maps import map_value, maps_in
from fajita.translation.scope import LOOK_UP_CODE, PLAIN_DROP, VERDICTS_OF, Scope, Value

_PLAIN_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}
_FUNCTION_OPERATORS: dict[type[ast.operator], str] = {
    ast.FloorDiv: "floor_divide",
    ast.Mod: "floor_modulo",
    ast.LShift: "left_shift",
    ast.RShift: "right_shift",
}
_LENGTHS = {f"{name}_length": name for name in SEQUENCES}
#: Expressions in expressions; Python itself gives up at 200 parentheses.
MAXIMUM_DEPTH = 90


def local_name(name: str) -> str:
    """What a variable of the method is called in the kernel, where it must not hide a name of the kernel's own."""
    return f"{name}_"


class Expressions:
    """Translates the expressions of one method."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.refuse = scope.method.refuse
        self.depth = 0

    def value(self, node: ast.expr) -> Value:
        """Translate an expression of any type."""
        handler = getattr(self, f"_{type(node).__name__.lower()}", None)
        if handler is None:
            self.refuse(
                node, f"`{ast.unparse(node)}` is not supported in an NF", "integers, comparisons, min, max, abs"
            )
        self.depth += 1
        if self.depth > MAXIMUM_DEPTH:
            self.refuse(node, "an expression is nested too deeply", "name its parts: write several lines")
        result: Value = handler(node)
        self.depth -= 1
        return result

    def integer(self, node: ast.expr) -> Value:
        """Translate an expression that must be an integer."""
        value = self.value(node)
        if value.type != "int":
            self.refuse(node, f"`{ast.unparse(node)}` is {with_article(value.type)} where an integer is needed")
        return value

    def condition(self, node: ast.expr) -> Value:
        """Translate what `if`, `not`, `and` and `or` test."""
        value = self.value(node)
        if value.type == "int":
            known = None if value.known is None else bool(value.known)
            return Value(f"({value.text} != 0)", "bool", known)
        if value.type != "bool":
            self.refuse(node, f"`{ast.unparse(node)}` is {with_article(value.type)} where a condition is needed")
        return value

    def _constant(self, node: ast.Constant) -> Value:
        value = node.value
        if isinstance(value, bool):
            return Value(str(value), "bool", value)
        if isinstance(value, int):
            if not -(1 << 63) <= value < 1 << 64:
                self.refuse(node, f"{value} does not fit 64 bits")
            return Value(str(wrap(value)), "int", wrap(value))
        if isinstance(value, str):
            return Value(repr(value), "str", value)
        if isinstance(value, float):
            self.refuse(node, f"{value} is a float; NFs compute with integers", "scale it, as in nanoseconds or bytes")
        self.refuse(node, f"`{ast.unparse(node)}` is not supported in an NF")

    def _name(self, node: ast.Name) -> Value:
        scope = self.scope
        if node.id in scope.locals:
            return Value(local_name(node.id), scope.locals[node.id])
        if node.id in scope.types:
            self.refuse(node, f"{node.id} may not have a value here", "give it one on every path before")
        if node.id in scope.method.names:
            return self._outside(node, node.id, scope.method.names[node.id], f"global_{node.id}")
        self.refuse(node, f"{node.id} is not known", nearest(node.id, scope.locals))

    def _outside(self, node: ast.expr, name: str, value: object, list_name: str) -> Value:
        """A value that stands outside the method: a module constant, a parameter, an attribute set by `prepare`.

        list_name: what it is called in the kernel if it is a list.
        """
        if isinstance(value, bool):
            return Value(str(value), "bool", value)
        if isinstance(value, int):
            if name in ("PASS", "DROP", "LOOK_UP") and value == getattr(api, name):
                return self._verdict(node, name)
            if not -(1 << 63) <= value < 1 << 64:
                self.refuse(node, f"{name} is {value}, which does not fit 64 bits")
            return Value(str(wrap(value)), "int", wrap(value))
        if isinstance(value, str):
            return Value(repr(value), "str", value)
        if isinstance(value, list | tuple) and all(isinstance(item, int) for item in value):
            if any(not -(1 << 63) <= item < 1 << 64 for item in value):
                self.refuse(node, f"{name} has an element that does not fit 64 bits")
            return Value(f"{self.scope.prefix}__{list_name}", "list", [wrap(int(item)) for item in value])
        if (array := integers(value)) is not None:
            return Value(f"{self.scope.prefix}__{list_name}", "list", array)
        self.refuse(
            node,
            f"{name} is {with_article(type(value).__name__)}, which a packet cannot use",
            "derive integers from it in prepare()",
        )

    def _attribute(self, node: ast.Attribute) -> Value:
        scope, owner, name = self.scope, node.value, node.attr
        if isinstance(owner, ast.Name) and owner.id == scope.pkt:
            return self._packet_attribute(node)
        if isinstance(owner, ast.Name) and owner.id == scope.state:
            return self._stored(node, "state", scope.state_fields())
        if self._is_core(owner):
            return self._stored(node, "core", scope.core_fields())
        if isinstance(owner, ast.Name) and owner.id == "self":
            if name == "core":
                self.refuse(node, "self.core has to be followed by a variable", nearest("", scope.core_fields()))
            if name in ("emit", "lands_here") or not hasattr(scope.nf, name) or callable(getattr(scope.nf, name)):
                self.refuse(node, f"self.{name} is not a parameter", nearest(name, scope.nf.params()))
            return self._outside(node, f"self.{name}", getattr(scope.nf, name), f"list_{name}")
        self.refuse(node, f"`{ast.unparse(node)}` is not known")

    @staticmethod
    def _is_core(node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and node.attr == "core" and ast.unparse(node.value) == "self"

    def _packet_attribute(self, node: ast.Attribute) -> Value:
        scope, name = self.scope, node.attr
        if name in FIELDS:
            scope.reads.add(name)
            scope.used |= {"frame", "headers"}
            return Value(f"read_{name}(frame, headers)", "int")
        if name in FLOW_PORTS:
            return self._flow_port(node)
        if name in FLAGS:
            scope.used.add("headers")
            layer = int(FLAGS[name])
            return Value(f"((headers & {layer}) == {layer})", "bool")
        if name in QUOTED:
            scope.reads |= ERROR_FIELDS
            scope.used |= {"frame", "headers", "captured"}
            return Value(f"read_{name}(frame, headers, captured)", "int")
        if name == RELATED:
            if scope.method.name != "error":
                return Value("True", "bool", True)
            scope.used.add(RELATED)
            return Value("(related != 0)", "bool")
        if name in METADATA:
            scope.reads.add(name)
            scope.used.add("metadata")
            return Value(f"load_u{METADATA[name].bits}(metadata + {METADATA[name].offset})", "int")
        if name == FORWARD:
            if scope.nf.granularity is None or not scope.nf.granularity.symmetric:
                return Value("True", "bool", True)
            if scope.method.name == api.BEFORE_LOOKUP:
                right = "ask in packet"
                self.refuse(node, f"before its state is looked up nobody knows {scope.pkt}.{FORWARD}", right)
            scope.used.add(FORWARD)
            return Value("(forward != 0)", "bool")
        if name in TESTS:
            scope.reads |= ERROR_FIELDS | HEADER_FIELDS
            scope.used |= {"frame", "headers", "captured"}
            return Value(f"({name}(frame, headers, captured) != 0)", "bool")
        if name in _LENGTHS:
            return self.length(_LENGTHS[name])
        if name == IP_LENGTH:
            scope.used |= {"frame", "headers", "length"}
            return Value("ip_length(frame, headers, length)", "int")
        if name in FACTS:
            argument = {"length": "length", "captured_length": "captured", "time_ns": "time_ns"}[name]
            scope.used.add(argument)
            return Value(argument, "int")
        known = [*FIELDS, *QUOTED, *FACTS, *FLOW_PORTS, *FLAGS, *TESTS, FORWARD, RELATED, *METADATA, *SEQUENCES, FRAME]
        self.refuse(node, f"a packet has no field {name}", nearest(name, known))

    def _flow_port(self, node: ast.Attribute) -> Value:
        """A port of the packet's flow; where what is translated is a hint, the packet's own."""
        scope, name = self.scope, node.attr
        field, _ = FLOW_PORTS[name]
        if scope.is_changed:
            what = f"`{ast.unparse(node)}` is asked for where the frame itself may have changed"
            self.refuse(node, what, f"give it to a variable before: port = {ast.unparse(node)}")
        scope.reads.add(field)
        if scope.is_hint:
            scope.used |= {"frame", "headers"}
            return Value(f"read_{field}(frame, headers)", "int")
        scope.reads.add(name)
        scope.used.add("flow_ports")
        return Value(f"read_flow_port(flow_ports, {FIELDS[field].offset})", "int")

    def sequence(self, node: ast.expr) -> str:
        """Which of the packet's sequences of bytes an expression names; empty: none."""
        if not isinstance(node, ast.Attribute) or ast.unparse(node.value) != self.scope.pkt:
            return ""
        return node.attr if node.attr in SEQUENCES or node.attr == FRAME else ""

    def length(self, sequence: str) -> Value:
        """How many bytes of one of them there are."""
        self.scope.used |= {"frame", "headers", "captured"}
        return Value(f"{sequence}_length(frame, headers, captured)", "int")

    def _stored(self, node: ast.Attribute, area: str, fields: dict[str, StateType]) -> Value:
        if array := array_value(self.scope, area, node.attr):
            return array
        if map_ := map_value(self.scope, area, node.attr):
            return map_
        kind = fields.get(node.attr)
        if kind is None:
            what = "state" if area == "state" else "core variable"
            known = [*fields, *arrays_in(self.scope, area), *maps_in(self.scope, area)]
            self.refuse(node, f"{type(self.scope.nf).__name__} has no {what} {node.attr}", nearest(node.attr, known))
        if area == "state" and node.attr in self.scope.unstored:
            return Value("False", "bool") if kind.shown == "bool" else Value("0", "int")
        self.scope.used.add(area)
        load = f"load_{'i' if kind.signed else 'u'}{kind.bytes * 8}({area} + {self.scope.prefix}__{area}_{node.attr})"
        return Value(f"({load} != 0)", "bool") if kind.shown == "bool" else Value(load, "int")

    def _subscript(self, node: ast.Subscript) -> Value:
        owner = node.value
        if name := self.sequence(owner):
            self.scope.reads |= FIELDS.keys() if name == FRAME else ERROR_FIELDS  # an error's payload is what it quotes
            self.scope.used |= {"frame", "headers", "captured"}
            return Value(f"read_{name}(frame, headers, captured, {self.integer(node.slice).text})", "int")
        value = self.value(owner)
        if value.type == "array":
            return read_element(self, node, value.known)
        if value.type != "list":
            right = "only lists among the parameters, arrays in State and Core, payload and tcp_options"
            self.refuse(node, f"`{ast.unparse(owner)}` cannot be indexed", right)
        self.scope.used.add("constants")
        self.scope.lists[value.text] = value.known
        index = self.integer(node.slice).text
        return Value(read_list_element(value, index), "int")

    def _unaryop(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            inner = self.condition(node.operand)
            return Value(f"(not {inner.text})", "bool", None if inner.known is None else not inner.known)
        inner = self.integer(node.operand)
        sign = {ast.USub: "-", ast.Invert: "~", ast.UAdd: "+"}[type(node.op)]
        if inner.known is None:
            return Value(f"({sign}{inner.text})", "int")
        known = wrap({"-": -inner.known, "~": ~inner.known, "+": inner.known}[sign])
        return Value(str(known), "int", known)

    def _binop(self, node: ast.BinOp) -> Value:
        return self.binary(node, node.op, self.integer(node.left), self.integer(node.right))

    def binary(self, node: ast.AST, operator: ast.operator, left: Value, right: Value) -> Value:
        """An operator between two integers."""
        if sign := _PLAIN_OPERATORS.get(type(operator)):
            return Value(f"({left.text} {sign} {right.text})", "int")
        if function := _FUNCTION_OPERATORS.get(type(operator)):
            return Value(f"{function}({left.text}, {right.text})", "int")
        if isinstance(operator, ast.Pow) and left.known is not None and right.known is not None:
            return self._power(node, left.known, right.known)
        right_way = {ast.Div: "use // for division", ast.Pow: "multiply: x * x"}.get(type(operator), "")
        self.refuse(node, f"`{ast.unparse(node)}` uses an operator that NFs do not have", right_way)

    def _power(self, node: ast.AST, base: int, exponent: int) -> Value:
        """A power of numbers known beforehand, such as 10**9."""
        # Of a base of two or more only so small a power can fit; a larger one is not even computed.
        if not 0 <= exponent < 64 or not -(1 << 63) <= base**exponent < 1 << 64:
            self.refuse(node, f"`{ast.unparse(node)}` is not an integer of 64 bits")
        known = wrap(base**exponent)
        return Value(str(known), "int", known)

    def _boolop(self, node: ast.BoolOp) -> Value:
        parts = [self.value(part) for part in node.values]
        for part, value in zip(node.values, parts, strict=True):
            if value.type != "bool":
                self.refuse(
                    part, f"`{ast.unparse(part)}` is {with_article(value.type)} in and/or", "compare it: x != 0"
                )
        is_and = isinstance(node.op, ast.And)
        if has_effect(node):
            return Value(f"({(' and ' if is_and else ' or ').join(part.text for part in parts)})", "bool")
        if any(part.known is (not is_and) for part in parts):
            return Value(str(not is_and), "bool", not is_and)
        undecided = [part.text for part in parts if part.known is None]
        if not undecided:
            return Value(str(is_and), "bool", is_and)
        return Value(f"({(' and ' if is_and else ' or ').join(undecided)})", "bool")

    def _compare(self, node: ast.Compare) -> Value:
        return compare(self, node)

    def _ifexp(self, node: ast.IfExp) -> Value:
        test = self.condition(node.test)
        if test.known is not None:
            return self.value(node.body if test.known else node.orelse)
        body, other = self.value(node.body), self.value(node.orelse)
        if body.type != other.type or body.type not in ("int", "bool", "verdict"):
            self.refuse(node, f"the two sides of `{ast.unparse(node)}` are of different types")
        return Value(f"({body.text} if {test.text} else {other.text})", body.type)

    def _call(self, node: ast.Call) -> Value:
        return call(self, node)

    def _verdict(self, node: ast.expr, name: str) -> Value:
        method = self.scope.method.name
        if name == "LOOK_UP" and name not in VERDICTS_OF.get(method, ()):
            self.refuse(node, f"LOOK_UP is a verdict of before_lookup, not of {method}", "return PASS")
        if name == "DROP":
            return self._drop(PLAIN_DROP)
        return Value({"PASS": "0", "LOOK_UP": str(LOOK_UP_CODE)}[name], "verdict")

    def _drop(self, reason: str) -> Value:
        return Value(str(self.scope.drop_code(reason)), "verdict")
