"""A chain's kernel that packets come to at their own pace, as from a wire: for measuring latency.

Packets are due one after the other whether the chain is ready or not (an open loop). What is late waits, and the time
it waited counts: a chain that stalls is not let off what would have come meanwhile.
"""

from typing import Any

from fajita.kernel.generate import generate
from fajita.kernel.layout import CONTEXT
from fajita.kernel.operation import I64, VOID, llvm_intrinsic, operation
from fajita.plan import Plan

#: Gaps between packets are given in cycles times this, as they may be shorter than a few cycles.
FRACTIONS = 1 << 10


@operation
def cycles(builder: Any) -> Any:
    """The processor's time stamp counter (x86: RDTSC, which counts at one rate whatever the clock does)."""
    return llvm_intrinsic(builder, "llvm.readcyclecounter", I64)


@operation
def pause(builder: Any) -> None:
    """Tell the processor that this is a loop that waits."""
    llvm_intrinsic(builder, "llvm.x86.sse2.pause", VOID)


_PACED = f"""

@kernel_function
def run_paced(context, total, gap, most, late):
    start = cycles()
    done = 0
    while done < total:
        due = minimum(total, divide_unsigned((cycles() - start) * {FRACTIONS}, gap) + 1) if gap != 0 else total
        if due <= done:
            pause()
            continue
        count = minimum(most, due - done)
        store_64(context + {CONTEXT["position"]}, done)
        store_64(context + {CONTEXT["end"]}, done + count)
        asked = run_chain(context)
        if asked != DONE:
            return asked
        now = cycles() - start
        for index in range(done, done + count):
            store_64(late + 8 * index, now - divide_unsigned(index * gap, {FRACTIONS}))
        done += count
    return DONE


enter_paced = entry(run_paced)


@compiled(enter_paced)
def run(arguments):
    return enter_paced(arguments)
"""


def generate_paced(plan: Plan) -> str:
    """The module as text, with `run(context, total, gap, most, late)`.

    context: the kernel's. total: packets. gap: between two, in cycles times FRACTIONS; 0: all are there. most: so many
    are run at once. late: the address of an int64 a packet, for the cycles from when it was due to when its burst was
    done. It returns what the kernel asks for, DONE if nothing.
    """
    lines = generate(plan).split("\n\n\nenter = entry(run_chain)")[0]
    return f"from fajita.kernel.pacing import cycles, pause\n{lines}{_PACED}"
