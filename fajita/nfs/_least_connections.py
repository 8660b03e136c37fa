"""The choice of the server that has the fewest connections, for the NFs that choose among servers."""

from typing import Any


class LeastConnections:
    """Needs `connections` of each server in Core, which the NF counts."""

    core: Any
    #: Of each server; 0: it is down.
    shares: list[int]

    def with_fewest(self, first: int, count: int, turn: int, nobody: int) -> int:
        """Of `count` servers from `first` on that with the fewest connections by its share; `nobody` if all are down.

        Of equal ones it is the next in turn.
        """
        best = nobody
        for step in range(count):
            each = first + (turn + step) % count
            load, least = self.core.connections[each] + 1, self.core.connections[best] + 1
            if self.shares[each] > 0 and (best == nobody or load * self.shares[best] < least * self.shares[each]):
                best = each
        return best
