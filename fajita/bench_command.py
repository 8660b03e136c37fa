"""`fajita bench`: a chain at some settings, a suite of experiments, or two results compared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fajita import console
from fajita.chain import Chain
from fajita.errors import InputError
from fajita.interruption import interruptible, status_of
from fajita.options import (
    CoreCounts,
    JsonFile,
    NoAuxiliary,
    NoPrefetch,
    Order,
    Quiet,
    Seed,
    Shard,
    SharingName,
    Size,
    Spray,
    Traffic,
    numbers,
)
from fajita.output_file import check_folder, check_outputs, failures, write_json, write_text
from fajita.rss import check_workers
from fajita.tuning import Tuning


@dataclass(frozen=True)
class _Outputs:
    """Where results go, each None where it is not asked for."""

    json: str | None
    csv: str | None
    plot: str | None

    def check(self, *inputs: Path) -> None:
        """Before the work."""
        check_outputs({"--json": self.json, "--csv": self.csv, "--plot": self.plot}, inputs=inputs)

    @property
    def take_standard_output(self) -> bool:
        """Whether nothing else may be written there."""
        return "-" in (self.json, self.csv, self.plot)


#: By the names of their parameters, the options of suites alone, and those of suites, chains and comparisons.
_OF_SUITES = {"out", "quick"}
_OF_ALL = {"chain", "suite", "compare", "json_file", "csv_file", "quiet"}


def _way(chain: Path | None, suite: str | None, compare: tuple[str, str] | None) -> str:
    """What is asked for, CHAIN, --suite or --compare; InputError if that is not one of them."""
    asked = {"CHAIN": chain, "--suite": suite, "--compare": compare}
    given = [name for name, value in asked.items() if value is not None]
    if len(given) != 1:
        what = f"{' and '.join(given)} together" if given else "nothing to measure"
        raise InputError(what, "bench", "give a CHAIN, or --suite NAME, or --compare OLD NEW")
    return given[0]


def _refuse_others(context: typer.Context, way: str) -> None:
    """InputError for an option that is given and would do nothing."""
    right = "give --suite NAME" if way == "CHAIN" else f"leave it out with {way}"
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name)
        if given is None or given.name != "COMMANDLINE" or name in _OF_ALL:
            continue
        is_of_suites = name in _OF_SUITES
        if is_of_suites != (way == "--suite") or way == "--compare":
            whose = "a suite" if is_of_suites else "one chain"
            raise InputError(f"{parameter.opts[0]} is for {whose}", "bench", right)


def bench(
    context: typer.Context,
    chain: Annotated[
        Path | None, typer.Argument(metavar="[CHAIN]", help="A chain, as YAML.", show_default=False)
    ] = None,
    flows: Annotated[str, typer.Option("--flows", metavar="F[,F…]", help="Flows.")] = "65536",
    packets: Annotated[int, typer.Option("--packets", help="Packets of a pass.")] = 1 << 21,
    cores: CoreCounts = "1",
    shard: Shard = None,
    sharing: SharingName = None,
    spray: Spray = False,
    order: Annotated[Order, typer.Option("--order", help="Which flow each packet belongs to.")] = Order.uniform,
    repeat: Annotated[int, typer.Option("--repeat", help="Timed passes.")] = 5,
    json_file: JsonFile = None,
    csv_file: Annotated[str | None, typer.Option("--csv", metavar="FILE", help="Write it as CSV.")] = None,
    plot_file: Annotated[
        str | None, typer.Option("--plot", metavar="FILE.png", help="Draw rate against flows.")
    ] = None,
    traffic: Annotated[Traffic, typer.Option("--traffic", help="Protocols of the packets.")] = Traffic.udp,
    size: Size = 60,
    seed: Seed = 1,
    no_prefetch: NoPrefetch = False,
    no_auxiliary: NoAuxiliary = False,
    quiet: Quiet = False,
    suite: Annotated[
        str | None,
        typer.Option("--suite", metavar="NAME", help="A suite of experiments, bench/suites/NAME.yaml, or a file."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where a suite's report goes; bench-NAME if left out.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Of a suite as little as shows that it runs.")] = False,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option("--compare", metavar="OLD NEW", help="What changed between two results of --json."),
    ] = None,
) -> int:
    """Measure how fast a chain is on packets in memory; or run a suite of experiments; or compare two results."""
    outputs = _Outputs(json_file, csv_file, plot_file)
    _refuse_others(context, _way(chain, suite, compare))
    if compare is not None:
        return _compare(compare, outputs, quiet)
    if suite is not None:
        return _run_suite(suite, outputs, out, quick=quick, quiet=quiet)
    assert chain is not None
    flow_counts, core_counts = numbers(flows, "--flows", "1024,65536"), numbers(cores, "--cores", "1,2,4")
    check_workers(max(core_counts))
    tuning = Tuning(prefetch=not no_prefetch, auxiliary=not no_auxiliary, sprays=spray)
    how = {"packets": packets, "order": order.value, "repeat": repeat, "traffic": traffic.value}
    how |= {"size": size, "seed": seed}
    options = {"size": size, "seed": seed, "shard": shard, "sharing": None if sharing is None else sharing.value}
    options |= {"spray": spray, "prefetch": not no_prefetch, "auxiliary": not no_auxiliary}
    settings = [(count, workers) for count in flow_counts for workers in core_counts]

    def plan() -> Any:
        return Chain.load(chain).plan_with(tuning, shard=shard, sharing=sharing)

    return _bench_chain(chain, plan, settings, how, options, outputs, quiet)


def _bench_chain(
    chain: Path,
    make_plan: Any,
    settings: list[tuple[int, int]],
    how: dict[str, Any],
    options: dict[str, Any],
    outputs: _Outputs,
    quiet: bool,
) -> int:
    """settings: flows and cores. how: the other arguments of `measure`. options: what is written beside each result."""
    from fajita.benchmark import csv_text, load_pyplot, measure, plot

    outputs.check(chain)
    if outputs.plot is not None:
        load_pyplot()
    plan, rows, status = make_plan(), [], 0
    with (
        console.progress_bar(f"bench {plan.name}", False, quiet) as update,
        interruptible() as interruption,
    ):
        total = len(settings) * (how["repeat"] + 1)
        done = iter(range(1, total + 1))
        try:
            with interruption.immediate():
                for count, workers in settings:
                    tell = _teller(update, done, total)
                    rows.append(measure(plan, flows=count, cores=workers, progress=tell, **how).as_row())
        except KeyboardInterrupt as interrupt:
            console.complain(f"interrupted after {len(rows)} of {len(settings)} settings")
            status = status_of(interrupt)
        except InputError as error:
            if not rows:
                raise
            console.complain(f"{error} (after {len(rows)} of {len(settings)} settings)")
            status = 2
    if not rows:
        return status
    written = [row | options for row in rows]
    errors = _write_rows(written, written, outputs, csv_text)
    if outputs.plot is not None:
        errors += failures(lambda: plot(rows, str(outputs.plot)))
    return _finish(rows, outputs, errors, status, quiet)


def _teller(update: Any, done: Any, total: int) -> Any:
    return lambda: update(next(done), total)


def _run_suite(name: str, outputs: _Outputs, out: Path | None, *, quick: bool, quiet: bool) -> int:
    from fajita.benchmark import csv_text, load_pyplot
    from fajita.suite.definition import load_suite
    from fajita.suite.files import write_report
    from fajita.suite.machine import describe_machine
    from fajita.suite.run import run_suite

    suite = load_suite(name)
    folder = Path(f"bench-{suite.name}") if out is None else out
    outputs.check()
    load_pyplot()
    check_folder(folder, "put the report")
    machine = describe_machine() | {"quick": quick}
    with (
        console.experiment_progress(quiet) as update,
        interruptible() as interruption,
        interruption.immediate(),
    ):
        came = run_suite(suite, quick=quick, progress=update)
    status, results = 0, came.results
    how_far = f"after {len(results)} of {len(suite.experiments)} experiments"
    if came.error is not None:
        if not results:
            raise came.error
        console.complain(f"{came.error} ({how_far})")
        status = 2
    elif came.interrupted:
        console.complain(f"interrupted {how_far}")
        status = interruption.exit_status
    if not results:
        return status
    whole = {"suite": suite.name, "machine": machine, "experiments": [result.as_json() for result in results]}
    rows = [{"experiment": result.experiment.name} | row for result in results for row in result.rows]
    errors = _write_rows(whole, rows, outputs, csv_text)
    errors += failures(lambda: write_report(folder, suite, machine, results, whole))
    for error in errors:
        console.complain(str(error))
    if not quiet and not outputs.take_standard_output:
        console.say(f"the report is in {folder}")
    return 2 if errors else status


def _compare(files: tuple[str, str], outputs: _Outputs, quiet: bool) -> int:
    from fajita.benchmark import csv_text
    from fajita.suite.compare import compare

    outputs.check(*map(Path, files))
    rows = compare(*files)
    return _finish(rows, outputs, _write_rows(rows, rows, outputs, csv_text), 0, quiet)


def _write_rows(whole: Any, rows: list[dict[str, Any]], outputs: _Outputs, csv_text: Any) -> list[InputError]:
    """What is asked for as JSON and CSV; what goes wrong with one does not cost the other."""
    errors: list[InputError] = []
    if outputs.json is not None:
        errors += failures(lambda: write_json(str(outputs.json), whole))
    if outputs.csv is not None:
        errors += failures(lambda: write_text(str(outputs.csv), csv_text(rows)))
    return errors


def _finish(rows: list[dict[str, Any]], outputs: _Outputs, errors: list[InputError], status: int, quiet: bool) -> int:
    if not quiet and not outputs.take_standard_output:
        console.print_measurements(rows)
    for error in errors:
        console.complain(str(error))
    return 2 if errors else status
