"""A flood of one-packet flows into a table of 10,000: what each policy for full tables does, and what memory it takes.

    python bench/flood.py [--flows 10000000] [--pcap FLOOD.pcap]

Every tenth packet belongs to one of 100 established flows, which come by in turn and were there before the flood; all
others begin a flow of their own. With --pcap also a capture of a flood, by itself. Prints one JSON object per policy:
counters of the table, packets and memory, and the established flows of which every packet was counted in one state.
"""

import argparse
import json
import resource

import numpy as np

from fajita import Chain
from fajita.engine.compiled import CompiledEngine
from fajita.io.capture import open_capture
from fajita.io.frames import FrameBlock
from fajita.io.synthetic import MINIMUM_SIZE, make_frames, packet_times
from fajita.nfs.flow_counter import FlowCounter

CAPACITY, ESTABLISHED, BLOCK, GAP_NS = 10_000, 100, 100_000, 100


def chain(policy: str) -> Chain:
    return Chain([FlowCounter()], capacity=CAPACITY, full=policy)


def flood_block(first: int, count: int) -> FrameBlock:
    """Packets `first` on of the flood; every tenth of an established flow, whose numbers are the smallest."""
    numbers = np.arange(first, first + count)
    flows = np.where(numbers % 10 == 0, numbers // 10 % ESTABLISHED, ESTABLISHED + numbers)
    slots = make_frames(flows.astype(np.uint32), traffic="tcp")
    return FrameBlock.from_slots(
        slots, np.full(count, MINIMUM_SIZE, np.uint32), packet_times(first + ESTABLISHED, count, GAP_NS)
    )


def established_block() -> FrameBlock:
    slots = make_frames(np.arange(ESTABLISHED, dtype=np.uint32), traffic="tcp")
    lengths = np.full(ESTABLISHED, MINIMUM_SIZE, np.uint32)
    return FrameBlock.from_slots(slots, lengths, packet_times(0, ESTABLISHED, GAP_NS))


def outcome(engine: CompiledEngine) -> dict[str, object]:
    counters = engine.counters()
    table, ((_, table_bytes),) = counters.tables[0], engine.table_memory()
    shown = {name: getattr(table, name) for name in ("created", "evicted", "refused", "active")}
    return shown | {
        "in": counters.packets_in,
        "out": counters.packets_out,
        "table_bytes": table_bytes,
        "process_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def generated(policy: str, flows: int) -> dict[str, object]:
    plan = chain(policy).plan
    engine = CompiledEngine(plan)
    engine.process(established_block())
    packets = flows * 10 // 9 // BLOCK * BLOCK
    for first in range(0, packets, BLOCK):
        engine.process(flood_block(first, BLOCK))
    rows = engine.rows(plan.nfs[0])[0]
    survived = int((rows["packets"] == 1 + packets // 10 // ESTABLISHED).sum())
    return {"policy": policy, "traffic": "generated", **outcome(engine), "established_that_survived": survived}


def captured(policy: str, path: str) -> dict[str, object]:
    engine = CompiledEngine(chain(policy).plan)
    with open_capture(path) as capture:
        for block in capture:
            engine.process(block)
    return {"policy": policy, "traffic": path.rpartition("/")[2], **outcome(engine)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=int, default=10_000_000)
    parser.add_argument("--pcap")
    options = parser.parse_args()
    for policy in ("drop", "bypass", "evict"):
        print(json.dumps(generated(policy, options.flows)), flush=True)
        if options.pcap:
            print(json.dumps(captured(policy, options.pcap)), flush=True)


if __name__ == "__main__":
    main()
