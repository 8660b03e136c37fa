"""Half-open connections up to a limit, packet by packet and against a model; a real flood among real connections."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from fajita import Chain, FrameBlock, InputError
from fajita.io.capture import open_capture
from fajita.nfs.syn_flood_guard import SynFloodGuard
from fajita.reference import ReferenceEngine
from fajita.verify import both_engines as compiled_and_reference
from fajita.verify import verify_blocks
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import ethernet, udp_frame

SECOND = 10**9
SERVER, OTHER = "198.51.100.1", "198.51.100.2"
FIRST, ANSWER = 1000, 0xFFFFFFFF  # sequence numbers of client and server; the latter wraps
CAPTURES = Path(__file__).parents[3] / "shared" / "pcaps"
FLOOD = CAPTURES / "stopddos--pkt.TCP.synflood.spoofed.pcap"
#: 500 connections to port 7000, begun in the first four seconds, that go on after that.
LASTING = CAPTURES / "zeek--echo-connections.pcap.gz"
#: 661 connections to port 80, one after the other within 20 minutes.
SHORT = CAPTURES / "ndpi-4.2-debian--WebattackXSS.pcap"
needs_captures = pytest.mark.skipif(not FLOOD.is_file(), reason="the real captures (../shared/pcaps) are not here")


def client(number: int) -> str:
    return f"192.0.2.{number}"


def sent(flags: str, number: int, *, dst: str = SERVER, port: int = 80, seq: int = FIRST, ack: int = 0) -> bytes:
    """What a client sends."""
    tcp = TCP(sport=1024, dport=port, flags=flags, seq=seq, ack=ack)
    return bytes(ethernet() / IP(src=client(number), dst=dst) / tcp)


def answered(flags: str, number: int, *, src: str = SERVER, seq: int = ANSWER, ack: int = FIRST + 1) -> bytes:
    """What a server sends to it."""
    tcp = TCP(sport=80, dport=1024, flags=flags, seq=seq, ack=ack)
    return bytes(ethernet() / IP(src=src, dst=client(number)) / tcp)


def last(number: int, ack: int = ANSWER + 1) -> bytes:
    """The end of its handshake."""
    return sent("A", number, seq=FIRST + 1, ack=ack & 0xFFFFFFFF)


def handshake(number: int) -> list[bytes]:
    return [sent("S", number), answered("SA", number), last(number)]


@both_engines
@pytest.mark.parametrize("key", ["connection", "five_tuple"])
def test_syns_beyond_the_limit_are_dropped(engine, key):
    frames = [sent("S", number) for number in range(5)] + [sent("S", 5, dst=OTHER), udp_frame(dst=SERVER)]
    result = run(engine, SynFloodGuard(limit=3, key=key), frames)
    assert result.verdicts == [1, 1, 1, 0, 0, 1, 1]
    assert result.counters.nfs[0].drops["destination limit"] == 2
    assert result.summary() == {
        "opened": 4,
        "completed": 0,
        "reset": 0,
        "timed_out": 0,
        "uncounted": 0,
        "half_open": 4,
        "most_of_one_destination": 3,
    }
    assert [frame for frame, verdict in zip(result.frames, result.verdicts, strict=True) if verdict] == [
        frame for frame, verdict in zip(frames, result.verdicts, strict=True) if verdict
    ]


#: By name: what comes after the SYN of client 0, and whether client 1 may then send one.
ENDINGS = {
    "nothing": ([], 0),
    "the end of the handshake": ([answered("SA", 0), last(0)], 1),
    "the end with data": ([answered("SA", 0), sent("PA", 0, seq=FIRST + 1, ack=(ANSWER + 1) & 0xFFFFFFFF)], 1),
    "the end with later data acknowledged": ([answered("SA", 0), last(0, ANSWER + 1461)], 1),
    "an acknowledgment without an answer": ([last(0)], 0),
    "an acknowledgment of another number": ([answered("SA", 0), last(0, ANSWER)], 0),
    "an acknowledgment of a number far ahead": ([answered("SA", 0), last(0, ANSWER + (1 << 17))], 0),
    "a refusal": ([answered("RA", 0, seq=0)], 1),
    "a reset of the client": ([answered("SA", 0), sent("R", 0, seq=FIRST + 1)], 1),
    "a reset with another number": ([answered("SA", 0), sent("R", 0, seq=FIRST - 1)], 0),
    "an acknowledgment of another client": ([answered("SA", 2), last(2)], 0),
}


@both_engines
@pytest.mark.parametrize("name", ENDINGS)
def test_what_ends_a_half_open_connection(engine, name):
    frames, passes = ENDINGS[name]
    result = run(engine, SynFloodGuard(limit=1), [sent("S", 0), *frames, sent("S", 1)])
    assert result.verdicts == [1] * (1 + len(frames)) + [passes]
    assert result.summary()["half_open"] == 1
    assert result.summary()["completed"] + result.summary()["reset"] == passes


@both_engines
def test_one_way_any_acknowledgment_ends_it(engine):
    frames = [sent("S", 0), last(0, 12345), sent("S", 1), sent("RA", 1, seq=FIRST + 1), sent("S", 2)]
    result = run(engine, SynFloodGuard(limit=1, key="five_tuple"), frames)
    assert result.verdicts == [1] * 5
    assert (result.summary()["completed"], result.summary()["reset"]) == (1, 1)


def others(count: int = 32) -> list[bytes]:
    """So many packets that idle states are looked for."""
    return [sent("A", 77, dst=OTHER)] * count


@both_engines
@pytest.mark.parametrize("key", ["connection", "five_tuple"])
def test_it_ends_when_nothing_comes_for_so_long(engine, key):
    frames = [sent("S", 0), *others(), sent("S", 1), *others(), sent("S", 2), sent("S", 3)]
    times = [0, *[29 * SECOND] * 33, *[36 * SECOND] * 34]
    result = run(engine, SynFloodGuard(limit=1, key=key), frames, times)
    assert [result.verdicts[at] for at in (0, 33, 66, 67)] == [1, 0, 1, 0]
    assert result.summary()["timed_out"] == 1


@both_engines
def test_what_is_established_passes_whatever_comes(engine):
    flood = [sent("S", number) for number in range(100, 120)]
    data = [sent("PA", 0, seq=FIRST + 1), answered("PA", 0), answered("FA", 0), sent("FA", 0), last(0)]
    unknown = [sent("A", 50), answered("A", 50), answered("SA", 51), sent("R", 52)]
    result = run(engine, SynFloodGuard(limit=2), [*handshake(0), *flood, *data, *unknown])
    assert result.verdicts == [1] * 5 + [0] * 18 + [1] * 9


@both_engines
def test_per_service_a_port_has_a_limit_of_its_own(engine):
    frames = [sent("S", number, port=port) for port in (80, 443, 0) for number in range(3)]
    assert run(engine, SynFloodGuard(limit=2, per="service"), frames).verdicts == [1, 1, 0] * 3
    assert run(engine, SynFloodGuard(limit=2), frames).verdicts == [1, 1, *[0] * 7]


@both_engines
def test_a_source_has_a_limit_too_if_asked_for(engine):
    frames = [sent("S", 0, port=port) for port in range(4)] + [sent("S", 1)]
    frames += [sent("R", 0, port=0, seq=FIRST + 1), sent("S", 0, port=9), sent("S", 0, port=10)]
    result = run(engine, SynFloodGuard(source_limit=2), frames)
    assert result.verdicts == [1, 1, 0, 0, 1, 1, 1, 0]
    assert result.counters.nfs[0].drops["source limit"] == 3
    frames = [sent("S", 0), *others(), sent("S", 0, dst=OTHER)]
    later = run(engine, SynFloodGuard(source_limit=1), frames, [0, *[36 * SECOND] * 33])
    assert later.verdicts[-1] == 1


@both_engines
def test_with_retries_a_syn_that_comes_again_passes(engine):
    frames = [sent("S", 0), sent("S", 1), sent("S", 1), sent("S", 1), sent("S", 2)]
    times = [0, 0, SECOND // 2 - 1, SECOND, SECOND]
    result = run(engine, SynFloodGuard(limit=1, retries=True), frames, times)
    assert result.verdicts == [1, 0, 0, 1, 0]
    assert result.summary()["half_open"] == 2
    assert run(engine, SynFloodGuard(limit=1), frames, times).verdicts == [1, 0, 0, 0, 0]


@both_engines
@pytest.mark.parametrize("wait", ["1ms", "1s", "1h"])
def test_what_was_dropped_is_known_for_half_a_minute_whatever_a_handshake_may_take(engine, wait):
    frames = [sent("S", 0), sent("S", 1), sent("S", 0), sent("S", 1)]
    for later, verdict in ((SECOND, 1), (29 * SECOND, 1), (31 * SECOND, 0)):
        times = [0, 0, later, later]
        verdicts = run(engine, SynFloodGuard(limit=1, retries=True, wait=wait), frames, times).verdicts
        assert (verdicts[1], verdicts[3]) == (0, verdict)


@both_engines
def test_at_the_limit_the_syn_of_a_connection_that_counts_is_dropped_too(engine):
    assert run(engine, SynFloodGuard(limit=1), [sent("S", 0)] * 2).verdicts == [1, 0]


@both_engines
def test_a_syn_that_comes_again_is_the_same(engine):
    result = run(engine, SynFloodGuard(limit=3), [sent("S", 0)] * 4 + [last(0)])
    assert (result.summary()["opened"], result.summary()["half_open"]) == (1, 1)


@both_engines
def test_what_is_dropped_or_no_tcp_takes_no_memory(engine):
    frames = [sent("S", number) for number in range(50)] + [udp_frame(port) for port in range(50)]
    for retries in (False, True):
        result = run(engine, SynFloodGuard(limit=2, retries=retries), frames)
        assert result.counters.tables[0].created == 2


@both_engines
def test_a_connection_that_is_opened_again_counts_again(engine):
    frames = [*handshake(0), *handshake(0), sent("S", 0), sent("S", 1)]
    result = run(engine, SynFloodGuard(limit=1), frames)
    assert result.verdicts == [1] * 7 + [0]
    assert (result.summary()["opened"], result.summary()["completed"]) == (3, 2)


@both_engines
def test_destinations_that_have_no_room_are_not_counted(engine):
    frames = [sent("S", 0), sent("S", 1, dst=OTHER), sent("S", 2, dst=OTHER), sent("S", 3)]
    result = run(engine, SynFloodGuard(limit=1, destinations=1), frames)
    assert result.verdicts == [1, 1, 1, 0]
    assert result.summary()["uncounted"] == 2


@both_engines
def test_ipv6(engine):
    def made(flags: str, number: int, dst: str = "2001:db8::1", **fields: int) -> bytes:
        tcp = TCP(sport=1024, dport=80, flags=flags, **fields)
        return bytes(ethernet() / IPv6(src=f"fe80::{number}", dst=dst) / tcp)

    answer = bytes(ethernet() / IPv6(src="2001:db8::1", dst="fe80::1") / TCP(sport=80, dport=1024, flags="SA", seq=5))
    frames = [made("S", 1, seq=1), made("S", 2), made("S", 2, "2001:db8:0:1::1"), answer, made("A", 1, ack=6)]
    assert run(engine, SynFloodGuard(limit=1), [*frames, made("S", 3)]).verdicts == [1, 0, 1, 1, 1, 1]


class Model:
    """The guard with sets, for a limit per address and both directions, without any time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.half_open: dict[tuple[int, int], bool] = {}  # by client and server: whether that has answered

    def passes(self, kind: str, number: int, server: int) -> bool:
        key = (number, server)
        if kind == "S":
            if sum(each[1] == server for each in self.half_open) >= self.limit:
                return False
            self.half_open.setdefault(key, False)
        elif kind == "SA" and key in self.half_open:
            self.half_open[key] = True
        elif kind == "R" or (kind == "A" and self.half_open.get(key)):
            self.half_open.pop(key, None)
        return True


@both_engines
def test_verdicts_are_those_of_a_model_with_sets(engine):
    random, model, servers = Random(1), Model(4), (SERVER, OTHER)
    frames, expected = [], []
    for _ in range(1200):
        kind, number, server = random.choice(("S", "S", "SA", "A", "R")), random.randrange(12), random.randrange(2)
        if kind == "SA":
            frames.append(answered("SA", number, src=servers[server]))
        else:
            seq, ack = (FIRST, 0) if kind == "S" else (FIRST + 1, 0)
            frames.append(sent(kind, number, dst=servers[server], seq=seq, ack=ack))
        expected.append(int(model.passes(kind, number, server)))
    assert run(engine, SynFloodGuard(limit=4), frames).verdicts == expected
    assert 0 < expected.count(0) < len(expected)


def packets_of(path: Path, begin: int, service: int | None = None) -> Iterator[tuple[int, bytes]]:
    """The packets of a capture, from a time on. service: a port whose server shall be the one that is flooded."""
    first = None
    with open_capture(path) as capture:
        for block in capture:
            for index in range(len(block)):
                frame, time = bytearray(bytes(block.frame(index))), int(block.time_ns[index])
                first = time if first is None else first
                for port, at in ((36, 30), (34, 26)):
                    if service is not None and frame[port : port + 2] == service.to_bytes(2):
                        frame[at : at + 4] = VICTIM
                yield begin + time - first, bytes(frame)


VICTIM = bytes((10, 10, 10, 10))


def flooded(path: Path, begin: int, service: int | None = None) -> tuple[FrameBlock, list[list[int]]]:
    """Real connections with a flood amid them; the packets of each connection by number."""
    real, flood = packets_of(path, 0, service), packets_of(FLOOD, begin)
    merged = sorted([(time, 0, frame) for time, frame in real] + [(time, 1, frame) for time, frame in flood])
    connections: dict[bytes, list[int]] = {}
    for number, (_, is_flood, frame) in enumerate(merged):
        if not is_flood and frame[23] == 6:
            ends = sorted((frame[26:30] + frame[34:36], frame[30:34] + frame[36:38]))
            connections.setdefault(b"".join(ends), []).append(number)
    block = FrameBlock.from_frames([frame for _, _, frame in merged], [time for time, _, _ in merged])
    return block, list(connections.values())


@needs_captures
@pytest.mark.parametrize("key", ["connection", "five_tuple"])
def test_connections_to_other_servers_survive_a_flood(key):
    block, connections = flooded(SHORT, 600 * SECOND)
    summary = Chain([SynFloodGuard(limit=100, key=key)]).run([block]).report["nfs"][0]["summary"]
    assert len(connections) == 661
    assert bool((block.verdict[np.concatenate(connections)] == 1).all())
    assert summary["completed"] == 661
    assert summary["most_of_one_destination"] == 100
    assert int((block.verdict == 0).sum()) > 37_000


@needs_captures
@pytest.mark.parametrize("key", ["connection", "five_tuple"])
def test_connections_that_are_there_survive_a_flood_of_their_own_server(key):
    block, connections = flooded(LASTING, 4 * SECOND, 7000)
    summary = Chain([SynFloodGuard(key=key)]).run([block]).report["nfs"][0]["summary"]
    assert len(connections) == 500
    assert bool((block.verdict[np.concatenate(connections)] == 1).all())
    assert sum(int(block.time_ns[numbers[-1]]) > 5 * SECOND for numbers in connections) > 50
    assert summary["completed"] == 500
    assert summary["half_open"] == 1000
    assert int((block.verdict == 0).sum()) > 36_000


@needs_captures
@pytest.mark.parametrize("key", ["connection", "five_tuple"])
def test_a_server_that_is_flooded_takes_new_connections_before_and_after(key):
    block, connections = flooded(SHORT, 600 * SECOND, 80)
    Chain([SynFloodGuard(limit=100, key=key)]).run([block])
    fates = Counter(
        (600 < int(block.time_ns[numbers[0]]) / SECOND < 660, bool((block.verdict[numbers] == 1).all()))
        for numbers in connections
    )
    assert fates[False, False] == 0
    assert 10 < fates[True, False] <= 40
    assert fates.total() == 661


@pytest.mark.parametrize("params", [{}, {"retries": True}, {"retries": True, "wait": "1ms"}], ids=str)
def test_results_do_not_depend_on_engine_or_number_of_workers(params):
    servers = [f"198.51.100.{number}" for number in range(40)]
    syns = [sent("S", number, dst=server) for number in range(4) for server in servers]
    acknowledgments = [sent("A", 0, dst=server, seq=FIRST + 1) for server in servers]
    frames = [*syns, *acknowledgments, *syns]
    times = [time for at, each in ((0, syns), (1, acknowledgments), (SECOND, syns)) for time in [at] * len(each)]
    guard = SynFloodGuard(limit=1, key="five_tuple", **params)
    dropped = run(ReferenceEngine, guard, frames, times).verdicts.count(0)
    assert dropped == (120 if "retries" in params else 240)
    chain = Chain([guard])
    assert chain.plan.sharding.fields is not None
    for workers in (1, 2, 5):
        blocks = [FrameBlock.from_frames(frames, times)]
        result = verify_blocks(chain.plan, blocks, partial(compiled_and_reference, cores=workers))
        assert (result.difference, result.packets) == (None, len(frames))


def test_what_needs_both_directions_or_all_sources_is_run_by_one_worker():
    for guard in (SynFloodGuard(), SynFloodGuard(key="five_tuple", source_limit=5)):
        assert Chain([guard]).plan.sharding.fields is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"limit": 0}, "parameter limit of SynFloodGuard: Input should be greater than or equal to 1"),
        ({"per": "port"}, "parameter per of SynFloodGuard: Input should be 'address' or 'service'"),
        ({"source_limit": -1}, "parameter source_limit of SynFloodGuard: Input should be greater than or equal to 0"),
        ({"wait": "0s"}, "SynFloodGuard: wait is 0; give the time in which a handshake ends, such as 30s"),
        ({"sources": 7}, "SynFloodGuard: sources is for a source_limit; give that too, or leave sources out"),
        ({"destinations": 0}, "parameter destinations of SynFloodGuard: Input should be greater than or equal to 1"),
        ({"retries": "yes"}, "parameter retries of SynFloodGuard: Input should be a valid boolean"),
        ({"key": "source"}, "SynFloodGuard cannot be keyed by 'source'; one of connection, five_tuple"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError) as caught:
        SynFloodGuard(**params)
    assert str(caught.value).startswith(message)
