"""Network namespaces: commands and sockets in them."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

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
