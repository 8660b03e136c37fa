"""What people see: whole tables, whatever is in the names, and errors in one line."""

import io
import os
import sys

import pytest

from fajita import console
from fajita.describe import describe
from fajita.errors import InputError
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap

REPORT = {
    "chain": "[/b] :smile: [red]",
    "engine": "compiled",
    "cores": 1,
    "packets": {"in": 1234567, "out": 1234560, "dropped": 7, "other": 3},
    "bytes": {"in": 10, "out": 9},
    "drops": {"nf": {"[/x] :-) reason": 4}, "other": {"arp": 3}},
    "other": {"arp": 3},
    "flows": {"created": 3, "active": 2, "expired": 1, "evicted": 0, "refused": 0},
    "tables": [
        {
            "key": "five_tuple",
            "entries": 2,
            "capacity": 768,
            "bytes": 3 << 20,
            "created": 3,
            "expired": 1,
            "evicted": 0,
            "refused": 0,
        }
    ],
    "memory": {"limit_bytes": 11 << 30, "used_bytes": 3 << 20},
    "nfs": [
        {
            "name": "n" * 60,
            "in": 9,
            "out": 2,
            "dropped": 7,
            "records": 0,
            "summary": {"[a]": 12345, "b": {"c": [1], "d": "x" * 90}},
        }
    ],
    "seconds": {"compile": 1.0, "read": 0.5, "process": 0.25, "write": 0.0, "total": 1.75},
    "mpps": 12.3456,
}


def test_a_report_stands_there_as_it_is(capsys):
    console.print_report(REPORT)
    assert capsys.readouterr().out.splitlines() == [
        "[/b] :smile: [red]: compiled engine, 1 core",
        "packets  1,234,567 in, 1,234,560 out, 7 dropped, 3 other",
        "bytes    10 in, 9 out",
        "flows    3 created, 2 active, 1 expired",
        "memory   3.0 MiB of at most 11.0 GiB for tables",
        "seconds  compile 1.000, read 0.500, process 0.250, write 0.000, total 1.750",
        "speed    12.35 Mpps (read, process and write)",
        "",
        f"nf{' ' * 59} in  out  dropped  summary",
        f"{'n' * 60}   9    2        7  [a] 12,345, b (c [1], d {'x' * 90})",
        "",
        "table       entries  capacity   memory",
        "five_tuple        2       768  3.0 MiB",
        "",
        "where  reason           packets",
        "nf     [/x] :-) reason        4",
        "other  arp                    3",
    ]


def test_records_have_a_column_where_there_are_any(capsys):
    nf = REPORT["nfs"][0]
    console.print_report(REPORT | {"nfs": [nf | {"name": "a", "records": 1234}, nf | {"name": "b"}]})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:5] for line in lines[8:11]] == [
        ["nf", "in", "out", "dropped", "records"],
        ["a", "9", "2", "7", "1,234"],
        ["b", "9", "2", "7", "0"],
    ]


def test_frames_of_no_nf_that_passed_are_told_too(capsys):
    console.print_report(REPORT | {"drops": {}, "tables": []})
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["where  reason  packets", "other  arp           3"]
    assert not any(line.startswith("table") for line in lines)
    console.print_report(REPORT | {"drops": {}, "other": {}})
    assert "where" not in capsys.readouterr().out


def test_flows_that_were_evicted_or_refused_are_told_where_there_are_some(capsys):
    (table,) = REPORT["tables"]
    tables = [table | {"refused": 1234}, table | {"key": "source", "bytes": 5 << 29}]
    console.print_report(REPORT | {"flows": REPORT["flows"] | {"refused": 1234}, "tables": tables})
    lines = capsys.readouterr().out.splitlines()
    assert "flows    3 created, 2 active, 1 expired, 1,234 refused" in lines
    at = next(number for number, line in enumerate(lines) if line.startswith("table "))
    assert [line.split() for line in lines[at : at + 3]] == [
        ["table", "entries", "capacity", "memory", "refused"],
        ["five_tuple", "2", "768", "3.0", "MiB", "1,234"],
        ["source", "2", "768", "2.5", "GiB", "0"],
    ]
    console.print_report(REPORT | {"tables": [table | {"evicted": 7, "refused": 5}]})
    assert "memory  evicted  refused" in capsys.readouterr().out


def test_memory_is_told_of_chains_that_have_tables(capsys):
    console.print_report(REPORT | {"tables": []})
    assert "memory" not in capsys.readouterr().out
    console.print_report(REPORT | {"memory": {"limit_bytes": None, "used_bytes": 100_000}})
    assert "\nmemory   0.1 MiB for tables\n" in capsys.readouterr().out


def test_measurements_are_never_folded(capsys):
    row = {"chain": "c" * 100, "flows": 1 << 20, "order": "uniform", "mpps": 10.5}
    console.print_measurements([row, row | {"flows": 1}])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [list(row), ["c" * 100, "1,048,576", "uniform", "10.5"], ["c" * 100, "1", "uniform", "10.5"]]


def test_an_error_is_one_line(capsys):
    console.complain(" a\n b\r\n\tc\x0b ")
    assert capsys.readouterr().err == "fajita: a b c\n"


def test_descriptions(capsys):
    console.print_description(describe("load_balancer", LoadBalancer))
    assert capsys.readouterr().out.endswith(
        """
key: five_tuple (or source)
parameters:
  servers: list of IPv4 address
  algorithm: round_robin or least_connections or hash or maglev; round_robin if left out
  weights: list of integer; [] if left out
  table_size: integer; 65537 if left out
  down: list of IPv4 address; [] if left out
  drop_down: true or false; false if left out
state per key:
  server: ipv4
  number: u16
variables per worker:
  turn: u32
  connections: Array[u32, "counted"]
"""
    )
    console.print_description(describe("mac_swap", MacSwap))
    assert capsys.readouterr().out.endswith("\n\nkey: none\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_chain_is_bold(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    console.print_report(REPORT)
    assert sys.stdout.getvalue().startswith("\x1b[1m[/b] :smile: [red]\x1b[0m: compiled engine")


@pytest.mark.parametrize("unit_is_bytes", [True, False])
def test_progress_only_on_a_terminal(monkeypatch, unit_is_bytes):
    for is_terminal, quiet in ((True, False), (True, True), (False, False)):
        stream = Terminal() if is_terminal else io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        with console.progress_bar("[/b] some", unit_is_bytes, quiet) as update:
            update(5, 10)
            update(6, None)
        assert ("[/b] some" in stream.getvalue()) == (is_terminal and not quiet)


def test_progress_of_frames_in_memory_shows_nothing():
    with console.reading_progress("chain", False) as progress:
        progress(None, 100)


def in_place_of_stdout(monkeypatch, descriptor: int) -> io.TextIOWrapper:
    stream = os.fdopen(descriptor, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


def test_standard_output_that_is_full(monkeypatch):
    with in_place_of_stdout(monkeypatch, os.open("/dev/full", os.O_WRONLY)):
        with pytest.raises(InputError, match="standard output: cannot write: No space left on device; write to a"):
            console.say("text")
        console.say("what follows goes nowhere, and at exit nothing is said")


def test_standard_output_that_nobody_reads(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with in_place_of_stdout(monkeypatch, writer), pytest.raises(console.ReaderGoneError):
        console.say("text")


def test_streams_that_are_closed_lead_nowhere(monkeypatch, capsys):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    console.prepare_streams()
    console.say("nothing")
    console.complain("nothing")
    for stream in (sys.stdout, sys.stderr):
        assert stream.name == os.devnull
        stream.close()
