"""What all tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fajita.kernel.bounds import CHECKED, REGIONS


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Kernels compiled by tests are kept apart from the user's, so that tests start as on a fresh machine."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAJITA_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def nothing_out_of_bounds() -> Iterator[None]:
    """In a build with bounds checks (FAJITA_CHECK_BOUNDS=1) no kernel may touch what it was not allowed to."""
    REGIONS.violations.clear()
    yield
    assert not CHECKED or not REGIONS.violations
