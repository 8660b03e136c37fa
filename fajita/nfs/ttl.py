"""The time to live, counted down as by a router."""

from typing import Annotated, Any

from pydantic import Field

from fajita import NF, PASS, Packet, Sum, u64


class Ttl(NF):
    """Decrements the time to live, of IPv6 the hop limit, and drops what has none left.

    A packet goes on with decrement less than it came with, and is dropped as expired if that is not more than 0 (RFC
    1812, 5.3.1; RFC 8200, 3). The ICMP time exceeded that a router sends then is not sent: a chain makes no packets of
    its own. Put it after what drops, as a router does: only what is forwarded counts.
    """

    class Params:
        decrement: Annotated[int, Field(ge=1, le=255)] = 1

    class Core:
        expired: Sum[u64]
        expired_ipv6: Sum[u64]

    def packet(self, pkt: Packet) -> int:
        if pkt.ttl <= self.decrement:
            if pkt.is_ipv6:
                self.core.expired_ipv6 += 1
            else:
                self.core.expired += 1
            return pkt.drop("expired")
        pkt.ttl -= self.decrement
        return PASS

    def summary(self, states: Any, core: dict[str, int]) -> dict[str, Any]:
        return {"expired_ipv4": core["expired"], "expired_ipv6": core["expired_ipv6"]}
