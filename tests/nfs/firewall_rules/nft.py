"""What nft makes of a file of rules: the instructions for the kernel that it prints, carried out on single packets."""

import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from tests.nfs.firewall_rules.naive import Header

#: In a network namespace of its own nft touches no rules but those it is given, and -c not even these.
_COMMAND = ("unshare", "-n", "nft", "-c", "--debug=netlink", "-f")
_NFPROTO = {4: 2, 6: 10}
#: Bits of `ct load state` by the numbers of Header's states.
_STATES = {1: 1, 2: 8, 3: 2, 4: 4}
_IP_AT, _TRANSPORT_AT = 14, {4: 34, 6: 54}
_COMPARISONS = {
    "eq": lambda left, right: left == right,
    "neq": lambda left, right: left != right,
    "lt": lambda left, right: left < right,
    "gt": lambda left, right: left > right,
    "lte": lambda left, right: left <= right,
    "gte": lambda left, right: left >= right,
}


@cache
def nft_works() -> bool:
    """Whether nft is there, and may check rules here."""
    if shutil.which("nft") is None or shutil.which("unshare") is None:
        return False
    return _run("table inet t {\n}\n").returncode == 0


def accepts(text: str) -> bool:
    """Whether nft takes a file."""
    return _run(text).returncode == 0


def _run(text: str) -> "subprocess.CompletedProcess[str]":
    descriptor, path = tempfile.mkstemp(suffix=".nft")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        return subprocess.run([*_COMMAND, path], capture_output=True, text=True, timeout=60, check=False)
    finally:
        os.unlink(path)


@dataclass
class NftSet:
    """A set in the kernel's form. intervals: its elements are where intervals begin and end."""

    intervals: bool
    elements: list[tuple[bytes, bool]] = field(default_factory=list)

    def has(self, key: bytes) -> bool:
        elements = sorted((element[: len(key)], ends) for element, ends in self.elements)
        if not self.intervals:
            return any(element == key for element, _ in elements)
        # An interval may begin where another ends; the beginning, sorted first, is what counts.
        below = [(element, not ends) for element, ends in elements if element <= key]
        return bool(below) and max(below)[1]


@dataclass
class NftRule:
    """instructions: each as the words that nft prints, and the sets it looks up, in their order."""

    instructions: list[str] = field(default_factory=list)
    sets: list[NftSet] = field(default_factory=list)

    @property
    def accepts(self) -> bool:
        return self.instructions[-1].endswith("accept")

    def matches(self, header: Header, frame: bytes, state: int) -> bool:
        register, sets = b"", iter(self.sets)
        for instruction in self.instructions:
            loaded = _load(instruction, header, frame, state)
            if loaded is not None:
                register = loaded
                if not register:
                    return False  # what is not there breaks the rule off
            elif masked := re.fullmatch(r"bitwise reg 1 = \( reg 1 & (.*) \) \^ (.*)", instruction):
                mask = _bytes(masked[1])
                register = bytes(value & bits for value, bits in zip(register, mask, strict=False))
            elif not _holds(instruction, register, sets):
                return False
        return True


def _load(instruction: str, header: Header, frame: bytes, state: int) -> bytes | None:
    if instruction == "meta load nfproto => reg 1":
        return bytes([_NFPROTO[header.family]])
    if instruction == "meta load l4proto => reg 1":
        return bytes([header.protocol])
    if instruction == "ct load state => reg 1":
        return struct.pack("<I", _STATES[state])
    if found := re.fullmatch(r"payload load (\d+)b @ (network|transport) header \+ (\d+) => reg 1", instruction):
        is_transport = found[2] == "transport"
        if is_transport and header.family == 4 and frame[_IP_AT + 6] << 8 & 0x1F00 | frame[_IP_AT + 7]:
            return b""
        at = (_TRANSPORT_AT[header.family] if is_transport else _IP_AT) + int(found[3])
        return frame[at : at + int(found[1])]
    return None


def _holds(instruction: str, register: bytes, sets: Iterator[NftSet]) -> bool:
    words = instruction.split(" ")
    if words[0] == "cmp":
        return bool(_COMPARISONS[words[1]](register, _bytes(" ".join(words[4:]))[: len(register)]))
    if words[0] == "range":
        half = len(words[4:]) // 2
        first, last = (_bytes(" ".join(part))[: len(register)] for part in (words[4 : 4 + half], words[4 + half :]))
        return (first <= register <= last) == (words[1] == "eq")
    if words[0] == "lookup":
        return next(sets).has(register) != instruction.endswith(" 0x1")
    assert words[0] in ("immediate", "counter"), instruction
    return True


def _bytes(words: str) -> bytes:
    """As they lie in a register."""
    return b"".join(struct.pack("<I", int(word, 16)) for word in words.split())


def nft_rules(text: str) -> list[NftRule]:
    """The rules of a file as nft would hand them to the kernel."""
    named: dict[str, NftSet] = {}
    anonymous: list[NftSet] = []
    rules: list[NftRule] = []
    current: NftSet | None = None
    result = _run(text)
    assert result.returncode == 0, result.stderr or result.stdout
    for line in result.stdout.splitlines():
        if found := re.fullmatch(r"(\S+) t (\d+)(?: size \d+)?", line):
            if found[2] != "0":
                current = NftSet(bool(int(found[2]) & 4))
            elif current is None:
                current = NftSet(False)
            if found[1] == "__set%d":
                if found[2] != "0":
                    anonymous.append(current)
            else:
                named[found[1]] = current
            if found[2] == "0":
                filled, current = current, None
        elif line.startswith("\telement"):
            for element, ends in re.findall(r"element ([0-9a-f ]+?)\s*: (\d) \[end\]", line):
                filled.elements.append((_bytes(element), ends == "1"))
        elif line.startswith("inet t c") and "use" not in line:
            rules.append(NftRule())
        elif found := re.fullmatch(r"  \[ (.*) \]", line):
            instruction = found[1]
            rules[-1].instructions.append(instruction)
            if looked_up := re.match(r"lookup reg 1 set (\S+)", instruction):
                rules[-1].sets.append(anonymous.pop(0) if looked_up[1] == "__set%d" else named[looked_up[1]])
    return rules
