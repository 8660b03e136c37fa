"""Arrays of numpy among the attributes of an NF: indexed like lists, whatever their type."""

import numpy as np
import pytest

from fajita import NF, PASS, Chain, InputError, Packet, five_tuple, i64, u64
from fajita.engine.interface import Engine
from fajita.integers import integers
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import udp_frame


class Looks(NF):
    """Looks things up by port."""

    key = five_tuple

    class State:
        small: i64
        wrapped: i64
        length: u64
        among: u64

    def prepare(self) -> None:
        self.small = np.array([-1, 2, -3], np.int8)
        self.large = np.array([5, 2**63 + 7, 2**64 - 1], np.uint64)
        self.many = np.arange(1 << 16)

    def packet(self, pkt: Packet, state: State) -> int:
        state.small = self.small[pkt.dst_port]
        state.wrapped = self.large[pkt.dst_port - 1]
        state.length = len(self.many) + self.many[pkt.dst_port + 1]
        state.among = 1 if pkt.dst_port in self.small else 0
        return PASS


@both_engines
def test_arrays_are_indexed_like_lists(engine: type[Engine]) -> None:
    frames = [udp_frame(7, port) for port in (0, 2, 3, 4)]
    found = [row[-4:] for row in sorted(run(engine, Looks(), frames).rows(), key=lambda row: row[3])]
    assert found == [
        (-1, 0, 65537, 0),
        (-3, 7 - 2**63, 65539, 1),
        (0, -1, 65540, 0),
        (0, 0, 65541, 0),
    ]


class Wrong(NF):
    """Indexes what is no list of integers."""

    def prepare(self) -> None:
        self.numbers = np.zeros((2, 2), np.int64)

    def packet(self, pkt: Packet) -> int:
        return pkt.drop("0") if self.numbers[0] == 0 else PASS


def test_other_arrays_are_refused() -> None:
    with pytest.raises(InputError, match=r"self\.numbers is a ndarray, which a packet cannot use"):
        _ = Chain([Wrong()]).plan


@pytest.mark.parametrize("kind", ["u1", "i1", "<u2", ">u2", "i2", "u4", ">i4", "i8", ">u8"])
@both_engines
def test_elements_keep_their_width_and_mean_the_same(engine: type[Engine], kind: str) -> None:
    class Narrow(NF):
        key = five_tuple

        class State:
            value: i64

        def prepare(self) -> None:
            self.values = np.array([0, 1, 0x7F, 0xFF, 0xFFFF, 0xFFFF_FFFF, 2**63 - 1]).astype(kind)

        def packet(self, pkt: Packet, state: State) -> int:
            state.value = self.values[pkt.dst_port]
            return PASS

    nf = Narrow()
    found = run(engine, nf, [udp_frame(7, port) for port in range(9)])
    rows = sorted(found.rows(), key=lambda row: row[3])
    assert [row[-1] for row in rows] == [*nf.values.astype(np.int64).tolist(), 0, 0]
    assert found.chain.plan.constants.bytes == nf.values.nbytes


@pytest.mark.parametrize("value", [[1, 2], np.zeros(2), np.zeros((1, 1), int), np.zeros(2, bool), 7, "x"])
def test_what_is_no_array_of_integers(value: object) -> None:
    assert integers(value) is None
