"""Arrays in State and Core: what a class may declare, how long an NF's are, and what is said of a wrong one."""

from typing import Any

import numpy as np
import pytest

from fajita import (
    NF,
    PASS,
    Array,
    Bits,
    InputError,
    Max,
    Min,
    Or,
    Packet,
    Sum,
    five_tuple,
    flag,
    i16,
    i32,
    ipv4,
    mac,
    u8,
    u32,
    u64,
)
from fajita.nf import MAXIMUM_ARRAYS
from fajita.state_types import ArrayType, StateType

WIDTH = 4


class Sketch(NF):
    key = five_tuple
    DEPTH = 3

    class Params:
        width: int = 8
        seen: list[int] = [1]  # noqa: RUF012 - as a user writes it

    class State:
        packets: u32
        recent: Array[i16, WIDTH]
        flags: Array[flag, "DEPTH"]  # noqa: F821

    class Core:
        counts: Array[u32, "cells"]  # noqa: F821
        seen_bits: Bits["width"]  # noqa: F821

    def prepare(self) -> None:
        self.cells = 5 * self.width

    def packet(self, pkt: Packet, state: Any) -> int:
        return PASS


def test_arrays_stand_apart_from_scalars() -> None:
    assert list(Sketch.state_fields) == ["packets"]
    assert Sketch.core_fields == {}
    assert list(Sketch.state_arrays) == ["recent", "flags"]


def test_a_size_is_a_number_a_parameter_or_what_prepare_sets() -> None:
    sizes = {name: kind.length for name, kind in (Sketch().state_arrays | Sketch(width=9).core_arrays).items()}
    assert sizes == {"recent": 4, "flags": 3, "counts": 45, "seen_bits": 9}


def test_an_array_is_called_as_it_was_declared_and_by_its_length() -> None:
    declared, own = Sketch.core_arrays, Sketch().core_arrays
    assert [kind.name for kind in declared.values()] == ['Array[u32, "cells"]', 'Bits["width"]']
    assert [kind.name for kind in own.values()] == ["Array[u32, 40]", "Bits[8]"]


@pytest.mark.parametrize(
    ("hint", "size", "dtype"),
    [(Array[u8, 3], 3, ("u1", (3,))), (Array[mac, 2], 16, ("u8", (2,))), (Bits[9], 2, ("?", (9,)))],
)
def test_size_in_memory_and_as_shown(hint: Any, size: int, dtype: Any) -> None:
    kind = hint.__metadata__[0].array_type()
    assert (kind.bytes, kind.dtype) == (size, dtype)
    assert np.dtype([("a", *dtype)]).itemsize == kind.shown_bytes


def test_bits_are_packed_flags() -> None:
    assert Bits[8].__metadata__[0].array_type() == ArrayType(StateType("flag", 1, shown="bool"), 8, packed=True)


def declare(hint: Any, area: str = "State") -> type[NF]:
    inner = type(area, (), {"__annotations__": {"field": hint}})
    members = {"key": five_tuple, "packet": lambda self, pkt, state: PASS, area: inner}
    members["Params"] = type("Params", (), {"__annotations__": {"size": int}, "size": 1})
    return type("Wrong", (NF,), members)


@pytest.mark.parametrize(
    ("hint", "what", "right"),
    [
        (Array, "has the type Array", "Array[u32, 64]"),
        (Array[u32], "is an Array that lacks its type or its size", "write Array[u32, 64]"),
        (Array[64], "is an Array that lacks its type or its size", "write Array[u32, 64]"),
        (Array[int, 64], "has elements of the type int", "use one of u8"),
        (Array[Array[u32, 2], 2], "has elements of the type", "use one of u8"),
        (Array[u32, 0], "has the size 0", "at least 1"),
        (Array[u32, -3], "has the size -3", "at least 1"),
        (Array[u32, 1.5], "has the size 1.5", "an integer"),
        (Bits[True], "has the size True", "an integer"),
        (Bits["no name"], "has the size 'no name'", "an integer"),
        (Sum, "has the type Sum", "Sum[u64]"),
        (Sum[5], "is Sum of 5", "Sum of u8, u16, u32, u64"),
        (Sum[int], "is Sum of int", "Sum of u8, u16, u32, u64"),
        (Sum[i32], "is Sum of i32", "Sum of u8, u16, u32, u64"),
        (Max[flag], "is Max of flag", "Max of u8, u16, u32, u64"),
        (Or[ipv4], "is Or of ipv4", "Or of u8, u16, u32, u64, flag or Bits"),
        (Sum[Max[u64]], "is Sum of Max[u64]", "Sum of u8, u16, u32, u64"),
        (Sum[Array[u32, 64]], "is Sum of Array[u32, 64]", "declare the elements: Array[Sum[u32], 64]"),
        (Or[Array[flag, 64]], "is Or of Array[flag, 64]", "declare the elements: Array[Or[u32], 64]"),
        (Max[Bits[1024]], "is Max of Bits[1024]", "Or[Bits[1024]]"),
        (Or[Or[Bits[8]]], "is Or of Or[Bits[8]]", "Or[Bits[8]]"),
        (Array[Min[mac], 4], "is Min of mac", "Min of u8, u16, u32, u64"),
    ],
)
def test_declaration_that_is_refused(hint: Any, what: str, right: str) -> None:
    with pytest.raises(InputError) as caught:
        declare(hint)
    assert caught.value.what.startswith(f"Wrong.State.field {what}")
    assert right in caught.value.right


@pytest.mark.parametrize(
    ("hint", "area", "params", "what", "right"),
    [
        (Array[u32, "sise"], "State", {}, "has the size 'sise', which is no attribute of the NF", "did you mean size"),
        (Array[u32, "size"], "State", {"size": 0}, "has the size 0 (size)", "at least 1"),
        (Array[u32, "key"], "Core", {}, "has the size five_tuple", "an integer"),
        (Array[u32, "size"], "State", {"size": 16_385}, "has the size 16,385 (size)", "at most 65,536 bytes"),
        (Bits[65_537], "State", {}, "has the size 65,537", "at most 65,536 bytes"),
        (Array[u32, 1 << 31], "Core", {}, "has the size 2,147,483,648", "at most 4,294,967,296 bytes"),
    ],
)
def test_size_that_is_refused(hint: Any, area: str, params: dict[str, int], what: str, right: str) -> None:
    nf_class = declare(hint, area)
    with pytest.raises(InputError) as caught:
        nf_class(**params)  # type: ignore[arg-type]
    assert what in caught.value.what
    assert right in caught.value.right


@pytest.mark.parametrize(
    ("hint", "written", "merge", "begin"),
    [
        (u64, "u64", None, 0),
        (Sum[u64], "Sum[u64]", "sum", 0),
        (Max[u8], "Max[u8]", "max", 0),
        (Min[u8], "Min[u8]", "min", 255),
        (Min[u32], "Min[u32]", "min", (1 << 32) - 1),
        (Min[u64], "Min[u64]", "min", (1 << 63) - 1),  # what an NF computes with has no larger one
        (Or[flag], "Or[flag]", "or", 0),
    ],
)
def test_declared_merge_of_a_field(hint: Any, written: str, merge: str | None, begin: int) -> None:
    kind = declare(hint).state_fields["field"]
    assert (kind.declared, kind.merge, kind.begin) == (written, merge, begin)


@pytest.mark.parametrize(
    ("hint", "written", "merge"),
    [
        (Array[Sum[u32], 64], "Array[Sum[u32], 64]", "sum"),
        (Array[Min[u8], 3], "Array[Min[u8], 3]", "min"),
        (Array[Or[flag], 3], "Array[Or[flag], 3]", "or"),
        (Or[Bits[1024]], "Or[Bits[1024]]", "or"),
        (Bits[1024], "Bits[1024]", None),
    ],
)
@pytest.mark.parametrize("area", ["State", "Core"])
def test_declared_merge_of_an_array(hint: Any, written: str, merge: str | None, area: str) -> None:
    declared = declare(hint, area)
    kind = (declared.state_arrays if area == "State" else declared.core_arrays)["field"]
    assert (kind.declared, kind.merge) == (written, merge)


def test_mistake_names_the_file_and_line_of_the_class() -> None:
    with pytest.raises(InputError) as caught:

        class WithEmptyArray(NF):
            class Core:
                counts: Array[u32, 0]

            def packet(self, pkt: Packet) -> int:
                return PASS

    assert caught.value.where.startswith(f"{__file__}:")


def test_the_limit_is_for_all_arrays_of_an_nf_together() -> None:
    half = MAXIMUM_ARRAYS["State"] // 2
    inner = type("State", (), {"__annotations__": {"a": Array[u8, half], "b": Array[u8, half + 1]}})
    nf_class = type("Wide", (NF,), {"key": five_tuple, "State": inner, "packet": lambda self, pkt, state: PASS})
    with pytest.raises(InputError, match=r"Wide\.State\.b has the size"):
        nf_class()


def test_state_of_arrays_alone_needs_a_key_too() -> None:
    inner = type("State", (), {"__annotations__": {"a": Array[u8, 2]}})
    with pytest.raises(InputError, match="has State but no key"):
        type("Keyless", (NF,), {"State": inner, "packet": lambda self, pkt: PASS})


def test_an_array_takes_no_default() -> None:
    inner = type("State", (), {"__annotations__": {"a": Array[u8, 2]}, "a": [1, 2]})
    with pytest.raises(InputError, match="a has a default; states begin at 0"):
        type("Given", (NF,), {"key": five_tuple, "State": inner, "packet": lambda self, pkt, state: PASS})


def test_random_numbers_are_not_for_prepare() -> None:
    class Early(Sketch):
        def prepare(self) -> None:
            self.cells = self.random(3)

    with pytest.raises(InputError, match="random numbers are for the methods that run per packet"):
        Early()
