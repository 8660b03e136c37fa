"""A chain's kernel that fetches its packets itself and hands them on: the loop of a worker on an interface.

What receives and what transmits are functions of C, called by their addresses, which are data. So Python is not entered
while packets come, the kernel is kept on disk like any other, and a test can put functions of its own in their places.
"""

from typing import Any

from llvmlite import ir

from fajita.kernel.generate import generate
from fajita.kernel.layout import CONTEXT
from fajita.kernel.operation import I64, operation
from fajita.kernel.shard_text import SHARD_IMPORTS, shard_text
from fajita.plan import Plan

#: Words (int64) of the area that the loop is told its work by.
LIVE_WORDS = (
    "receive",  # the address of a function (queue, most): so many frames at most into the columns; how many
    "transmit",  # that of a function (queue, count): send or free the frames of the columns, by their verdicts
    "queue",  # what both are given first
    "most",  # frames that are taken at once
    "count",  # frames in the columns, not all of which have been run yet
    "wanted",  # the address of a word that is not 0 when the loop is to return between two blocks
    "left",  # the address of a word: packets that all workers may still receive; 0: as many as come
    "exchange",  # of several workers, the address of a function (queue, count): hand over what is others'; how many now
    "hash_tables",  # what each byte adds to the bucket
    "buckets",  # where the bucket of each frame goes
    "hash_memory",  # what is remembered of first fragments, of packets received here
    "hash_found",  # two words
    "hash_indices",  # a word for each frame
    "coming",  # a word for each frame of a block: where those are described that have been received ahead; 0: none are
    "came",  # bytes on the wire of the frames in the columns, as they came
    "tick",  # with the first packet of this time or later the loop returns, before that is run
)
LIVE: dict[str, int] = {name: 8 * index for index, name in enumerate(LIVE_WORDS)}

#: What the loop returns beside what `run` does (DONE: it is wanted): the clock comes to a tick.
TICK = -3
#: No packet is so late.
NEVER = (1 << 63) - 1

_IMPORTS = """\
from fajita.kernel.atomics import add_atomic_64, load_acquire_u64, load_relaxed_u64, pause
from fajita.kernel.fragments import begin_block
from fajita.kernel.layout import STOPPED
from fajita.kernel.live import NEVER, TICK, call
"""
#: Of several workers: which buckets the frames are in, and the exchange.
_SPREAD = """\
@kernel_function
def follow_fragments(context, live, count):
    indices, buckets = load_i64(live + LIVE_HASH_INDICES), load_i64(live + LIVE_BUCKETS)
    end = indices
    for index in range(count):
        if load_u8(buckets + index) == UNKNOWN:
            store_64(end, index)
            end += 8
    if end != indices:
        memory = load_i64(live + LIVE_HASH_MEMORY)
        begin_block(memory)
        address, captured = load_i64(context + CONTEXT_ADDRESS), load_i64(context + CONTEXT_CAPTURED)
        link, times = load_i64(context + CONTEXT_LINK), load_i64(context + CONTEXT_TIME_NS)
        tables, found = load_i64(live + LIVE_HASH_TABLES), load_i64(live + LIVE_HASH_FOUND)
        hash_fragments(address, captured, link, times, tables, memory, found, indices, end, buckets)


@kernel_function
def exchanged(context, live, count):
    address, captured = load_i64(context + CONTEXT_ADDRESS), load_i64(context + CONTEXT_CAPTURED)
    buckets = load_i64(live + LIVE_BUCKETS)
    hash_frames(address, captured, load_i64(context + CONTEXT_LINK), count, load_i64(live + LIVE_HASH_TABLES), buckets)
    if FOLLOWS:
        follow_fragments(context, live, count)
    return call(load_i64(live + LIVE_EXCHANGE), load_i64(live + LIVE_QUEUE), count)
"""
_OF_THE_CONTEXT = (
    *("position", "end", "address", "captured", "wire", "link", "time_ns", "fragments", "before", "stop"),
    *("room", "room_first", "gained", "coming"),
)


@operation
def call(builder: Any, address: Any, *arguments: Any) -> Any:
    """Call the function of C at an address: int64 in and out."""
    kind = ir.FunctionType(I64, [I64] * len(arguments)).as_pointer()
    return builder.call(builder.inttoptr(address, kind), arguments)


_LIVE = """

@kernel_function
def receive_some(context, live):
    # Of the packets that may still come a worker takes its own first, and gives back those that did not come.
    most, left = load_i64(live + LIVE_MOST), load_i64(live + LIVE_LEFT)
    room = most if left == 0 else minimum(most, maximum(add_atomic_64(left, 0 - most), 0))
    count = 0
    if room > 0:
        count = call(load_i64(live + LIVE_RECEIVE), load_i64(live + LIVE_QUEUE), room)
    if left != 0:
        add_atomic_64(left, most - count)
    if ALONE:
        return count
    return exchanged(context, live, count)


@kernel_function
def received_ahead(live):
    # Nothing else is received before the loop returns.
    if load_i64(live + LIVE_COMING) == 0:
        return 0
    return call(load_i64(live + LIVE_RECEIVE), load_i64(live + LIVE_QUEUE), 0)


@kernel_function
def bytes_on_the_wire(context, count):
    return sum_u32(load_i64(context + CONTEXT_WIRE), count)


@kernel_function
def before_tick(context, live, position, count):
    # The first packet with which the clock comes to the tick.
    tick, times = load_i64(live + LIVE_TICK), load_i64(context + CONTEXT_TIME_NS)
    if tick == NEVER:
        return count
    while position < count and load_i64(times + 8 * position) < tick:
        position += 1
    return position


@kernel_function
def run_live(context, live):
    count = load_i64(live + LIVE_COUNT) if live != 0 else 0
    coming = load_i64(live + LIVE_COMING) if live != 0 else 0
    store_64(context + CONTEXT_COMING, coming if coming != 0 else load_i64(context + CONTEXT_ADDRESS))
    while 1:
        if live != 0 and count == 0:
            wanted = load_acquire_u64(load_i64(live + LIVE_WANTED))
            if wanted == 0 and load_relaxed_u64(load_i64(context + CONTEXT_STOP)) != 0:
                return STOPPED
            count = received_ahead(live) if wanted != 0 else receive_some(context, live)
            if count == 0:
                if wanted != 0:
                    return DONE
                pause()
                continue
            store_64(live + LIVE_COUNT, count)
            begin_block(load_i64(context + CONTEXT_FRAGMENTS))
            if RESHAPES:
                store_64(context + CONTEXT_ROOM, load_i64(context + CONTEXT_ROOM_FIRST))
                store_64(live + LIVE_CAME, bytes_on_the_wire(context, count))
        if live != 0:
            position = load_i64(context + CONTEXT_POSITION)
            store_64(context + CONTEXT_END, before_tick(context, live, position, count))
        # It stands here alone, as it becomes part of the function wherever it is called.
        asked = run_chain(context)
        if asked != DONE or live == 0:
            return asked
        if load_i64(context + CONTEXT_POSITION) < count:
            return TICK
        if RESHAPES:
            gained = bytes_on_the_wire(context, count) - load_i64(live + LIVE_CAME)
            store_64(context + CONTEXT_GAINED, load_i64(context + CONTEXT_GAINED) + gained)
        call(load_i64(live + LIVE_TRANSMIT), load_i64(live + LIVE_QUEUE), count)
        store_64(context + CONTEXT_BEFORE, load_i64(context + CONTEXT_BEFORE) + count)
        store_64(context + CONTEXT_POSITION, 0)
        store_64(live + LIVE_COUNT, 0)
        count = 0


enter_live = entry(run_live)


@compiled(enter_live)
def run(arguments):
    return enter_live(arguments)
"""


def generate_live(plan: Plan, *, spreads: bool = False) -> str:
    """The module as text, with `run(context, live)`: the kernel's context, and an area with LIVE_WORDS.

    It returns what `run` of the chain's kernel returns, DONE when it is wanted, or TICK; called again it goes on. With
    0 for live it is `run` of the chain's kernel. spreads: there are several workers, and each hands over packets
    that are not its own.
    """
    lines = generate(plan, live=True).split("\n\n\nenter = entry(run_chain)")[0]
    places = [f"LIVE_{name.upper()} = {at}" for name, at in LIVE.items()]
    places += [f"CONTEXT_{name.upper()} = {CONTEXT[name]}" for name in _OF_THE_CONTEXT]
    spread, imports = "", _IMPORTS
    if spreads:
        assert plan.sharding.fields is not None
        places.append(f"FOLLOWS = {plan.datagrams != 0}")
        imports += SHARD_IMPORTS
        spread = f"\n{shard_text(plan, plan.sharding.fields)}\n\n{_SPREAD}"
    places += [f"ALONE = {not spreads}", f"RESHAPES = {plan.reshapes}"]
    return f"{imports}{lines}\n\n\n# the loop\n{chr(10).join(places)}\n{spread}{_LIVE}"
