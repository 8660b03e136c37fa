"""VLAN tags: which may pass, and what becomes of them."""

from typing import Any, Literal

from fajita import NF, PASS, Array, Layer, Packet, Sum, u64
from fajita.protocols import CUSTOMER_TAG, MAXIMUM_FRAME, SERVICE_TAG, VLAN_TYPES

#: IEEE 802.1Q-2018, table 9-2: what is no VLAN of its own.
PRIORITY_TAG, RESERVED = 0, 0xFFF
TAG_BYTES = 4
#: What stands for a VLAN in `becomes` that may not pass.
BLOCKED = -1


class Vlan(NF):
    """Filters and translates VLAN tags (IEEE 802.1Q), adds them and takes them off.

    only: the VLANs that may pass, all if it is empty; those that translate names may as well. untagged says what
    becomes of frames without a tag, and of those with VLAN 0, which have a priority but no VLAN: pass, drop, or the
    number of the VLAN that they get (the port's VLAN, 6.9.1). translate gives a VLAN another number (6.9, VID
    translation), 0 included; priorities gives a priority (PCP) another (6.9.4, priority regeneration). Then strip takes
    the tags of these VLANs off (the untagged set, 8.8.2), and service adds an outer tag with that VLAN (802.1ad), with
    the priority of the inner one.

    The outermost tag counts. VLAN 4095 is reserved and never passes. Drops are counted as vlan, untagged, reserved, cut
    tag where the capture ends within it, and too long where there is no room for another. Without strip, service and a
    number for untagged, frames keep their lengths, which is faster.
    """

    about = Layer.ETHERNET

    class Params:
        only: list[int] = []
        untagged: Literal["pass", "drop"] | int = "pass"
        translate: dict[int, int] = {}
        priorities: dict[int, int] = {}
        strip: list[int] = []
        service: int | None = None

    class Core:
        packets: Array[Sum[u64], 4096]  # by VLAN, as they come
        bytes: Array[Sum[u64], 4096]

    def prepare(self) -> None:
        self._check()
        may_pass = {*self.only, *self.translate} if self.only else set(range(RESERVED))
        if self.untagged == "drop" and PRIORITY_TAG not in self.translate:
            may_pass.discard(PRIORITY_TAG)
        elif self.untagged != "drop":
            may_pass.add(PRIORITY_TAG)
        self.drops_untagged, self.assigns = self.untagged == "drop", isinstance(self.untagged, int)
        numbers = {PRIORITY_TAG: self.untagged} if self.assigns else {}
        numbers |= self.translate
        self.becomes = [numbers.get(vlan, vlan) if vlan in may_pass else BLOCKED for vlan in range(RESERVED + 1)]
        self.priority_of = [self.priorities.get(priority, priority) for priority in range(8)]
        self.translates, self.regenerates = bool(numbers), bool(self.priorities)
        self.port_vlan = self.untagged if self.assigns else 0
        self.strips, self.is_stripped = bool(self.strip), [int(vlan in self.strip) for vlan in range(RESERVED + 1)]
        self.serves, self.service_vlan = self.service is not None, self.service or 0

    def _check(self) -> None:
        """ValueError for what is no VLAN or no priority."""
        given = {"only": self.only, "translate": [*self.translate, *self.translate.values()], "strip": self.strip}
        given |= {"untagged": [self.untagged] if isinstance(self.untagged, int) else []}
        given |= {"service": [] if self.service is None else [self.service]}
        for name, numbers in given.items():
            for number in numbers:
                if not PRIORITY_TAG <= number < RESERVED:
                    raise ValueError(f"{name} has VLAN {number}; give 1 to {RESERVED - 1}, or 0 for a tag without VLAN")
        for number in (*self.priorities, *self.priorities.values()):
            if not 0 <= number <= 7:
                raise ValueError(f"priorities has {number}; give 0 to 7")

    def packet(self, pkt: Packet) -> int:
        if (self.assigns or self.serves) and pkt.length > MAXIMUM_FRAME - 2 * TAG_BYTES:
            return pkt.drop("too long")
        control = 0  # priority, drop eligibility and VLAN of the outermost tag
        is_tagged = pkt.eth_type in VLAN_TYPES
        if is_tagged:
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
            if self.strips and self.is_stripped[becomes] != 0:
                pkt.shrink(12, TAG_BYTES)
            elif self.serves:
                control = pkt.vlan_priority << 13
        elif self.drops_untagged:
            return pkt.drop("untagged")
        elif self.assigns and self.is_stripped[self.port_vlan] == 0:
            pkt.grow(12, TAG_BYTES)
            pkt.frame[12] = CUSTOMER_TAG >> 8
            pkt.frame[13] = CUSTOMER_TAG & 0xFF
            pkt.frame[14] = self.port_vlan >> 8
            pkt.frame[15] = self.port_vlan & 0xFF
        if self.serves:
            control |= self.service_vlan
            pkt.grow(12, TAG_BYTES)
            pkt.frame[12] = SERVICE_TAG >> 8
            pkt.frame[13] = SERVICE_TAG & 0xFF
            pkt.frame[14] = control >> 8
            pkt.frame[15] = control & 0xFF
        return PASS

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        seen = core["packets"].nonzero()[0].tolist()
        counts = {vlan: {name: int(core[name][vlan]) for name in ("packets", "bytes")} for vlan in seen}
        return {"vlans": counts}
