"""Which flow each packet of synthetic traffic belongs to: uniform, round robin, or as skewed as real traffic."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fajita.errors import InputError

MAXIMUM_FLOWS = 1 << 28


@dataclass(frozen=True)
class FlowShareCurve:
    """How concentrated a traffic is: the `k` busiest flows of a window carry the share `s` of its packets.

    packets: in the window that was measured. knots: (k, s), both rising; between them the share grows in a straight
    line, that is, the flows in between are equally busy. The last k is the number of flows in the window.
    """

    packets: int
    knots: tuple[tuple[int, float], ...]

    @property
    def flows(self) -> int:
        """The number of flows in the measured window."""
        return self.knots[-1][0]

    def share(self, fraction: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share of the packets (0 to 1) that the busiest `fraction` (0 to 1) of the flows carry."""
        k, s = np.array(((0, 0.0), *self.knots)).T
        return np.interp(fraction, k / self.flows, s)

    def fraction(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `share`."""
        k, s = np.array(((0, 0.0), *self.knots)).T
        return np.interp(share, s, k / self.flows)


#: Fitted to windows of 100 ms of a CAIDA backbone trace and of a campus trace, as published with Ghasemirahni et al.,
#: "FAJITA: Stateful Packet Processing at 100 Million pps", CoNEXT 2024 (doi 10.1145/3676861), in the files
#: caida-flow-share-cdf.csv and campus-flow-share-cdf.csv. The error is below 0.3 percentage points at every point.
CURVES: dict[str, FlowShareCurve] = {
    "caida": FlowShareCurve(
        1_000_000,
        (
            (1, 0.0485),
            (201, 0.1727),
            (401, 0.2302),
            (601, 0.2646),
            (801, 0.2899),
            (1_001, 0.3077),
            (1_601, 0.3469),
            (2_801, 0.4008),
            (4_001, 0.4400),
            (5_601, 0.4796),
            (7_601, 0.5172),
            (10_001, 0.5520),
            (16_401, 0.6178),
            (22_201, 0.6614),
            (31_601, 0.7131),
            (40_401, 0.7482),
            (54_401, 0.7902),
            (92_601, 0.8665),
            (226_061, 1.0),
        ),
    ),
    "campus": FlowShareCurve(
        1_138_875,
        (
            (1, 0.0707),
            (751, 0.3141),
            (1_501, 0.4431),
            (2_251, 0.5081),
            (3_001, 0.5549),
            (3_751, 0.5939),
            (5_251, 0.6599),
            (6_001, 0.6836),
            (7_501, 0.7191),
            (9_001, 0.7457),
            (11_251, 0.7764),
            (15_751, 0.8153),
            (21_751, 0.8491),
            (30_001, 0.8811),
            (37_501, 0.9010),
            (54_751, 0.9314),
            (132_676, 1.0),
        ),
    ),
}

ORDERS = ("uniform", "roundrobin", *CURVES)

#: Skewed traffic is drawn for at least so many packets at once.
SMALLEST_WINDOW = 1 << 16


def window_packets(curve: FlowShareCurve, flows: int) -> int:
    """Packets in a window of so many flows: a multiple of the curve's packets per flow, so that counts stay whole."""
    packets = round(flows * curve.packets / curve.flows)
    return packets * -(-SMALLEST_WINDOW // packets)


class FlowOrder:
    """The flow numbers (0 to flows - 1) of consecutive packets; how they are cut into `take`s changes nothing.

    uniform: each packet draws its flow independently. roundrobin: 0, 1, ..., flows - 1, 0, ...
    caida, campus: popularity follows the curve over the fraction of the flows, whatever their number, and which flow
    numbers are popular is random. Packets come in windows of as many packets per flow as the measured window has
    (4.4 and 8.6; a multiple with few flows); a window holds of every flow its share, rounded up or down, in random
    order. Only popularity is modelled: not bursts, not flows that begin and end.
    """

    def __init__(self, order: str, flows: int, seed: int) -> None:
        """InputError for an order that does not exist, and a number of flows or a seed out of range."""
        if order not in ORDERS:
            raise InputError(f"unknown order {order!r}", right=f"known are {', '.join(ORDERS)}")
        if not 1 <= flows <= MAXIMUM_FLOWS:
            raise InputError(f"{flows} flows", right=f"1 to {MAXIMUM_FLOWS} can be generated")
        if seed < 0:
            raise InputError(f"seed {seed}", right="a seed is 0 or more")
        self.order, self.flows, self.seed = order, flows, seed
        self._position = 0
        self._random = np.random.default_rng(seed)
        self._curve = CURVES.get(order)
        if self._curve is not None:
            self._window = window_packets(self._curve, flows)
            self._flow_of_rank = Permutation(flows, self._random)
            self._window_number = -1

    def take(self, count: int) -> NDArray[np.uint32]:
        """The flow numbers of the next `count` packets."""
        start, self._position = self._position, self._position + count
        if self.order == "uniform":
            return self._random.integers(0, self.flows, count, np.uint32)
        if self.order == "roundrobin":
            return (np.arange(start, start + count, dtype=np.int64) % self.flows).astype(np.uint32)
        flows = np.empty(count, np.uint32)
        done = 0
        while done < count:
            window, within = divmod(start + done, self._window)
            part = min(count - done, self._window - within)
            flows[done : done + part] = self._skewed(window, within, part)
            done += part
        return flows

    def _skewed(self, window: int, start: int, count: int) -> NDArray[np.uint32]:
        """Systematic sampling: the window's packets sit at equal steps along the curve, visited in a random order."""
        assert self._curve is not None
        if window != self._window_number:
            self._window_number = window
            self._step_of_packet = Permutation(self._window, np.random.default_rng((self.seed, window)))
        steps = self._step_of_packet(np.arange(start, start + count, dtype=np.uint64))
        fraction = self._curve.fraction((steps + 0.5) / self._window)
        ranks = np.minimum((fraction * self.flows).astype(np.uint64), np.uint64(self.flows - 1))
        return self._flow_of_rank(ranks).astype(np.uint32)


class Permutation:
    """A pseudo-random bijection of 0 to size - 1, computed element by element: no memory, whatever the size.

    Rounds of an odd multiplication and a right shift exclusive-or, each a bijection of the numbers of `bits` bits;
    whatever lands outside goes through again (cycle walking), which keeps it a bijection of 0 to size - 1.
    """

    ROUNDS = 4

    def __init__(self, size: int, random: np.random.Generator) -> None:
        bits = max(1, (size - 1).bit_length())
        self._size = np.uint64(size)
        self._mask, self._shift = np.uint64((1 << bits) - 1), np.uint64((bits + 1) // 2)
        self._multipliers = random.integers(0, 1 << 63, self.ROUNDS, np.uint64) * np.uint64(2) + np.uint64(1)
        self._addends = random.integers(0, 1 << 63, self.ROUNDS, np.uint64)

    def __call__(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Where each number (uint64, below size) goes."""
        result = self._mix(numbers)
        outside = np.flatnonzero(result >= self._size)
        while len(outside):
            result[outside] = self._mix(result[outside])
            outside = outside[result[outside] >= self._size]
        return result

    def _mix(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        for multiplier, addend in zip(self._multipliers, self._addends, strict=True):
            numbers = (numbers * multiplier + addend) & self._mask
            numbers ^= numbers >> self._shift
        return numbers
