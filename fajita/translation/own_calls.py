"""Methods of the NF's own that its hooks call, put in the places where they are called.

`return self.encapsulate(pkt)` becomes the body of `encapsulate`; `server = self.chosen(pkt)` becomes its body, in which
a return assigns a variable, and that variable. So does `if self.weight(pkt) > 3:`, as nothing is evaluated before the
call. A hook is one body to all that looks at it from here on. The interpreted engine calls such methods as Python does:
one proves the other.
"""

import ast
import inspect
from collections.abc import Container, Iterator
from dataclasses import replace
from typing import Any

from fajita.nf import NF
from fajita.translation.locate import OTHER_FILE, Method, find_method

#: Statements of a hook with all that it calls; the kernel is compiled whole.
MAXIMUM_STATEMENTS = 5000


def find_hook(nf_class: type[NF], name: str) -> Method | None:
    """A hook with what it calls in its place, None if the class has none; InputError for what cannot be called so."""
    hook = find_method(nf_class, name)
    if hook is None:
        return None
    return _Expansion(nf_class, hook).expanded()


def is_own(nf_class: type[NF], name: str) -> bool:
    """Whether a method is one that the NF has for itself, which its hooks may call."""
    return inspect.isfunction(getattr(nf_class, name, None)) and not hasattr(NF, name)


#: The expression of a statement that is evaluated first.
_HEADS: dict[type[ast.stmt], str] = {
    ast.Assign: "value",
    ast.AnnAssign: "value",
    ast.Return: "value",
    ast.If: "test",
    ast.For: "iter",
}
#: The part of an expression that is evaluated first, where that is not the whole: an expression or a list of them.
_FIRST: dict[type[ast.expr], str] = {
    ast.Compare: "left",
    ast.BinOp: "left",
    ast.UnaryOp: "operand",
    ast.BoolOp: "values",
    ast.IfExp: "test",
    ast.Call: "args",
}


class _Expansion:
    """One hook whose calls are expanded. Line numbers of what is put in count from the hook's first line, too."""

    def __init__(self, nf_class: type[NF], hook: Method) -> None:
        self.nf_class, self.hook = nf_class, hook
        self.names, self.others = dict(hook.names), list(hook.others)
        self.variables = {argument.arg for argument in hook.tree.args.args} | _stored(hook.tree.body)
        self.taken = self.variables | self.names.keys()
        self.statements = 0
        #: The methods that are being put in at the moment, the hook first.
        self.open = [hook.name]

    def expanded(self) -> Method:
        """The hook."""
        if next(self._own_calls(self.hook.tree), None) is None:
            return self.hook
        tree: ast.FunctionDef = _copied(self.hook.tree)
        tree.body = self._block(tree.body)
        return replace(self.hook, tree=tree, names=self.names, others=tuple(self.others))

    def _own_calls(self, node: ast.AST) -> Iterator[ast.Call]:
        """Calls of the NF's own methods anywhere in it."""
        return (part for part in ast.walk(node) if isinstance(part, ast.Call) and self._own_call(part))

    def _own_call(self, node: ast.expr | None) -> ast.Call | None:
        """The expression, if it is a call of one of the NF's own methods."""
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            return None
        is_self = isinstance(node.func.value, ast.Name) and node.func.value.id == "self"
        return node if is_self and is_own(self.nf_class, node.func.attr) else None

    def _block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        expanded: list[ast.stmt] = []
        for statement in body:
            expanded += self._statement(statement)
        self._count(expanded, body[0] if body else self.hook.tree)
        return expanded

    def _count(self, more: list[ast.stmt], place: ast.AST) -> None:
        self.statements += len(more)
        if self.statements > MAXIMUM_STATEMENTS:
            what = f"{self.hook.name} has more than {MAXIMUM_STATEMENTS:,} statements with all that it calls"
            self.hook.refuse(place, what, "call less often")

    def _statement(self, statement: ast.stmt) -> list[ast.stmt]:
        if isinstance(statement, ast.Return) and (call := self._own_call(statement.value)):
            return self._in_place(call)
        if isinstance(statement, ast.Expr) and (call := self._own_call(statement.value)):
            return self._without_value(call)
        before: list[ast.stmt] = []
        head = _HEADS.get(type(statement), "")
        if (expression := getattr(statement, head, None)) is not None:
            before, expression = self._hoisted(expression)
            setattr(statement, head, expression)
        self._refuse_others(statement)
        for part in ("body", "orelse"):
            if hasattr(statement, part):
                setattr(statement, part, self._block(getattr(statement, part)))
        return [*before, statement]

    def _hoisted(self, node: ast.expr) -> tuple[list[ast.stmt], ast.expr]:
        """An expression of which a call may be what Python evaluates first: the call's statements, and the rest."""
        if call := self._own_call(node):
            return self._with_value(call)
        first = _first(node)
        if first is None:
            return [], node
        holder, place = first
        before, holder[place] = self._hoisted(holder[place])
        return before, node

    def _refuse_others(self, statement: ast.stmt) -> None:
        """Calls that stand where they would have to be evaluated in the middle of something."""
        compound = isinstance(statement, ast.If | ast.For)
        for call in self._own_calls(getattr(statement, _HEADS[type(statement)]) if compound else statement):
            right = f"give it a line of its own before: value = {ast.unparse(call)}"
            self.hook.refuse(call, f"{ast.unparse(call.func)} is called within an expression", right)

    def _in_place(self, call: ast.Call) -> list[ast.stmt]:
        """What a method does, with its returns; what comes after the call does not come after its end."""
        body = self._body(call)[1]
        return body if _ends(body) else [*body, ast.copy_location(ast.Return(None), call)]

    def _without_value(self, call: ast.Call) -> list[ast.stmt]:
        """What a method does that returns nothing."""
        method, body = self._body(call)
        if given := next((node for node in _returns(body) if not _is_nothing(node)), None):
            what = f"{ast.unparse(call.func)} returns something that is not taken here"
            self.hook.refuse(given, what, "assign it, or return nothing")
        return self._settled(method, body, "") or [ast.copy_location(ast.Pass(), call)]

    def _with_value(self, call: ast.Call) -> tuple[list[ast.stmt], ast.Name]:
        """What a method does, and the variable that has what it returns."""
        method, body = self._body(call)
        if not _ends(body):
            what = f"{ast.unparse(call.func)} can end without a value"
            self.hook.refuse(call, what, "return one on every path")
        if nothing := next((node for node in _returns(body) if _is_nothing(node)), None):
            self.hook.refuse(nothing, f"{ast.unparse(call.func)} returns nothing here", "return a value on every path")
        result = self._fresh(method.name)
        return self._settled(method, body, result), ast.copy_location(ast.Name(result, ast.Load()), call)

    def _body(self, call: ast.Call) -> tuple[Method, list[ast.stmt]]:
        """The statements of a call: parameters are assigned or replaced, and variables are its own."""
        assert isinstance(call.func, ast.Attribute)
        name = call.func.attr
        if name in self.open:
            self.hook.refuse(call, f"self.{name} calls itself", "write a loop")
        method = self._found(name)
        body = self._placed(method)
        self_name, *parameters = [argument.arg for argument in method.tree.args.args]
        if len(call.args) != len(parameters) or call.keywords or any(isinstance(a, ast.Starred) for a in call.args):
            signature = f"self.{name}({', '.join(parameters)})"
            self.hook.refuse(call, f"`{ast.unparse(call)}` gives other arguments than {name} takes", signature)
        stored = _stored(body)
        replaced: dict[str, ast.expr] = {self_name: ast.Name("self", ast.Load())}
        assigned: list[ast.stmt] = []
        for parameter, argument in zip(parameters, call.args, strict=True):
            if parameter not in stored and _is_plain(argument):
                replaced[parameter] = argument
                continue
            fresh = replaced[parameter] = ast.Name(self._fresh(parameter), ast.Load())
            target = ast.copy_location(ast.Name(fresh.id, ast.Store()), argument)
            assigned.append(ast.copy_location(ast.Assign([target], argument), argument))
        for variable in sorted(stored - replaced.keys()):
            replaced[variable] = ast.Name(self._fresh(variable), ast.Load())
        replaced |= self._named(method, body, replaced.keys())
        body = [_Renaming(replaced).visit(statement) for statement in body]
        self.open.append(name)
        body = self._block([*assigned, *body])
        self.open.pop()
        return method, body

    def _found(self, name: str) -> Method:
        method = find_method(self.nf_class, name)
        assert method is not None
        arguments = method.tree.args
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults or not arguments.args:
            right = f"def {name}(self, pkt), without defaults"
            method.refuse(method.tree, f"{name} has parameters that a call in an NF cannot give", right)
        return method

    def _placed(self, method: Method) -> list[ast.stmt]:
        """The method's statements, with lines that the hook knows the place of."""
        more = method.first_line - self.hook.first_line
        if method.file != self.hook.file:
            if method.file not in self.others:
                self.others.append(method.file)
            more = method.first_line - 1 + OTHER_FILE * (1 + self.others.index(method.file))
        body: list[ast.stmt] = _copied(method.tree.body)
        for node in (node for statement in body for node in ast.walk(statement)):
            if isinstance(node, ast.stmt | ast.expr):
                node.lineno += more
        return body

    def _named(self, method: Method, body: list[ast.stmt], own: Container[str]) -> dict[str, ast.expr]:
        """What the method means by names of its module, under a name that means that in the hook."""
        renamed: dict[str, ast.expr] = {}
        means = {node.id for statement in body for node in ast.walk(statement) if isinstance(node, ast.Name)}
        for name in sorted(name for name in means if name not in own and name in method.names):
            value = method.names[name]
            if name in self.variables or self.names.get(name, value) is not value:
                fresh = self._fresh(name)
                renamed[name], self.names[fresh] = ast.Name(fresh, ast.Load()), value
            else:
                self.names[name] = value
        return renamed

    def _fresh(self, name: str) -> str:
        """A variable that nobody has."""
        number = 1
        while f"{name}_{number}" in self.taken:
            number += 1
        self.taken.add(f"{name}_{number}")
        return f"{name}_{number}"

    def _settled(self, method: Method, body: list[ast.stmt], result: str) -> list[ast.stmt]:
        """The same without returns, which assign the variable `result` if there is one: what follows goes elsewhere."""
        settled: list[ast.stmt] = []
        for place, statement in enumerate(body):
            if isinstance(statement, ast.Return):
                if result and statement.value is not None:
                    target = ast.copy_location(ast.Name(result, ast.Store()), statement)
                    settled.append(ast.copy_location(ast.Assign([target], statement.value), statement))
                return settled
            if next(_returns([statement]), None) is None:
                settled.append(statement)
                continue
            if not isinstance(statement, ast.If):
                right = "break, and return after the loop"
                self.hook.refuse(statement, f"{method.name} returns from within a loop, and gives a value", right)
            # What follows is done on each path that goes on, twice in the text if both do.
            rest = body[place + 1 :]
            self._count(rest, statement)
            yes, no = (
                self._settled(method, path if _ends(path) else [*path, *_copied(rest)], result)
                for path in (statement.body, statement.orelse)
            )
            nothing: list[ast.stmt] = [ast.copy_location(ast.Pass(), statement)]
            settled.append(ast.copy_location(ast.If(statement.test, yes or nothing, no), statement))
            return settled
        return settled


def _copied(part: Any) -> Any:
    """A syntax tree, or a list of some, once more; much sooner done than by `copy.deepcopy`."""
    if isinstance(part, list):
        return [_copied(each) for each in part]
    if not isinstance(part, ast.AST) or not vars(part):
        return part
    copy = type(part).__new__(type(part))
    vars(copy).update((name, _copied(value)) for name, value in vars(part).items())
    return copy


def _first(node: ast.expr) -> tuple[Any, Any] | None:
    """What of an expression is evaluated first, numbers and parameters aside, as the place that it has in something."""
    name = _FIRST.get(type(node), "")
    if isinstance(node, ast.BinOp) and _is_plain(node.left) and not isinstance(node.left, ast.Name):
        name = "right"
    part = getattr(node, name, None)
    if isinstance(part, list):
        return (part, 0) if part else None
    return None if part is None else (vars(node), name)


class _Renaming(ast.NodeTransformer):
    """Puts expressions in the places of names."""

    def __init__(self, replaced: dict[str, ast.expr]) -> None:
        self.replaced = replaced

    def visit_Name(self, node: ast.Name) -> ast.expr:
        given = self.replaced.get(node.id)
        if given is None:
            return node
        if isinstance(given, ast.Name):
            return ast.copy_location(ast.Name(given.id, node.ctx), node)
        return ast.copy_location(_copied(given), node)


def _is_plain(node: ast.expr) -> bool:
    """Whether it is the same wherever it is evaluated, as long as nobody assigns the variable."""
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name) and node.value.id == "self"
    return isinstance(node, ast.Name | ast.Constant)


def _stored(body: list[ast.stmt]) -> set[str]:
    names = (node for statement in body for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Store)}


def _returns(body: list[ast.stmt]) -> Iterator[ast.Return]:
    return (node for statement in body for node in ast.walk(statement) if isinstance(node, ast.Return))


def _is_nothing(node: ast.Return) -> bool:
    return node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)


def _ends(body: list[ast.stmt]) -> bool:
    """Whether every path through the statements ends in a return."""
    for statement in body:
        if isinstance(statement, ast.Return):
            return True
        if isinstance(statement, ast.If) and _ends(statement.body) and _ends(statement.orelse):
            return True
    return False
