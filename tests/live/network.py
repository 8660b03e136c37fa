"""A host inside and a host outside, which are network namespaces, with fajita in a third between them.

    inside          between                 outside
    10.0.0.2 ---- inside  fajita  outside ---- 198.51.100.2
    h0   veth                            veth   h1

fajita does not answer ARP, so hosts know the MAC addresses of their gateways: where the chain is a router those of its
interfaces; else, as it leaves MAC addresses alone, each other's. Addresses are of these namespaces alone.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.namespaces import Namespaces, call, can_make_one, inside

INSIDE, OUTSIDE, BETWEEN = 0, 1, 2
ADDRESSES = ("10.0.0.2", "198.51.100.2")
#: What those outside see of those inside.
EXTERNAL = "203.0.113.1"
_MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
#: Of the interfaces between, inside and outside; and the addresses of the gateway there.
_PORT_MACS = ("02:00:00:00:00:11", "02:00:00:00:00:12")
_GATEWAYS = ("10.0.0.1", "198.51.100.1")
_TOOLS = {"ip": "iproute2", "ethtool": "ethtool", "sysctl": "procps"}
_LONGEST_WAIT_S = 60.0
#: A ring of frames between the kernel and DPDK that lasts while the worker has to wait for its processor.
_RING = "framecnt=4096"
_EAL = "--no-huge --no-pci -m 512 -l 0"


def why_not_here(**tools: str) -> str:
    """Why this machine cannot do it; empty if it can. tools: beside what is always needed, with Debian's package."""
    if os.geteuid() != 0:
        return "needs root"
    needed = _TOOLS | tools
    missing = [tool for tool in needed if shutil.which(tool) is None]
    if missing:
        packages = ", ".join(dict.fromkeys(needed[tool] for tool in missing))
        return f"needs {', '.join(missing)} (Debian: {packages})"
    try:
        from fajita.dpdk import _shim  # noqa: F401
    except ImportError:
        return "needs the module for DPDK: python -m fajita.dpdk.build"
    return "" if can_make_one() else "needs to make network namespaces"


@dataclass
class Network(Namespaces):
    """The namespaces and all that was started in them, while the `with` lasts. is_routed: by MAC address, too."""

    is_routed: bool = False
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def build(self) -> None:
        """The links, the addresses, and who is whose neighbour."""
        between = self.names[BETWEEN]
        for name in self.names:
            call("ip", "-n", name, "link", "set", "lo", "up")
        for side, (name, port) in enumerate(zip(self.names, ("inside", "outside"), strict=False)):
            device = f"h{side}"
            call("ip", "link", "add", device, "netns", name, "type", "veth", "peer", port, "netns", between)
            call("ip", "-n", name, "link", "set", device, "address", _MACS[side])
            call("ip", "-n", between, "link", "set", port, "address", _PORT_MACS[side])
            call("ip", "-n", name, "addr", "add", f"{ADDRESSES[side]}/24", "dev", device)
            for namespace, end in ((name, device), (between, port)):
                # Frames as on a wire: of the MTU at most, their checksums filled in.
                features = ("tx", "off", "tso", "off", "gso", "off", "gro", "off")
                call("ip", "netns", "exec", namespace, "ethtool", "-K", end, *features)
                call("ip", "-n", namespace, "link", "set", end, "up")
        for side, name in enumerate(self.names[:2]):
            mac = _PORT_MACS[side] if self.is_routed else _MACS[1 - side]
            neighbour = ("neigh", "add", _GATEWAYS[side], "lladdr", mac, "dev", f"h{side}", "nud", "permanent")
            call("ip", "-n", name, *neighbour)
            call("ip", "-n", name, "route", "add", "default", "via", _GATEWAYS[side])

    def close(self) -> None:
        """Kill what was started."""
        for process in self._processes:
            process.kill()
            process.communicate()
        self._processes.clear()

    def run(self, side: int, *command: str, timeout: float = _LONGEST_WAIT_S) -> subprocess.CompletedProcess[str]:
        """Run a command on one side; it may fail."""
        there = ["ip", "netns", "exec", self.names[side], *command]
        return subprocess.run(there, capture_output=True, text=True, check=False, timeout=timeout)

    def start(self, side: int, *command: str) -> subprocess.Popen[str]:
        """Start a command on one side, which ends with the network at the latest."""
        there = ["ip", "netns", "exec", self.names[side], *command]
        process = subprocess.Popen(there, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._processes.append(process)
        return process

    def socket(self, side: int, kind: int = socket.SOCK_DGRAM) -> socket.socket:
        """A socket of IPv4 there."""
        with inside(self.names[side]):
            made = socket.socket(socket.AF_INET, kind)
        made.settimeout(_LONGEST_WAIT_S)
        return made

    def set_port(self, port: str, *what: str) -> None:
        """Set a link between, such as down."""
        call("ip", "-n", self.names[BETWEEN], "link", "set", port, *what)

    def answers(self) -> bool:
        """Whether an echo request from inside gets its answer."""
        return self.run(INSIDE, "ping", "-nqc", "1", "-W", "1", ADDRESSES[OUTSIDE]).returncode == 0


class Between:
    """fajita between the two hosts: the chain, from when a packet came through it until it is told to stop."""

    def __init__(
        self,
        network: Network,
        chain: Path,
        report: Path,
        *options: str,
        driver: str = "net_af_packet",
        devices: str = _RING,
    ) -> None:
        """driver: DPDK's, of both interfaces; devices: what it is told of them, beside their names."""
        self._report = report
        self._network = network
        sides = (f"--vdev={driver}0,iface=inside,{devices}", f"--vdev={driver}1,iface=outside,{devices}")
        arguments = ["--dpdk", " ".join((_EAL, *sides)), "--inside", f"{driver}0", "--outside", f"{driver}1"]
        arguments += ["--json", str(report), "--quiet", *options]
        self.process = network.start(BETWEEN, sys.executable, "-m", "fajita", "run", str(chain), *arguments)

    def wait_until_it_runs(self) -> None:
        """Until the host inside gets an answer."""
        until(self._network.answers, lambda: self.process.poll() is None)

    def wait_until_it_runs_or(self, give_up: Callable[[str], object]) -> None:
        """Or until it has ended, because the machine cannot do it."""
        until(lambda: self._network.answers() or self.process.poll() is not None)
        if self.process.poll() is not None:
            give_up(self.process.communicate()[1])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Stop it by a signal: the exit status, and what it complained of."""
        self.process.send_signal(number)
        _, complaints = self.process.communicate(timeout=_LONGEST_WAIT_S)
        return self.process.returncode, complaints

    def report(self) -> dict[str, Any]:
        """Once it has stopped."""
        return json.loads(self._report.read_text())


def until(is_so: Callable[[], bool], may_go_on: Callable[[], bool] = lambda: True) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + _LONGEST_WAIT_S
    while not is_so():
        assert may_go_on(), "it has ended"
        assert time.monotonic() < deadline, "it takes too long"
