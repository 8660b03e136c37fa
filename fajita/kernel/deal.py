"""A worker's frames of a block: which they are, their columns side by side, and its verdicts back; compiled."""

from fajita.kernel.entry import compiled, entry
from fajita.kernel.function import kernel_function
from fajita.kernel.memory import load_u8, load_u32, load_u64, store_8, store_32, store_64
from fajita.rss import INDIRECTION_ENTRIES

#: The words (int64) that describe a column: where it lies in the block, where the worker's begins, bytes of an element.
SOURCE, TARGET, SIZE = (8 * word for word in range(3))
COLUMN_BYTES = 24
_BUCKET_MASK = INDIRECTION_ENTRIES - 1


@kernel_function
def list_frames(buckets, count, indirection, worker, indices):
    """Note which of `count` frames are the worker's; how many they are."""
    found = 0
    for index in range(count):
        # Every one is noted, and the next over it if it is another's: no processor predicts whose a packet is.
        store_32(indices + 4 * found, index)
        found += load_u8(indirection + (load_u8(buckets + index) & _BUCKET_MASK)) == worker
    return found


@kernel_function
def gather(indices, count, source, target, size):
    """Put the elements of a column that have these indices side by side."""
    if size == 8:
        for number in range(count):
            store_64(target + 8 * number, load_u64(source + 8 * load_u32(indices + 4 * number)))
    elif size == 4:
        for number in range(count):
            store_32(target + 4 * number, load_u32(source + 4 * load_u32(indices + 4 * number)))
    else:
        for number in range(count):
            store_8(target + number, load_u8(source + load_u32(indices + 4 * number)))


@kernel_function
def deal(buckets, count, indirection, worker, indices, columns, columns_end):
    """Gather the worker's frames of a block of `count`; how many they are.

    indices (uint32) has room for all. From columns to columns_end lie the descriptions of the columns.
    """
    found = list_frames(buckets, count, indirection, worker, indices)
    for column in range(columns, columns_end, COLUMN_BYTES):
        gather(indices, found, load_u64(column + SOURCE), load_u64(column + TARGET), load_u64(column + SIZE))
    return found


@kernel_function
def scatter(indices, count, source, target):
    """Put bytes that lie side by side where they belong."""
    for number in range(count):
        store_8(target + load_u32(indices + 4 * number), load_u8(source + number))


_enter_deal, _enter_scatter = entry(deal), entry(scatter)


@compiled(_enter_deal)
def deal_frames(arguments):
    """Call deal."""
    return _enter_deal(arguments)


@compiled(_enter_scatter)
def scatter_bytes(arguments):
    """Call scatter."""
    return _enter_scatter(arguments)
