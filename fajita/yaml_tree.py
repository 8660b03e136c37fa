"""YAML as a tree of nodes that remember their line, so that every message can name it.

Values are those of YAML 1.1 as PyYAML's SafeLoader reads them; where that surprises (`1:30` is 90, `no` is false),
the file has to say what it means. Aliases are refused, and with them the documents that grow when they are read.
"""

import re
from pathlib import Path
from typing import Any, NoReturn, cast

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from fajita.errors import InputError

_MAXIMUM_DEPTH = 20
_MAXIMUM_SHOWN = 40

_COLLECTION_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

#: Plain scalars that YAML 1.1 reads as something other than what most people mean.
_SURPRISING = (
    ("tag:yaml.org,2002:int", re.compile(r".*:.*"), "in base 60"),
    ("tag:yaml.org,2002:float", re.compile(r".*:.*"), "in base 60"),
    ("tag:yaml.org,2002:int", re.compile(r"[-+]?0[0-9_]+"), "in base 8"),
    ("tag:yaml.org,2002:bool", re.compile(r"yes|no|on|off", re.IGNORECASE), "as a truth value"),
)


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases and tags of the document's own, and with bounded nesting."""

    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, f"the alias *{event.anchor} is not supported")
        if self.depth >= _MAXIMUM_DEPTH:
            self._refuse(event, f"nested deeper than {_MAXIMUM_DEPTH} levels")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(node, CollectionNode) and node.tag not in _COLLECTION_TAGS:
            self._refuse(node, f"the tag {node.tag} is not supported")
        return node

    @staticmethod
    def _refuse(at: yaml.Event | Node, problem: str) -> NoReturn:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=cast(yaml.Mark, at.start_mark))


class YamlTree:
    """One YAML document. root: its topmost node."""

    root: Node

    def __init__(self, path: Path) -> None:
        """Read a file; InputError if it cannot be read, is not UTF-8, not YAML, or empty."""
        self.path = path
        text = self._read()
        try:
            self._loader = _Loader(text)
            root = self._loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            self._refuse_marked(error)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise InputError(
                f"cannot read the YAML: the character {error.character:#x} is not allowed", f"{path}:{line}"
            ) from None
        if root is None:
            raise InputError("the file is empty", str(path), "a chain begins with `nfs:`")
        self.root = root

    def _read(self) -> str:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            raise InputError("there is no such file", str(self.path)) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"cannot be read: {reason}", str(self.path), "the YAML file of a chain") from None
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise InputError(
                f"byte {error.start} is not UTF-8", f"{self.path}:{line}", "a text file in UTF-8"
            ) from None

    def _refuse_marked(self, error: yaml.MarkedYAMLError) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        right = "indent with spaces" if "'\\t'" in (error.problem or "") else ""
        raise InputError(
            f"cannot read the YAML: {error.problem or error.context}", f"{self.path}:{line}", right
        ) from None

    def where(self, node: Node) -> str:
        """`file:line` of a node."""
        return f"{self.path}:{node.start_mark.line + 1}"

    def refuse(self, node: Node, what: str, right: str = "") -> NoReturn:
        """Raise the InputError for something that stands at a node."""
        raise InputError(what, self.where(node), right)

    def entries(self, node: Node, what: str, right: str) -> dict[str, tuple[Node, Node]]:
        """A mapping's keys, which must be text and not stand twice, with the nodes of key and value.

        what: how a message calls the mapping; right: an example of it.
        """
        if not isinstance(node, MappingNode):
            self.refuse(node, f"{what} is {self._kind(node)} where a mapping is needed", right)
        entries: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            name = key.value if node is not self.root and self._is_number(key) else self.text(key, "a key")
            if name in entries:
                first = entries[name][0].start_mark.line + 1
                self.refuse(key, f"{name} stands twice in the same mapping, first in line {first}", "delete one")
            entries[name] = key, value
        return entries

    def text(self, node: Node, what: str) -> str:
        """The value of a node that must be text."""
        value = self.value(node)
        if not isinstance(value, str):
            self.refuse(node, f"{what} is {self._kind(node)} where text is needed", "put it in quotes if it is text")
        if not value.isprintable():
            self.refuse(node, f"{what} is {self._kind(node)}, with characters that cannot be shown", "plain text")
        return value

    @staticmethod
    def _is_number(node: Node) -> bool:
        """Whether it is a whole number as people write it, which below the top of a file may be a key."""
        return isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:int" and node.value.isdecimal()

    def _key(self, node: Node) -> str | int:
        """A key of a mapping among parameters."""
        key: str | int = self.value(node)
        return key

    @staticmethod
    def is_empty(node: Node) -> bool:
        """Whether nothing stands where a value could."""
        return isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"

    def value(self, node: Node) -> Any:
        """The value of a node: text, number, truth value, None, list or dict."""
        if isinstance(node, SequenceNode):
            return [self.value(item) for item in node.value]
        if isinstance(node, MappingNode):
            return {
                self._key(key): self.value(item) for key, item in self.entries(node, "this", "{name: value}").values()
            }
        self._check_meaning(node)
        try:
            return self._loader.construct_object(node)
        except yaml.MarkedYAMLError as error:
            self._refuse_marked(error)
        except (ValueError, OverflowError) as error:
            self.refuse(node, f"{node.value} cannot be read as YAML: {error}", "put it in quotes if it is text")

    def _check_meaning(self, node: Node) -> None:
        if not isinstance(node, ScalarNode) or node.style is not None:
            return
        for tag, pattern, how in _SURPRISING:
            if node.tag == tag and pattern.fullmatch(node.value):
                value = self._loader.construct_object(node)
                shown = str(value).lower()
                self.refuse(
                    node, f"YAML reads {node.value} {how}, {shown}", f"write {shown}, or '{node.value}' if it is text"
                )

    @staticmethod
    def _kind(node: Node) -> str:
        if isinstance(node, SequenceNode):
            return "a list"
        if isinstance(node, MappingNode):
            return "a mapping"
        shown = node.value if len(node.value) <= _MAXIMUM_SHOWN else node.value[:_MAXIMUM_SHOWN] + "…"
        return f"`{repr(shown)[1:-1]}`" if shown else "empty"
