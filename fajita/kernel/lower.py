"""From the Python of a kernel function to LLVM instructions.

A kernel is written in a small part of Python: integers of 64 bits, signed and wrapping, in local variables; arithmetic,
comparisons, `if`, `while`, `for` over `range`, calls of other kernel functions and of operations. For so little no type
has to be inferred, and a chain compiles in a ninth of the time that numba's own front end takes (docs/decisions).

Names that are not local are constants or callees and are looked up where the function stands.
"""

import ast
from collections.abc import Callable, Iterator
from functools import cache, reduce
from typing import Any, NoReturn

from llvmlite import ir

from fajita.integers import wrap
from fajita.kernel.operation import I1, I64

_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.BitAnd: "and_",
    ast.BitOr: "or_",
    ast.BitXor: "xor",
    ast.LShift: "shl",
    ast.RShift: "ashr",
}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


def constant(value: int) -> Any:
    """An LLVM constant with the low 64 bits of `value`."""
    return I64(wrap(value))


def statements(block: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements of a block, those inside others too."""
    for statement in block:
        yield statement
        yield from statements(getattr(statement, "body", []))
        yield from statements(getattr(statement, "orelse", []))


def _targets(statement: ast.stmt) -> list[ast.expr]:
    """What a statement assigns to."""
    if isinstance(statement, ast.Assign):
        return [part for target in statement.targets for part in getattr(target, "elts", [target])]
    return [statement.target] if isinstance(statement, ast.AugAssign | ast.For) else []


def _stored_in(tree: ast.FunctionDef) -> set[str]:
    """The names that a function stores."""
    targets = [target for statement in statements(tree.body) for target in _targets(statement)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


@cache
def _method_of(kind: type[ast.AST]) -> str:
    """The name of the method that lowers such nodes."""
    return f"_{kind.__name__.lower()}"


class Lowering:
    """Writes the body of one function. `lookup` gives the constant or callee of a name that is not local."""

    def __init__(self, function: Any, tree: ast.FunctionDef, lookup: Callable[[str], Any]) -> None:
        self.tree, self.lookup = tree, lookup
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.loops: list[tuple[Any, Any]] = []
        stored = _stored_in(tree)
        self.variables = {name: self.builder.alloca(I64, name=name) for name in sorted(stored)}
        #: Arguments that keep their values.
        self.values: dict[str, Any] = {}
        for argument, value in zip(tree.args.args, function.args, strict=True):
            if argument.arg in stored:
                self.builder.store(value, self.variables[argument.arg])
            else:
                self.values[argument.arg] = value
        self._block(tree.body)
        if not self.builder.block.is_terminated:
            self.builder.ret(I64(0))

    def _refuse(self, node: ast.AST) -> NoReturn:
        raise NotImplementedError(f"{self.tree.name}: a kernel function cannot have `{ast.unparse(node)}`")

    # Expressions: one method for each kind of node; the result has 64 bits, or one where it is a condition.

    def _value(self, node: ast.expr) -> Any:
        handler = getattr(self, _method_of(type(node)), None)
        return handler(node) if handler else self._refuse(node)

    def _integer(self, node: ast.expr) -> Any:
        value = self._value(node)
        return self.builder.zext(value, I64) if value.type == I1 else value

    def _condition(self, node: ast.expr) -> Any:
        value = self._value(node)
        return value if value.type == I1 else self.builder.icmp_signed("!=", value, I64(0))

    def _constant(self, node: ast.Constant) -> Any:
        return constant(node.value) if isinstance(node.value, int) else self._refuse(node)

    def _name(self, node: ast.Name) -> Any:
        if node.id in self.values:
            return self.values[node.id]
        if node.id in self.variables:
            return self.builder.load(self.variables[node.id])
        return constant(self.lookup(node.id))

    def _binop(self, node: ast.BinOp) -> Any:
        operation = _ARITHMETIC.get(type(node.op)) or self._refuse(node)
        return getattr(self.builder, operation)(self._integer(node.left), self._integer(node.right))

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            return self.builder.not_(self._condition(node.operand))
        value = self._integer(node.operand)
        if isinstance(node.op, ast.USub):
            return self.builder.neg(value)
        return self.builder.not_(value) if isinstance(node.op, ast.Invert) else value

    def _membership(self, node: ast.Compare) -> Any:
        """`x in (A, B)` or `x in NUMBERS`, a tuple of constants."""
        value, among = self._integer(node.left), node.comparators[0]
        if isinstance(among, ast.Tuple):
            numbers = [self._integer(element) for element in among.elts]
        elif isinstance(among, ast.Name):
            numbers = [constant(number) for number in self.lookup(among.id)]
        else:
            self._refuse(node)
        equal = [self.builder.icmp_signed("==", value, number) for number in numbers]
        return reduce(self.builder.or_, equal)

    def _compare(self, node: ast.Compare) -> Any:
        if isinstance(node.ops[0], ast.In) and len(node.ops) == 1:
            return self._membership(node)
        signs = [_COMPARISONS.get(type(operator)) or self._refuse(node) for operator in node.ops]
        values = [self._integer(part) for part in (node.left, *node.comparators)]
        result = None
        for left, sign, right in zip(values, signs, values[1:], strict=False):
            holds = self.builder.icmp_signed(sign, left, right)
            result = holds if result is None else self.builder.and_(result, holds)
        return result

    def _boolop(self, node: ast.BoolOp) -> Any:
        """Evaluate the second part only if the first does not decide: a load may stand behind its own check."""
        is_and = isinstance(node.op, ast.And)
        joined = self.builder.append_basic_block("decided")
        decided = []
        for part in node.values[:-1]:
            condition = self._condition(part)
            decided.append(self.builder.block)
            further = self.builder.append_basic_block("further")
            self.builder.cbranch(condition, *((further, joined) if is_and else (joined, further)))
            self.builder.position_at_end(further)
        last = self._condition(node.values[-1])
        result = self._join(joined, last)
        for block in decided:
            result.add_incoming(I1(0 if is_and else 1), block)
        return result

    def _join(self, joined: Any, value: Any) -> Any:
        """Go to the block `joined` with a value; the phi there, to which other ways in are added."""
        here = self.builder.block
        self.builder.branch(joined)
        self.builder.position_at_end(joined)
        phi = self.builder.phi(value.type)
        phi.add_incoming(value, here)
        return phi

    def _ifexp(self, node: ast.IfExp) -> Any:
        body, other, joined = (self.builder.append_basic_block(name) for name in ("then", "else", "joined"))
        self.builder.cbranch(self._condition(node.test), body, other)
        self.builder.position_at_end(body)
        first, end_of_body = self._integer(node.body), self.builder.block
        self.builder.branch(joined)
        self.builder.position_at_end(other)
        phi = self._join(joined, self._integer(node.orelse))
        phi.add_incoming(first, end_of_body)
        return phi

    def _call(self, node: ast.Call) -> Any:
        if not isinstance(node.func, ast.Name) or node.keywords:
            self._refuse(node)
        callee = self.lookup(node.func.id)
        arguments = [self._value(argument) for argument in node.args]
        arguments = [self.builder.zext(value, I64) if value.type == I1 else value for value in arguments]
        result = callee.emit(self.builder, *arguments)
        return I64(0) if result is None else result

    # Statements.

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if self.builder.block.is_terminated:
                return
            handler = getattr(self, _method_of(type(statement)), None)
            if handler is None:
                self._refuse(statement)
            handler(statement)

    def _pass(self, statement: ast.Pass) -> None:
        pass

    def _expr(self, statement: ast.Expr) -> None:
        if not isinstance(statement.value, ast.Constant):  # a docstring
            self._value(statement.value)

    def _assign(self, statement: ast.Assign) -> None:
        parts = statement.value.elts if isinstance(statement.value, ast.Tuple) else [statement.value]
        values = [self._integer(part) for part in parts]
        for target in statement.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            if len(names) != len(values):
                self._refuse(statement)
            for name, value in zip(names, values, strict=True):
                self._set_variable(name, value)

    def _augassign(self, statement: ast.AugAssign) -> None:
        if not isinstance(statement.target, ast.Name):
            self._refuse(statement)
        operand = ast.Name(statement.target.id, ast.Load())
        self._set_variable(statement.target, self._binop(ast.BinOp(operand, statement.op, statement.value)))

    def _set_variable(self, target: ast.expr, value: Any) -> None:
        if not isinstance(target, ast.Name):
            self._refuse(target)
        self.builder.store(value, self.variables[target.id])

    def _known(self, test: ast.expr) -> bool | None:
        """What a test of constants alone comes to, so that the branch not taken is not even lowered; else None."""
        names = []
        for node in ast.walk(test):
            if isinstance(node, ast.Call | ast.BinOp):  # Python's numbers do not wrap at 64 bits
                return None
            if isinstance(node, ast.Name):
                if node.id in self.values or node.id in self.variables:
                    return None
                names.append(node.id)
        constants = {name: self.lookup(name) for name in names}
        return bool(eval(compile(ast.Expression(test), self.tree.name, "eval"), {}, constants))

    def _if(self, statement: ast.If) -> None:
        known = self._known(statement.test)
        if known is not None:
            self._block(statement.body if known else statement.orelse)
            return
        body, joined = self.builder.append_basic_block("then"), self.builder.append_basic_block("joined")
        other = self.builder.append_basic_block("else") if statement.orelse else joined
        self.builder.cbranch(self._condition(statement.test), body, other)
        self._branch(body, statement.body, joined)
        if statement.orelse:
            self._branch(other, statement.orelse, joined)
        self.builder.position_at_end(joined)

    def _branch(self, block: Any, statements: list[ast.stmt], joined: Any) -> None:
        self.builder.position_at_end(block)
        self._block(statements)
        if not self.builder.block.is_terminated:
            self.builder.branch(joined)

    def _while(self, statement: ast.While) -> None:
        """The test stands in a block of its own, to which the body returns."""
        if statement.orelse:
            self._refuse(statement)
        test, body, after = (self.builder.append_basic_block(name) for name in ("while", "do", "after"))
        self.builder.branch(test)
        self.builder.position_at_end(test)
        self.builder.cbranch(self._condition(statement.test), body, after)
        self._loop(body, statement.body, test, after)

    def _loop(self, body: Any, statements: list[ast.stmt], again: Any, after: Any) -> None:
        self.loops.append((again, after))
        self._branch(body, statements, again)
        self.loops.pop()
        self.builder.position_at_end(after)

    def _for(self, statement: ast.For) -> None:
        """`for name in range(...)`, with a step that is a constant; the bounds are evaluated once.

        Whether there is a next turn is asked of what is left, without sign, before the step: a sum past 2**63 would
        wrap and never end.
        """
        call, build = statement.iter, self.builder
        if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "range") or statement.orelse:
            self._refuse(statement)
        bounds = [self._integer(argument) for argument in call.args]
        start, stop = (I64(0), bounds[0]) if len(bounds) == 1 else bounds[:2]
        step = bounds[2] if len(bounds) == 3 else I64(1)
        upwards = build.icmp_signed(">", step, I64(0))
        stride = build.select(upwards, step, build.neg(step))
        is_any = build.select(upwards, build.icmp_signed("<", start, stop), build.icmp_signed(">", start, stop))
        before = build.block
        body, again, after = (build.append_basic_block(name) for name in ("for", "next", "after"))
        build.cbranch(is_any, body, after)
        build.position_at_end(body)
        counter = build.phi(I64)
        counter.add_incoming(start, before)
        build.position_at_end(again)
        left = build.select(upwards, build.sub(stop, counter), build.sub(counter, stop))
        counter.add_incoming(build.add(counter, step), again)
        build.cbranch(build.icmp_unsigned(">", left, stride), body, after)
        build.position_at_end(body)
        self._set_variable(statement.target, counter)
        self._loop(body, statement.body, again, after)

    def _break(self, statement: ast.Break) -> None:
        self.builder.branch(self.loops[-1][1])

    def _continue(self, statement: ast.Continue) -> None:
        self.builder.branch(self.loops[-1][0])

    def _return(self, statement: ast.Return) -> None:
        self.builder.ret(I64(0) if statement.value is None else self._integer(statement.value))
