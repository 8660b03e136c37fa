"""DPDK's environment (EAL): begun once in a process, with arguments in DPDK's own notation."""

import atexit
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fajita.dpdk.library import library
from fajita.errors import InputError

_LOG_BYTES = 1 << 14
#: Lines of DPDK that say nothing by themselves: what it tells at every start, and what follows from another line.
_NOISE = (
    "Detected ",
    "Selected IOVA",
    "Multi-process socket",
    "No free ",
    "VFIO support",
    "No available",
    "Usage:",
    "Invalid EAL arguments",
    "Invalid 'command line' arguments",
    "Cannot init config",
    "TELEMETRY",
)
#: Words of the lines that say why.
_REASONS = (
    "unrecognized",
    "option requires",
    "invalid",
    "cannot",
    "fail",
    "error",
    "unable",
    "denied",
    "not ",
    "n't ",
)

#: With one of these DPDK would say on standard output what it takes, and end the process.
_HELP = ("-h", "--he", "--hel", "--help")

_begun: list[Any] = []
#: What DPDK said of itself and of devices when it began.
_said_at_begin: list[str] = []


def begin_environment(arguments: str) -> None:
    """Begin with these arguments; InputError, in a line, for what DPDK does not take. Again with the same: nothing."""
    if _begun:
        if _begun[0] == arguments:
            return
        raise InputError("DPDK can be begun once in a process", "--dpdk", f"{_begun[0]!r} as before")
    words = _words(arguments)
    lib, ffi = library()
    # DPDK keeps the arguments and permutes them.
    kept = [ffi.new("char[]", word.encode()) for word in ["fajita", *words]]
    vector = ffi.new("char *[]", [*kept, ffi.NULL])
    affinity = os.sched_getaffinity(0)
    with captured_streams() as captured:
        status = lib.fajita_begin(len(kept), vector)
    # DPDK ties the calling thread to its first core; workers have cores of their own.
    os.sched_setaffinity(0, affinity)
    said = read_log()
    if status < 0:
        why = _why([*captured, *said]) or os.strerror(-status)
        raise InputError(f"DPDK does not start: {why}", f"--dpdk {arguments!r}", _remedy([*captured, *said]))
    _begun[:] = [arguments, kept, vector]
    _said_at_begin[:] = said
    atexit.register(lib.fajita_end)


def why_no_port() -> str:
    """What DPDK said when it began that may tell why there is no port; empty if nothing does."""
    return _why(_said_at_begin, only_reasons=True)


def has_huge_pages() -> bool:
    """Whether packets lie on such: unless the arguments say otherwise, DPDK does not begin without them."""
    return "--no-huge" not in _words(_begun[0])


def add_device(arguments: str) -> None:
    """Add a device such as `net_null0,copy=1`; InputError if DPDK does not."""
    lib, _ = library()
    if (status := lib.fajita_add_device(arguments.encode())) < 0:
        raise InputError(f"DPDK does not add the device: {_why(read_log()) or os.strerror(-status)}", arguments)
    read_log()


def remove_device(name: str) -> None:
    """Take a virtual device away whose port is stopped."""
    library().lib.fajita_remove_device(b"vdev", name.encode())


def read_log() -> list[str]:
    """The lines that DPDK has logged since the last call, the newest of them."""
    lib, ffi = library()
    text = ffi.new("char[]", _LOG_BYTES)
    return _lines(ffi.buffer(text)[: lib.fajita_log(text, _LOG_BYTES)])


def failure(status: int) -> str:
    """Why a call failed: what DPDK logged of it, or what its number means."""
    return _why(read_log()) or os.strerror(-status)


def _words(arguments: str) -> list[str]:
    """As a shell would split them, with what fajita wants for itself unless they say otherwise."""
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise InputError(f"EAL arguments cannot be split into words: {error}", f"--dpdk {arguments!r}") from None
    if asked := [word for word in words if word in _HELP]:
        right = "https://doc.dpdk.org/guides/linux_gsg/linux_eal_parameters.html says what there is"
        raise InputError(f"{asked[0]} is of no use to a run", f"--dpdk {arguments!r}", right)
    names = {word.split("=")[0] for word in words}
    if not names & {"--in-memory", "--no-shconf", "--file-prefix", "--proc-type"}:
        # Nothing is left behind, and what another process has left behind is in nobody's way.
        words.append("--no-shconf" if names & {"--no-huge", "--legacy-mem"} else "--in-memory")
    if "--no-telemetry" not in names and "--telemetry" not in names:
        words.append("--no-telemetry")
    return words


def _why(lines: Sequence[str], *, only_reasons: bool = False) -> str:
    """The line that says most, without the name of who says it."""
    telling = [line.removeprefix("EAL: ").removeprefix("FATAL: ") for line in lines]
    telling = [line for line in telling if line and not any(noise in line for noise in _NOISE)]
    reasons = [line for line in telling if any(word in line.lower() for word in _REASONS)]
    rest = [] if only_reasons else telling[-1:]
    return (reasons or rest or [""])[0].rstrip(".").removeprefix("fajita: ")


def _remedy(lines: Sequence[str]) -> str:
    text = " ".join(lines).lower()
    if "hugepage" in text or "huge page" in text:
        return "sysctl vm.nr_hugepages=512 as root, or --no-huge -m 512, which is slower"
    if "permission denied" in text or "eacces" in text:
        return "run it as root, or give this user access to huge pages and devices"
    return "the arguments are DPDK's, see its Linux guide, EAL parameters"


def _lines(raw: bytes) -> list[str]:
    return [line.strip() for line in raw.decode(errors="replace").splitlines() if line.strip()]


@contextmanager
def captured_streams() -> Iterator[list[str]]:
    """What C writes to standard error in the body, as lines; standard output, usage texts, is lost."""
    lines: list[str] = []
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        before = [os.dup(number) for number in (1, 2)]
        try:
            os.dup2(nowhere, 1)
            os.dup2(file.fileno(), 2)
            yield lines
        finally:
            for number, kept in zip((1, 2), before, strict=True):
                os.dup2(kept, number)
                os.close(kept)
            os.close(nowhere)
            file.seek(0)
            lines += _lines(file.read())
