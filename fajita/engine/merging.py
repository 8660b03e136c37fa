"""Stub until the branch has it."""

import numpy as np

from fajita.engine.rows import sort_rows


def merge_rows(parts, packing, nf, sharing):
    assert sharing == "own" or len(parts) == 1
    return sort_rows(np.concatenate(parts), packing)


def merge_core(nf, parts):
    return {name: ([part[name] for part in parts]) for name in parts[0]}


def count_keys(parts, packing):
    rows = np.concatenate(parts)
    return len(set(map(bytes, rows)))
