"""An NF from source that a test has: in a file, as its methods' source is read."""

import importlib.util
from pathlib import Path

from fajita import NF


def load_own(folder: Path, source: str) -> NF:
    """An NF of the class Own that the source defines; written and run anew each time."""
    path = folder / "own.py"
    path.write_text(source)
    specification = importlib.util.spec_from_file_location("own_under_test", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    nf: NF = module.Own()
    return nf
