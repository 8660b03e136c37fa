"""What all tests share."""

import atexit
import gc
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
# compile are kept apart from the user's, so that tests start as on a fresh machine; processes of one run share them.
if "PYTEST_XDIST_WORKER" not in os.environ or "FAJITA_TESTS_CACHE" not in os.environ:
    os.environ["FAJITA_TESTS_CACHE"] = tempfile.mkdtemp(prefix="fajita-tests-")
    atexit.register(shutil.rmtree, os.environ["FAJITA_TESTS_CACHE"], ignore_errors=True)
os.environ["FAJITA_CACHE_DIR"] = os.environ["FAJITA_TESTS_CACHE"]

from fajita.kernel.bounds import CHECKED, REGIONS  # noqa: E402


def pytest_collection_finish() -> None:
    """Thousands of tests are no garbage: it is not looked for among them again and again, and less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(autouse=True)
def nothing_out_of_bounds() -> Iterator[None]:
    """In a build with bounds checks (FAJITA_CHECK_BOUNDS=1) no kernel may touch what it was not allowed to."""
    REGIONS.violations.clear()
    yield
    assert not CHECKED or not REGIONS.violations
