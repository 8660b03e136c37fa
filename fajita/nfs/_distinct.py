"""How many different things were seen, from the registers of a HyperLogLog sketch."""

from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Registers go up to one more than the bits of a hash of 32 that do not choose the register.
HASH_BITS = 32
#: So many registers are looked at together, as each takes 8 bytes and more then.
TOGETHER = 1 << 16


def distinct(registers: NDArray[np.uint8]) -> NDArray[np.float64]:
    """An estimate for each row of registers, of which there is a power of two.

    Without bias from none to far beyond as many things as registers: O. Ertl, New cardinality estimation algorithms for
    HyperLogLog sketches, 2017, algorithm 6. Its standard error is 1.04 / sqrt(registers in a row).
    """
    rows = max(1, TOGETHER // registers.shape[1])
    parts = [_distinct(registers[first : first + rows]) for first in range(0, len(registers), rows)]
    return np.concatenate(parts) if parts else np.empty(0)


def _distinct(registers: NDArray[np.uint8]) -> NDArray[np.float64]:
    rows, size = registers.shape
    longest = HASH_BITS - (size.bit_length() - 1)
    kinds = longest + 2
    numbered = registers.astype(np.int64) + kinds * np.arange(rows)[:, None]
    counts = np.bincount(numbered.ravel(), minlength=rows * kinds).reshape(rows, kinds)
    with np.errstate(divide="ignore"):  # of a row without anything: there were none
        total = size * _tau(1 - counts[:, -1] / size)
        for value in range(longest, 0, -1):
            total = (total + counts[:, value]) / 2
        total += size * _sigma(counts[:, 0] / size)
        return np.asarray(size * size / (2 * log(2) * total))


def _sigma(share: Any) -> Any:
    """The sum of share ** 2**k * 2**(k - 1) from k = 1 on, and the share: what registers of 0 mean; infinite for 1."""
    is_all = share == 1
    power, factor, total = np.where(is_all, 0.0, share), 1.0, np.where(is_all, np.inf, share)
    while np.any(power > 1e-300):
        power = power * power
        total = total + power * factor
        factor *= 2
    return total


def _tau(share: Any) -> Any:
    """A third of 1 - share - the sum of (1 - share ** 2**-k)**2 * 2**-k from k = 1 on: what full registers mean."""
    root, factor, total = np.asarray(share, float), 1.0, 1 - np.asarray(share, float)
    for _ in range(64):
        root = np.sqrt(root)
        factor /= 2
        total = total - (1 - root) ** 2 * factor
    return np.where((share == 0) | (share == 1), 0.0, total / 3)
