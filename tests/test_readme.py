"""What the README tells people to paste works, and is as short as it says."""

import re
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def pasted(tmp_path: Path) -> Path:
    """A folder with the README's first NF, its chain, and a small trace."""
    first_nf, chain = blocks("python")[0], blocks("yaml")[0]
    (tmp_path / "syn_counter.py").write_text(first_nf)
    (tmp_path / "syn.yaml").write_text(chain)
    fajita(tmp_path, "gen", "trace.pcap", "--flows", "320", "--packets", "1000", "--order", "roundrobin")
    return tmp_path


def fajita(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "fajita", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_first_nf_has_at_most_15_lines() -> None:
    assert len(blocks("python")[0].splitlines()) <= 15


def test_first_nf_runs_and_exports_as_parquet(pasted: Path) -> None:
    command = re.search(r"^\.venv/bin/fajita (run syn.yaml .*)$", README, re.MULTILINE)
    assert command is not None
    fajita(pasted, *command[1].split())
    state = pandas.read_parquet(pasted / "state" / "syn_counter.parquet")
    assert list(state.columns) == ["src", "packets", "syns"]
    assert state["packets"].sum() == 1000
    assert len(state) == 320 // 16  # a client has 16 flows
    look = re.search(r'^\.venv/bin/python -c "(import pyarrow.*)"$', README, re.MULTILINE)
    assert look is not None
    done = subprocess.run([sys.executable, "-c", look[1]], cwd=pasted, capture_output=True, text=True, check=True)
    assert done.stdout.count("'packets'") == 5


def test_engines_agree_on_the_first_nf(pasted: Path) -> None:
    assert "no difference in 1,000 packets" in fajita(pasted, "verify", "syn.yaml", "--pcap", "trace.pcap")


def test_first_nf_runs_from_python(pasted: Path) -> None:
    script = blocks("python")[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=pasted, capture_output=True, text=True, check=True)
    assert "'in': 1000" in done.stdout
    assert "syns" in done.stdout
