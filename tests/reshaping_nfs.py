"""NFs that make frames longer and shorter, as somebody might write them."""

from fajita import NF, PASS, Layer, Packet


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
