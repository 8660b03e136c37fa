"""Flow records as NetFlow and IPFIX have them."""

from typing import Any

from fajita import ANY_KEY, DRAINED, EVICTED, NF, PASS, Array, Duration, Layer, Max, Packet, Sum, key_of, u8, u64
from fajita.protocols import FIN_FLAG, RST_FLAG, SYN_FLAG

#: What NetFlow tells flows by: the 5-tuple and, where there are no ports, the type and code of ICMP.
flow = key_of("src", "dst", "src_port", "dst_port", "protocol", "icmp_type", "icmp_code", name="flow", layer=Layer.FLOW)

#: Why a record ends: flowEndReason (RFC 5102, 5.11.3).
ONGOING, IDLE_TIMEOUT, ACTIVE_TIMEOUT, END_OF_FLOW, FORCED_END, LACK_OF_RESOURCES = range(6)
REASONS = ("ongoing", "idle", "active", "end_of_flow", "forced", "lack_of_resources")


class FlowExporter(NF):
    """Makes flow records, as NetFlow (RFC 3954) and IPFIX (RFC 7011) exporters do.

    A flow is one direction of a 5-tuple, of ICMP one type and code; with the key connection both directions, packets
    being those that go the way of the first one and reverse_packets the others (RFC 5103). A record has its packets,
    its bytes from the IP header on as that states them, all TCP flags that were set, the type of service of its first
    packet, and the times of its earliest and its latest.

    It ends when the flow has been idle for `timeout` (15s if left out), or with the first packet `active` after its
    earliest, which begins another one. After a FIN or RST the flow ends likewise, or with a SYN: so that the last
    acknowledgments are not flows of their own. end_reason tells which: 1 idle, 2 active, 3 end of flow (FIN or RST),
    4 forced (the run ended), 5 lack of resources (another flow needed its place); 0 of a flow that has not ended.

    Records go to Parquet (`--export DIR`), and as IPFIX to a file or a collector (`--ipfix FILE`, `--ipfix
    udp://HOST:PORT`).
    """

    key = flow
    keys = ANY_KEY
    timeout = "15s"
    ipfix = {
        "packets": "packetDeltaCount",
        "bytes": "octetDeltaCount",
        "reverse_packets": "reversePacketDeltaCount",
        "reverse_bytes": "reverseOctetDeltaCount",
        "first_ns": ("flowStartMilliseconds", "flowStartNanoseconds"),  # some collectors know but one
        "last_ns": ("flowEndMilliseconds", "flowEndNanoseconds"),
        "tcp_flags": "tcpControlBits",
        "reverse_tcp_flags": "reverseTcpControlBits",
        "tos": "ipClassOfService",
        "end_reason": "flowEndReason",
    }

    class Params:
        active: Duration = "30min"

    class State:
        packets: u64
        bytes: u64
        reverse_packets: u64
        reverse_bytes: u64
        first_ns: u64
        last_ns: u64
        tcp_flags: u8
        reverse_tcp_flags: u8
        tos: u8  # DSCP and ECN
        end_reason: u8

    class Core:
        ended_by: Max[u8]
        records: Array[Sum[u64], 6]  # by reason
        packets: Sum[u64]  # of records
        bytes: Sum[u64]

    def prepare(self) -> None:
        if self.active <= 0:
            raise ValueError("active is 0; give the time after which a long flow gets a record, such as 30min")
        self.both_ways = self.granularity is not None and self.granularity.symmetric

    def packet(self, pkt: Packet, state: State) -> int:
        begins = state.packets + state.reverse_packets == 0
        if not begins:
            is_another = state.end_reason == END_OF_FLOW and pkt.tcp_flags & SYN_FLAG != 0
            if is_another or pkt.time_ns - state.first_ns >= self.active:
                if state.end_reason == ONGOING:
                    state.end_reason = ACTIVE_TIMEOUT
                self.core.records[state.end_reason] += 1
                self.core.packets += state.packets + state.reverse_packets
                self.core.bytes += state.bytes + state.reverse_bytes
                self.emit(state)
                begins = True
        if begins:
            state.packets = 0
            state.bytes = 0
            state.tcp_flags = 0
            if self.both_ways:
                state.reverse_packets = 0
                state.reverse_bytes = 0
                state.reverse_tcp_flags = 0
            state.first_ns = pkt.time_ns
            state.last_ns = pkt.time_ns
            state.tos = pkt.dscp << 2 | pkt.ecn
            state.end_reason = ONGOING
        if pkt.forward:
            state.packets += 1
            state.bytes += pkt.ip_length
            state.tcp_flags |= pkt.tcp_flags
        else:
            state.reverse_packets += 1
            state.reverse_bytes += pkt.ip_length
            state.reverse_tcp_flags |= pkt.tcp_flags
        state.first_ns = min(state.first_ns, pkt.time_ns)
        state.last_ns = max(state.last_ns, pkt.time_ns)
        if pkt.tcp_flags & (FIN_FLAG | RST_FLAG):
            state.end_reason = END_OF_FLOW
        return PASS

    def expire(self, state: State) -> None:
        if state.end_reason == ONGOING:
            state.end_reason = IDLE_TIMEOUT
            if self.core.ended_by == DRAINED:
                state.end_reason = FORCED_END
            elif self.core.ended_by == EVICTED:
                state.end_reason = LACK_OF_RESOURCES
        self.core.records[state.end_reason] += 1
        self.core.packets += state.packets + state.reverse_packets
        self.core.bytes += state.bytes + state.reverse_bytes
        self.emit(state)

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        records = {name: int(count) for name, count in zip(REASONS, core["records"], strict=True) if count}
        return {
            "flows": len(states) + int(core["records"].sum()),
            "packets": int((states["packets"] + states["reverse_packets"]).sum()) + core["packets"],
            "bytes": int((states["bytes"] + states["reverse_bytes"]).sum()) + core["bytes"],
            "records": records,
        }
