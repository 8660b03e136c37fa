"""What an NF sees of a packet, as a type: packet.py says what each attribute is."""

from collections.abc import MutableSequence, Sequence


class Packet:
    """The type of `pkt`, for editors and type checkers; each engine has its own."""

    eth_dst: int
    eth_src: int
    eth_type: int
    vlan: int
    vlan_priority: int
    dscp: int
    ecn: int
    total_length: int
    ip_id: int
    ttl: int
    protocol: int
    src: int
    dst: int
    flow_label: int
    src_high: int
    src_low: int
    dst_high: int
    dst_low: int
    src_port: int
    dst_port: int
    tcp_sequence: int
    tcp_acknowledgment: int
    tcp_flags: int
    tcp_window: int
    tcp_data_offset: int
    udp_length: int
    icmp_type: int
    icmp_code: int
    icmp_id: int
    icmp_sequence: int
    quoted_protocol: int
    quoted_src: int
    quoted_dst: int
    quoted_src_high: int
    quoted_src_low: int
    quoted_dst_high: int
    quoted_dst_low: int
    quoted_src_port: int
    quoted_dst_port: int
    quoted_icmp_id: int
    length: int
    captured_length: int
    ip_length: int
    time_ns: int
    frame: MutableSequence[int]
    payload_length: int
    payload: Sequence[int]
    tcp_options_length: int
    tcp_options: Sequence[int]
    flow_src_port: int
    flow_dst_port: int
    is_ipv4: bool
    is_ipv6: bool
    is_tcp: bool
    is_udp: bool
    is_icmp: bool
    is_fragment: bool
    checksum_valid: bool
    is_error: bool
    related: bool
    forward: bool
    mark: int
    connection_state: int

    def grow(self, at: int, count: int) -> None:
        """Insert so many zeros at an offset of the frame."""
        raise NotImplementedError

    def shrink(self, at: int, count: int) -> None:
        """Remove so many bytes from an offset of the frame on."""
        raise NotImplementedError

    def drop(self, reason: str) -> int:
        """The verdict DROP, counted under a reason of its own."""
        raise NotImplementedError
