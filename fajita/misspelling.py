"""Members of an NF's class whose names are near misses of a hook's or a declaration's, so that nothing uses them."""

import difflib
import inspect
from collections.abc import Iterable, Iterator

_HOOKS = ("packet", "new_flow", "expire", "before_lookup", "error", "prepare", "summary")
_DECLARATIONS = ("State", "Core", "Params")
#: How like a name must be (difflib's ratio): `on_packet` and `Parameters` are.
_LIKENESS = 0.75


def misspellings(owner: type) -> Iterator[tuple[str, str]]:
    """Of each near miss in a class body what is wrong with it, and the name that is meant."""
    methods = {name: member for name, member in vars(owner).items() if inspect.isfunction(member)}
    called = {name for method in methods.values() for name in method.__code__.co_names}
    for name, member in vars(owner).items():
        if name.startswith("_"):
            continue
        near, use = None, ""
        if name in methods and name not in (*_HOOKS, "params") and name not in called:
            near, use = _nearest(name, _HOOKS), "called"
        elif isinstance(member, type) and name not in _DECLARATIONS:
            near, use = _nearest(name.capitalize(), _DECLARATIONS), "used"
        if near is not None:
            yield f"{name} is not {use} by fajita", near


def _nearest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, 1, _LIKENESS)), None)
