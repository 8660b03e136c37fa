"""How far the counts of heavy_hitters and superspreaders are off, against exact ones: tables as Markdown.

    python bench/sketches.py [--packets 4000000]

Traces in memory, flow sizes as measured by CAIDA and on a campus (`fajita gen --order`). Of heavy_hitters: which of the
true hundred largest are listed, and how many of all keys count too much by more than the error that was asked for. Of
superspreaders: sources with 500 to 50,000 destinations each, put into such a trace.
"""

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita import Chain, FrameBlock
from fajita.io.flow_order import FlowOrder
from fajita.io.synthetic import synthetic_block
from fajita.nfs._sketch_keys import MAPPED
from fajita.nfs.heavy_hitters import HeavyHitters
from fajita.nfs.superspreaders import Superspreaders

SOURCE, DESTINATION = slice(26, 30), slice(30, 34)
#: Keys of which all counters are read, of as many as there are.
SAMPLE = 20_000
SPREADERS = [500, 700, 1000, 1500, 2000, 5000, 10_000, 20_000, 50_000]


def words(block: FrameBlock, place: slice) -> NDArray[np.uint32]:
    """A field of four bytes of each packet."""
    slots: Any = block.memory
    found: NDArray[np.uint32] = np.ascontiguousarray(slots[:, place]).view(">u4").ravel().astype(np.uint32)
    return found


def heavy_hitters(order: str, flows: int, packets: int, error: float) -> str:
    """A row."""
    block = synthetic_block(FlowOrder(order, flows, 1), packets)
    sources, counts = np.unique(words(block, SOURCE), return_counts=True)
    nf = HeavyHitters(error=error)
    run = Chain([nf]).run([block])
    summary = run.report["nfs"][0]["summary"]
    listed = set(summary["top"])
    hundredth = np.sort(counts)[-100]
    texts = {".".join(map(str, int(source).to_bytes(4))) for source in sources[counts > hundredth]}
    kept = run.core("heavy_hitters")["counts"].reshape(nf.rows, nf.width)
    chosen = np.random.default_rng(1).permutation(len(sources))[:SAMPLE]
    errors = [nf.count_of(kept, (0, 0, 0, 0, MAPPED | int(sources[at]))) - int(counts[at]) for at in chosen]
    beyond = sum(each > error * packets for each in errors) / len(errors)
    cells = (
        f"{order}, {flows:,} flows",
        f"{len(sources):,}",
        f"{error:g}",
        f"{summary['memory_bytes'] / 2**20:.0f} MiB",
        f"{hundredth:,}",
        f"{len(texts & listed)} of {len(texts)}",
        f"{int(error * packets):,}",
        f"{np.mean(errors):.1f}",
        f"{max(errors):,}",
        f"{100 * beyond:.2f} %",
    )
    assert min(errors) >= 0
    return f"| {' | '.join(cells)} |"


def superspreaders(flows: int, packets: int, registers: int) -> str:
    """A row."""
    block = synthetic_block(FlowOrder("caida", flows, 1), packets)
    slots: Any = block.memory
    at = 0
    for number, count in enumerate(SPREADERS):
        slots[at : at + count, SOURCE] = (11, 0, 0, number)
        destinations = (np.arange(count) + 0x0C000000).astype(">u4")
        slots[at : at + count, DESTINATION] = destinations.view(np.uint8).reshape(-1, 4)
        at += count
    pairs = len(np.unique(words(block, SOURCE).astype(np.uint64) << 32 | words(block, DESTINATION)))
    summary = Chain([Superspreaders(registers=registers)]).run([block]).report["nfs"][0]["summary"]
    largest = summary["largest"]
    own = [largest.pop(f"11.0.0.{number}", None) for number in range(len(SPREADERS))]
    shown = ", ".join(
        "-" if count is None else f"{100 * (count / true - 1):+.0f} %"
        for true, count in zip(SPREADERS, own, strict=True)
    )
    cells = (
        f"{flows:,}",
        f"{registers}",
        f"{summary['memory_bytes'] / 2**20:.1f} MiB",
        f"{pairs:,}, {100 * (summary['pairs'] / pairs - 1):+.1f} %",
        f"{100 * summary['standard_error']:.1f} %",
        f"{summary['too_high_by_at_most']}",
        shown,
        f"{len(largest)}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=4_000_000)
    packets = parser.parse_args().packets
    heads = "trace | sources | error | memory | 100th has | larger ones listed | bound | mean error | largest | beyond"
    print(f"| {heads} |\n|---|{'---:|' * 9}")
    for order in ("caida", "campus"):
        for flows in (1 << 16, 1 << 20):
            for error in (1e-5, 1e-4, 1e-3):
                print(heavy_hitters(order, flows, packets, error), flush=True)
    shown = ", ".join(f"{count:,}" for count in SPREADERS)
    print(f"\n| flows | registers | memory | pairs | standard error | bound | counts of {shown} | others listed |")
    print(f"|---:|{'---:|' * 5}---|---:|")
    for flows in (1 << 16, 1 << 20):
        for registers in (64, 256, 1024):
            print(superspreaders(flows, packets, registers), flush=True)


if __name__ == "__main__":
    main()
