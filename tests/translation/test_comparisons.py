"""`in`: both engines say the same, and what Python would."""

from collections.abc import Callable

import pytest

from fajita import NF, PASS, Chain, Packet, five_tuple, flag, u64
from fajita.io.frames import FrameBlock
from fajita.run import ENGINES
from fajita.verify import verify_blocks
from tests.traffic import ETHERNET, IPV4_TYPE, UDP_PROTOCOL, ipv4_packet, udp_datagram, with_link

SECOND = 10**9
WELL_KNOWN = (53, 80, 2**64 - 1)


class Members(NF):
    """Asks in every way whether a port is among others."""

    key = five_tuple

    class Params:
        ports: list[int] = [22, 443, -1]  # noqa: RUF012 - as a user writes it
        none: list[int] = []  # noqa: RUF012

    class State:
        in_tuple: flag
        not_in_list: flag
        in_parameter: flag
        not_in_parameter: flag
        in_constant: flag
        in_nothing: flag
        chosen: flag
        power: u64

    def packet(self, pkt: Packet, state: State) -> int:
        port = pkt.dst_port
        state.in_tuple = pkt.dst_port in (53, 80, pkt.src_port)
        state.not_in_list = pkt.dst_port not in [53, 80]
        state.in_parameter = pkt.dst_port in self.ports
        state.not_in_parameter = port not in self.ports and port not in self.none
        state.in_constant = port in WELL_KNOWN or port - 23 in self.ports
        state.in_nothing = port in self.none
        state.chosen = (1 if port in {22, 53} else 0) in (1, 2)
        state.power = 10**9 * 10**9 * 10**9 + 2**63 - SECOND
        return PASS


#: What CPython says of a destination port, the source port being 9.
EXPECTED: dict[str, Callable[[int], object]] = {
    "in_tuple": lambda port: port in (53, 80, 9),
    "not_in_list": lambda port: port not in [53, 80],
    "in_parameter": lambda port: port in (22, 443),
    "not_in_parameter": lambda port: port not in (22, 443),
    "in_constant": lambda port: port in (53, 80, 22, 45, 466),
    "in_nothing": lambda port: False,
    "chosen": lambda port: port in (22, 53),
    "power": lambda port: (10**27 + 2**63 - 10**9) % 2**64,
}
PORTS = (0, 9, 22, 23, 45, 53, 80, 443, 466, 65535)


def frame(dst_port: int) -> bytes:
    addresses = 0x0A000001, 0x0A000002
    return with_link(ETHERNET, IPV4_TYPE, ipv4_packet(*addresses, UDP_PROTOCOL, udp_datagram(*addresses, 9, dst_port)))


def frames() -> FrameBlock:
    return FrameBlock.from_frames([frame(port) for port in PORTS])


@pytest.mark.parametrize("engine", ENGINES)
def test_membership_is_that_of_python(engine: str) -> None:
    rows = Chain([Members()]).run(frames(), engine=engine).table("members").to_pylist()
    assert [row["dst_port"] for row in rows] == list(PORTS)
    for row in rows:
        assert {name: row[name] for name in EXPECTED} == {name: of(row["dst_port"]) for name, of in EXPECTED.items()}


def test_engines_agree_on_membership() -> None:
    assert verify_blocks(Chain([Members()]).plan, [frames()]).difference is None
