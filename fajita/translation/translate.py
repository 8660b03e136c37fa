"""From an NF to plain functions on addresses: one per hook, as text, with what the planner must know."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fajita.integers import AnyIntegers
from fajita.nf import BEFORE_LOOKUP, EXPIRE_IN, NF
from fajita.packet import FLOW_PORTS
from fajita.translation.commuting import why_not_commuting
from fajita.translation.foresight import foresee, foresee_first
from fajita.translation.locate import Method
from fajita.translation.own_calls import find_hook
from fajita.translation.prefetches import ArrayAccess, Asked, derive_prefetches
from fajita.translation.scope import VERDICTS_OF, Scope
from fajita.translation.statements import Statements

#: What the kernel can hand to a hook, in the order it is handed.
ARGUMENTS = (
    "frame",
    "headers",
    "metadata",
    "captured",
    "length",
    "time_ns",
    "state",
    "core",
    "constants",
    "records",
    "forward",
    "flow_ports",
    "context",
    "related",
    "block",
    "packet",
)

_PARAMETERS = {
    "packet": ("pkt", "state"),
    "new_flow": ("pkt", "state"),
    "expire": ("state",),
    BEFORE_LOOKUP: ("pkt",),
    "error": ("pkt", "state"),
}


#: A new_flow of more lines stays out of the way of the packets of known flows: a call is little beside what it does.
LONG = 32


@dataclass(frozen=True)
class Hook:
    """A method, translated: the name of its function in the kernel, the arguments it takes, its lines, its origin."""

    name: str
    function: str
    arguments: tuple[str, ...]
    lines: tuple[str, ...]
    origin: str

    def text(self) -> str:
        """The function as source."""
        apart = self.name == "new_flow" and len(self.lines) > LONG
        decorator = "rare_function" if apart else "kernel_function"
        head = f"@{decorator}\ndef {self.function}({', '.join(self.arguments)}):"
        return "\n".join([head, f"    # {ascii(self.origin)[1:-1]}", *self.lines])

    def call(self) -> str:
        """A call of it."""
        return f"{self.function}({', '.join(self.arguments)})"


@dataclass(frozen=True)
class TranslatedNF:
    """An NF whose source is checked. Reasons are in the order of the codes that its packet function returns.

    lists: the values of the lists that it indexes, by their names in the kernel.
    new_flow_writes: the header fields that new_flow writes; they are among `writes`.
    stored: the fields and arrays of the state that some method assigns; any other is 0 for ever. emits: by the name of
    a method, how often `self.emit(state)` stands in it, which is the most records that a call of it makes.
    rewrites_per_flow: what it writes to a header is the same for all packets of one flow (of its own key).
    chooses: the methods that say after what idle time a state ends.
    reshapes: it changes more of a frame than its fields; growth: by so many at most it makes one longer.
    draws: it draws random numbers. accesses: the elements of arrays that they name. prefetch: a hook with the
    arguments of `packet` that asks for elements before it runs, if there are any to ask for; it changes nothing.
    asked: how many, and what decides which. why_not: why it does not commute.
    before_reads, before_writes: what before_lookup reads and writes of the header; they are among `reads` and `writes`.
    foresight: a hook with the arguments of before_lookup that says beforehand what that will probably do; None: nobody
    knows. It writes fields without their checksums, those named in `foreseen`, and changes nothing else.
    first_foresight, first_foreseen: the same of one that runs ahead of it, and asks for elements of arrays that it
    would have to wait for; None: there are none.
    methods: those that it has of the ones that a hook is made of, with what they call in its place.
    """

    nf: NF
    prefix: str
    hooks: dict[str, Hook]
    reads: frozenset[str]
    writes: frozenset[str]
    reasons: tuple[str, ...]
    lists: dict[str, list[int] | AnyIntegers]
    new_flow_writes: frozenset[str]
    rewrites_per_flow: bool
    stored: frozenset[str]
    emits: dict[str, int]
    chooses: frozenset[str] = frozenset()
    draws: bool = False
    accesses: tuple[ArrayAccess, ...] = ()
    prefetch: Hook | None = None
    asked: Asked | None = None
    why_not: str = ""
    before_reads: frozenset[str] = frozenset()
    before_writes: frozenset[str] = frozenset()
    foresight: Hook | None = None
    foreseen: tuple[str, ...] = ()
    first_foresight: Hook | None = None
    first_foreseen: tuple[str, ...] = ()
    reshapes: bool = False
    growth: int = 0
    methods: dict[str, Method] = field(default_factory=dict, repr=False, compare=False)

    @property
    def asks(self) -> bool:
        """Whether it has a before_lookup, which says whether the packet is one for it, and by which key."""
        return BEFORE_LOOKUP in self.hooks

    @property
    def reads_flow_ports(self) -> bool:
        """Whether it reads ports that later fragments have of their first."""
        return not FLOW_PORTS.keys().isdisjoint(self.reads)

    @property
    def commutes(self) -> bool:
        """Whether its states do not depend on the order of packets, and states of several workers can be merged."""
        return not self.why_not

    @property
    def asks_landing(self) -> bool:
        """Whether it asks where packets would land, so that what it does depends on how many workers there are."""
        return any("context" in hook.arguments for hook in self.hooks.values())

    @property
    def may_drop(self) -> bool:
        """Whether some path of it drops a packet."""
        return bool(self.reasons)

    @property
    def takes_errors(self) -> bool:
        """Whether ICMP errors come to it as what they are, with the key of the packet that they are about."""
        return "error" in self.hooks

    @property
    def may_emit(self) -> bool:
        """Whether some path of it emits a record."""
        return any(self.emits.values())


def translate(nf: NF) -> TranslatedNF:
    """Check and translate an NF's methods; InputError names the user's file and line."""
    found = ((name, find_hook(type(nf), name)) for name in _PARAMETERS)
    methods = {name: method for name, method in found if method is not None}
    translated = _translate(nf, methods, frozenset())
    unstored = _unstored(translated)
    if unstored:
        # Which fields nothing stores is known only now; reading one of them is reading a 0.
        translated = _translate(nf, methods, unstored)
    scope = _packet_scope(translated)
    why_not = why_not_commuting(scope, translated.stored, has_new_flow="new_flow" in translated.hooks)
    if translated.takes_errors:
        why_not = why_not or "it has a method error, which asks whether a flow has a state"
    return _with_foresight(replace(translated, why_not=why_not))


def _with_foresight(translated: TranslatedNF) -> TranslatedNF:
    """The same with a foresight of its before_lookup, if it has one."""
    method = translated.methods.get(BEFORE_LOOKUP)
    if method is None:
        return translated
    scope = _scope(translated.nf, method, translated.prefix)
    scope.reasons = list(translated.reasons)
    foreseen = foresee(scope, translated.before_reads)
    if foreseen is None:
        return translated
    scope.method = replace(method, name="foresight")
    lines, written = foreseen
    return replace(translated, foresight=_hook(scope, lines), foreseen=written)


def _unstored(translated: TranslatedNF) -> frozenset[str]:
    return frozenset(type(translated.nf).state_fields) - translated.stored


def _translate(nf: NF, methods: dict[str, Method], unstored: frozenset[str]) -> TranslatedNF:
    prefix = "".join(letter if letter.isalnum() else "_" for letter in nf.name)
    hooks: dict[str, Hook] = {}
    reads: set[str] = set()
    writes: set[str] = set()
    reasons: list[str] = []
    lists: dict[str, list[int] | AnyIntegers] = {}
    scopes: list[Scope] = []
    for name, method in methods.items():
        scope = _scope(nf, method, prefix)
        scope.reasons, scope.unstored = reasons, unstored
        hook = _translate_hook(scope)
        if name in VERDICTS_OF or hook.arguments:  # what uses nothing of the packet and the state has no effect
            hooks[name] = hook
        reads |= scope.reads
        writes |= scope.writes
        lists |= scope.lists
        scopes.append(scope)
    new_flow_writes = {name for scope in scopes if scope.method.name == "new_flow" for name in scope.writes}
    before = [scope for scope in scopes if scope.method.name == BEFORE_LOOKUP]
    return TranslatedNF(
        nf,
        prefix,
        hooks,
        frozenset(reads),
        frozenset(writes),
        tuple(reasons),
        lists,
        frozenset(new_flow_writes),
        _rewrites_per_flow(scopes),
        frozenset(name for scope in scopes for name in scope.stored),
        {scope.method.name: scope.emits for scope in scopes},
        frozenset(scope.method.name for scope in scopes if EXPIRE_IN in scope.stored),
        any(scope.draws for scope in scopes),
        reshapes=any(scope.reshapes for scope in scopes),
        growth=sum(scope.growth for scope in scopes),
        before_reads=frozenset(name for scope in before for name in scope.reads),
        before_writes=frozenset(name for scope in before for name in scope.writes),
        methods=methods,
    )


def with_prefetch(translated: TranslatedNF, wanted: set[tuple[str, str]]) -> TranslatedNF:
    """The same with a prefetch hook for these arrays, each given as (area, name)."""
    translated = _with_first_foresight(translated, frozenset(name for area, name in wanted if area == "core"))
    prefetches = derive_prefetches(_packet_scope(translated), wanted)
    accesses = tuple(dict.fromkeys([*translated.accesses, *prefetches.accesses]))
    if not prefetches.lines:
        return replace(translated, accesses=accesses)
    hook = _hook(prefetches.scope, prefetches.lines)
    return replace(translated, accesses=accesses, prefetch=hook, asked=prefetches.asked)


def _with_first_foresight(translated: TranslatedNF, arrays: frozenset[str]) -> TranslatedNF:
    """The same with the first foresight of its before_lookup, if it needs one. arrays: of Core, the large ones."""
    method = translated.methods.get(BEFORE_LOOKUP)
    if method is None:
        return replace(translated, accesses=())
    scopes = [_scope(translated.nf, method, translated.prefix) for _ in range(2)]
    for scope in scopes:
        scope.reasons = list(translated.reasons)
    accesses = derive_prefetches(scopes[0], set()).accesses
    first = None if translated.foresight is None else foresee_first(scopes[1], translated.before_reads, arrays)
    asked = frozenset() if first is None else first.asked
    accesses = tuple(replace(access, ahead=access.text in asked) for access in accesses)
    if first is None:
        return replace(translated, accesses=accesses)
    scopes[1].method = replace(method, name="first_foresight")
    hook = _hook(scopes[1], first.lines)
    return replace(translated, accesses=accesses, first_foresight=hook, first_foreseen=first.written)


def _packet_scope(translated: TranslatedNF) -> Scope:
    """A fresh one of `packet`."""
    scope = _scope(translated.nf, translated.methods["packet"], translated.prefix)
    scope.unstored = _unstored(translated)
    return scope


def _rewrites_per_flow(scopes: list[Scope]) -> bool:
    changing = {name for scope in scopes if scope.method.name in VERDICTS_OF for name in scope.stored}
    return all(scope.rewrites_per_flow and not scope.rewrites_from & changing for scope in scopes)


def _scope(nf: NF, method: Method, prefix: str) -> Scope:
    wanted = [name for name in _PARAMETERS[method.name] if name == "pkt" or nf.granularity is not None]
    arguments = method.tree.args
    names = [argument.arg for argument in arguments.args]
    if (
        len(names) != len(wanted) + 1
        or arguments.vararg
        or arguments.kwarg
        or arguments.kwonlyargs
        or arguments.defaults
    ):
        signature = f"def {method.name}({', '.join(['self', *wanted])})"
        method.refuse(method.tree, f"{type(nf).__name__}.{method.name} has the wrong parameters", signature)
    given = dict(zip(wanted, names[1:], strict=True))
    return Scope(nf, method, prefix, given.get("pkt"), given.get("state"))


def _translate_hook(scope: Scope) -> Hook:
    method = scope.method
    statements = Statements(scope)
    if not statements.block(method.tree.body, 1):
        if method.name in VERDICTS_OF:
            right = f"return {VERDICTS_OF[method.name][0]} on every path"
            method.refuse(method.tree, f"{type(scope.nf).__name__}.{method.name} can end without a verdict", right)
        statements.lines.append("    return 0")
    return _hook(scope, statements.lines)


def _hook(scope: Scope, lines: Iterable[str]) -> Hook:
    method = scope.method
    arguments = tuple(name for name in ARGUMENTS if name in scope.used)
    origin = f"{type(scope.nf).__name__}.{method.tree.name}, {method.file}:{method.first_line}"
    return Hook(method.name, f"{scope.prefix}_{method.name}", arguments, tuple(lines), origin)
