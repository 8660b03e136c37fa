"""All checks, in the order in which one would put things right."""

from collections.abc import Sequence
from pathlib import Path

from fajita.doctor.finding import Finding, State
from fajita.doctor.machine import Machine
from fajita.doctor.nics import check_iommu, check_nics
from fajita.doctor.programs import check_cache, check_module, check_what_builds
from fajita.doctor.system import check_huge_pages, check_locked_memory, check_permissions, check_processors
from fajita.kernel.cache import cache_home


def examine(machine: Machine | None = None, module: Finding | None = None, cache: Path | None = None) -> list[Finding]:
    """What this machine has, or another. module, cache: what was found of DPDK's module; the folder for kernels."""
    machine = machine or Machine()
    module = module or check_module()
    return [
        *check_what_builds(machine, is_built=module.state is State.ok),
        module,
        check_huge_pages(machine),
        check_permissions(machine),
        check_locked_memory(machine),
        *check_nics(machine),
        *check_iommu(machine),
        check_processors(machine),
        check_cache(cache or cache_home()),
    ]


def is_possible(findings: Sequence[Finding]) -> bool:
    """Whether a run with DPDK is possible: nothing is missing that it cannot do without."""
    return all(finding.state is not State.missing for finding in findings)
