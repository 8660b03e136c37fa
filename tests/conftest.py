"""What all tests share."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# No test depends on speed; the first example of some waits for a kernel to be compiled.
settings.register_profile("fajita", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fajita")

# Before anything of fajita is imported: readers and writers compile their kernels when they are. Kernels that tests
# compile are kept apart from the user's, so that tests start as on a fresh machine.
_CACHE = tempfile.mkdtemp(prefix="fajita-tests-")
os.environ["FAJITA_CACHE_DIR"] = _CACHE
atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)

from fajita.kernel.bounds import CHECKED, REGIONS  # noqa: E402


@pytest.fixture(autouse=True)
def nothing_out_of_bounds() -> Iterator[None]:
    """In a build with bounds checks (FAJITA_CHECK_BOUNDS=1) no kernel may touch what it was not allowed to."""
    REGIONS.violations.clear()
    yield
    assert not CHECKED or not REGIONS.violations
