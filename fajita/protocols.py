"""Numbers of protocols by name, for NFs too: `from fajita.protocols import SYN_FLAG, TCP_PROTOCOL`."""

#: What `pkt.protocol` may be (IANA, Protocol Numbers).
ICMP_PROTOCOL, TCP_PROTOCOL, UDP_PROTOCOL, ICMPV6_PROTOCOL, SCTP_PROTOCOL = 1, 6, 17, 58, 132
#: The same of tunnels: IP in IP (RFC 2003, RFC 4213) and GRE (RFC 2784).
IPV4_PROTOCOL, IPV6_PROTOCOL, GRE_PROTOCOL = 4, 41, 47

#: The bits of `pkt.tcp_flags` (RFC 9293, 3.1).
FIN_FLAG, SYN_FLAG, RST_FLAG, PSH_FLAG, ACK_FLAG, URG_FLAG, ECE_FLAG, CWR_FLAG = (1 << bit for bit in range(8))

#: What `pkt.eth_type` may be (IEEE, EtherTypes).
IPV4_TYPE, ARP_TYPE, IPV6_TYPE, PPPOE_TYPE = 0x0800, 0x0806, 0x86DD, 0x8864
#: The same of VLAN tags: a customer's (802.1Q), a provider's (802.1ad), and two that switches used before.
CUSTOMER_TAG, SERVICE_TAG = 0x8100, 0x88A8
VLAN_TYPES = (CUSTOMER_TAG, SERVICE_TAG, 0x9100, 0x9200)
MPLS_TYPES = (0x8847, 0x8848)

#: Bytes: no capture has longer frames (libpcap's MAXIMUM_SNAPLEN), and no NF makes one longer.
MAXIMUM_FRAME = 262_144
