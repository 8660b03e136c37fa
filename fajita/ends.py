"""Where the packets of a run come from and go to, as the options of the command line say: a capture, or ports."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fajita.errors import InputError

if TYPE_CHECKING:
    from fajita.live import Ports

_EXAMPLE = "--in PORT --out PORT, or --inside PORT --outside PORT"


@dataclass(frozen=True)
class Ends:
    """The options, each None where it is not given. out: a file with --pcap, a port with --dpdk."""

    pcap: Path | None
    dpdk: str | None
    out: str | None
    in_port: str | None
    inside: str | None
    outside: str | None
    duration: str | None

    @property
    def is_live(self) -> bool:
        """Whether packets come from ports."""
        return self.dpdk is not None

    @property
    def files(self) -> list[Path]:
        """Those that are read."""
        return [] if self.pcap is None else [self.pcap]

    @property
    def out_file(self) -> str | None:
        """The capture that is written."""
        return None if self.is_live else self.out

    def check(self, of_captures: Mapping[str, object]) -> None:
        """InputError for options that do not go together. of_captures: those of captures alone, by their values."""
        if self.pcap is not None and self.is_live:
            raise InputError("--pcap and --dpdk", right="one of them: packets come from a capture or from ports")
        if self.pcap is None and not self.is_live:
            raise InputError("neither --pcap nor --dpdk", right=f'--pcap FILE, or --dpdk "EAL ARGUMENTS" {_EXAMPLE}')
        if not self.is_live:
            given = {"--in": self.in_port, "--inside": self.inside, "--outside": self.outside}
            for option, text in (given | {"--duration": self.duration}).items():
                if text is not None:
                    raise InputError(f"{option} is for live runs", right="give --dpdk too, or leave it out")
            return
        for option, value in of_captures.items():
            if value:
                raise InputError(f"{option} is for captures", right="leave it out with --dpdk")
        self._check_ports()

    def _check_ports(self) -> None:
        one_way, both_ways = (self.in_port, self.out), (self.inside, self.outside)
        if any(one_way) and any(both_ways):
            raise InputError("--in and --out go one way, --inside and --outside both", right=f"either {_EXAMPLE}")
        if not all(one_way) and not all(both_ways):
            raise InputError("--dpdk needs two ports", right=_EXAMPLE)

    def ports(self) -> "Ports":
        """The ports of a live run."""
        from fajita.live import Ports

        if self.inside is not None and self.outside is not None:
            return Ports(self.inside, self.outside, True, ("--inside", "--outside"))
        assert self.in_port is not None
        assert self.out is not None
        return Ports(self.in_port, self.out, False)
