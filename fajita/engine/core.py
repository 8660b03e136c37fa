"""The variables of a worker: how they begin in memory, and what they are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.engine.maps import begin_map, read_map
from fajita.engine.matchers import Matcher, read_matcher
from fajita.engine.rows import elements
from fajita.matcher_type import MatcherType
from fajita.plan import NFPlan


def begin_core(memory: NDArray[np.uint8], nfs: list[NFPlan]) -> list[Matcher]:
    """Let the variables of all NFs begin, in memory that is all zeros: those declared as Min at the largest value.

    Gives what has to be kept as long as the memory is used.
    """
    matchers: list[Matcher] = []
    for nf in nfs:
        for name, kind in type(nf.nf).core_fields.items():
            if kind.begin:
                _place(memory, nf.core_offsets[name], kind.bytes).view(kind.dtype)[:] = kind.begin
        for name, array in nf.nf.core_arrays.items():
            if array.element.begin:
                _place(memory, nf.core_offsets[name], array.bytes).view(array.element.dtype)[:] = array.element.begin
        for name, kind_of_map in nf.nf.core_maps.items():
            place = _place(memory, nf.core_offsets[name], kind_of_map.bytes)
            if isinstance(kind_of_map, MatcherType):
                matchers.append(Matcher(place, kind_of_map))
            else:
                begin_map(place, kind_of_map)
    return matchers


def read_core(memory: NDArray[np.uint8], nf: NFPlan, *, arrays: bool) -> dict[str, Any]:
    """The variables of an NF of this worker; its arrays and maps, if asked for, as they are now."""
    variables: dict[str, Any] = {
        name: int(_place(memory, nf.core_offsets[name], kind.bytes).view(kind.dtype)[0])
        for name, kind in type(nf.nf).core_fields.items()
    }
    if arrays:
        for name, array in nf.nf.core_arrays.items():
            variables[name] = elements(_place(memory, nf.core_offsets[name], array.bytes).copy(), array)
        for name, kind_of_map in nf.nf.core_maps.items():
            read = read_matcher if isinstance(kind_of_map, MatcherType) else read_map
            variables[name] = read(_place(memory, nf.core_offsets[name], kind_of_map.bytes), kind_of_map)
    return variables


def _place(memory: NDArray[np.uint8], at: int, size: int) -> NDArray[np.uint8]:
    return memory[at : at + size]
