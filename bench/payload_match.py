"""payload_match against Python's `re`, match by match, and how fast it is.

    python bench/payload_match.py CAPTURE… [--patterns 1000] [--repeat 5] [--skip-re]

Patterns are made from what the captures carry, by a fixed seed: words, words across two packets, caseless ones, with a
class, with an alternative, with a bounded repeat. Payloads are put together here by the rules that payload_match
states (with the interpreted engine's headers and fragments). `re` gives every offset at which a match ends: those
where some match that begins anywhere ends. Compared with the records are, for each packet and pattern of which a match
ends in it, where the first one ends, and the number of ends in the direction up to that packet, and with the summary
the number of all. As a packet has records of four patterns at most, the patterns are halved until none needs more.

The speed is that of one core and all patterns, with new streams each time, from memory: the captures' Ethernet frames,
and generated datagrams of random bytes; time is that of the thread, the median of some passes. Prints one JSON object.
"""

import argparse
import json
import os
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fajita import Chain, FrameBlock, five_tuple
from fajita.engine.compiled import CompiledEngine
from fajita.io.capture import open_capture
from fajita.io.flow_order import FlowOrder
from fajita.io.frames import ETHERNET
from fajita.io.synthetic import synthetic_block
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.payload_match import PayloadMatch
from fajita.packet import Layer
from fajita.protocols import SYN_FLAG
from fajita.reference.flow_key import key_values
from fajita.reference.fragments import Fragments
from fajita.reference.integer import Int64
from fajita.reference.packet_view import PacketView
from fajita.reference.parse import parse
from fajita.suite.machine import describe_machine

NUMBERS, HALF = 0xFFFFFFFF, 0x80000000
#: Bytes that a match of any pattern made here has at most.
LONGEST = 40
#: Of generated frames: their size, bytes of headers, how many.
SIZE, HEADERS, FRAMES = 1442, 42, 1 << 16

Flow = tuple[str, str, int, int, int]
#: Flow, rule, packet, where the first match in it ends, ends so far.
Row = tuple[Flow, int, int, int, int]


@dataclass
class Stretch:
    """Bytes without a gap that are looked through together. ends: the last packet's number and where its bytes end."""

    flow: Flow
    data: bytearray = field(default_factory=bytearray)
    ends: list[tuple[int, int]] = field(default_factory=list)

    def add(self, packet: int, data: bytes) -> None:
        self.data += data
        self.ends.append((packet, len(self.data)))


@dataclass
class Direction:
    """What is known of one direction of a flow. hole: where the first gap begins and the last one ends."""

    packets: int = 0
    next_seq: int | None = None
    hole: tuple[int, int] | None = None
    stretch: Stretch | None = None


def beyond(one: int, other: int) -> int:
    """How far a sequence number lies ahead of another one."""
    return ((one - other + HALF) & NUMBERS) - HALF


def packets_of(capture: Path) -> Iterator[tuple[Flow, Any]]:
    """The packets that have a flow; later fragments have that of their first, and no payload."""
    fragments = Fragments(Chain([FlowCounter()]).plan)
    with open_capture(capture) as blocks:
        for block in blocks:
            for index in range(len(block)):
                frame, time_ns = block.frame(index), int(block.time_ns[index])
                headers, first = fragments.follow(parse(frame, int(block.link[index])), Int64(time_ns))
                assert headers is not None
                pkt = PacketView(frame, headers, int(block.wire[index]), time_ns)
                if first is not None:
                    first.enter(0, pkt)
                if (values := key_values(five_tuple, pkt)) is not None:
                    width = 4 if values.family == 4 else 16
                    src, dst = (str(ip_address(value.to_bytes(width, "big"))) for value in values.fields[:2])
                    src_port, dst_port, protocol = values.fields[2:]
                    yield (src, dst, src_port, dst_port, protocol), pkt


def stretches(capture: Path) -> list[Stretch]:
    """All that a capture carries, by the rules that the NF states."""
    found: list[Stretch] = []
    directions: dict[Flow, Direction] = {}

    def new(flow: Flow) -> Stretch:
        found.append(Stretch(flow))
        return found[-1]

    for flow, pkt in packets_of(capture):
        direction = directions.setdefault(flow, Direction())
        direction.packets += 1
        payload = bytes(pkt.payload)
        if not pkt.has(Layer.TCP):
            if payload:
                new(flow).add(direction.packets, payload)
            continue
        seq, is_syn = int(pkt.tcp_sequence), bool(int(pkt.tcp_flags) & SYN_FLAG)
        if is_syn:
            seq = (seq + 1) & NUMBERS
        if is_syn or direction.next_seq is None:
            direction.next_seq, direction.hole, direction.stretch = seq, None, None
        if not payload:
            continue
        ahead = beyond(seq, direction.next_seq)
        if ahead > 0:
            direction.hole = (direction.hole[0] if direction.hole else direction.next_seq), seq
            direction.stretch = None
        elif ahead < 0:
            hole = direction.hole
            if hole and beyond((seq + len(payload)) & NUMBERS, hole[0]) > 0 and beyond(hole[1], seq) > 0:
                new(flow).add(direction.packets, payload)
                continue
            payload = payload[-ahead:]
            if not payload:
                continue
        if direction.stretch is None:
            direction.stretch = new(flow)
        direction.stretch.add(direction.packets, payload)
        direction.next_seq = (seq + len(payload) - min(ahead, 0)) & NUMBERS
    return found


def quoted(data: bytes) -> str:
    """Bytes as both take them."""
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\x{byte:02x}" for byte in data)


def expression(kind: str, word: bytes, other: bytes) -> str:
    middle = len(word) // 2
    if kind == "class":
        low, high = max(0, word[middle] - 8), min(255, word[middle] + 8)
        return f"{quoted(word[:middle])}[\\x{low:02x}-\\x{high:02x}]{quoted(word[middle + 1 :])}"
    if kind == "alternative":
        return f"(?:{quoted(word)}|{quoted(other)})[\\x00-\\xff]"
    if kind == "repeat":
        gap = len(word) - 8
        return f"{quoted(word[:4])}.{{{max(0, gap - 2)},{gap + 9}}}{quoted(word[-4:])}"
    return quoted(word)


KINDS = {"word": "", "straddling": "", "caseless": "i", "class": "", "alternative": "", "repeat": "s", "split": "s"}


def make_patterns(carried: list[list[Stretch]], count: int) -> list[tuple[str, str]]:
    """So many, of each capture that carries something as many as of the others if it has so many."""
    random = Random(8)
    carried = [some for some in ([each for each in all_ if len(each.data) >= 32] for all_ in carried) if some]
    made: dict[tuple[str, str], None] = {}

    def word(some: list[Stretch], *, across: bool) -> bytes | None:
        """One with some different bytes; None: not found in some tries."""
        for _ in range(50):
            split = [each for each in random.choices(some, k=50) if len(each.ends) > 1] if across else []
            stretch = random.choice(split or some)
            size = random.randint(10, 18)
            at = random.choice(stretch.ends[:-1])[1] - size // 2 if split else random.randrange(len(stretch.data))
            found = bytes(stretch.data[max(0, at) : max(0, at) + size])
            if len(found) >= 10 and len(set(found)) > 4:
                return found
        return None

    kinds, place = list(KINDS), 0
    while len(made) < count and place < 100 * count:
        some, kind = carried[place % len(carried)], kinds[place // len(carried) % len(kinds)]
        place += 1
        one, other = word(some, across=kind in ("straddling", "split")), word(some, across=False)
        if one is not None and other is not None:
            made[expression("repeat" if kind == "split" else kind, one, other), KINDS[kind]] = None
    return list(made)


def compiled(text: str, flags: str) -> re.Pattern[bytes]:
    """For `re`."""
    return re.compile(text.encode(), (re.IGNORECASE if "i" in flags else 0) | (re.DOTALL if "s" in flags else 0))


def ends_by_re(pattern: re.Pattern[bytes], data: bytes) -> set[int]:
    """Where a match ends."""
    found: set[int] = set()
    at = 0
    while (match := pattern.search(data, at)) is not None:
        at = match.start() + 1
        last = min(len(data), match.start() + LONGEST)
        found.update(end for end in range(at, last + 1) if pattern.fullmatch(data, at - 1, end))
    return found


Ends = list[tuple[Flow, int, int, int, int]]


def matches_by_re(carried: list[Stretch], patterns: list[tuple[str, str]]) -> dict[int, Ends]:
    """By rule: flow, packet, stretch, where a match ends, the place of the packet in the stretch; in order."""
    found: dict[int, Ends] = {}
    for rule, (text, flags) in enumerate(patterns):
        pattern, ends = compiled(text, flags), []
        for number, stretch in enumerate(carried):
            data = bytes(stretch.data)
            place = 0
            for end in sorted(ends_by_re(pattern, data)):
                while stretch.ends[place][1] < end:
                    place += 1
                ends.append((stretch.flow, stretch.ends[place][0], number, end, place))
        found[rule] = ends
    return found


def expected_rows(by_rule: dict[int, Ends], rules: list[int]) -> Counter[Row]:
    first: dict[tuple[Flow, int, int], int] = {}
    in_packet: dict[Flow, Counter[int]] = {}
    for rule in rules:
        for flow, packet, _, end, _ in by_rule[rule]:
            first.setdefault((flow, rule, packet), end)
            in_packet.setdefault(flow, Counter())[packet] += 1
    so_far: dict[tuple[Flow, int], int] = {}
    for flow, counted in in_packet.items():
        total = 0
        for packet in sorted(counted):
            total += counted[packet]
            so_far[flow, packet] = total
    return Counter((flow, rule, packet, end, so_far[flow, packet]) for (flow, rule, packet), end in first.items())


def network_function(patterns: list[tuple[str, str]], rules: list[int]) -> PayloadMatch:
    return PayloadMatch(patterns=[f"{rule}:/{patterns[rule][0]}/{patterns[rule][1]}" for rule in rules])


def compare(capture: Path, carried: list[Stretch], patterns: list[tuple[str, str]]) -> dict[str, Any]:
    """What a capture has, and the rows in which the two differ."""
    start = time.perf_counter()
    by_rule = matches_by_re(carried, patterns)
    re_seconds = time.perf_counter() - start
    left, differences, rows, runs, matches, scanned = [list(range(len(patterns)))], Counter[str](), 0, 0, 0, 0
    examples: list[Any] = []
    while left:
        rules = left.pop()
        run = Chain([network_function(patterns, rules)]).run(capture)
        summary = run.report["nfs"][0]["summary"]
        runs += 1
        if len(rules) == len(patterns):
            matches, scanned = summary["matches"], summary["scanned_bytes"]
        records = run.records("payload_match").to_pylist()
        if len(records) < summary["alerts"] and len(rules) > 1:
            left += [rules[::2], rules[1::2]]
            continue
        names = ("src", "dst", "src_port", "dst_port", "protocol")
        got: Counter[Row] = Counter(
            (tuple(row[name] for name in names), row["rule"], row["packet"], row["offset"], row["matches"])
            for row in records
        )
        expected = expected_rows(by_rule, rules)
        rows += got.total()
        for side, other in (("payload_match", got - expected), ("re", expected - got)):
            differences[side] += other.total()
            examples += [(side, *row) for row in list(other)[:3]]
    ends = [each for each_rule in by_rule.values() for each in each_rule]
    straddling = sum(
        1
        for rule, found in by_rule.items()
        for _, _, number, end, place in found
        if place and _begins_before(carried[number], end, place, patterns[rule])
    )
    return {
        "capture": capture.name,
        "stretches": len(carried),
        "payload_bytes": sum(len(stretch.data) for stretch in carried),
        "scanned_bytes": scanned,
        "patterns_found": sum(1 for found in by_rule.values() if found),
        "stream_pattern_pairs": len({(rule, end[0]) for rule, found in by_rule.items() for end in found}),
        "ends_by_re": len(ends),
        "ends_by_payload_match": matches,
        "straddling_ends": straddling,
        "records": rows,
        "runs": runs,
        "only_payload_match": differences["payload_match"],
        "only_re": differences["re"],
        "examples": examples[:6],
        "re_seconds": round(re_seconds, 1),
    }


def _begins_before(stretch: Stretch, end: int, place: int, pattern: tuple[str, str]) -> bool:
    """Whether no match that ends there lies within the last packet alone."""
    expression = compiled(*pattern)
    starts = range(max(stretch.ends[place - 1][1], end - LONGEST), end)
    return not any(expression.fullmatch(stretch.data, start, end) for start in starts)


def frames_of(capture: Path) -> FrameBlock:
    frames, times, wire = [], [], []
    with open_capture(capture) as blocks:
        for block in blocks:
            for index in np.nonzero(block.link == ETHERNET)[0].tolist():
                frames.append(bytes(block.frame(index)))
                times.append(int(block.time_ns[index]))
                wire.append(int(block.wire[index]))
    return FrameBlock.from_frames(frames, times, wire)


def random_datagrams() -> FrameBlock:
    block = synthetic_block(FlowOrder("uniform", FRAMES, 1), FRAMES, size=SIZE, traffic="udp")
    slots: NDArray[np.uint8] = block.memory  # type: ignore[assignment]
    slots[:, HEADERS:SIZE] = np.random.default_rng(8).integers(0, 256, (FRAMES, SIZE - HEADERS), np.uint8)
    return block


def speed(name: str, block: FrameBlock, patterns: list[tuple[str, str]], repeat: int) -> dict[str, Any]:
    chain = Chain([network_function(patterns, list(range(len(patterns))))])
    nf, seconds, no_states = chain.plan.nfs[0], [], cast(Any, None)
    summary: dict[str, Any] = {}
    for _ in range(repeat + 1):
        engine = CompiledEngine(chain.plan)
        start = time.thread_time()
        engine.process(block)
        seconds.append(time.thread_time() - start)
        summary = nf.nf.summary(no_states, engine.core(nf))
    median = statistics.median(seconds[1:])
    return {
        "frames": name,
        "packets": len(block),
        "scanned_bytes": summary["scanned_bytes"],
        "matches": summary["matches"],
        "gbps_of_payload": round(8e-9 * summary["scanned_bytes"] / median, 2),
        "gbps_least_and_most": [
            round(8e-9 * summary["scanned_bytes"] / one, 2) for one in (max(seconds), min(seconds))
        ],
        "ns_per_packet": round(1e9 * median / len(block), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", nargs="+", type=Path)
    parser.add_argument("--patterns", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--skip-re", action="store_true", help="measure the speed alone")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    carried = [stretches(capture) for capture in options.captures]
    patterns = make_patterns(carried, options.patterns)
    found: dict[str, Any] = {"machine": describe_machine(), "patterns": len(patterns)}
    if not options.skip_re:
        found["captures"] = [
            compare(capture, some, patterns) for capture, some in zip(options.captures, carried, strict=True)
        ]
    found["speed"] = [speed(capture.name, frames_of(capture), patterns, options.repeat) for capture in options.captures]
    found["speed"].append(speed("generated", random_datagrams(), patterns, options.repeat))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
