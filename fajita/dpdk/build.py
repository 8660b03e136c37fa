"""Builds the module through which fajita uses DPDK: `python -m fajita.dpdk.build`.

The module is compiled from `native/` with the DPDK that pkg-config finds, and lies beside this file, so that whoever
uses this installation has it (a run with DPDK is often root's).
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fajita.errors import InputError

COMMAND = f"{sys.executable} -m fajita.dpdk.build"
MODULE = "_shim"
OLDEST = "22.11"
INSTALL = "apt-get install libdpdk-dev pkg-config gcc python3-dev"
INSTALL_PYTHON = f"{sys.executable} -m pip install cffi setuptools"

_HERE = Path(__file__).parent


def sources() -> Path:
    """The folder with the C sources: in a checkout, or where a wheel has them."""
    checkout = _HERE.parents[1] / "native"
    return checkout if (checkout / "fajita_dpdk.h").is_file() else _HERE / "native"


def fingerprint() -> str:
    """What the sources are, in a word: a module made from others is out of date."""
    digest = hashlib.sha256()
    for path in sorted(sources().glob("*.[ch]")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def declarations() -> str:
    """The header as cffi takes it: without comments and preprocessor lines."""
    text = re.sub(r"/\*.*?\*/", "", (sources() / "fajita_dpdk.h").read_text(), flags=re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def build(folder: Path = _HERE) -> Path:
    """Compile the module into a folder; InputError, with the command that would help, if something is missing."""
    for tool in ("pkg-config", "gcc"):
        if shutil.which(tool) is None:
            raise InputError(f"{tool} is not installed", right=INSTALL)
    try:
        from cffi import FFI
    except ImportError:
        raise InputError("cffi is not installed", right=INSTALL_PYTHON) from None
    compile_arguments, link_arguments = _pkg_config("--cflags").split(), _pkg_config("--libs").split()
    ffi = FFI()
    ffi.cdef(f"{declarations()}\nextern const char fajita_fingerprint[];")
    ffi.set_source(
        MODULE,
        f'#include "fajita_dpdk.h"\nconst char fajita_fingerprint[] = "{fingerprint()}";',
        sources=[str(path) for path in sorted(sources().glob("*.c"))],
        include_dirs=[str(sources())],
        extra_compile_args=["-O3", *compile_arguments],
        extra_link_args=link_arguments,
    )
    with tempfile.TemporaryDirectory(prefix="fajita-dpdk-") as scratch:
        made = _compile(ffi, scratch)
        target = folder / made.name
        try:
            # Not over the old file: a process may have it mapped.
            target.unlink(missing_ok=True)
            shutil.copy(made, target)
        except OSError as error:
            what = f"cannot write: {error.strerror or error}"
            raise InputError(what, str(target), "build it as the user that installed fajita") from None
    return target


def _compile(ffi: "object", scratch: str) -> Path:
    from cffi import VerificationError

    try:
        return Path(ffi.compile(tmpdir=scratch))  # type: ignore[attr-defined]
    except (VerificationError, ImportError) as error:
        right = f"{INSTALL}; {INSTALL_PYTHON}"
        raise InputError(f"the module for DPDK does not compile: {error}", str(sources()), right) from None


def _pkg_config(option: str) -> str:
    found = subprocess.run(["pkg-config", "--modversion", "libdpdk"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise InputError("pkg-config does not find libdpdk", right=f"{INSTALL}, or set PKG_CONFIG_PATH")
    version = found.stdout.strip()
    if is_too_old(version):
        raise InputError(f"DPDK {version} is too old", right=f"DPDK {OLDEST} or newer")
    return subprocess.run(["pkg-config", option, "libdpdk"], capture_output=True, text=True, check=True).stdout


def is_too_old(version: str) -> bool:
    """Whether a version of DPDK's, such as 22.11.4, which are a year and a month first, is older than the oldest."""
    return _numbers(version) < _numbers(OLDEST)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def main() -> int:
    """Build it and say where it is."""
    try:
        print(build())
    except InputError as error:
        print(f"fajita: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
