"""A chain of network functions: built in Python here, from YAML in `chain_file`."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fajita.errors import InputError
from fajita.nf import NF
from fajita.plan import Plan
from fajita.planner import make_plan
from fajita.quantities import given_duration, given_size
from fajita.rss import fields_of_key_name
from fajita.settings import check_settings
from fajita.tuning import FULL, Tuning

if TYPE_CHECKING:
    from fajita.run import Run, Source


class Chain:
    """NFs in the order packets meet them. settings: of `fajita.settings.check_settings`; InputError for a wrong one."""

    def __init__(self, nfs: Iterable[NF], *, name: str = "chain", **settings: Any) -> None:
        nfs = _instances(nfs)
        if not nfs:
            raise InputError(f"the chain {name} has no network functions", "", "give at least one")
        names = [nf.name for nf in nfs]
        for twice in {each for each in names if names.count(each) > 1}:
            raise InputError(f"the name {twice} stands twice in the chain", "", f"{twice}: {{as: another_name}}")
        self.nfs, self.name, self.settings = nfs, name, check_settings(**settings)

    def __repr__(self) -> str:
        return f"Chain({self.name}: {', '.join(nf.name for nf in self.nfs)})"

    @cached_property
    def plan(self) -> Plan:
        """Tables, layouts and passes; InputError where an NF's source cannot be run."""
        return self.plan_with(FULL)

    def plan_with(self, tuning: Tuning = FULL, *, shard: str | None = None, sharing: str | None = None) -> Plan:
        """The same with a kernel tuned otherwise, or with work divided otherwise among several workers.

        shard: the key, such as source, whose fields decide which worker gets a packet. sharing: how tables are kept
        whose entries are not workers' own then, replicated or shared. InputError where results would change.
        """
        if tuning.sprays and (shard is not None or sharing is not None):
            raise InputError("packets that are sprayed are not spread by a key", "", "leave out --shard and --sharing")
        fields = None if shard is None else fields_of_key_name(shard)
        return make_plan(self.name, self.nfs, self.settings, tuning, fields=fields, sharing=sharing)

    @classmethod
    def load(cls, path: str | Path) -> "Chain":
        """The chain that a YAML file describes; InputError names the file and line of what is wrong."""
        from fajita.chain_file import load_chain

        return load_chain(path)

    def run(
        self,
        source: "Source",
        *,
        memory: str | None = None,
        shard: str | None = None,
        sharing: str | None = None,
        spray: bool = False,
        balance: str | None = None,
        **options: Any,
    ) -> "Run":
        """Run the chain over a capture file, a FrameBlock or several; options as of `fajita.run.execute`.

        memory: what flow tables may take at most, with its unit. shard, sharing: as of `plan_with`. spray: packets are
        spread over the workers one by one (fajita.spraying). balance: how often, in the time of packets and with its
        unit, flows of busy workers are given to idle ones. Records that NFs emit are kept in memory, unless `records`
        says where they go. InputError where the input is at fault. If packets were processed before, its `run` has what
        came of them.
        """
        from fajita.records import KeptRecords
        from fajita.run import execute

        if memory is not None:
            options["memory_bytes"] = given_size("memory", memory)
        if balance is not None:
            options["balance_ns"] = given_duration("balance", balance)
        usual = shard is None and sharing is None and not spray
        plan = self.plan if usual else self.plan_with(Tuning(sprays=spray), shard=shard, sharing=sharing)
        run = execute(plan, source, **{"records": KeptRecords(), **options})
        if run.error is not None:
            run.error.run = run
            raise run.error
        return run


def _instances(nfs: object) -> list[NF]:
    """The NFs of a chain as a list; InputError that says what to give instead of anything else."""
    if isinstance(nfs, NF | type | str) or not isinstance(nfs, Iterable):
        raise InputError(f"{_shown(nfs)} is not a list of network functions", "", "Chain([FlowCounter(), MyNF()])")
    nfs = list(nfs)
    for nf in nfs:
        if isinstance(nf, type) and issubclass(nf, NF):
            raise InputError(f"{nf.__name__} is a class", "", f"give an instance: {nf.__name__}()")
        if not isinstance(nf, NF):
            what = f"{_shown(nf)} is not a network function"
            raise InputError(what, "", "give an instance of its class, such as FlowCounter()")
    return nfs


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str | NF) else f"a {type(value).__name__}"
