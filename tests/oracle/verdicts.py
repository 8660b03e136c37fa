"""What the kernel and fajita say of the connection of each packet: the same numbers, written into the DSCP."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from fajita import NF, PASS, Chain, FrameBlock, InputError, Layer, Packet
from fajita.engine.compiled import CompiledEngine
from fajita.io.capture import open_capture
from fajita.io.frames import ETHERNET, LINUX_SLL, RAW_IP
from fajita.nfs.connection_tracker import VERDICTS, ConnectionTracker
from tests.oracle.packets import dscp, ipv4_of
from tests.oracle.router import Router, Sent

#: nftables marks what it forwards: one rule a line.
RULES = "\n".join(
    [
        "table ip verdicts {",
        "chain forward {",
        "type filter hook forward priority 0; policy accept;",
        *(f"ct state {verdict} ip dscp set {number} accept" for number, verdict in enumerate(VERDICTS) if number),
        "}",
        "}",
    ]
)
#: An Ethernet header before IPv4, whatever the addresses.
_ETHERNET_HEADER = bytes(12) + b"\x08\x00"
#: By link: bytes before the EtherType, or the packet.
_BEFORE_TYPE = {ETHERNET: 12, LINUX_SLL: 14, RAW_IP: 0}
_START_NS, _STEP_NS = 10**18, 1_000


class Marks(NF):
    """Writes what is known of the connection into the DSCP."""

    about = Layer.IPV4

    def packet(self, pkt: Packet) -> int:
        pkt.dscp = pkt.connection_state
        return PASS


def by_kernel(router: Router, packets: Sequence[bytes]) -> list[int | None]:
    """The verdict on each packet; None where it did not come out."""
    router.forget()
    came = router.forward([Sent(packet) for packet in packets])
    return [None if each is None else dscp(each.packet) for each in came]


@cache
def tracking(**parameters: bool) -> Chain:
    """A chain that tracks with these parameters, and marks."""
    return Chain([ConnectionTracker(**parameters), Marks()])


def by_fajita(packets: Sequence[bytes], chain: Chain) -> list[int]:
    """The verdict on each packet; 0 where the tracker did not see it."""
    times_ns = [_START_NS + _STEP_NS * number for number in range(len(packets))]
    block = FrameBlock.from_frames([_ETHERNET_HEADER + packet for packet in packets], times_ns)
    CompiledEngine(chain.plan).process(block)
    return [dscp(bytes(block.frame(number))[14:]) for number in range(len(packets))]


def ipv4_packets(path: Path, most: int) -> list[bytes]:
    """The first IPv4 packets of a capture that a host would take for such."""
    packets: list[bytes] = []
    with open_capture(path) as capture:
        try:
            for block in capture:
                for number in range(len(block)):
                    frame, link = bytes(block.frame(number)), int(block.link[number])
                    if link not in _BEFORE_TYPE:
                        continue
                    left_out = _BEFORE_TYPE[link]
                    ethernet = bytes(12) + (b"\x08\x00" if link == RAW_IP else b"") + frame[left_out:]
                    packet = ipv4_of(ethernet, int(block.wire[number]) + len(ethernet) - len(frame))
                    packets += [] if packet is None else [packet]
                if len(packets) >= most:
                    break
        except InputError:
            pass  # what came before the damaged record counts
    return packets[:most]


def differences(kernel: Sequence[int | None], fajita: Sequence[int]) -> Counter[tuple[str, str]]:
    """Of packets that the kernel forwarded: how many the two judge differently, by what the kernel and fajita say."""
    both = zip(kernel, fajita, strict=True)
    return Counter((VERDICTS[one], VERDICTS[other]) for one, other in both if one is not None and one != other)
