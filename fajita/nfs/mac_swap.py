"""Return a frame to where it came from."""

from fajita import NF, PASS, Layer, Packet


class MacSwap(NF):
    """Swaps the source and destination MAC addresses, as a reflector does."""

    about = Layer.ETHERNET

    def packet(self, pkt: Packet) -> int:
        pkt.eth_src, pkt.eth_dst = pkt.eth_dst, pkt.eth_src
        return PASS
