"""A router that is the Linux kernel, in three network namespaces of its own, and packets sent through it.

A packet is followed by its IPv4 identification, which a router does not change: each that is sent at a time has one of
its own. After each batch goes a packet that always comes through; as all of it happens on one processor, in order,
nothing of the batch is still on its way when that has come.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.namespaces import Namespaces, call, inside
from tests.oracle.packets import IDENTIFICATION, is_later_fragment, with_identification

INSIDE, OUTSIDE = 0, 1
#: Ends of the links: by side, of the host and of the router.
_HOST_MACS = (bytes.fromhex("020000000001"), bytes.fromhex("020000000002"))
_ROUTER_MACS = (bytes.fromhex("020000000011"), bytes.fromhex("020000000012"))
#: Addresses of the router, and of the hosts that it knows by side.
ROUTER_ADDRESSES = ("10.255.255.1", "203.0.113.1")
_HOST_ADDRESSES = ("10.255.255.2", "203.0.113.2")

_RECEIVE_BUFFER_FORCED = 33  # SO_RCVBUFFORCE
_SENT_BY_THIS_HOST = 4  # PACKET_OUTGOING
_BATCH = 64
_LONGEST_WAIT_S = 10.0
#: The packet after each batch: protocol 254 is for experiments (RFC 3692).
_LAST_OF_BATCH = bytes.fromhex("45000014ffff000040fe0000") + socket.inet_aton("10.255.255.2")


def why_not_here() -> str:
    """Why this machine cannot be the oracle; empty if it can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [tool for tool in ("ip", "nft", "conntrack", "sysctl") if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: iproute2, nftables, conntrack, procps)"
    name = f"fajita-{os.getpid()}-try"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "needs to make network namespaces"
    rule = "table ip t { chain c { type filter hook forward priority 0; ct state new accept; }; }"
    try:
        loaded = subprocess.run(["ip", "netns", "exec", name, "nft", rule], capture_output=True, check=False)
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return "needs a kernel with nftables and connection tracking" if loaded.returncode else ""


@dataclass(frozen=True)
class Sent:
    """A packet to send, from the IPv4 header on, from a host on one side."""

    packet: bytes
    side: int = INSIDE


@dataclass(frozen=True)
class Came:
    """What came out of the router, and on which side."""

    packet: bytes
    side: int


@dataclass
class Router(Namespaces):
    """The namespaces, while the `with` lasts. rules: nftables'; settings: sysctl's, beside those of every router."""

    rules: str
    settings: dict[str, int] = field(default_factory=dict)
    _sockets: list[socket.socket] = field(default_factory=list)

    def build(self) -> None:
        """The links, the router's settings and rules, and a socket of each host."""
        for side, name in enumerate(self.names[:2]):
            self._link(side, name)
        settings = {
            "net.ipv4.ip_forward": 1,
            "net.ipv4.conf.all.rp_filter": 0,
            "net.ipv4.conf.all.send_redirects": 0,
            "net.ipv4.conf.all.accept_local": 1,
        }
        for side in (INSIDE, OUTSIDE):
            settings |= {
                f"net.ipv4.conf.r{side}.rp_filter": 0,
                f"net.ipv4.conf.r{side}.send_redirects": 0,
            }
        for setting, value in settings.items():
            self.set_sysctl(self.names[2], setting, value)
        # Its settings for connection tracking are there when a rule asks for that.
        call("ip", "netns", "exec", self.names[2], "nft", "-f", "-", text=self.rules)
        for setting, value in self.settings.items():
            self.set_sysctl(self.names[2], setting, value)
        for side, name in enumerate(self.names[:2]):
            self._sockets.append(_open_socket(name, f"h{side}"))

    def _link(self, side: int, name: str) -> None:
        """A host's link with the router, and how the router gets to it."""
        router = self.names[2]
        call("ip", "link", "add", f"h{side}", "netns", name, "type", "veth", "peer", f"r{side}", "netns", router)
        for namespace, device, mac in (
            (name, f"h{side}", _HOST_MACS[side]),
            (router, f"r{side}", _ROUTER_MACS[side]),
        ):
            call("ip", "-n", namespace, "link", "set", device, "address", mac.hex(":"), "mtu", "65535", "up")
        call("ip", "-n", router, "addr", "add", f"{ROUTER_ADDRESSES[side]}/24", "dev", f"r{side}")
        call(
            *("ip", "-n", router, "neigh", "add", _HOST_ADDRESSES[side]),
            *("lladdr", _HOST_MACS[side].hex(":"), "dev", f"r{side}", "nud", "permanent"),
        )
        if side == OUTSIDE:
            call("ip", "-n", router, "route", "add", "default", "via", _HOST_ADDRESSES[side])

    def route(self, network: str, side: int) -> None:
        """What goes to this network goes to a side; without, everything goes outside."""
        call("ip", "-n", self.names[2], "route", "add", network, "via", _HOST_ADDRESSES[side])

    def forget(self) -> None:
        """Forget all connections."""
        call("ip", "netns", "exec", self.names[2], "conntrack", "-F")

    def close(self) -> None:
        """Close the sockets."""
        for each in self._sockets:
            each.close()
        self._sockets.clear()

    def forward(self, packets: Sequence[Sent]) -> list[Came | None]:
        """What becomes of each packet, sent one after the other; None: it did not come out.

        Fragments of a datagram come out as one; all of them get that.
        """
        came: dict[int, Came] = {}
        results: list[Came | None] = []
        with _on_one_processor():
            for start in range(0, len(packets), _BATCH):
                batch = packets[start : start + _BATCH]
                for sent in batch:
                    self._send(sent)
                came |= self._receive()
                results += [None] * len(batch)
                for at in range(max(0, start - _BATCH), start + len(batch)):
                    if results[at] is None:
                        results[at] = came.get(_identification(packets[at].packet))
                # Identifications begin anew after 65,535; a datagram may be complete a batch later.
                recent = {_identification(sent.packet) for sent in batch}
                came = {number: what for number, what in came.items() if number in recent}
        return results

    def _send(self, sent: Sent) -> None:
        ethernet = _ROUTER_MACS[sent.side] + _HOST_MACS[sent.side] + b"\x08\x00"
        self._sockets[sent.side].send(ethernet + sent.packet)

    def _receive(self) -> dict[int, Came]:
        """All that has come, by identification."""
        came: dict[int, Came] = {}
        for side in (INSIDE, OUTSIDE):
            last = with_identification(_LAST_OF_BATCH + socket.inet_aton(_HOST_ADDRESSES[side]), 0)
            self._send(Sent(last, 1 - side))
            while True:
                frame, address = self._sockets[side].recvfrom(1 << 17)
                if address[2] == _SENT_BY_THIS_HOST:
                    continue
                packet = frame[14:]
                if packet[9] == last[9] and _identification(packet) == 0:
                    break
                if not is_later_fragment(packet) or _identification(packet) not in came:
                    came[_identification(packet)] = Came(packet, side)
        return came


def _identification(packet: bytes) -> int:
    return int.from_bytes(packet[IDENTIFICATION], "big")


def _open_socket(namespace: str, device: str) -> socket.socket:
    """A socket that sends and receives whole IPv4 frames of a device in another namespace."""
    with inside(namespace):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        made.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCED, 1 << 26)
        made.bind((device, 0x0800))
        made.settimeout(_LONGEST_WAIT_S)
    return made


@contextmanager
def _on_one_processor() -> Iterator[None]:
    """Packets sent from one processor are forwarded there, one after the other."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
