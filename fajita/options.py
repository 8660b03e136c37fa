"""What several commands take on the command line, and what it may be."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fajita.errors import InputError


class EngineName(StrEnum):
    """The engines; the reference engine runs packet by packet in CPython and defines what a chain does."""

    compiled = "compiled"
    reference = "reference"


class Traffic(StrEnum):
    """The protocols of synthetic traffic: one flow in four UDP, the others TCP; or one of them alone."""

    mixed = "mixed"
    udp = "udp"
    tcp = "tcp"


class Order(StrEnum):
    """Which flow each packet of synthetic traffic belongs to; caida and campus follow measured flow sizes."""

    uniform = "uniform"
    roundrobin = "roundrobin"
    caida = "caida"
    campus = "campus"


class Sharing(StrEnum):
    """A replica for each worker, merged when read; or one table for all."""

    replicated = "replicated"
    shared = "shared"


Spray = Annotated[
    bool,
    typer.Option("--spray", help="Spread packets over workers one by one; each keeps all state. For an elephant flow."),
]
Balance = Annotated[
    str | None,
    typer.Option(
        "--balance",
        metavar="TIME",
        help="So often, such as 100ms, flows of busy workers are given to idle ones.",
        show_default=False,
    ),
]
ChainFile = Annotated[Path, typer.Argument(metavar="CHAIN", help="A chain, as YAML.", show_default=False)]
Pcap = Annotated[
    Path, typer.Option("--pcap", help="The capture to read: pcap or pcapng, plain or compressed; - is standard input.")
]
RunPcap = Annotated[
    Path | None,
    typer.Option(
        "--pcap",
        help="The capture to read: pcap or pcapng, plain or compressed; - is standard input.",
        show_default=False,
    ),
]
Dpdk = Annotated[
    str | None,
    typer.Option(
        "--dpdk", metavar="ARGUMENTS", help="Run live, DPDK beginning with these EAL arguments.", show_default=False
    ),
]
InPort = Annotated[
    str | None,
    typer.Option(
        "--in", metavar="PORT", help="Live: the port where packets come in, by name or number.", show_default=False
    ),
]
InsidePort = Annotated[
    str | None,
    typer.Option(
        "--inside",
        metavar="PORT",
        help="Live: what comes in here goes out at --outside, and the other way.",
        show_default=False,
    ),
]
OutsidePort = Annotated[
    str | None, typer.Option("--outside", metavar="PORT", help="Live: the other side.", show_default=False)
]
Duration = Annotated[
    str | None,
    typer.Option("--duration", metavar="TIME", help="Live: stop after so long, such as 10s.", show_default=False),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Stop after so many packets.")]
Cores = Annotated[int, typer.Option("--cores", min=1, help="Workers, each on a core of its own if there are enough.")]
CoreCounts = Annotated[str, typer.Option("--cores", metavar="N[,N…]", help="Workers, each on a core of its own.")]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="KEY",
        help="Spread packets over workers by this key: five_tuple, connection, source, destination or address_pair.",
        show_default=False,
    ),
]
SharingName = Annotated[
    Sharing | None,
    typer.Option("--sharing", help="How tables are kept whose entries several workers update.", show_default=False),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="What flow tables may take at most, such as 4GB; half of what the machine has free if left out.",
        show_default=False,
    ),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="[ADDR:]PORT",
        help="Serve Prometheus metrics there while it runs, of this machine alone if there is no address.",
        show_default=False,
    ),
]
Ipfix = Annotated[
    str | None,
    typer.Option(
        "--ipfix",
        metavar="FILE|udp://HOST:PORT",
        help="Write flow records as IPFIX, or send them to a collector; at the end, all flows end.",
        show_default=False,
    ),
]
Drain = Annotated[bool, typer.Option("--drain", help="At the end, end all flows as if they were idle.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Neither report nor progress; warnings and errors only.")]
Strict = Annotated[bool, typer.Option("--strict", help="A capture cut off at the end is an error.")]
JsonFile = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; - is standard output.")
]
Size = Annotated[int, typer.Option("--size", help="Bytes of a frame, without the Ethernet checksum.")]
NoPrefetch = Annotated[
    bool, typer.Option("--no-prefetch", help="Do not prefetch array elements and further lines of entries.")
]
NoAuxiliary = Annotated[
    bool, typer.Option("--no-auxiliary", help="Look every table up; no entry remembers the place of a coarser one.")
]
Seed = Annotated[int, typer.Option("--seed", help="Another seed gives other traffic, the same seed the same.")]


def numbers(text: str, option: str, example: str) -> list[int]:
    """Numbers of at least 1 with commas between; InputError, with an example, for any other text."""
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        values = [0]
    if min(values) < 1:
        raise InputError(f"{option} {text}", right=f"numbers from 1 on with commas between, such as {option} {example}")
    return values
