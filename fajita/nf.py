"""Writing a network function: the base class, the types of state, and the verdicts.

An NF is a class with declarations (`key`, `Params`, `State`, `Core`) and methods that run per packet. It is plain
Python: the interpreted engine calls the methods as they are, the compiled engine translates their source.
"""

import inspect
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from fajita.errors import InputError, nearest
from fajita.key import KEYS, Key, find_key
from fajita.lifetime import CHOSEN_TIMEOUT_NS
from fajita.matcher_type import with_patterns
from fajita.misspelling import misspellings
from fajita.packet import Layer
from fajita.quantities import parse_duration
from fajita.state_types import (
    CORE_TYPES,
    STATE_TYPES,
    ArrayType,
    MapType,
    StateType,
    array_of,
    check_length,
    map_of,
    scalar_of,
)

PASS = 0
DROP = 1
#: Of before_lookup: the packet is one for the NF, by the key that it has now.
LOOK_UP = 2


#: The field of a State in which the NF says after what idle time it ends: nanoseconds, 0 for the usual `timeout`.
EXPIRE_IN = "expire_in"

#: The variable of a Core in which `expire` finds why a state ends, one of the three: its key has been idle, all end as
#: the run does, another flow needs its place.
ENDED_BY = "ended_by"
IDLE, DRAINED, EVICTED = range(3)

#: The method that runs before the key of a packet is read.
BEFORE_LOOKUP = "before_lookup"

#: The names of an NF and its state become names in the kernel, joined by `__`, and names of files.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
#: What every NF can be given beside its parameters.
_SETTINGS = {"name", "key", "timeout"}
#: Bytes of all arrays of an NF: in each entry of its table, and once per worker.
MAXIMUM_ARRAYS = {"State": 64 << 10, "Core": 4 << 30}


def source_location(owner: Any) -> str:
    """`file:line` where a class or function is defined, or its name where there is no file."""
    try:
        return f"{inspect.getsourcefile(owner)}:{inspect.getsourcelines(owner)[1]}"
    except (OSError, TypeError):
        return str(getattr(owner, "__qualname__", owner))


def _refuse_class(owner: type, what: str, right: str) -> NoReturn:
    """Raise the InputError for a class that cannot be an NF."""
    raise InputError(f"{owner.__name__}{what}", source_location(owner), right)


def _hints(owner: type, inner: type, what: str) -> dict[str, Any]:
    try:
        return get_type_hints(inner, include_extras=True)
    except NameError as error:
        _refuse_class(owner, f".{what} uses a type that is not known: {error}", "import it")


def _typed_names(owner: type, inner: type, what: str, right: str) -> dict[str, Any]:
    """The types of the names in a class body; InputError for a name that is given a value but no type."""
    hints = _hints(owner, inner, what)
    for name in vars(inner):
        if not name.startswith("__") and name not in hints:
            _refuse_class(owner, f".{what}.{name} has no type", right.format(name))
    return hints


#: The fields of a State or Core, its arrays and its maps, by name.
_Declared = tuple[dict[str, StateType], dict[str, ArrayType], dict[str, MapType]]


def _declared_fields(owner: type, what: str, begins: str) -> _Declared:
    """What `State` or `Core` declares; begins: what to say of a field that is given a value."""
    inner = getattr(owner, what, None)
    fields: dict[str, StateType] = {}
    arrays: dict[str, ArrayType] = {}
    maps: dict[str, MapType] = {}
    if inner is None:
        return fields, arrays, maps
    for name, hint in _typed_names(owner, inner, what, "write `{}: u64`").items():
        try:
            scalar, array, map_ = scalar_of(hint), array_of(hint), map_of(hint)
        except ValueError as error:
            _refuse_class(owner, f".{what}.{name} {error.args[0]}", error.args[1])
        if map_ is not None and what == "State":
            _refuse_class(owner, f".State.{name} is a map", "maps are for Core, which each worker has once")
        if scalar is None and array is None and map_ is None:
            shown = getattr(hint, "__name__", hint)
            known = STATE_TYPES if what == "State" else CORE_TYPES
            _refuse_class(owner, f".{what}.{name} has the type {shown}", f"use one of {known}")
        if any(name in vars(declared) for declared in inner.__mro__[:-1]):
            _refuse_class(owner, f".{what}.{name} has a default", begins)
        if scalar is not None:
            fields[name] = scalar
        elif array is not None:
            arrays[name] = array
        elif map_ is not None:
            maps[name] = map_
    return fields, arrays, maps


def _params_model(owner: type) -> type[BaseModel]:
    inner = getattr(owner, "Params", None)
    fields: dict[str, Any] = {}
    if inner is not None:
        hints = _typed_names(owner, inner, "Params", "give it one")
        for name in sorted(hints.keys() & (_SETTINGS | {"core", "given"} | set(dir(owner)))):
            _refuse_class(owner, f".Params.{name} has a name that the NF uses itself", "choose another")
        fields = {name: (hint, getattr(inner, name, ...)) for name, hint in hints.items()}
    config = ConfigDict(extra="forbid", strict=True, validate_default=True)
    return create_model(f"{owner.__name__}Params", __config__=config, **fields)


_Sizable = TypeVar("_Sizable", ArrayType, MapType)


class AnyKey:
    """The keys of an NF that can work at every granularity; iterated over, those that have a name."""

    def __iter__(self) -> Iterator[Key]:
        return iter(KEYS.values())


#: For `keys` of an NF.
ANY_KEY = AnyKey()


class ParameterError(InputError):
    """A parameter or setting of an NF is wrong. path leads to it: its name, then the place in a list or mapping."""

    def __init__(self, path: tuple[str | int, ...], what: str, right: str = "") -> None:
        super().__init__(what, "", right)
        self.path = path


def _first_problem(owner: type["NF"], error: ValidationError, model: type[BaseModel]) -> ParameterError:
    problems = error.errors(include_url=False)
    # A misspelt parameter is both unknown and missing; the first says more.
    problem = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    path = problem["loc"]
    name = ".".join(str(part) for part in path)
    known = f"its parameters: {', '.join(model.model_fields) or 'none'}"
    if problem["type"] == "extra_forbidden" and owner.key is not None:
        known += "; settings: key, timeout"
    if problem["type"] == "missing":
        return ParameterError(path, f"{owner.__name__} needs the parameter {name}", known)
    if problem["type"] == "extra_forbidden":
        return ParameterError(path, f"{owner.__name__} has no parameter {name}", known)
    return ParameterError(path, f"parameter {name} of {owner.__name__}: {problem['msg'].removeprefix('Value error, ')}")


class NF:
    """A network function.

    key: the granularity of its state, or None for an NF without state. keys: others that `key=` may choose instead.
    Params: parameters, typed, with defaults; they become attributes. State: what is kept per key. Core: variables
    that each worker keeps once. about: of an NF without a key, the layers a frame must have for the NF to
    see it, IP if it does not say; of one with a key, Layer.IPV4 or Layer.IPV6 if it handles but one of them.
    timeout: with unit, after what idle time a state ends unless the chain gives the NF another one; None: as the chain
    says. ipfix: of records, the information elements (RFC 7012) that fields of State become with `--ipfix`, by name.
    together: of several workers, one gets all packets that agree in this key as they come to the NF, because they
    share variables of Core; `prepare` may set it, `everything` means that one gets all.

    Methods: `packet(self, pkt, state)` returns PASS, DROP or `pkt.drop("reason")`, without `state` if there is no key;
    `new_flow(self, pkt, state)` fills a new state, all zeros before; `expire(self, state)` gives back what a state
    holds when it has been idle for `timeout`; `before_lookup(self, pkt)` of an NF with a key may rewrite the packet
    before that is read, and returns LOOK_UP, or PASS for a packet that the NF is not about, or drops it;
    `error(self, pkt, state)` takes ICMP errors about packets of its flows instead of `packet`; `prepare(self)` runs
    once, in ordinary Python, to derive attributes from the parameters; `summary(self, states, core)` makes the NF's
    summary in the report.
    """

    key: ClassVar[Key | None] = None
    keys: ClassVar[Iterable[Key]] = ()
    about: ClassVar[Layer | None] = None
    timeout: ClassVar[str | None] = None
    ipfix: ClassVar[Mapping[str, str | tuple[str, ...]]] = {}
    together: Key | None = None

    #: Of a State with expire_in, nanoseconds: how soon a state may end that half of it as a delay is little.
    shortest_expire_in: int = CHOSEN_TIMEOUT_NS

    state_fields: ClassVar[dict[str, StateType]] = {}
    core_fields: ClassVar[dict[str, StateType]] = {}
    #: Of the class as they are declared, of an NF with their lengths.
    state_arrays: dict[str, ArrayType] = {}  # noqa: RUF012
    core_arrays: dict[str, ArrayType] = {}  # noqa: RUF012
    core_maps: dict[str, MapType] = {}  # noqa: RUF012
    params_model: ClassVar[type[BaseModel]] = BaseModel

    #: Set by an engine before the first packet: the variables of `Core`.
    core: Any
    #: For `prepare`: the NF that this one is made to take the place of, when its parameters change during a run.
    replaces: "NF | None" = None

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Parameters are attributes, which a type checker cannot know."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for what, near in misspellings(cls):
            _refuse_class(cls, f".{what}", f"did you mean {near}?")
        states_begin, variables_begin = "states begin at 0, set it in new_flow", "variables begin at 0"
        cls.state_fields, cls.state_arrays, _ = _declared_fields(cls, "State", states_begin)
        cls.core_fields, cls.core_arrays, cls.core_maps = _declared_fields(cls, "Core", variables_begin)
        cls.params_model = _params_model(cls)
        if cls.key is not None and not isinstance(cls.key, Key):
            _refuse_class(cls, ".key is not a granularity", "for example: key = five_tuple")
        if EXPIRE_IN in cls.state_arrays:
            _refuse_class(cls, f".State.{EXPIRE_IN} is an array", "use u64 or i64")
        if EXPIRE_IN in cls.state_fields and cls.state_fields[EXPIRE_IN].bytes != 8:
            _refuse_class(cls, f".State.{EXPIRE_IN} has the type {cls.state_fields[EXPIRE_IN].name}", "use u64 or i64")
        if ENDED_BY in cls.core_arrays or (ENDED_BY in cls.core_fields and cls.core_fields[ENDED_BY].bytes != 1):
            _refuse_class(cls, f".Core.{ENDED_BY} has no type for it", "use Max[u8]")
        if cls.timeout is not None and cls.key is None:
            _refuse_class(cls, " has timeout but no key", "for example: key = five_tuple")
        if (cls.state_fields or cls.state_arrays) and cls.key is None:
            _refuse_class(cls, " has State but no key", "for example: key = five_tuple")
        if cls.key is not None and cls.about not in (None, Layer.IPV4, Layer.IPV6):
            _refuse_class(cls, f".about is {cls.about!r} beside a key", "Layer.IPV4, Layer.IPV6, or leave it out")
        for name in ("emit", "lands_here"):
            if getattr(cls, name) is not getattr(NF, name):
                _refuse_class(cls, f".{name} has a name that the NF uses itself", "choose another")
        if hasattr(cls, BEFORE_LOOKUP) and cls.key is None:
            _refuse_class(cls, f" has {BEFORE_LOOKUP} but no key", "for example: key = connection")
        if callable(getattr(cls, "error", None)) and cls.key is None:
            _refuse_class(cls, " has error but no key", "ICMP errors come to packet; pkt.is_error tells which they are")
        if not callable(getattr(cls, "packet", None)):
            _refuse_class(cls, " has no method packet", "write: def packet(self, pkt, state)")

    def __init__(
        self, /, *, name: str | None = None, key: Key | str | None = None, timeout: str | None = None, **params: Any
    ) -> None:
        """Check the parameters (InputError says which is wrong). timeout: idle time, with unit, after which an
        entry's state is given back and begins anew; None: after the class's, or else never."""
        cls = type(self)
        self.name = snake_case(cls.__name__) if name is None else name
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ParameterError(
                ("name",), f"{self.name!r} cannot be the name of a network function", "letters, digits and single _"
            )
        self.granularity = self._choose_key(key)
        self.timeout_ns = self._timeout(cls.timeout if timeout is None else timeout)
        try:
            values = cls.params_model.model_validate(params)
        except ValidationError as error:
            raise _first_problem(cls, error, cls.params_model) from None
        for field in cls.params_model.model_fields:
            setattr(self, field, getattr(values, field))
        #: The parameters as the chain gives them.
        self.given = params
        self._prepare()
        if self.together is not None and not isinstance(self.together, Key):
            _refuse_class(cls, f".together is {self.together!r}, no granularity", "for example: source, or everything")
        self.state_arrays = self._sized("State", cls.state_arrays)
        self.core_arrays = self._sized("Core", cls.core_arrays)
        before = sum(array.shown_bytes for array in self.core_arrays.values())
        self.core_maps = self._sized("Core", cls.core_maps, before)
        try:
            self.core_maps = with_patterns(self, self.core_maps)
        except ValueError as error:
            _refuse_class(cls, error.args[0], error.args[1])

    def __repr__(self) -> str:
        key = "" if self.granularity is None else f" by {self.granularity}"
        return f"{type(self).__name__}({self.name}{key})"

    def _prepare(self) -> None:
        name = type(self).__name__
        try:
            self.prepare()
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{name}: {error}") from None
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{name}.prepare failed: {type(error).__name__}: {error}"
            raise InputError(what, f"{frame.filename}:{frame.lineno}") from None

    def _sized(self, what: str, arrays: dict[str, _Sizable], before: int = 0) -> dict[str, _Sizable]:
        """The arrays or maps with their lengths, which may be parameters or what `prepare` made of them.

        before: bytes of others that count with them.
        """
        sized: dict[str, _Sizable] = {}
        total = before
        for name, array in arrays.items():
            length, by = array.length, ""
            if isinstance(length, str):
                if not hasattr(self, length):
                    right = nearest(length, self.params())
                    self._refuse_size(what, name, f"has the size {length!r}, which is no attribute of the NF", right)
                length, by = getattr(self, length), f" ({length})"
                try:
                    check_length(length)
                except ValueError as error:
                    self._refuse_size(what, name, f"{error.args[0]}{by}", error.args[1])
            sized[name] = array.with_length(length)
            total += sized[name].shown_bytes
            if total > MAXIMUM_ARRAYS[what]:
                kinds = "arrays and maps" if self.core_maps and what == "Core" else "arrays"
                right = f"at most {MAXIMUM_ARRAYS[what]:,} bytes of {kinds} in {what}, a truth value counted as one"
                self._refuse_size(what, name, f"has the size {length:,}{by}", right)
        return sized

    def _refuse_size(self, what: str, name: str, problem: str, right: str) -> NoReturn:
        _refuse_class(type(self), f".{what}.{name} {problem}", right)

    def _choose_key(self, key: Key | str | None) -> Key | None:
        if key is None or (self.key is not None and key == self.key.name):
            return self.key
        if isinstance(self.keys, AnyKey) and self.key is not None:
            return key if isinstance(key, Key) else _named_key(key)
        allowed = {choice.name: choice for choice in (self.key, *self.keys) if choice is not None}
        name = key.name if isinstance(key, Key) else key
        if name not in allowed:
            right = f"one of {', '.join(allowed)}" if allowed else "it takes no key"
            raise ParameterError(("key",), f"{type(self).__name__} cannot be keyed by {name!r}", right)
        return allowed[name]

    def _timeout(self, timeout: str | None) -> int | None:
        if timeout is None:
            return None
        if self.granularity is None:
            raise ParameterError(("timeout",), f"{type(self).__name__} keeps no state per key, so it takes no timeout")
        try:
            nanoseconds = parse_duration(timeout)
        except ValueError as error:
            raise ParameterError(("timeout",), f"timeout of {type(self).__name__}: {error}") from None
        if nanoseconds <= 0:
            raise ParameterError(("timeout",), f"timeout of {type(self).__name__} is {timeout}", "more than 0")
        return nanoseconds

    def emit(self, state: Any) -> None:
        """In packet, new_flow and expire: write a record, a row of the flow's key and of its state as it is now."""
        raise NotImplementedError  # each engine has its own

    def lands_here(self, src: int, dst: int, src_port: int, dst_port: int) -> bool:
        """In packet and new_flow: whether an IPv4 packet that comes in with these fields is run by this worker.

        So that an NF that gives flows new addresses or ports can choose such as bring what is sent back to the worker
        that knows the flow. With one worker, and where all packets go to one, it is always true.
        """
        raise NotImplementedError  # each engine has its own

    def prepare(self) -> None:
        """Derive attributes from the parameters; raise ValueError where they make no sense together."""

    def summary(self, states: NDArray[np.void], core: dict[str, Any]) -> dict[str, Any]:
        """What the report says of this NF; `states` is a structured array of all its entries, fields as in State.

        Of the variables that are declared (Sum, Max, Min, Or), `core` has what all workers have together, of others a
        list with a value for each worker. Arrays are arrays of numpy in both, of truth values for Bits; a map is a
        dict, its keys tuples. By default the report leaves out both.
        """
        counted = {"entries": len(states)} if self.granularity is not None else {}
        large = self.core_arrays.keys() | self.core_maps.keys()
        return counted | {name: value for name, value in core.items() if name not in large}

    def random(self, limit: int) -> int:
        """A number from 0 to limit - 1, 0 if the limit is below 1: for the methods that run per packet.

        The numbers of an NF follow from its name: they are the same in every run.
        """
        raise NotImplementedError("random numbers are for the methods that run per packet")

    def params(self) -> dict[str, Any]:
        """The parameters by name, as the NF sees them."""
        return {field: getattr(self, field) for field in type(self).params_model.model_fields}


def _named_key(text: str) -> Key:
    try:
        return find_key(text)
    except InputError as error:
        raise ParameterError(("key",), error.what, error.right) from None


def snake_case(name: str) -> str:
    """FlowCounter becomes flow_counter, and MyNF my_nf: the name of an NF in a chain and of its file."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
