"""What asks for array elements that a before_lookup names, as text: in the first pass, where headers are parsed.

The next pass, which guesses the key (ask_pass), then finds them on their way.
"""

from fajita.kernel.prologue import emit_words
from fajita.kernel.text import Text
from fajita.plan import NFPlan, Plan, TablePlan

#: What the hook may need.
_KNOWN = {"frame", "headers", "core", "constants"}
_WORDS = ("core", "constants")


def _asks_ahead(nf: NFPlan) -> bool:
    hook = nf.translated.prefetch_before
    return hook is not None and _KNOWN.issuperset(hook.arguments)


def emit_prefetch_words(text: Text, plan: Plan, number: int) -> None:
    """What the functions of the first pass of a segment need for it."""
    if any(_asks_ahead(nf) for nf in plan.asking(number)):
        emit_words(text, _WORDS)


def emit_prefetch_before(text: Text, plan: Plan, table: TablePlan, family: int) -> None:
    """For a packet of a family, whose `frame` and `headers` are there."""
    nf, side = plan.nfs[table.nfs[0]], table.side_of(family)
    if side is None or not _asks_ahead(nf):
        return
    hook, layer = nf.translated.prefetch_before, int(side.packing.layer)
    assert hook is not None
    text.line(f"if (headers & {layer}) == {layer}:  # {nf.nf.name}")
    text.line(f"    {hook.call()}")
