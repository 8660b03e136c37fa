"""The chain `three` against a hand-written kernel of the same chain and against the bare memory traffic, in one run.

    python bench/against_baselines.py BASELINES [--flows 1024,65536,1048576] [--repeat 9] [--chain chains/three.yaml]

BASELINES is a folder with handwritten_chain.py and roof.c. All run on the same frames in turn, so that a noisy machine
disturbs them alike; each ratio is the median of the ratios of neighbouring passes. Prints one JSON object a line.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from fajita import Chain
from fajita.engine.compiled import CompiledEngine
from fajita.io.frames import FrameBlock

SLOT_BYTES, FRAME_BYTES, GAP_NS = 64, 60, 20


def load_handwritten(folder: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("handwritten_chain", folder / "handwritten_chain.py")
    if specification is None or specification.loader is None or not (folder / "handwritten_chain.py").exists():
        raise SystemExit(f"{folder} has no handwritten_chain.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def build_roof(folder: Path, into: Path) -> Path:
    subprocess.run(["cc", "-O3", "-march=native", "-o", into / "roof", folder / "roof.c"], check=True)
    return into / "roof"


def ours(chain: Chain, frames: np.ndarray, packets: int) -> Callable[[], None]:
    """A pass over all frames; packet time goes on from pass to pass, as it would on a wire."""
    engine = CompiledEngine(chain.plan)
    slots = frames[: packets * SLOT_BYTES].reshape(packets, SLOT_BYTES)
    times = np.arange(packets, dtype=np.uint64) * np.uint64(GAP_NS)
    block = FrameBlock.from_slots(slots, np.full(packets, FRAME_BYTES, np.uint32), times)

    def run() -> None:
        engine.process(block)
        block.time_ns += np.uint64(packets * GAP_NS)

    return run


def handwritten(module: ModuleType, frames: np.ndarray, packets: int, flows: int) -> Callable[[], None]:
    groups = 1
    while groups * 16 * 0.75 < flows:
        groups *= 2
    tags, table = module.huge_pages(groups * 16), module.huge_pages(groups * 16 * module.LINE)
    address = np.uint64(frames.ctypes.data) + np.arange(packets, dtype=np.uint64) * np.uint64(SLOT_BYTES)
    length, verdict = np.full(packets, FRAME_BYTES, np.uint32), np.zeros(packets, np.uint8)
    times = np.arange(packets, dtype=np.uint64) * np.uint64(GAP_NS)

    def run() -> None:
        places = (np.uint64(tags.ctypes.data), np.uint64(table.ctypes.data), np.uint64(groups - 1))
        module.run_chain(address, length, times, verdict, *places, np.uint64(10), np.uint64(1 << 30))
        np.add(times, np.uint64(packets * GAP_NS), out=times)

    return run


def mpps(run: Callable[[], None], packets: int) -> float:
    start = time.perf_counter()
    run()
    return packets / (time.perf_counter() - start) / 1e6


def compare(folder: Path, chain: Chain, flows: int, packets: int, repeat: int, roof: Path) -> dict[str, object]:
    module = load_handwritten(folder)
    pristine = module.udp_packets(flows, packets)
    frames = module.huge_pages(pristine.nbytes)
    variants = {
        "fajita": ours(chain, frames, packets),
        "handwritten": handwritten(module, frames, packets, flows),
    }
    figures: dict[str, list[float]] = {name: [] for name in (*variants, "roof")}
    for number in range(repeat + 1):
        order = list(variants) if number % 2 else list(reversed(variants))
        for name in order:
            frames[: len(pristine)] = pristine
            figure = mpps(variants[name], packets)
            if number:
                figures[name].append(figure)
        if number:
            done = subprocess.run([roof, str(flows), str(packets)], capture_output=True, check=True, text=True)
            figures["roof"].append(json.loads(done.stdout)["mpps"])
    median = {name: round(statistics.median(values), 2) for name, values in figures.items()}
    ratio = {
        f"fajita/{other}": round(
            statistics.median(a / b for a, b in zip(figures["fajita"], figures[other], strict=True)), 3
        )
        for other in ("handwritten", "roof")
    }
    return {"flows": flows, "packets": packets, **median, **ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("baselines", type=Path)
    parser.add_argument("--chain", type=Path, default=Path(__file__).parents[1] / "chains" / "three.yaml")
    parser.add_argument("--flows", default="1024,65536,1048576")
    parser.add_argument("--packets", type=int, default=1 << 21)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    chain = Chain.load(options.chain)
    with tempfile.TemporaryDirectory() as folder:
        roof = build_roof(options.baselines, Path(folder))
        for flows in map(int, options.flows.split(",")):
            print(
                json.dumps(compare(options.baselines, chain, flows, options.packets, options.repeat, roof)), flush=True
            )


if __name__ == "__main__":
    main()
