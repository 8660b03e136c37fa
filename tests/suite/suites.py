"""Suites for tests: small ones, written into a folder with a chain beside them."""

from pathlib import Path

THROUGHPUT = """\
title: Few
about: What a <suite> is like.
experiments:
  - name: few-flows
    title: Few flows
    vary:
      flows: [3, 20]
      tuning: [everything, without prefetch]
    fixed: {chain: one.yaml, packets: 64, repeat: 2}
    quick: {flows: [2], packets: 32, repeat: 1}
    figure: {x: flows, lines: tuning}
    paper:
      - {name: theirs, x: [3, 20], y: [4.0, 2.0]}
"""


def write(folder: Path, text: str = THROUGHPUT, name: str = "few") -> Path:
    (folder / "one.yaml").write_text("nfs: [flow_counter]\n")
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path
