"""How the state of an NF begins where that is not all zeros, as text: what is declared as Min is as large as it can be.

The rest of an entry is zeros when it begins, and so is a state that has ended.
"""

from fajita.kernel.text import Text
from fajita.plan import NFPlan


def emit_begin(text: Text, nf: NFPlan, state: str) -> None:
    """The stores; state: the variable that says where the key of the entry ends."""
    for name, kind in type(nf.nf).state_fields.items():
        if kind.begin and name in nf.offsets:
            text.line(f"store_{8 * kind.bytes}({state} + {nf.offsets[name]}, {kind.begin})")
    for name, array in nf.nf.state_arrays.items():
        if array.element.begin and name in nf.translated.stored:
            size = array.element.bytes
            text.line(f"for element in range({array.length}):")
            text.line(f"    store_{8 * size}({state} + {nf.offsets[name]} + {size} * element, {array.element.begin})")
