"""Which server's turn it is: weights, turns and Maglev's table, for the NFs that choose among servers."""

from collections.abc import Iterable, Sequence
from itertools import cycle
from math import gcd, isqrt

import numpy as np

from fajita import hash_of

DEFAULT_TABLE = 65_537  # the paper's smaller table
MAXIMUM_TABLE = 1 << 20  # takes seconds to fill
MAXIMUM_TURNS = 1 << 16
#: With least connections a new flow looks at all servers.
MAXIMUM_COUNTED = 1 << 10
#: Room for turns, so that weights can change while a chain runs.
USUAL_ROOM = 1 << 10


def checked_weights(weights: list[int], servers: int) -> list[int]:
    """The weights in lowest terms, all 1 if there are none."""
    if not weights:
        return [1] * servers
    if len(weights) != servers:
        raise ValueError(f"weights: {len(weights)}, servers: {servers}; give one weight for each server")
    if min(weights) < 1:
        raise ValueError(f"a weight is {min(weights)}; give 1 or more, and leave out servers that get nothing")
    reduced = in_lowest_terms(weights)
    if sum(reduced) > MAXIMUM_TURNS:
        raise ValueError(
            f"weights add up to {sum(reduced):,} in lowest terms; give smaller ones, at most {MAXIMUM_TURNS:,} together"
        )
    return reduced


def in_lowest_terms(weights: Sequence[int]) -> list[int]:
    """The weights in the same proportion, as small as they can be."""
    divisor = gcd(*weights)
    return [weight // divisor for weight in weights]


def weighted_turns(servers: Iterable[tuple[int, int]]) -> list[int]:
    """One cycle of turns of (server, weight): each server has exactly its share, spread over the cycle.

    Smooth weighted round robin, as nginx has it: the one with most credit is next, and pays for all.
    """
    addresses, given = zip(*servers, strict=True)
    weights = in_lowest_terms(given)
    gains = np.array(weights, np.int64)
    credits = np.zeros_like(gains)
    turns: list[int] = []
    for _ in range(sum(weights)):
        credits += gains
        chosen = int(credits.argmax())
        credits[chosen] -= sum(weights)
        turns.append(addresses[chosen])
    return turns


def check_table_size(size: int, turns: int) -> None:
    """ValueError for a size that is no prime, less than the turns or too large."""
    if not turns <= size <= MAXIMUM_TABLE:
        right = f"give a prime from {turns:,} (the servers, by weight) to {MAXIMUM_TABLE:,}"
        raise ValueError(f"table_size is {size:,}; {right}")
    if size < 2 or any(size % divisor == 0 for divisor in range(2, isqrt(size) + 1)):
        raise ValueError(f"table_size is {size:,}, which is no prime; {DEFAULT_TABLE:,} is one")


def maglev_table(turns: Sequence[int], size: int) -> list[int]:
    """The lookup table: servers take turns, each takes the next free place of its own permutation of all places."""
    next_place = {server: hash_of(server, 0) % size for server in turns}
    skip = {server: hash_of(server, 1) % (size - 1) + 1 for server in turns}
    table = [-1] * size
    for _, server in zip(range(size), cycle(turns), strict=False):
        place, step = next_place[server], skip[server]
        while table[place] >= 0:
            place = (place + step) % size
        table[place] = server
        next_place[server] = place
    return table


def with_room(turns: list[int], room: int) -> list[int]:
    """The turns in a list of a fixed length; ValueError if they are too many."""
    if len(turns) > room:
        what = f"weights add up to {len(turns):,} in lowest terms"
        raise ValueError(f"{what}; give smaller ones, at most {room:,} together while the chain runs")
    return turns + [0] * (room - len(turns))
