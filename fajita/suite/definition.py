"""A suite as its file has it: experiments, what varies in each, what is drawn and what the paper measured."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yaml.nodes import MappingNode, Node, SequenceNode

from fajita.errors import InputError, nearest
from fajita.yaml_tree import YamlTree

#: Where a checkout has them, from its top.
FOLDER = Path("bench/suites")
Kind = Literal["throughput", "latency", "startup", "ingest", "imbalance"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Curve(_Strict):
    """What the paper measured. y: in any unit, as only shapes are compared."""

    name: str
    x: list[float] = Field(min_length=1)
    y: list[float] = Field(min_length=1)


class Figure(_Strict):
    """x, y: names of columns; lines: the column that tells the lines apart. logarithmic: x is."""

    x: str
    y: str = "mpps"
    lines: str = "chain"
    logarithmic: bool = False
    x_label: str = ""
    y_label: str = ""


class Experiment(_Strict):
    """vary: columns and their values, all combinations of which are measured. fixed: what all have in common.

    quick: what of `vary` and `fixed` is other where only function counts. in_turn: what is compared, and so measured in
    turn: the lines of the figure at each x, or the points of each line. name: of its files. paper_factors: by how much
    the paper's figure at an x is larger than at the one before; ours is then reported beside it.
    """

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    about: str = ""
    kind: Kind = "throughput"
    vary: dict[str, list[Any]] = Field(min_length=1)
    fixed: dict[str, Any] = {}
    quick: dict[str, Any] = {}
    in_turn: Literal["lines", "points"] = "lines"
    figure: Figure
    paper: list[Curve] = []
    paper_factors: dict[str, float] = {}

    def settings(self, *, quick: bool) -> list[dict[str, Any]]:
        """One for each combination of what varies; the first in `vary` changes slowest."""
        changed = self.quick if quick else {}
        varied = {name: changed.get(name, values) for name, values in self.vary.items()}
        fixed = self.fixed | {name: value for name, value in changed.items() if name not in varied}
        return [dict(zip(varied, values, strict=True)) | fixed for values in product(*varied.values())]


class _SuiteFile(_Strict):
    title: str
    about: str = ""
    suites: list[str] = []
    experiments: list[Experiment] = []


@dataclass(frozen=True)
class Suite:
    """experiments: with the folder that paths in each are relative to."""

    name: str
    title: str
    about: str
    experiments: tuple[tuple[Path, Experiment], ...]


def load_suite(name: str) -> Suite:
    """The suite of that name below bench/suites, or in that file; InputError says where it is wrong."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.exists():
        known = sorted(each.stem for each in FOLDER.glob("*.yaml"))
        right = nearest(name, known) if known else f"run this where {FOLDER} is, or name a file"
        raise InputError(f"no suite {name}", str(path), right)
    return _load(path, ())


def _load(path: Path, within: tuple[Path, ...]) -> Suite:
    tree = YamlTree(path)
    try:
        read = _SuiteFile.model_validate(tree.value(tree.root))
    except ValidationError as error:
        # A name that is misspelt is what is missing, too.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise InputError(problem(first), tree.where(_node(tree, first["loc"])), "see docs/benchmarks.md") from None
    experiments = [(path.parent, experiment) for experiment in read.experiments]
    for name in read.suites:
        part = path.parent / f"{name}.yaml"
        if part in (*within, path):
            raise InputError(f"the suite {name} contains itself", str(path), "leave it out of `suites`")
        if not part.exists():
            raise InputError(f"there is no suite {name}", str(path), f"{part} would be its file")
        experiments += _load(part, (*within, path)).experiments
    if not experiments:
        raise InputError("the suite has no experiments", str(path), "give it `experiments` or `suites`")
    twice = {each.name for _, each in experiments if sum(other.name == each.name for _, other in experiments) > 1}
    if twice:
        raise InputError(f"the name {min(twice)} stands twice", str(path), "give each experiment one of its own")
    return Suite(path.stem, read.title, read.about, tuple(experiments))


def problem(error: Any) -> str:
    """What one of the errors of a ValidationError says, with its place."""
    place = ".".join(str(step) for step in error["loc"])
    return f"{place}: {error['msg'][0].lower()}{error['msg'][1:]}" if place else error["msg"]


def _node(tree: YamlTree, path: tuple[int | str, ...]) -> Node:
    """The node that the path of a ValidationError leads to, or the last on the way."""
    node = tree.root
    for step in path:
        if isinstance(node, MappingNode):
            found = next((value for key, value in node.value if key.value == step), None)
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = node.value[step]
        else:
            found = None
        if found is None:
            break
        node = found
    return node
