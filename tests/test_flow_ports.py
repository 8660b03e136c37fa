"""pkt.flow_src_port and flow_dst_port: the ports of a packet's flow, of a later fragment too."""

from hypothesis import HealthCheck, given, settings

from fajita import LOOK_UP, NF, PASS, Chain, Packet, connection, u16, u32, u64
from fajita.nfs.load_balancer import LoadBalancer
from fajita.verify import verify_blocks
from tests.traffic import Traffic, traffic


class Ports(NF):
    """Adds up the ports of flows, in all its methods."""

    key = connection

    class State:
        first: u16
        both: u64

    class Core:
        before: u64
        packets: u32

    def before_lookup(self, pkt: Packet) -> int:
        self.core.before = self.core.before * 31 + pkt.flow_src_port + (pkt.flow_dst_port << 16)
        if pkt.flow_dst_port & 3 == 1:
            return PASS
        return LOOK_UP

    def new_flow(self, pkt: Packet, state: State) -> None:
        state.first = pkt.flow_dst_port

    def packet(self, pkt: Packet, state: State) -> int:
        state.both = state.both * 31 + pkt.flow_src_port * pkt.flow_dst_port
        if pkt.flow_src_port & 15 == 2:
            pkt.src_port = pkt.flow_src_port + 1
        return PASS


class Stateless(NF):
    """The same without a key."""

    class Core:
        ports: u64

    def packet(self, pkt: Packet) -> int:
        self.core.ports = self.core.ports * 31 + pkt.flow_src_port + (pkt.flow_dst_port << 16)
        return PASS


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(traffic())
def test_both_engines_read_the_same(packets: Traffic) -> None:
    balancer = LoadBalancer(servers=["10.0.0.1"], key="source")
    chain = Chain([Stateless(), Ports(timeout="1ms"), balancer, Ports(name="after"), Stateless(name="last")])
    result = verify_blocks(chain.plan, packets.blocks())
    assert result.difference is None, result.difference
