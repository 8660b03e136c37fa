"""Network namespaces: commands and sockets in them, and three of them between which packets go."""

import ctypes
import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Self

_NETWORK_NAMESPACE = 0x40000000  # CLONE_NEWNET
_libc = ctypes.CDLL(None, use_errno=True)


def call(*command: str, text: str | None = None) -> str:
    """Run a command that has to succeed; what it prints."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def can_make_one() -> bool:
    """Whether this user may make network namespaces."""
    name = f"fajita-{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made.returncode == 0


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Sockets that this thread makes in the body are in the namespace."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        assert _libc.setns(there, _NETWORK_NAMESPACE) == 0, "setns failed"
        yield
    finally:
        assert _libc.setns(here, _NETWORK_NAMESPACE) == 0, "setns failed"
        os.close(here)
        os.close(there)


@dataclass
class Namespaces(ABC):
    """A host inside, a host outside, and what is between, while the `with` lasts. No IPv6: nobody speaks unasked."""

    _number: int = field(default_factory=count().__next__, kw_only=True)

    @property
    def names(self) -> tuple[str, str, str]:
        """Of the host inside, the host outside, and what is between."""
        inside, outside, between = (f"fajita-{os.getpid()}-{self._number}-{what}" for what in ("in", "out", "mid"))
        return inside, outside, between

    def __enter__(self) -> Self:
        try:
            for name in self.names:
                call("ip", "netns", "add", name)
                for family in ("all", "default"):
                    self.set_sysctl(name, f"net.ipv6.conf.{family}.disable_ipv6", 1)
            self.build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    @abstractmethod
    def build(self) -> None:
        """Set up what is in them."""

    @abstractmethod
    def close(self) -> None:
        """End what goes on in them, as far as it was begun."""

    def set_sysctl(self, namespace: str, setting: str, value: int) -> None:
        """Set a parameter of the kernel's there."""
        call("ip", "netns", "exec", namespace, "sysctl", "-qw", f"{setting}={value}")

    def _remove(self) -> None:
        self.close()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
