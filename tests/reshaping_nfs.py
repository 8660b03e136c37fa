"""NFs that make frames longer and shorter, as somebody might write them."""

from fajita import NF, PASS, Layer, Packet, Sum, u64


class Stretch(NF):
    """Inserts bytes anywhere, also where there is no frame, and some in a place of their own."""

    about = Layer.ETHERNET

    def packet(self, pkt: Packet) -> int:
        pkt.grow(pkt.length % 97 - 3, pkt.length % 140 - 4)
        if pkt.is_ipv4:
            pkt.ttl = 7
        if pkt.length & 1:
            pkt.grow(14, 1)
            pkt.frame[14] = pkt.frame[0] + len(pkt.frame)
            pkt.frame[pkt.length + 100] = 1
            pkt.frame[-1] = 1
        return PASS


class Squeeze(NF):
    """Removes bytes anywhere, also where there are none."""

    def packet(self, pkt: Packet) -> int:
        if pkt.src & 3 == 3:
            return pkt.drop("odd")
        for i in range(3):
            pkt.shrink(pkt.length % 61 - 2, pkt.length % 23 - 1 + i)
        return pkt.drop("short") if pkt.length < 20 else PASS


class Tag(NF):
    """Puts every frame in a VLAN."""

    about = Layer.ETHERNET

    def packet(self, pkt: Packet) -> int:
        pkt.grow(12, 4)
        pkt.frame[12] = 0x81
        pkt.frame[15] = 7
        return PASS


class Untag(NF):
    """Takes the outermost tag off."""

    about = Layer.VLAN

    def packet(self, pkt: Packet) -> int:
        pkt.shrink(12, 4)
        return PASS


class Rewrite(NF):
    """Writes into headers, and asks what they say afterwards."""

    about = Layer.ETHERNET

    class Core:
        seen: Sum[u64]

    def packet(self, pkt: Packet) -> int:
        choice = pkt.length % 7
        port = pkt.flow_src_port
        if choice == 0:
            pkt.frame[14] = 0x4F  # a header of 60 bytes
            self.core.seen += 1 if pkt.checksum_valid else 2
        elif choice == 1:
            pkt.frame[16] = 0xFF
            pkt.frame[17] = pkt.frame[0]
            self.core.seen += pkt.payload_length
        elif choice == 2:
            for place in range(12, 40):
                pkt.frame[place] = pkt.frame[place] + (1 if pkt.is_udp else 3)
        elif choice == 3:
            for place in range(20, 24):
                if pkt.src_port % 3 == 0:
                    continue
                pkt.frame[place] = pkt.frame[place + 14]
            pkt.src = pkt.dst
        else:
            if pkt.captured_length > 60:
                pkt.frame[23] = 17 if pkt.is_tcp else 6
            self.core.seen += port
            pkt.src_port = choice
            pkt.dst_port = pkt.frame[40] << 8 | pkt.frame[41]  # may be the checksum
        return PASS


class Vanish(NF):
    """Takes all of a frame away, and gives it some bytes again."""

    about = Layer.ETHERNET

    def packet(self, pkt: Packet) -> int:
        pkt.grow(0, 4)
        pkt.shrink(0, pkt.captured_length)
        pkt.grow(0, 4)
        pkt.frame[0] = pkt.length
        return PASS


class Replace(NF):
    """Another frame of as many bytes."""

    about = Layer.ETHERNET

    def packet(self, pkt: Packet) -> int:
        pkt.grow(0, 100)
        pkt.shrink(0, pkt.length)
        pkt.grow(0, 60)
        return PASS
