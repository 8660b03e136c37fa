"""What docs/ says of writing NFs, of chains and of Python is so, and its examples run."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from fajita import Chain
from fajita.key import KEYS, find_key
from fajita.packet import FACTS, FIELDS, FLAGS, FLOW_PORTS, FORWARD, FRAME, METADATA, QUOTED, RELATED, SEQUENCES, TESTS
from fajita.quantities import parse_duration, parse_rate, parse_size
from fajita.verify import both_engines, verify_blocks
from tests.command import call, call_process, write_capture
from tests.traffic import many_flows

ROOT = Path(__file__).parents[1]
WRITING, CHAINS, PYTHON = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("writing-nfs", "chains", "python"))
README = (ROOT / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def section(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


@pytest.fixture
def pasted(tmp_path: Path) -> Path:
    """A folder with the example NF, the example chains and a capture of two packets of each of 500 flows."""
    (tmp_path / "quota.py").write_text(blocks(WRITING, "python")[0])
    (tmp_path / "quota.yaml").write_text(blocks(WRITING, "yaml")[0])
    (tmp_path / "edge.yaml").write_text(blocks(CHAINS, "yaml")[0])
    write_capture(tmp_path / "trace.pcap", many_flows(500, 2).frames)
    return tmp_path


def example(name: str) -> str:
    """The file of an example NF."""
    (source,) = (block for block in blocks(WRITING, "python") if f"class {name}(NF)" in block)
    return source


def test_engines_agree_on_the_example_about_errors(tmp_path: Path) -> None:
    (tmp_path / "related.py").write_text(example("Related"))
    (tmp_path / "related.yaml").write_text("nfs: [./related.py:Related]\n")
    packets = many_flows(500, 2).blocks()
    assert verify_blocks(Chain.load(tmp_path / "related.yaml").plan, packets).difference is None


def test_engines_agree_on_the_example_with_arrays(tmp_path: Path) -> None:
    (tmp_path / "sketch.py").write_text(example("Sketch"))
    (tmp_path / "sketch.yaml").write_text("nfs:\n- ./sketch.py:Sketch: {width: 1024}\n")
    packets = many_flows(500, 2).blocks()
    assert verify_blocks(Chain.load(tmp_path / "sketch.yaml").plan, packets).difference is None


@pytest.mark.parametrize("workers", [1, 3])
def test_engines_agree_on_the_example_that_asks_where_packets_land(tmp_path: Path, workers: int) -> None:
    (tmp_path / "masquerade.py").write_text(example("Masquerade"))
    (tmp_path / "masquerade.yaml").write_text("nfs:\n- ./masquerade.py:Masquerade: {address: 192.0.2.1}\n")
    plan, packets = Chain.load(tmp_path / "masquerade.yaml").plan, many_flows(500, 2).blocks()
    result = verify_blocks(plan, packets, partial(both_engines, cores=workers))
    assert (result.difference, result.packets) == (None, 1000)


@pytest.mark.parametrize("chain", ["quota.yaml", "edge.yaml"])
def test_engines_agree_on_the_example_chains(pasted: Path, chain: str) -> None:
    block = many_flows(500, 2).blocks()
    assert verify_blocks(Chain.load(pasted / chain).plan, block).difference is None


def test_example_nf_drops_what_it_says_and_keeps_what_expired(pasted: Path) -> None:
    (pasted / "strict.yaml").write_text("nfs:\n- ./quota.py:Quota: {allowance: 70B, key: source, timeout: 1s}\n")
    frame = many_flows(1, 1).frames[0]
    assert 35 < len(frame) <= 70
    capture = write_capture(pasted / "slow.pcap", [frame, frame], gap_us=1)
    run = Chain.load(pasted / "strict.yaml").run(capture)
    assert run.report["drops"] == {"quota": {"over quota": 1}}
    capture = write_capture(pasted / "slow.pcap", [frame, frame], gap_us=2_000_000)
    (summary,) = (nf["summary"] for nf in Chain.load(pasted / "strict.yaml").run(capture).report["nfs"])
    assert summary == {"connections": 2, "bytes": 2 * len(frame), "over": 0}


def test_python_examples_run_as_one_script(pasted: Path) -> None:
    script = "\n".join(blocks(PYTHON, "python"))
    done = subprocess.run([sys.executable, "-c", script], cwd=pasted, capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    for comment in ("{'in': 1000, 'out': 1000, 'dropped': 0, 'other': 0}", "(256, 128)", "1024", "None"):
        assert comment in PYTHON
        assert comment in said
    assert "[0 0]" in said


def test_fields_are_documented_as_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    printed = call(capsys, "fields").out
    assert blocks(WRITING, "text") == [printed]
    names = [line.split()[0] for line in printed.splitlines()[1:]]
    known = [*FIELDS, *QUOTED, *FACTS, *SEQUENCES, *FLOW_PORTS, *FLAGS, *TESTS, FORWARD, RELATED, *METADATA, FRAME]
    assert sorted(names) == sorted(known)


def test_fields_says_where_a_field_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    lines = {line.split()[0]: re.split(r"\s{2,}", line) for line in call(capsys, "fields").out.splitlines()}
    assert lines["src_port"][1:3] == ["TCP, UDP, SCTP", "TCP, UDP"]
    assert lines["ttl"][1:3] == ["IPv4, IPv6", "IPv4, IPv6"]
    assert lines["total_length"][1:3] == ["IPv4", "-"]


def test_every_key_is_documented_and_every_documented_key_is_one() -> None:
    documented = re.findall(r"^\| `([^`]+)` \|", section(CHAINS, "Keys"), re.MULTILINE)[1:]
    assert KEYS.keys() <= set(documented)
    for name in documented:
        assert find_key(name).name.split("(")[0] == name.split("(")[0]


@pytest.mark.parametrize(("kind", "parse"), [("rate", parse_rate), ("size", parse_size), ("time", parse_duration)])
def test_every_documented_unit_is_one(kind: str, parse) -> None:  # type: ignore[no-untyped-def]
    row = re.search(rf"^\| {kind} \| (.*) \|$", section(CHAINS, "Values"), re.MULTILINE)
    assert row is not None
    units = re.findall(r"`([^`]+)`", row[1])
    assert len(units) >= 7
    for unit in units:
        parse(f"3{unit}")


@pytest.mark.parametrize("document", ["README.md", "docs/writing-nfs.md", "docs/chains.md", "docs/python.md"])
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_readme_names_every_command() -> None:
    commands = re.findall(r"^  (\w+) +[A-Z]", call_process("--help").out.split("Commands:")[1], re.MULTILINE)
    assert len(commands) >= 8
    assert [name for name in commands if f"`fajita {name}" not in README] == []
