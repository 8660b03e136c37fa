"""Tunnels: packets put into others, and taken out again."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, Literal

from pydantic import Field

from fajita import NF, PASS, Layer, Packet, Sum, hash_of, u64
from fajita.nfs._routes import parse_mac
from fajita.protocols import (
    GRE_PROTOCOL,
    IPV4_PROTOCOL,
    IPV4_TYPE,
    IPV6_PROTOCOL,
    IPV6_TYPE,
    MAXIMUM_FRAME,
    UDP_PROTOCOL,
    VLAN_TYPES,
)

ETHERNET_BYTES, IPV4_BYTES, IPV6_BYTES, UDP_BYTES = 14, 20, 40, 8
#: IPv6 extension headers that may be before the tunnel's (RFC 8200, 4; RFC 2473, 4.1.1), and how many.
EXTENSIONS, MAXIMUM_EXTENSIONS = (0, 43, 60), 4
#: Of an IPv6 packet that ends with its header (RFC 8200, 4.7).
NO_NEXT_HEADER = 59
#: Tags in front of an IP header that are stepped over.
MAXIMUM_TAGS = 2
#: GRE's flags (RFC 2784, 2.1; RFC 2890, 2): checksum, routing, key, sequence number, and the version.
CHECKSUM, ROUTING, KEY, SEQUENCE, VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 0x0007
NOT_ECT, ECT_1, ECT_0, CE = range(4)  # RFC 3168, 5


#: What makes a difference for one kind, or one mode, alone.
_ONLY_FOR = {
    "kind": {"gre_key": "gre", "vni": "vxlan", "port": "vxlan", "source_mac": "vxlan", "destination_mac": "vxlan"},
    "mode": dict.fromkeys(("mtu", "ttl", "source_mac", "destination_mac"), "encapsulate"),
}


def _octets(value: int, count: int) -> list[int]:
    return list(value.to_bytes(count))


class Tunnel(NF):
    """Puts packets into a tunnel, or takes them out: IP in IP, GRE or VXLAN, over IPv4 or IPv6.

    kind: ip_in_ip (RFC 2003, 2473, 4213), gre (RFC 2784, with gre_key RFC 2890) or vxlan (RFC 7348). mode: encapsulate
    sends every IP packet behind an Ethernet header and up to two VLAN tags, with vxlan every Ethernet frame, from local
    to remote; decapsulate takes out what comes from remote to local, and lets all else pass. So each end names its own
    address as local.

    The outer packet has `ttl` as its time to live, DSCP and ECN of the inner one (RFC 6040), do not fragment, and by a
    hash of the inner one's flow, with vxlan its source port, over IPv6 its flow label. The inner packet's DSCP stays
    what it is, whatever becomes of the outer one's. What is longer than mtu, bytes of the outer IP packet, is dropped
    as mtu exceeded, and what is too long for a capture as too long: nothing is fragmented. The frame keeps its Ethernet
    header; vxlan's outer one leads from source_mac to destination_mac, left out those of the inner one.

    Taken out, congestion of the outer packet is marked on the inner one, which is dropped as congested if it knows no
    such mark; so is ECT(1) on ECT(0). Outer fragments are dropped as fragment, what is no such tunnel inside as
    malformed; another gre_key or vni passes by. UDP's checksum is 0, which RFC 7348 and, over IPv6, RFC 6935 allow;
    GRE's is neither made nor checked. Not for chains with inner: true, to which the packets inside are all there is.
    """

    about = Layer.ETHERNET

    class Params:
        kind: Literal["ip_in_ip", "gre", "vxlan"]
        mode: Literal["encapsulate", "decapsulate"]
        local: str
        remote: str
        gre_key: Annotated[int, Field(ge=0, lt=1 << 32)] | None = None
        vni: Annotated[int, Field(ge=0, lt=1 << 24)] = 1
        port: Annotated[int, Field(ge=1, lt=1 << 16)] = 4789
        mtu: Annotated[int, Field(ge=68, lt=1 << 16)] = 1500
        ttl: Annotated[int, Field(ge=1, le=255)] = 64
        source_mac: str | None = None
        destination_mac: str | None = None

    class Core:
        packets: Sum[u64]
        bytes: Sum[u64]

    def prepare(self) -> None:
        local, remote = self._address("local"), self._address("remote")
        if local.version != remote.version:
            raise ValueError("local and remote are of different families; give two of one")
        for what, needed in _ONLY_FOR.items():
            for name, value in needed.items():
                if self.given.get(name) is not None and getattr(self, what) != value:
                    raise ValueError(f"{name} is for {what}: {value}; leave it out")
        self.over_ipv6, self.has_key, self.is_vxlan = local.version == 6, self.gre_key is not None, self.kind == "vxlan"
        self.key_number: int = self.gre_key or 0
        self.local_number, self.remote_number = int(local), int(remote)
        low = (1 << 64) - 1
        self.local_high, self.local_low = int(local) >> 64, int(local) & low
        self.remote_high, self.remote_low = int(remote) >> 64, int(remote) & low
        self.ip_bytes = IPV6_BYTES if self.over_ipv6 else IPV4_BYTES
        inside = {"ip_in_ip": 0, "gre": 8 if self.has_key else 4, "vxlan": UDP_BYTES + 8}[self.kind]
        self.header_bytes = self.ip_bytes + inside
        self.header = self._header(local, remote)
        # Of the IPv4 header without what differs by packet.
        words = [self.header[at] << 8 | self.header[at + 1] for at in range(0, IPV4_BYTES, 2)]
        self.header_sum = sum(words)
        self.macs = self._macs()

    def _address(self, name: str) -> IPv4Address | IPv6Address:
        try:
            return ip_address(getattr(self, name))
        except ValueError:
            what = f"{name} is {getattr(self, name)!r}, which is no address"
            raise ValueError(f"{what}; give 192.0.2.1 or 2001:db8::1") from None

    def _macs(self) -> list[int]:
        """Bytes of the outer addresses, -1 for those that are the inner ones."""
        made: list[int] = []
        for name in ("destination_mac", "source_mac"):
            given = getattr(self, name)
            number = None if given is None else parse_mac(given)
            if given is not None and number is None:
                raise ValueError(f"{name} is {given!r}, which is not a MAC address such as 02:00:00:00:00:01")
            made += [-1] * 6 if number is None else _octets(number, 6)
        return made

    def _header(self, local: IPv4Address | IPv6Address, remote: IPv4Address | IPv6Address) -> list[int]:
        """The outer IP header and what follows it, but for what differs by packet."""
        protocol = {"ip_in_ip": 0, "gre": GRE_PROTOCOL, "vxlan": UDP_PROTOCOL}[self.kind]
        if self.over_ipv6:
            ip = [0x60, 0, 0, 0, 0, 0, protocol, self.ttl, *local.packed, *remote.packed]
        else:
            ip = [0x45, 0, 0, 0, 0, 0, 0x40, 0, self.ttl, protocol, 0, 0, *local.packed, *remote.packed]
        if self.kind == "gre":
            return [*ip, 0x20 if self.has_key else 0, 0, 0, 0, *(_octets(self.key_number, 4) if self.has_key else [])]
        if self.kind == "vxlan":
            return [*ip, 0, 0, *_octets(self.port, 2), 0, 0, 0, 0, 0x08, 0, 0, 0, *_octets(self.vni, 3), 0]
        return ip

    def packet(self, pkt: Packet) -> int:
        at = self.type_at(pkt)
        kind = pkt.frame[at] << 8 | pkt.frame[at + 1]
        is_ip = (pkt.is_ipv4 and kind == IPV4_TYPE) or (pkt.is_ipv6 and kind == IPV6_TYPE)
        if self.mode == "encapsulate":
            if not (is_ip or self.is_vxlan):
                return PASS
            return self.encapsulate(pkt, at, kind)
        if not is_ip or (kind == IPV6_TYPE) != self.over_ipv6:
            return PASS
        if self.over_ipv6:
            if not self.is_from_remote_ipv6(pkt):
                return PASS
        elif pkt.dst != self.local_number or pkt.src != self.remote_number:
            return PASS
        return self.decapsulate(pkt, at)

    def type_at(self, pkt: Packet) -> int:
        """Where the EtherType is after all tags."""
        at = 12
        for _ in range(MAXIMUM_TAGS):
            if pkt.frame[at] << 8 | pkt.frame[at + 1] not in VLAN_TYPES:
                break
            at += 4
        return at

    def encapsulate(self, pkt: Packet, at: int, kind: int) -> int:
        ip = at + 2
        total = self.header_bytes + self.inner_length(pkt, ip, kind)
        if total > self.mtu:
            return pkt.drop("mtu exceeded")
        if pkt.length + self.header_bytes + ETHERNET_BYTES > MAXIMUM_FRAME:
            return pkt.drop("too long")
        class_ = pkt.dscp << 2 | pkt.ecn
        flow = self.flow_of(pkt, kind)
        self.core.packets += 1
        self.core.bytes += pkt.length
        if self.is_vxlan:
            pkt.grow(0, ETHERNET_BYTES + self.header_bytes)
            self.write_ethernet(pkt)
            at = 12
            ip = ETHERNET_BYTES
        else:
            pkt.grow(ip, self.header_bytes)
        pkt.frame[at] = (IPV6_TYPE if self.over_ipv6 else IPV4_TYPE) >> 8
        pkt.frame[at + 1] = (IPV6_TYPE if self.over_ipv6 else IPV4_TYPE) & 0xFF
        for index in range(self.header_bytes):
            pkt.frame[ip + index] = self.header[index]
        protocol = 0
        if self.kind == "ip_in_ip":
            protocol = IPV6_PROTOCOL if kind == IPV6_TYPE else IPV4_PROTOCOL
        if self.over_ipv6:
            self.write_ipv6(pkt, ip, total, class_, flow, protocol)
        else:
            self.write_ipv4(pkt, ip, total, class_, protocol)
        inside = ip + self.ip_bytes
        if self.kind == "gre":
            pkt.frame[inside + 2] = kind >> 8
            pkt.frame[inside + 3] = kind
        if self.is_vxlan:
            source_port = 0xC000 | flow & 0x3FFF
            pkt.frame[inside] = source_port >> 8
            pkt.frame[inside + 1] = source_port
            pkt.frame[inside + 4] = (total - self.ip_bytes) >> 8
            pkt.frame[inside + 5] = total - self.ip_bytes
        return PASS

    def inner_length(self, pkt: Packet, ip: int, kind: int) -> int:
        """How many bytes the tunnel carries: those of the IP packet, with vxlan of the frame."""
        if self.is_vxlan:
            return pkt.length
        # A length of 0 is left to the network card.
        if kind == IPV6_TYPE:
            payload = pkt.frame[ip + 4] << 8 | pkt.frame[ip + 5]
            is_known = payload != 0 or pkt.frame[ip + 6] == NO_NEXT_HEADER
            return payload + IPV6_BYTES if is_known else pkt.length - ip
        length = pkt.frame[ip + 2] << 8 | pkt.frame[ip + 3]
        return length if length != 0 else pkt.length - ip

    def flow_of(self, pkt: Packet, kind: int) -> int:
        ports = pkt.src_port << 16 | pkt.dst_port
        if kind == IPV6_TYPE:
            return hash_of(pkt.src_high, pkt.src_low, pkt.dst_high, pkt.dst_low, ports)
        return hash_of(pkt.src, pkt.dst, pkt.protocol, ports)

    def write_ethernet(self, pkt: Packet) -> None:
        for index in range(12):
            inner = pkt.frame[ETHERNET_BYTES + self.header_bytes + index]
            pkt.frame[index] = self.macs[index] if self.macs[index] >= 0 else inner

    def write_ipv6(self, pkt: Packet, ip: int, total: int, class_: int, flow: int, protocol: int) -> None:
        pkt.frame[ip] = 0x60 | class_ >> 4
        pkt.frame[ip + 1] = (class_ & 0xF) << 4 | flow >> 16 & 0xF
        pkt.frame[ip + 2] = flow >> 8
        pkt.frame[ip + 3] = flow
        pkt.frame[ip + 4] = (total - IPV6_BYTES) >> 8
        pkt.frame[ip + 5] = total - IPV6_BYTES
        if self.kind == "ip_in_ip":
            pkt.frame[ip + 6] = protocol

    def write_ipv4(self, pkt: Packet, ip: int, total: int, class_: int, protocol: int) -> None:
        pkt.frame[ip + 1] = class_
        pkt.frame[ip + 2] = total >> 8
        pkt.frame[ip + 3] = total
        if self.kind == "ip_in_ip":
            pkt.frame[ip + 9] = protocol
        sum_ = self.header_sum + class_ + total + protocol
        sum_ = (sum_ & 0xFFFF) + (sum_ >> 16)
        sum_ = 0xFFFF ^ ((sum_ & 0xFFFF) + (sum_ >> 16))
        pkt.frame[ip + 10] = sum_ >> 8
        pkt.frame[ip + 11] = sum_

    def is_from_remote_ipv6(self, pkt: Packet) -> bool:
        if pkt.dst_low != self.local_low or pkt.dst_high != self.local_high:
            return False
        return pkt.src_low == self.remote_low and pkt.src_high == self.remote_high

    def decapsulate(self, pkt: Packet, at: int) -> int:
        if self.kind == "ip_in_ip":
            if pkt.protocol not in (IPV4_PROTOCOL, IPV6_PROTOCOL):
                return PASS
        elif self.kind == "gre":
            if pkt.protocol != GRE_PROTOCOL:
                return PASS
        elif pkt.protocol != UDP_PROTOCOL or pkt.flow_dst_port != self.port:
            return PASS
        if pkt.is_fragment:
            return pkt.drop("fragment")
        begin = self.inside_at(pkt, at + 2)
        if begin == 0:
            return pkt.drop("malformed")
        if self.kind == "gre":
            return self.take_from_gre(pkt, at, begin)
        if self.is_vxlan:
            return self.take_from_vxlan(pkt, begin + UDP_BYTES)
        return self.take_packet(pkt, at, begin, IPV6_TYPE if pkt.protocol == IPV6_PROTOCOL else IPV4_TYPE)

    def inside_at(self, pkt: Packet, ip: int) -> int:
        """Where the outer IP header ends and its protocol's begins; 0: other headers are between."""
        if not self.over_ipv6:
            return ip + 4 * (pkt.frame[ip] & 0xF)
        begin = ip + IPV6_BYTES
        following = pkt.frame[ip + 6]
        for _ in range(MAXIMUM_EXTENSIONS):
            if following not in EXTENSIONS:
                break
            following = pkt.frame[begin]
            begin += 8 * (1 + pkt.frame[begin + 1])
        return begin if following == pkt.protocol else 0

    def take_from_gre(self, pkt: Packet, at: int, begin: int) -> int:
        flags = pkt.frame[begin] << 8 | pkt.frame[begin + 1]
        kind = pkt.frame[begin + 2] << 8 | pkt.frame[begin + 3]
        begin += 4
        if flags & (ROUTING | VERSION) != 0:
            return pkt.drop("malformed")
        if flags & CHECKSUM != 0:
            begin += 4
        key = 0
        if flags & KEY != 0:
            for index in range(4):
                key = key << 8 | pkt.frame[begin + index]
            begin += 4
        if self.has_key != (flags & KEY != 0) or (self.has_key and key != self.key_number):
            return PASS
        if kind not in (IPV4_TYPE, IPV6_TYPE):
            return pkt.drop("malformed")
        if flags & SEQUENCE != 0:
            begin += 4
        return self.take_packet(pkt, at, begin, kind)

    def take_from_vxlan(self, pkt: Packet, begin: int) -> int:
        vni = pkt.frame[begin + 4] << 16 | pkt.frame[begin + 5] << 8 | pkt.frame[begin + 6]
        if pkt.frame[begin] & 0x08 == 0:
            return pkt.drop("malformed")
        if vni != self.vni:
            return PASS
        begin += 8
        if pkt.captured_length - begin < ETHERNET_BYTES:
            return pkt.drop("malformed")
        congestion = pkt.ecn
        pkt.shrink(0, begin)
        return self.taken(pkt, congestion)

    def take_packet(self, pkt: Packet, at: int, begin: int, kind: int) -> int:
        """kind: the EtherType of the packet inside. at: of the frame's own."""
        least = IPV6_BYTES if kind == IPV6_TYPE else IPV4_BYTES
        version = 6 if kind == IPV6_TYPE else 4
        if pkt.captured_length - begin < least or pkt.frame[begin] >> 4 != version:
            return pkt.drop("malformed")
        congestion = pkt.ecn
        pkt.frame[at] = kind >> 8
        pkt.frame[at + 1] = kind & 0xFF
        pkt.shrink(at + 2, begin - at - 2)
        return self.taken(pkt, congestion)

    def taken(self, pkt: Packet, congestion: int) -> int:
        """congestion: that of the outer packet (RFC 6040, 4.2, figure 4)."""
        if pkt.is_ipv4 or pkt.is_ipv6:
            if congestion == CE:
                if pkt.ecn == NOT_ECT:
                    return pkt.drop("congested")
                pkt.ecn = CE
            elif congestion == ECT_1 and pkt.ecn == ECT_0:
                pkt.ecn = ECT_1
        self.core.packets += 1
        self.core.bytes += pkt.length
        return PASS

    def summary(self, states: Any, core: dict[str, int]) -> dict[str, Any]:
        done = "encapsulated" if self.mode == "encapsulate" else "decapsulated"
        return {f"{done}_packets": core["packets"], f"{done}_bytes": core["bytes"]}
