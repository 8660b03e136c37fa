"""What others make of IPFIX that was written: scapy, and tshark."""

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

from scapy.layers.netflow import NetflowHeader, netflowv9_defragment


def messages(data: bytes) -> list[bytes]:
    """The messages of a file, by the lengths in their headers."""
    parts = []
    while data:
        (length,) = struct.unpack_from(">H", data, 2)
        assert 16 <= length <= len(data)
        parts.append(data[:length])
        data = data[length:]
    return parts


def scapy_records(made: list[bytes]) -> list[dict[str, Any]]:
    """All data records, as scapy reads them by the templates that came before."""
    found = []
    for packet in netflowv9_defragment([NetflowHeader(message) for message in made]):
        if flows := packet.getlayer("NetflowDataflowsetV9"):
            assert not isinstance(flows.records, bytes)
            found += [record.fields for record in flows.records if record.name != "Padding"]
    return found


def tshark_flows(path: Path) -> list[dict[str, Any]]:
    """The same by tshark, which knows the format of such files."""
    command = ["tshark", "-r", str(path), "-T", "json", "--no-duplicate-keys"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    flows = []
    for frame in json.loads(text):
        for name, part in frame["_source"]["layers"]["cflow"].items():
            if name.startswith("Set"):
                flows += [flow for kind, flow in part.items() if kind.startswith("Flow ")]
    return flows
