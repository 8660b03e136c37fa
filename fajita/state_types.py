"""The types of the fields of an NF's `State` and `Core`: integers, flags, addresses, arrays of them, merges."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, get_args, get_origin

#: How what several workers have in a field becomes one value, by the name that an NF declares it with.
MERGES = {"Sum": "sum", "Max": "max", "Min": "min", "Or": "or"}


@dataclass(frozen=True)
class StateType:
    """How a field of an NF's state is kept: its size, and how it is shown (`int`, `bool`, `ipv4`, `mac`).

    merge: sum, max, min or or, if the NF declares one.
    """

    name: str
    bytes: int
    signed: bool = False
    shown: str = "int"
    merge: str | None = None

    @property
    def dtype(self) -> str:
        """The numpy dtype of the field in an entry."""
        return f"{'i' if self.signed else 'u'}{self.bytes}"

    @property
    def declared(self) -> str:
        """As it is written in an NF."""
        return self.name if self.merge is None else f"{self.merge.capitalize()}[{self.name}]"

    @property
    def begin(self) -> int:
        """What it begins as: 0; of Min the largest value, of 64 bits that of those which do not compare as negative."""
        return (1 << min(8 * self.bytes, 63)) - 1 if self.merge == "min" else 0


# To a type checker these are `int` and `bool`; the second part says how the value is kept. An integer is computed in
# 64 bits, signed, and wraps; a field keeps the low bits that fit, and a u64 of 2**63 and over reads as negative.
u8 = Annotated[int, StateType("u8", 1)]
u16 = Annotated[int, StateType("u16", 2)]
u32 = Annotated[int, StateType("u32", 4)]
u64 = Annotated[int, StateType("u64", 8)]
i8 = Annotated[int, StateType("i8", 1, signed=True)]
i16 = Annotated[int, StateType("i16", 2, signed=True)]
i32 = Annotated[int, StateType("i32", 4, signed=True)]
i64 = Annotated[int, StateType("i64", 8, signed=True)]
flag = Annotated[bool, StateType("flag", 1, shown="bool")]
ipv4 = Annotated[int, StateType("ipv4", 4, shown="ipv4")]
mac = Annotated[int, StateType("mac", 8, shown="mac")]

#: What can be added up, or compared, in any order.
UNSIGNED = ("u8", "u16", "u32", "u64")
SCALARS = "u8 u16 u32 u64 i8 i16 i32 i64 flag ipv4 mac"
#: What a field may be, for messages.
STATE_TYPES = f"{SCALARS}, Array[u32, 64], Bits[1024], Sum[u64]"
#: What else a variable may be.
CORE_TYPES = f"{STATE_TYPES}, Map[2, 65536]"


@dataclass(frozen=True)
class ArrayType:
    """How an array is kept. length: in elements; in a class also the name of what gives it, of an NF always a number.

    packed: eight elements, each a flag, in a byte, from its lowest bit on.
    """

    element: StateType
    length: Any
    packed: bool = False

    @property
    def name(self) -> str:
        """As it is written in an NF, but for how it is merged."""
        length = repr(self.length).replace("'", '"')
        return f"Bits[{length}]" if self.packed else f"Array[{self.element.name}, {length}]"

    @property
    def declared(self) -> str:
        """As it is written in an NF."""
        if self.packed:
            return self.name if self.merge is None else f"{self.merge.capitalize()}[{self.name}]"
        return self.name.replace(self.element.name, self.element.declared, 1)

    @property
    def merge(self) -> str | None:
        """How its elements are merged: sum, max, min or or, if the NF declares it."""
        return self.element.merge

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return -(-int(self.length) // 8) if self.packed else int(self.length) * self.element.bytes

    @property
    def dtype(self) -> tuple[str, tuple[int]]:
        """The numpy dtype of the array as it is shown: of Bits, a truth value each."""
        return ("?" if self.packed else self.element.dtype), (int(self.length),)

    @property
    def shown_bytes(self) -> int:
        """Its size as it is shown."""
        return int(self.length) * self.element.bytes

    def with_length(self, length: int) -> "ArrayType":
        """The array of an NF of which the length is known."""
        return replace(self, length=length)


#: The numbers that a key of a map may have.
MAXIMUM_MAP_KEY = 4
#: What a map has in memory beside its slots.
MAP_HEADER_BYTES = 64


@dataclass(frozen=True)
class MapType:
    """How a map is kept: from so many integers to one that is not negative.

    length: the most keys it may have; in a class also the name of what gives it, of an NF always a number.
    """

    words: int
    length: Any

    #: What a message calls it, and by what an NF changes it.
    noun: ClassVar[str] = "map"
    changing: ClassVar[str] = "set(…)"

    @property
    def name(self) -> str:
        """As it is written in an NF."""
        return f"Map[{self.words}, {self.length!r}]".replace("'", '"')

    @property
    def declared(self) -> str:
        """As it is written in an NF."""
        return self.name

    @property
    def slots(self) -> int:
        """Places for a key and its value, a power of two: half as many again as there may be keys, or more."""
        return 1 << (int(self.length) + int(self.length) // 2).bit_length()

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return MAP_HEADER_BYTES + self.slots * 8 * (self.words + 1)

    @property
    def shown_bytes(self) -> int:
        """The same: nothing shows it otherwise."""
        return self.bytes

    def with_length(self, length: int) -> "MapType":
        """The map of an NF of which the length is known."""
        return replace(self, length=length)


def scalar_of(hint: Any) -> StateType | None:
    """The scalar that a type hint stands for, if it does; ValueError (what is wrong, what would be right)."""
    found = _part_of(hint, (StateType, MergeHint))
    return found.scalar() if isinstance(found, MergeHint) else found


def array_of(hint: Any) -> ArrayType | None:
    """The array that a type hint stands for, if it does; ValueError (what is wrong, what would be right)."""
    found = _part_of(hint, (ArrayHint, MergeHint))
    if isinstance(found, MergeHint):
        return found.array()
    return None if found is None else found.array_type()


def map_of(hint: Any) -> MapType | None:
    """The map that a type hint stands for, if it does; ValueError (what is wrong, what would be right)."""
    found = _part_of(hint, (MapHint,))
    return None if found is None else found.map_type()


def _part_of(hint: Any, kinds: tuple[type, ...]) -> Any:
    if get_origin(hint) is not Annotated:
        return None
    return next((part for part in get_args(hint)[1:] if isinstance(part, kinds)), None)


@dataclass(frozen=True)
class ArrayHint:
    """An array as a class body has it, yet to be checked. given: what stands in the brackets."""

    given: Any
    read: Callable[[Any], ArrayType]

    def array_type(self) -> ArrayType:
        """The type; ValueError says what is wrong and what would be right."""
        return self.read(self.given)


@dataclass(frozen=True)
class MapHint:
    """A map as a class body has it, yet to be checked. given: what stands in the brackets."""

    given: Any

    def map_type(self) -> MapType:
        """The type; ValueError says what is wrong and what would be right."""
        if not isinstance(self.given, tuple) or len(self.given) != 2:
            raise ValueError("is a Map that lacks the length of its key or its size", "write Map[2, 65536]")
        words, length = self.given
        if not isinstance(words, int) or not 1 <= words <= MAXIMUM_MAP_KEY:
            raise ValueError(f"has keys of {words!r} numbers", f"1 to {MAXIMUM_MAP_KEY}")
        return MapType(words, _declared_length(length))


@dataclass(frozen=True)
class MergeHint:
    """A declared merge as a class body has it, yet to be checked. name: in MERGES. given: what stands in the brackets.

    Its methods raise ValueError: what is wrong, what would be right.
    """

    name: str
    given: Any

    def scalar(self) -> StateType | None:
        """The type, with its merge; None of an array."""
        if self.array() is not None:
            return None
        kind = scalar_of(self.given)
        merged = UNSIGNED if self.name != "Or" else (*UNSIGNED, "flag")
        if kind is None or kind.merge is not None or kind.name not in merged:
            given = getattr(self.given, "__name__", self.given) if kind is None else kind.declared
            right = f"{self.name} of {', '.join(merged)}{' or Bits' if self.name == 'Or' else ''}"
            raise ValueError(f"is {self.name} of {given}", right)
        return replace(kind, merge=MERGES[self.name])

    def array(self) -> ArrayType | None:
        """The type, with its merge, of an array."""
        array = array_of(self.given)
        if array is None:
            return None
        if array.packed and self.name == "Or" and array.merge is None:
            return replace(array, element=replace(array.element, merge="or"))
        right = f"Or[{array.name}]" if array.packed else f"declare the elements: Array[{self.name}[u32], 64]"
        raise ValueError(f"is {self.name} of {array.declared}", right)


def check_length(length: object) -> None:
    """ValueError for what cannot be the length of an array: what is wrong, what would be right."""
    if not isinstance(length, int) or isinstance(length, bool):
        raise ValueError(f"has the size {length!r}", "an integer")
    if length < 1:
        raise ValueError(f"has the size {length}", "at least 1")


def _declared_length(length: object) -> Any:
    if not (isinstance(length, str) and length.isidentifier()):
        check_length(length)
    return length


def _read_array(given: Any) -> ArrayType:
    if not isinstance(given, tuple) or len(given) != 2:
        raise ValueError("is an Array that lacks its type or its size", "write Array[u32, 64]")
    element = scalar_of(given[0])
    if element is None:
        raise ValueError(f"has elements of the type {getattr(given[0], '__name__', given[0])}", f"use one of {SCALARS}")
    return ArrayType(element, _declared_length(given[1]))


def _read_bits(given: Any) -> ArrayType:
    return ArrayType(StateType("flag", 1, shown="bool"), _declared_length(given), packed=True)


if TYPE_CHECKING:
    # A number cannot be an argument of a type, so to a type checker they are Any, which can be indexed.
    Array: Any
    Bits: Any
    Map: Any
    _Kept = TypeVar("_Kept")
    Sum = Annotated[_Kept, "sum"]
    Max = Annotated[_Kept, "max"]
    Min = Annotated[_Kept, "min"]
    Or = Annotated[_Kept, "or"]
else:

    class Array:
        """`Array[u32, 64]`: so many elements of a type. The size: a number, or the name of a parameter or attribute."""

        def __class_getitem__(cls, given: Any) -> Any:
            return Annotated[cls, ArrayHint(given, _read_array)]

    class Bits:
        """`Bits[1024]`: so many truth values, a bit each."""

        def __class_getitem__(cls, given: Any) -> Any:
            return Annotated[cls, ArrayHint(given, _read_bits)]

    class Map:
        """`Map[2, 65536]`: from two integers to a number, for so many pairs at most. In Core alone."""

        def __class_getitem__(cls, given: Any) -> Any:
            return Annotated[cls, MapHint(given)]

    class _Merge:
        def __class_getitem__(cls, given: Any) -> Any:
            return Annotated[cls, MergeHint(cls.__name__, given)]

    class Sum(_Merge):
        """`Sum[u64]`: packets add to it; of several workers, what they have together."""

    class Max(_Merge):
        """`Max[u64]`: the largest value of any packet."""

    class Min(_Merge):
        """`Min[u64]`: the smallest value of any packet; begins at the largest there is."""

    class Or(_Merge):
        """`Or[u64]`, `Or[flag]`, `Or[Bits[64]]`: the bits of all packets."""
