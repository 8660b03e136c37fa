"""VLAN tags: which may pass, and what becomes of them."""

from typing import Any, Literal

from fajita import NF, PASS, Array, Layer, Packet, Sum, u64

#: IEEE 802.1Q-2018, table 9-2: what is no VLAN of its own.
PRIORITY_TAG, RESERVED = 0, 0xFFF
#: EtherTypes of a tag: 802.1Q's, 802.1ad's, and two that switches used before.
TAGS = (0x8100, 0x88A8, 0x9100, 0x9200)
#: What stands for a VLAN in `becomes` that may not pass.
BLOCKED = -1


class Vlan(NF):
    """Filters and translates the outermost VLAN tag (IEEE 802.1Q, 9.6), in place.

    only: the VLANs that may pass, all if it is empty; those that translate names may as well. untagged says what
    becomes of frames without a tag, and of those with VLAN 0, which have a priority but no VLAN. translate gives a VLAN
    another number (6.9, VID translation), 0 included; priorities gives a priority (PCP) another (6.9.4, priority
    regeneration). VLAN 4095 is reserved and never passes. Drops are counted as vlan, untagged, reserved, and cut tag
    where the capture ends within it. Tags are neither added nor removed: a frame keeps its length.
    """

    about = Layer.ETHERNET

    class Params:
        only: list[int] = []
        untagged: Literal["pass", "drop"] = "pass"
        translate: dict[int, int] = {}
        priorities: dict[int, int] = {}

    class Core:
        packets: Array[Sum[u64], 4096]  # by VLAN, as they come
        bytes: Array[Sum[u64], 4096]

    def prepare(self) -> None:
        for name, numbers in (("only", self.only), ("translate", [*self.translate, *self.translate.values()])):
            for number in numbers:
                if not PRIORITY_TAG <= number < RESERVED:
                    raise ValueError(f"{name} has VLAN {number}; give 1 to {RESERVED - 1}, or 0 for a tag without VLAN")
        for number in (*self.priorities, *self.priorities.values()):
            if not 0 <= number <= 7:
                raise ValueError(f"priorities has {number}; give 0 to 7")
        may_pass = {*self.only, *self.translate} if self.only else set(range(RESERVED))
        if self.untagged == "drop" and PRIORITY_TAG not in self.translate:
            may_pass.discard(PRIORITY_TAG)
        elif self.untagged == "pass":
            may_pass.add(PRIORITY_TAG)
        self.becomes = [self.translate.get(vlan, vlan) if vlan in may_pass else BLOCKED for vlan in range(RESERVED + 1)]
        self.priority_of = [self.priorities.get(priority, priority) for priority in range(8)]
        self.translates, self.regenerates = bool(self.translate), bool(self.priorities)

    def packet(self, pkt: Packet) -> int:
        if pkt.eth_type not in TAGS:
            if self.untagged == "drop":
                return pkt.drop("untagged")
            return PASS
        if pkt.captured_length < 18:
            return pkt.drop("cut tag")
        vlan = pkt.vlan
        self.core.packets[vlan] += 1
        self.core.bytes[vlan] += pkt.length
        becomes = self.becomes[vlan]
        if becomes == BLOCKED:
            if vlan == PRIORITY_TAG:
                return pkt.drop("untagged")
            return pkt.drop("reserved") if vlan == RESERVED else pkt.drop("vlan")
        if self.translates:
            pkt.vlan = becomes
        if self.regenerates:
            pkt.vlan_priority = self.priority_of[pkt.vlan_priority]
        return PASS

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        seen = core["packets"].nonzero()[0].tolist()
        counts = {vlan: {name: int(core[name][vlan]) for name in ("packets", "bytes")} for vlan in seen}
        return {"vlans": counts}
