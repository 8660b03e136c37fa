"""What the functions of a kernel begin with, as text: words of the context, and where the sides of tables lie."""

from collections.abc import Iterable

from fajita.kernel.layout import CONTEXT
from fajita.kernel.text import Text
from fajita.plan import TablePlan, TableSide


def emit_words(text: Text, names: Iterable[str]) -> None:
    """Variables with the names of these words of the context."""
    for name in names:
        text.line(f"{name} = load_i64(context + {CONTEXT[name]})")


def emit_sides(text: Text, sides: Iterable[TableSide]) -> None:
    """`side_S`: the address of the descriptor of each of these sides."""
    for side in sides:
        text.line(f"side_{side.index} = load_i64(context + {CONTEXT['sides']}) + {side.index} * DESCRIPTOR_BYTES")


def emit_tables(text: Text, tables: Iterable[TablePlan]) -> None:
    """`table_T`: the same of these tables."""
    for table in tables:
        text.line(f"table_{table.index} = load_i64(context + {CONTEXT['tables']}) + {table.index} * TABLE_BYTES")
