"""Whether a packet would come to a worker, as the rules say it: what `self.lands_here` is."""

import numpy as np
from numpy.typing import NDArray

from fajita.rss import HashFields


def lands(
    fields: HashFields | None,
    indirection: NDArray[np.uint8],
    worker: int,
    src: int,
    dst: int,
    src_port: int,
    dst_port: int,
) -> bool:
    """Whether an IPv4 packet with these fields, as it came in, is one that this worker runs.

    fields: what is hashed; None: all packets go to one worker, which is then the only one that asks. Of each field the
    low bits count that it has.
    """
    if fields is None:
        return True
    source, destination = ((int(address) & 0xFFFFFFFF).to_bytes(4, "big") for address in (src, dst))
    bucket = fields.bucket(source, destination, int(src_port) & 0xFFFF, int(dst_port) & 0xFFFF)
    return bool(indirection[bucket] == worker)
