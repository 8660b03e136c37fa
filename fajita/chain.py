"""A chain of network functions: built in Python here, from YAML in `chain_file`."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fajita.errors import InputError
from fajita.nf import NF
from fajita.plan import Plan, make_plan

if TYPE_CHECKING:
    from fajita.run import Run, Source


class Chain:
    """NFs in the order packets meet them. other: `pass` or `drop`, for frames that no NF of the chain is about."""

    def __init__(self, nfs: Sequence[NF], *, name: str = "chain", other: str = "pass") -> None:
        if not nfs:
            raise InputError(f"the chain {name} has no network functions", "", "give at least one")
        if other not in ("pass", "drop"):
            raise InputError(f"other is {other!r}", "", "pass or drop")
        names = [nf.name for nf in nfs]
        for twice in {each for each in names if names.count(each) > 1}:
            raise InputError(f"the name {twice} stands twice in the chain", "", f"{twice}: {{as: another_name}}")
        self.nfs, self.name, self.other = list(nfs), name, other

    @cached_property
    def plan(self) -> Plan:
        """Tables, layouts and passes; InputError where an NF's source cannot be run."""
        return make_plan(self.name, self.nfs, self.other)

    @classmethod
    def load(cls, path: str | Path) -> "Chain":
        """The chain that a YAML file describes; InputError names the file and line of what is wrong."""
        from fajita.chain_file import load_chain

        return load_chain(path)

    def run(self, source: "Source", **options: Any) -> "Run":
        """Run the chain over a capture file, a FrameBlock or several; options as of `fajita.run.execute`.

        InputError where the input is at fault. If packets were processed before, its `run` has what came of them.
        """
        from fajita.run import execute

        run = execute(self.plan, source, **options)
        if run.error is not None:
            run.error.run = run
            raise run.error
        return run
