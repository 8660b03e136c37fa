"""Statements of an NF: checked and translated, with what is assigned and returned on every path."""

import ast

from fajita.errors import nearest, with_article
from fajita.packet import FIELDS, HALVES, METADATA, QUOTED, QuotedField
from fajita.translation.arrays import arrays_in, element_at, target_of, write_element
from fajita.translation.calls import asks_landing, has_effect
from fajita.translation.expressions import Expressions, local_name
from fajita.translation.maps import CHANGES, change_map, is_map_call, maps_in
from fajita.translation.reshaping import (
    asks_headers,
    changes_frame,
    is_frame,
    note_reshape,
    reshape,
    reshaping_call,
    seen_anew,
)
from fajita.translation.scope import VERDICTS_OF, Scope, Value, head_of


class Statements:
    """Translates the body of one method into lines of text, four spaces a level."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.expressions = Expressions(scope)
        self.refuse = scope.method.refuse
        self.lines: list[str] = []

    def block(self, body: list[ast.stmt], level: int) -> bool:
        """Translate statements; True if every path through them ends in a return, break or continue."""
        for position, statement in enumerate(body):
            handler = getattr(self, f"_{type(statement).__name__.lower()}", None)
            if handler is None:
                what = type(statement).__name__.lower()
                self.refuse(statement, f"`{what}` is not supported in an NF", "assignments, if, for over range, return")
            self._see_anew(statement, level)
            if handler(statement, level):
                # What follows an `if` may be reached with other parameters.
                if position + 1 < len(body) and not isinstance(statement, ast.If):
                    self.refuse(body[position + 1], "this line is never reached", "delete it")
                return True
        return False

    def _see_anew(self, statement: ast.stmt, level: int) -> None:
        """Find the headers again where they are asked for after bytes of the frame have been written."""
        if self.scope.is_stale and asks_headers(self.scope.pkt, head_of(statement)):
            for line in seen_anew():
                self._emit(level, line)
            self.scope.is_stale = False

    def _emit(self, level: int, text: str) -> None:
        self.lines.append("    " * level + text)

    def _pass(self, statement: ast.Pass, level: int) -> bool:
        self._emit(level, "pass")
        return False

    def _expr(self, statement: ast.Expr, level: int) -> bool:
        if isinstance(statement.value, ast.Call) and ast.unparse(statement.value.func) == "self.emit":
            self._emit_record(statement.value, level)
            return False
        if is_map_call(statement.value, CHANGES):
            self._emit(level, change_map(self.expressions, statement.value))
            return False
        if isinstance(statement.value, ast.Call) and (name := reshaping_call(self.scope.pkt, statement.value)):
            for line in reshape(self.expressions, statement.value, name):
                self._emit(level, line)
            self.scope.is_stale = False
            return False
        if not (isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)):
            self.refuse(statement, f"`{ast.unparse(statement)}` has no effect", "assign or return it")
        self._emit(level, "pass")
        return False

    def _emit_record(self, call: ast.Call, level: int) -> None:
        scope = self.scope
        if scope.state is None:
            who = type(scope.nf).__name__ if scope.nf.granularity is None else scope.method.name
            right = "give it a key and State" if scope.nf.granularity is None else "emit in packet, new_flow or expire"
            self.refuse(call, f"{who} keeps no state that it could emit", right)
        if call.keywords or [ast.unparse(argument) for argument in call.args] != [scope.state]:
            self.refuse(call, f"`{ast.unparse(call)}` does not emit the state", f"self.emit({scope.state})")
        if scope.method.name == "error":
            self.refuse(call, "self.emit in error: the flow may have no state to emit", "emit in packet or expire")
        if scope.loops:
            self.refuse(call, "self.emit in a loop: nothing bounds its records", "emit before the loop or after it")
        scope.emits += 1
        scope.used |= {"records", "state"}
        self._emit(level, f"emit_record(records + {scope.prefix}__records, state)")

    def _assign(self, statement: ast.Assign, level: int) -> bool:
        if len(statement.targets) > 1:
            self.refuse(statement, "one assignment assigns to several targets", "write one line for each")
        target = statement.targets[0]
        if isinstance(target, ast.Tuple):
            self._assign_together(statement, target, level)
        else:
            self._store(target, self.expressions.value(statement.value), level, statement.value)
        return False

    def _assign_together(self, statement: ast.Assign, target: ast.Tuple, level: int) -> None:
        if not isinstance(statement.value, ast.Tuple) or len(statement.value.elts) != len(target.elts):
            self.refuse(statement, "both sides of an assignment need the same number of values")
        values = []
        for index, element in enumerate(statement.value.elts):
            value = self.expressions.value(element)
            self._emit(level, f"together_{index} = {value.text}")
            values.append(Value(f"together_{index}", value.type))
        for element, value in zip(target.elts, values, strict=True):
            self._store(element, value, level)

    def _annassign(self, statement: ast.AnnAssign, level: int) -> bool:
        if statement.value is None or not isinstance(statement.target, ast.Name):
            self.refuse(statement, "a declaration needs a variable and a value", "count: int = 0")
        self._store(statement.target, self.expressions.value(statement.value), level)
        return False

    def _augassign(self, statement: ast.AugAssign, level: int) -> bool:
        if isinstance(statement.target, ast.Subscript):
            self._change_element(statement, statement.target, level)
            return False
        read = ast.copy_location(ast.parse(ast.unparse(statement.target), mode="eval").body, statement.target)
        for part in ast.walk(read):
            ast.copy_location(part, statement.target)
        sum_ = ast.copy_location(ast.BinOp(read, statement.op, statement.value), statement)
        self._store(statement.target, self.expressions.value(sum_), level)
        return False

    def _store(self, target: ast.expr, value: Value, level: int, origin: ast.expr | None = None) -> None:
        """Assign a value; `origin` is the expression it comes from, where it is the statement's own."""
        if value.type not in ("int", "bool"):
            right = "return it directly" if value.type == "verdict" else "integers and conditions can"
            self.refuse(target, f"{with_article(value.type)} cannot be assigned", right)
        if isinstance(target, ast.Name):
            self._store_local(target, value, level)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name | ast.Attribute):
            self._store_attribute(target, value, level, origin)
        elif isinstance(target, ast.Subscript) and is_frame(self.scope.pkt, target.value):
            note_reshape(self.expressions, target)
            index = self.expressions.integer(target.slice).text
            self._emit(level, f"write_frame({value.text}, frame, captured, {index})")
            self.scope.is_stale = True
        elif isinstance(target, ast.Subscript):
            array = target_of(self.expressions, target)
            index = self.expressions.integer(target.slice).text
            self._emit(level, write_element(self.expressions, target, array, index, value))
        else:
            self.refuse(target, f"`{ast.unparse(target)}` cannot be assigned to")

    def _change_element(self, statement: ast.AugAssign, target: ast.Subscript, level: int) -> None:
        """`state.buckets[i] += x`: the index is evaluated once, then the element, then x."""
        array = target_of(self.expressions, target)
        self._emit(level, f"place = {self.expressions.integer(target.slice).text}")
        before = element_at(self.scope, array, "place")
        if before.type != "int":
            self.refuse(statement, f"`{ast.unparse(target)}` is a bool where an integer is needed")
        after = self.expressions.binary(statement, statement.op, before, self.expressions.integer(statement.value))
        self._emit(level, write_element(self.expressions, target, array, "place", after))

    def _store_local(self, target: ast.Name, value: Value, level: int) -> None:
        self._declare(target, value.type)
        self._emit(level, f"{local_name(target.id)} = {value.text}")

    def _declare(self, target: ast.Name, type_name: str) -> None:
        """The variable gets a value of this type here."""
        if target.id in ("self", self.scope.pkt, self.scope.state):
            self.refuse(target, f"{target.id} cannot be replaced")
        known = self.scope.types.setdefault(target.id, type_name)
        if known != type_name:
            what = f"{target.id} is {with_article(known)} and cannot become {with_article(type_name)}"
            self.refuse(target, what, "use another variable")
        self.scope.locals[target.id] = type_name

    def _store_attribute(self, target: ast.Attribute, value: Value, level: int, origin: ast.expr | None) -> None:
        scope, owner = self.scope, ast.unparse(target.value)
        if owner == scope.pkt:
            self._store_field(target, value, level, origin)
        elif owner == scope.state:
            self._store_kept(target, value, level, "state")
        elif owner == "self.core":
            self._store_kept(target, value, level, "core")
        else:
            self.refuse(
                target,
                f"`{ast.unparse(target)}` cannot be assigned to",
                "only pkt, state and self.core change per packet",
            )

    def _store_field(self, target: ast.Attribute, value: Value, level: int, origin: ast.expr | None) -> None:
        metadata = METADATA.get(target.attr)
        quoted = QUOTED.get(target.attr)
        writable = [*(name for name, entry in FIELDS.items() if entry.write_layer), *METADATA]
        writable += [name for name, entry in QUOTED.items() if entry.is_writable]
        if target.attr not in writable:
            self.refuse(target, f"pkt.{target.attr} cannot be written", nearest(target.attr, writable))
        if value.type != "int":
            self.refuse(target, f"pkt.{target.attr} is an integer, not a {value.type}")
        if metadata is not None:
            self.scope.writes.add(metadata.name)
            self.scope.used.add("metadata")
            self._emit(level, f"store_{metadata.bits}(metadata + {metadata.offset}, {value.text})")
            return
        if quoted is not None:
            self._store_quoted(quoted, value, level)
            return
        # A key has the address as a whole.
        self.scope.writes |= {target.attr, HALVES.get(target.attr, target.attr)}
        self.scope.used |= {"frame", "headers"}
        self._note_rewrite(origin, level)
        self._emit(level, f"write_{target.attr}(frame, headers, {value.text})")

    def _store_quoted(self, quoted: QuotedField, value: Value, level: int) -> None:
        """A key that is that of the quoted packet has the field under its own name."""
        name = quoted.field.name
        self.scope.writes |= {quoted.name, name, HALVES.get(name, name)}
        self.scope.used |= {"frame", "headers", "captured"}
        self.scope.rewrites_per_flow = False
        self._emit(level, f"write_{quoted.name}(frame, headers, captured, {value.text})")

    def _note_rewrite(self, origin: ast.expr | None, level: int) -> None:
        """See whether a rewrite is the same for every packet of a flow; a conservative answer is enough."""
        scope = self.scope
        conditional = level > 1 or any("return" in line for line in self.lines)
        if origin is None or conditional or scope.method.name != "packet" or has_effect(origin) or asks_landing(origin):
            scope.rewrites_per_flow = False
            return
        for leaf in (node for node in ast.walk(origin) if isinstance(node, ast.Name)):
            if leaf.id not in (scope.state, "self"):
                scope.rewrites_per_flow = False
        for part in (node for node in ast.walk(origin) if isinstance(node, ast.Attribute)):
            if ast.unparse(part.value) == scope.state:
                scope.rewrites_from.add(part.attr)
            elif part.attr == "core":
                scope.rewrites_per_flow = False

    def _store_kept(self, target: ast.Attribute, value: Value, level: int, area: str) -> None:
        scope = self.scope
        fields = scope.state_fields() if area == "state" else scope.core_fields()
        kind = fields.get(target.attr)
        if target.attr in arrays_in(scope, area):
            self.refuse(target, f"the array {target.attr} cannot be assigned to", "assign to its elements, in a loop")
        if (map_type := maps_in(scope, area).get(target.attr)) is not None:
            right = f"change what is in it: {ast.unparse(target)}.{map_type.changing}"
            self.refuse(target, f"the {map_type.noun} {target.attr} cannot be assigned to", right)
        if kind is None:
            what = "state" if area == "state" else "core variable"
            self.refuse(target, f"{type(scope.nf).__name__} has no {what} {target.attr}", nearest(target.attr, fields))
        wanted = "bool" if kind.shown == "bool" else "int"
        if value.type != wanted:
            right = "write x != 0" if wanted == "bool" else "write 1 if x else 0"
            what = f"{target.attr} is {with_article(kind.name)} and cannot hold {with_article(value.type)}"
            self.refuse(target, what, right)
        scope.used.add(area)
        if area == "state":
            scope.stored.add(target.attr)
        self._emit(level, f"store_{kind.bytes * 8}({area} + {scope.prefix}__{area}_{target.attr}, {value.text})")

    def _if(self, statement: ast.If, level: int) -> bool:
        test = self.expressions.condition(statement.test)
        if test.known is not None:
            chosen = statement.body if test.known else statement.orelse
            return self.block(chosen or [ast.Pass()], level)
        self._emit(level, f"if {test.text}:")
        before, was_stale = dict(self.scope.locals), self.scope.is_stale
        body_ends = self.block(statement.body, level + 1)
        body_is_stale, self.scope.is_stale = self.scope.is_stale and not body_ends, was_stale
        after_body, self.scope.locals = self.scope.locals, dict(before)
        else_ends = False
        if statement.orelse:
            self._emit(level, "else:")
            else_ends = self.block(statement.orelse, level + 1)
        self.scope.is_stale = body_is_stale or (self.scope.is_stale and not else_ends)
        if else_ends:
            self.scope.locals = after_body
        elif not body_ends:
            self.scope.locals = {n: t for n, t in self.scope.locals.items() if n in after_body}
        return body_ends and else_ends

    def _for(self, statement: ast.For, level: int) -> bool:
        call, target = statement.iter, statement.target
        is_range = isinstance(call, ast.Call) and ast.unparse(call.func) == "range" and 1 <= len(call.args) <= 3
        if not is_range or not isinstance(target, ast.Name) or statement.orelse:
            self.refuse(statement, "a loop has to be `for name in range(...)`, without else")
        assert isinstance(call, ast.Call)
        bounds = [self.expressions.integer(argument) for argument in call.args]
        if len(bounds) == 3 and not bounds[2].known:
            self.refuse(call, "the step of range has to be a number known beforehand, not 0")
        before = dict(self.scope.locals)
        self._declare(target, "int")
        self._emit(level, f"for {local_name(target.id)} in range({', '.join(bound.text for bound in bounds)}):")
        if changes_frame(self.scope.pkt, statement):  # by the turn before
            self.scope.is_stale = self.scope.is_changed = True
        was_stale = self.scope.is_stale
        self.scope.loops += 1
        self.block(statement.body, level + 1)
        self.scope.loops -= 1
        self.scope.is_stale |= was_stale
        self.scope.locals = before
        return False

    def _break(self, statement: ast.Break, level: int) -> bool:
        self._emit(level, "break")
        return True

    def _continue(self, statement: ast.Continue, level: int) -> bool:
        self._emit(level, "continue")
        return True

    def _return(self, statement: ast.Return, level: int) -> bool:
        method = self.scope.method.name
        if method not in VERDICTS_OF:
            if statement.value is not None and not (
                isinstance(statement.value, ast.Constant) and statement.value.value is None
            ):
                self.refuse(statement, f"{method} returns nothing", "write `return`")
            self._emit(level, "return 0")
            return True
        value = self.expressions.value(statement.value) if statement.value is not None else None
        if value is None or value.type != "verdict":
            shown = "nothing" if statement.value is None else f"`{ast.unparse(statement.value)}`"
            verdicts = ", ".join(VERDICTS_OF[method])
            self.refuse(statement, f"{method} returns {shown}", f'return {verdicts} or pkt.drop("reason")')
        self._emit(level, f"return {value.text}")
        return True
