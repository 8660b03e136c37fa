"""Threshold Random Walk against a model with sets, known scanners of real captures, and what evades or offends."""

import csv
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from random import Random

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from fajita import Chain, FrameBlock, InputError, hash_of
from fajita.io.capture import open_capture
from fajita.nfs.port_scan_detector import SLOTS, PortScanDetector
from fajita.verify import both_engines as compiled_and_reference
from fajita.verify import verify_blocks
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import ethernet, udp_frame
from tests.traffic import many_flows

SECOND = 10**9
SCANNER, CLIENT, HOST = "192.0.2.66", "192.0.2.7", "198.51.100.1"
#: So many more failures than answers make a scanner, so many more answers none, if nothing else is asked for.
ALARM, CLEAR = 5, 4
CAPTURES = Path(__file__).parents[3] / "shared" / "pcaps"
needs_captures = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the real captures (../shared/pcaps) are not here")


def segment(flags: str, port: int, *, src: str = SCANNER, dst: str = HOST) -> bytes:
    return bytes(ethernet() / IP(src=src, dst=dst) / TCP(sport=1024, dport=port, flags=flags))


def late(times: list[int]) -> list[int]:
    """The same, and when all that did not come has failed."""
    return [*times, times[-1] + 7 * SECOND]


def scan(ports: int, flags: str = "S") -> list[bytes]:
    """Attempts, then something else that the source sends."""
    return [*(segment(flags, port) for port in range(1, ports + 1)), segment("R", 1)]


def spaced(frames: list[bytes]) -> list[int]:
    return late([number * 10**6 for number in range(len(frames) - 1)])


@both_engines
@pytest.mark.parametrize("flags", ["S", "", "F", "FPU", "SU"])
def test_a_scanner_is_who_fails_so_often(engine, flags):
    for ports, scanners in ((ALARM - 1, 0), (ALARM, 1)):
        frames = scan(ports, flags)
        result = run(engine, PortScanDetector(), frames, spaced(frames))
        assert result.summary() == {
            "scanners": scanners,
            "attempts": ports,
            "answered": 0,
            "failed": ports,
            "waiting": 0,
            "scanners_if_those_fail": 0,
        }
        assert result.counters.nfs[0].records == scanners
        assert result.frames == frames


@both_engines
@pytest.mark.parametrize("flags", ["A", "FA", "PA", "SA", "R", "RA"])
def test_what_begins_nothing_is_no_attempt(engine, flags):
    frames = scan(20, flags)
    assert run(engine, PortScanDetector(), frames, spaced(frames)).summary()["attempts"] == 0


@both_engines
def test_other_protocols_and_headers_that_were_not_captured_are_no_attempts(engine):
    frames = [udp_frame(dport=port) for port in range(20)] + [segment("S", port)[:40] for port in range(20)]
    assert run(engine, PortScanDetector(), frames).summary()["attempts"] == 0


@both_engines
def test_a_browser_that_opens_many_connections_at_once_is_no_scanner(engine):
    frames, times = [], []
    for turn in range(5):
        for flags, after in (("S", 0), ("A", 90 * 10**6), ("PA", 91 * 10**6)):
            for port in range(50):
                frames.append(segment(flags, 1000 * turn + port, src=CLIENT))
                times.append(turn * 8 * SECOND + after)
    summary = run(engine, PortScanDetector(), frames, times).summary()
    assert (summary["scanners"], summary["failed"]) == (0, 0)
    assert summary["answered"] == summary["attempts"] > 150


@both_engines
def test_who_takes_the_answer_for_enough_has_failed(engine):
    """A scan with SYNs: its source resets what is answered."""
    frames, times = [], []
    for port in range(1, 11):
        frames += [segment("S", port), segment("R", port)]
        times += [port * SECOND, port * SECOND + 1000]
    frames.append(segment("R", 1))
    assert run(engine, PortScanDetector(), frames, late(times)).summary()["scanners"] == 1


@both_engines
def test_an_attempt_that_is_repeated_is_one(engine):
    frames = [segment("S", 80)] * 30
    times = [number * SECOND for number in range(30)]
    assert run(engine, PortScanDetector(), frames, times).summary()["attempts"] == 1


@both_engines
def test_an_answer_that_comes_too_late_counts_as_none(engine):
    frames = [segment("S", 80), segment("A", 80)]
    for after, answered in ((2 * SECOND, 1), (5 * SECOND, 1), (6 * SECOND, 0)):
        result = run(engine, PortScanDetector(), frames, [SECOND // 2, SECOND // 2 + after])
        assert result.summary()["answered"] == answered


@both_engines
def test_enough_answers_begin_the_test_anew(engine):
    """Six failures, then answers: with four more of these than failures it begins anew, with less it does not."""
    for answers, scanners in ((ALARM - 1 + CLEAR, 0), (CLEAR - 1, 1)):
        frames = [segment("S", port) for port in range(1, ALARM)]
        times = [0] * len(frames)
        for number in range(answers):
            frames += [segment("S", 100 + number), segment("A", 100 + number)]
            times += [10 * SECOND] * 2
        last = [segment("S", 200 + number) for number in range(ALARM - 1)]
        frames += [*last, segment("R", 1)]
        times += [12 * SECOND] * len(last)
        assert run(engine, PortScanDetector(), frames, late(times)).summary()["scanners"] == scanners


@both_engines
def test_a_source_that_knows_many_endpoints_is_still_watched(engine):
    frames = []
    for port in range(1, 601):
        frames += [segment("S", port), segment("A", port)]
    times = [number * 10**6 for number in range(len(frames))]
    frames += [segment("S", port) for port in range(1001, 1041)] + [segment("R", 1)]
    times += [10 * SECOND] * 40
    summary = run(engine, PortScanDetector(), frames, late(times)).summary()
    assert summary["scanners"] == 1
    assert summary["answered"] > 300


@both_engines
def test_what_a_scanner_sends_is_dropped_or_marked_from_then_on(engine):
    frames = [*scan(ALARM), udp_frame(src=SCANNER), segment("A", 9), udp_frame(src=CLIENT)]
    times = spaced(frames[: ALARM + 1]) + [10 * SECOND] * 3
    passed = [1] * ALARM
    dropping = run(engine, PortScanDetector(action="drop"), frames, times)
    assert dropping.verdicts == [*passed, 0, 0, 0, 1]
    assert dropping.counters.nfs[0].drops == {"scanner": 3}
    assert run(engine, PortScanDetector(), frames, times).verdicts == [1] * len(frames)
    assert run(engine, PortScanDetector(action="mark", mark=5), frames, times).verdicts == [1] * len(frames)


def test_the_mark_is_what_was_asked_for(tmp_path):
    (tmp_path / "marked.py").write_text(
        "from fajita import NF, PASS, Packet\n\n\nclass Marked(NF):\n"
        "    def packet(self, pkt: Packet) -> int:\n        return pkt.drop('marked') if pkt.mark == 5 else PASS\n"
    )
    chain = tmp_path / "chain.yaml"
    chain.write_text("nfs:\n- port_scan_detector: {action: mark, mark: 5}\n- ./marked.py:Marked\n")
    frames = scan(ALARM)
    report = Chain.load(chain).run([FrameBlock.from_frames(frames, spaced(frames))]).report
    assert report["drops"] == {"marked": {"marked": 1}}


def test_an_alert_is_a_record_with_counts_and_times():
    frames = [*scan(ALARM + 3), segment("S", 99), segment("R", 1)]
    times = [*spaced(frames[:-2]), 20 * SECOND, 27 * SECOND]
    run_of = Chain([PortScanDetector()]).run([FrameBlock.from_frames(frames, times)])
    records = run_of.records("port_scan_detector").to_pylist()
    wanted = ("src", "attempts", "answered", "failed", "first_ns", "last_ns", "alert_ns")
    last = (ALARM + 2) * 10**6
    assert [tuple(record[name] for name in wanted) for record in records] == [
        (SCANNER, ALARM + 3, 0, ALARM + 3, 0, last, last + 7 * SECOND)
    ]


@pytest.mark.parametrize("ports", [ALARM - 1, ALARM])
def test_a_scanner_that_falls_silent_is_found_when_its_state_ends(ports):
    frames = scan(ports)[:-1]
    blocks = [FrameBlock.from_frames(frames, [1000] * len(frames))]
    waiting = Chain([PortScanDetector(timeout="1min")]).run(blocks)
    summary = waiting.report["nfs"][0]["summary"]
    assert (summary["scanners"], summary["waiting"]) == (0, ports)
    assert summary["scanners_if_those_fail"] == (ports >= ALARM)
    blocks = [FrameBlock.from_frames(frames, [1000] * len(frames))]
    ended = Chain([PortScanDetector(timeout="1min")]).run(blocks, drain=True)
    assert ended.report["nfs"][0]["summary"]["scanners"] == (ports >= ALARM)
    assert ended.records("port_scan_detector").num_rows == (ports >= ALARM)


@both_engines
def test_ipv6(engine):
    def made(flags: str, number: int, src: str) -> bytes:
        return bytes(ethernet() / IPv6(src=src, dst=f"2001:db8::{number}:1") / TCP(dport=22, flags=flags))

    frames = [made("S", number, "fe80::66") for number in range(1, 9)]
    for number in range(1, 9):
        frames += [made("S", number, "fe80::7"), made("A", number, "fe80::7")]
    times = [0] * len(frames)
    frames += [bytes(ethernet() / IPv6(src=src, dst="::1") / TCP(flags="R")) for src in ("fe80::66", "fe80::7")]
    result = run(engine, PortScanDetector(), frames, [*times, 7 * SECOND, 7 * SECOND])
    assert (result.summary()["scanners"], result.summary()["answered"]) == (1, 8)


@dataclass
class Walk:
    """The test of one source, with sets in place of slots."""

    walk: int = 0
    epoch: int = 0
    waiting: dict[tuple[int, int], int] = field(default_factory=dict)
    known: set[tuple[int, int]] = field(default_factory=set)
    answered: int = 0
    failed: int = 0
    scanner: bool = False

    def take(self, time: int, endpoint: tuple[int, int], flags: int) -> None:
        self.epoch = max(self.epoch, time // (3 * SECOND))
        for each in [each for each, epoch in self.waiting.items() if epoch < self.epoch - 1]:
            del self.waiting[each]
            self.failed += 1
            self.walk = min(self.walk + 1, ALARM)
        if flags & 0x10 == 0:
            if endpoint not in self.known:
                self.known.add(endpoint)
                self.waiting[endpoint] = self.epoch
        elif flags & 2 == 0 and self.waiting.pop(endpoint, None) is not None:
            self.answered += 1
            self.walk = self.walk - 1 if self.walk > 1 - CLEAR else 0
        self.scanner = self.scanner or self.walk == ALARM


def apart(count: int) -> list[tuple[int, int]]:
    """Endpoints of which no two have a slot in common."""
    found: dict[int, tuple[int, int]] = {}
    for number in range(10_000):
        dst, port = 0x0A000000 + number // 8, 20 + number % 8
        found.setdefault(hash_of(0, dst, port) % SLOTS, (dst, port))
        if len(found) == count:
            break
    return list(found.values())


@both_engines
def test_walks_are_those_of_a_model_with_sets(engine):
    random, endpoints = Random(1), apart(60)
    frames, times, now = [], [], 0
    models: dict[int, Walk] = defaultdict(Walk)
    pending: list[tuple[int, tuple[int, int]]] = []
    for _ in range(1500):
        now += random.choice((0, 10**6, 10**9 // 2))
        flags = random.choice((2, 2, 16, 16, 16, 0, 18))
        source, endpoint = 0xC0000200 + random.randrange(12), random.choice(endpoints)
        if flags == 16 and pending and random.random() < 0.9:
            source, endpoint = pending.pop(random.randrange(len(pending)))
        elif flags == 2 and (source % 4 or random.random() < 0.3):
            pending.append((source, endpoint))
        time = max(0, now - random.choice((0, 0, 0, SECOND)))
        models[source].take(time, endpoint, flags)
        ip = IP(src=str(IPv4Address(source)), dst=str(IPv4Address(endpoint[0])))
        frames.append(bytes(ethernet() / ip / TCP(dport=endpoint[1], flags=flags)))
        times.append(time)
    result = run(engine, PortScanDetector(), frames, times)
    states = result.engine.rows(result.chain.plan.nfs[0])[0]
    names = states.dtype.names
    found = {row["src"]: row for row in states}
    for source, model in models.items():
        row = found[source]
        assert (row["answered"], row["failed"], row["attempts"]) == (model.answered, model.failed, len(model.known))
        assert int(row["waiting"].sum()) == len(model.waiting)
        assert bool(row["scanner"]) == model.scanner, names
    assert 0 < sum(model.scanner for model in models.values()) < len(models)


def failing_sources(path: Path) -> set[str]:
    """Sources with so many more attempts that failed than that were answered, by exact sets and without any time."""
    attempts: dict[int, dict[tuple[int, int], bool]] = defaultdict(dict)
    with open_capture(path) as capture:
        for block in capture:
            for index in range(len(block)):
                frame = bytes(block.frame(index))
                start = 14 if frame[12:14] == b"\x08\x00" else 18
                if frame[start - 2 : start] != b"\x08\x00" or frame[start + 9] != 6:
                    continue
                source, destination = (int.from_bytes(frame[start + at : start + at + 4]) for at in (12, 16))
                tcp = start + 4 * (frame[start] & 15)
                endpoint, flags = (destination, int.from_bytes(frame[tcp + 2 : tcp + 4])), frame[tcp + 13]
                if flags & 0x14 == 0:
                    attempts[source].setdefault(endpoint, False)
                elif flags & 0x16 == 0x10 and endpoint in attempts[source]:
                    attempts[source][endpoint] = True
    return {
        str(IPv4Address(source))
        for source, outcomes in attempts.items()
        if sum(1 if not answered else -1 for answered in outcomes.values()) >= ALARM
    }


#: Known scanners. The first are infected machines that look for open ports of one another.
KNOWN = {
    "malcolm--WinXP.pcap": {"10.200.1.45", "10.200.1.162", "10.200.1.231"},
    "small/malcolm--multiport_scan.pcap": {"125.27.226.209"},
    "small/zeek--nmap-vsn.pcap": {"192.168.1.71"},
}


def found_in(path: Path) -> set[str]:
    run_of = Chain([PortScanDetector(timeout="10min")]).run(path, drain=True)
    return set(run_of.records("port_scan_detector").column("src").to_pylist())


@needs_captures
@pytest.mark.parametrize("name", KNOWN)
def test_the_scanners_of_a_capture_are_found_and_nobody_else(name):
    assert found_in(CAPTURES / name) == KNOWN[name] == failing_sources(CAPTURES / name)


@needs_captures
def test_there_are_no_false_alarms_in_other_captures():
    with (CAPTURES / "INDEX.tsv").open() as file:
        names = [row["file"] for row in csv.DictReader(file, delimiter="\t") if int(row["flows"]) >= 8]
    alarms = {}
    for name in names:
        try:
            alarms[name] = found_in(CAPTURES / name)
        except InputError:
            continue  # a capture that is damaged
    assert {name: sources for name, sources in alarms.items() if sources} == KNOWN
    assert len(alarms) > 50


def test_results_do_not_depend_on_engine_or_number_of_workers():
    traffic = many_flows(500, repeats=3)
    chain = Chain([PortScanDetector(false_alarms=0.3, detection=0.8, wait="1us", action="drop", timeout="1s")])
    for workers in (1, 2, 5):
        result = verify_blocks(chain.plan, traffic.blocks(), partial(compiled_and_reference, cores=workers))
        assert (result.difference, result.packets) == (None, 1500)
    assert chain.plan.sharding.fields is not None


def test_the_meaning_of_the_parameters_is_as_documented():
    detector = PortScanDetector()
    assert -(-detector.alarm // detector.failure) == ALARM
    assert -(detector.clear // detector.answer) == CLEAR
    other = PortScanDetector(false_alarms=0.01)
    assert np.exp(other.alarm / 1000) == pytest.approx(0.99 / 0.01, rel=0.01)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"action": "reject"}, "parameter action of PortScanDetector: Input should be 'pass', 'drop' or 'mark'"),
        ({"mark": -1}, "parameter mark of PortScanDetector: Input should be greater than or equal to 0"),
        ({"mark": 5}, "PortScanDetector: mark is for action: mark; leave it out for pass"),
        ({"wait": "0s"}, "PortScanDetector: wait is 0; give the time in which an answer comes, such as 3s"),
        ({"wait": "3"}, "parameter wait of PortScanDetector: '3' is not a quantity such as 30s"),
        ({"false_alarms": 0.5}, "parameter false_alarms of PortScanDetector: Input should be less than 0.5"),
        ({"detection": 1.0}, "parameter detection of PortScanDetector: Input should be less than 1"),
        (
            {"scanner_answered": 0.8},
            "PortScanDetector: scanner_answered is not below benign_answered; give less",
        ),
        (
            {"scanner_answered": 0.7999},
            "PortScanDetector: scanner_answered is too near to benign_answered to tell them apart; give less",
        ),
        ({"key": "destination"}, "PortScanDetector cannot be keyed by 'destination'; one of source"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError) as caught:
        PortScanDetector(**params)
    assert str(caught.value).startswith(message)
