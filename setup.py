"""The package as pyproject.toml says, and the C sources of native/ in it, for `python -m fajita.dpdk.build`."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSources(build_py):
    """In an editable installation the sources are found where they are."""

    def run(self) -> None:
        """Copy the modules, then the sources."""
        super().run()
        if not self.editable_mode:
            shutil.copytree("native", Path(self.build_lib) / "fajita" / "dpdk" / "native", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithSources})
