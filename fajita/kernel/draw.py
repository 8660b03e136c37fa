"""Random numbers and the fixed hash, as NFs have them: what `splitmix` and `fixed_hash` define, as operations."""

from typing import Any

from fajita.fixed_hash import FACTOR, LAST_FACTOR, MAXIMUM_NUMBERS, START
from fajita.integers import wrap
from fajita.kernel.hash import fold_multiply
from fajita.kernel.memory import load_u64, store_64
from fajita.kernel.operation import I64, I128, Operation, operation
from fajita.splitmix import LAST_SHIFT, ROUNDS, STEP


@operation
def draw(builder: Any, state: Any, seed: Any, limit: Any) -> Any:
    """The next number of the sequence whose counter lies at `state`, from 0 to limit - 1; 0 if the limit is below 1."""
    counter = builder.add(load_u64.emit(builder, state), I64(wrap(STEP)))
    store_64.emit(builder, state, counter)
    mixed = builder.add(counter, seed)
    for shift, factor in ROUNDS:
        mixed = builder.mul(builder.xor(mixed, builder.lshr(mixed, I64(shift))), I64(wrap(factor)))
    mixed = builder.xor(mixed, builder.lshr(mixed, I64(LAST_SHIFT)))
    product = builder.mul(builder.zext(mixed, I128), builder.zext(limit, I128))
    below = builder.trunc(builder.lshr(product, I128(64)), I64)
    return builder.select(builder.icmp_signed(">", limit, I64(0)), below, I64(0))


def _hash_of(count: int) -> Operation:
    def emit(builder: Any, *numbers: Any) -> Any:
        folded = I64(wrap(START))
        for number in numbers:
            folded = fold_multiply.emit(builder, builder.xor(folded, number), I64(wrap(FACTOR)))
        return builder.lshr(fold_multiply.emit(builder, folded, I64(wrap(LAST_FACTOR))), I64(32))

    return Operation(f"hash_of_{count}", emit)


globals().update({f"hash_of_{count}": _hash_of(count) for count in range(1, MAXIMUM_NUMBERS + 1)})
