"""Packets of connections for a tracker, and what it says of them."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from scapy.layers.inet import IP, TCP
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from fajita import NF, PASS, Array, Chain, Packet, everything, u8, u64
from fajita.engine.interface import Engine
from fajita.nfs.connection_tracker import VERDICTS, ConnectionTracker
from tests.nfs.running import Result, run
from tests.nfs.scapy_frames import CLIENT, SERVICE, ethernet

SECOND = 10**9
MOST = 64
#: Sequence numbers the two ends begin with; the client's wrap round.
C, S = 2**32 - 2, 5_000
SCALE_7 = [("WScale", 7), ("SAckOK", b"")]


class Notes(NF):
    """Keeps what is said of the connection of each packet."""

    key = everything

    class State:
        packets: u64
        verdicts: Array[u8, MOST]

    def packet(self, pkt: Packet, state: Any) -> int:
        state.verdicts[state.packets] = pkt.connection_state
        state.packets += 1
        return PASS


def judged(
    engine: type[Engine], frames: Sequence[bytes], times_s: Sequence[float] | None = None, **params: Any
) -> list[str]:
    """The verdict on each packet; a second apart if no times are given."""
    result = tracked(engine, frames, times_s, **params)
    verdicts = result.rows(1)[0][-1]
    return [VERDICTS[verdict] for verdict in verdicts[: len(frames)]]


def tracked(
    engine: type[Engine], frames: Sequence[bytes], times_s: Sequence[float] | None = None, **params: Any
) -> Result:
    """A run of the tracker."""
    times_s = range(len(frames)) if times_s is None else times_s
    times_ns = [int(time * SECOND) + 10**18 for time in times_s]
    return run(engine, tracking(**params), frames, times_ns)


@cache
def tracking(**params: Any) -> Chain:
    """The tracker and NFs that note what it says; most tests have the same, which is planned once."""
    return Chain([ConnectionTracker(**params), Notes()])


def tcp(
    flags: str, seq: int, ack: int = 0, data: int = 0, *, back: bool = False, window: int = 8192, options: Any = ()
) -> bytes:
    """A segment from the client, or back from the server."""
    ports = {"sport": 80, "dport": 4000} if back else {"sport": 4000, "dport": 80}
    numbers = {"seq": seq % 2**32, "ack": ack % 2**32}
    segment = TCP(flags=flags, window=window, options=list(options), **ports, **numbers)
    return packet(segment / Raw(b"x" * data) if data else segment, back=back)


def packet(transport: ScapyPacket, *, back: bool = False, **fields: Any) -> bytes:
    """A frame from the client, or back from the server."""
    source, destination = (SERVICE, CLIENT) if back else (CLIENT, SERVICE)
    return bytes(ethernet() / IP(src=source, dst=destination, id=77, **fields) / transport)


def handshake(client: Any = (), server: Any = (), window: int = 8192) -> list[bytes]:
    """SYN, SYN with ACK, ACK."""
    return [
        tcp("S", C, options=client, window=window),
        tcp("SA", S, C + 1, back=True, options=server, window=window),
        tcp("A", C + 1, S + 1, window=window),
    ]


def closing() -> list[bytes]:
    """After a handshake: FIN, its ACK, FIN, its ACK."""
    return [
        tcp("FA", C + 1, S + 1),
        tcp("A", S + 1, C + 2, back=True),
        tcp("FA", S + 1, C + 2, back=True),
        tcp("A", C + 2, S + 2),
    ]
