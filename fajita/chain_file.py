"""A chain from a YAML file: which NFs with which parameters, every mistake with its file and line."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yaml.nodes import MappingNode, Node, SequenceNode

from fajita.chain import Chain
from fajita.errors import InputError, nearest
from fajita.key import find_key
from fajita.nf import NF, ParameterError
from fajita.registry import find_nf
from fajita.settings import SettingError, check_settings
from fajita.text_file import relative_to
from fajita.yaml_tree import YamlTree

_SETTINGS = tuple(inspect.signature(check_settings).parameters)
_TOP_LEVEL = ("name", *_SETTINGS, "nfs")
_EXAMPLE = "for example: nfs: [flow_counter, rate_limiter: {rate: 1Gbps, burst: 64kB}]"
_ITEM_EXAMPLE = "for example: - flow_counter or - rate_limiter: {rate: 1Gbps, burst: 64kB}"


def load_chain(path: str | Path) -> Chain:
    """The chain that a YAML file describes; InputError names the file and line of what is wrong."""
    return _ChainFile(Path(path)).chain()


class _ChainFile:
    """A chain's file while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = YamlTree(path)

    def chain(self) -> Chain:
        """Read the top level."""
        entries = self.tree.entries(self.tree.root, "the chain", _EXAMPLE)
        for name, (key, _) in entries.items():
            if name not in _TOP_LEVEL:
                self.tree.refuse(key, f"a chain has no setting {name}", nearest(name, _TOP_LEVEL))
        if "nfs" not in entries:
            self.tree.refuse(self.tree.root, "the chain has no list of network functions", _EXAMPLE)
        nfs = self._nfs(entries["nfs"][1])
        return Chain(nfs, name=self._name(entries), **self._settings(entries))

    def _name(self, entries: dict[str, tuple[Node, Node]]) -> str:
        if "name" not in entries:
            return self.path.stem
        node = entries["name"][1]
        name = self.tree.text(node, "name")
        if not name:
            self.tree.refuse(node, "the chain's name is empty", "leave it out to take the file's")
        return name

    def _settings(self, entries: dict[str, tuple[Node, Node]]) -> dict[str, Any]:
        given = {name: self.tree.value(entries[name][1]) for name in _SETTINGS if name in entries}
        for name, value in given.items():
            if value is None:
                self.tree.refuse(entries[name][0], f"{name} has no value", "give one or leave it out")
        try:
            check_settings(**given)
        except SettingError as error:
            self.tree.refuse(entries[error.setting][1], error.what, error.right)
        return given

    def _nfs(self, node: Node) -> list[NF]:
        if not isinstance(node, SequenceNode) or not node.value:
            self.tree.refuse(node, "nfs has to be a list of at least one network function", _EXAMPLE)
        nfs: list[NF] = []
        lines: dict[str, int] = {}
        for item in node.value:
            nf = self._nf(item)
            if nf.name in lines:
                self.tree.refuse(
                    item,
                    f"the name {nf.name} stands twice in the chain, first in line {lines[nf.name]}",
                    f"give this one another: as: {nf.name}_2",
                )
            lines[nf.name] = item.start_mark.line + 1
            nfs.append(nf)
        return nfs

    def _nf(self, item: Node) -> NF:
        """An item: the name of an NF, or a mapping from it to its parameters and settings."""
        if not isinstance(item, MappingNode):
            return self._make(item, item, None)
        entries = self.tree.entries(item, "an item of nfs", _ITEM_EXAMPLE)
        if len(entries) != 1:
            right = "indent the parameters below the name" if entries else _ITEM_EXAMPLE
            self.tree.refuse(item, f"an item of nfs has {len(entries)} keys: {', '.join(entries) or 'none'}", right)
        ((key, value),) = entries.values()
        # `rate_limiter:` with nothing behind it is the NF without parameters.
        return self._make(item, key, None if self.tree.is_empty(value) else value)

    def _make(self, item: Node, name_node: Node, given: Node | None) -> NF:
        name = self.tree.text(name_node, "the name of a network function")
        nf_class = self._find(name, name_node)
        entries = self.tree.entries(given, f"what {name} is given", f"{name}: {{…}}") if given is not None else {}
        options: dict[str, Any] = {option: self.tree.value(value) for option, (_, value) in entries.items()}
        if "name" in options:
            self.tree.refuse(entries["name"][0], f"{name} has no parameter name", "`as:` gives it a name of its own")
        self._check_settings(entries, options)
        if "as" in options:
            options["name"] = options.pop("as")
        try:
            return nf_class(**relative_to(self.path.parent, options, nf_class.params_model.model_fields))
        except ParameterError as error:
            place = self._place(error.path, entries, item)
            raise InputError(error.what, self.tree.where(place), error.right) from None
        except InputError as error:
            raise InputError(error.what, error.where or self.tree.where(item), error.right) from None

    def _find(self, name: str, node: Node) -> type[NF]:
        try:
            return find_nf(name, self.path.parent)
        except InputError as error:
            raise InputError(error.what, error.where or self.tree.where(node), error.right) from None

    def _check_settings(self, entries: dict[str, tuple[Node, Node]], options: dict[str, Any]) -> None:
        """What every NF can be given; whether this one has such a key or takes a timeout, it says itself."""
        for setting in ("as", "key", "timeout"):
            if setting in options and options[setting] is None:
                self.tree.refuse(entries[setting][0], f"{setting} has no value", "give one or leave it out")
        if "key" in options:
            node = entries["key"][1]
            try:
                find_key(self.tree.text(node, "key"))
            except InputError as error:
                self.tree.refuse(node, error.what, error.right)

    @staticmethod
    def _place(path: Sequence[str | int], entries: dict[str, tuple[Node, Node]], item: Node) -> Node:
        """The node that the path of a ParameterError leads to; the item where a parameter is missing."""
        first, *rest = path
        name = "as" if first == "name" else first
        if name not in entries:
            return item
        key, node = entries[str(name)]
        if not rest:
            return key
        for step in rest:
            if isinstance(node, SequenceNode) and isinstance(step, int):
                node = node.value[step]
            elif isinstance(node, MappingNode):
                node = next((value for name, value in node.value if name.value == step), node)
        return node
