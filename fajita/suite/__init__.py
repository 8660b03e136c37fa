"""Suites of benchmarks: files that say what varies, what is measured and what is drawn, and what runs them.

definition.py reads a suite, run.py goes through its experiments, each of which is measured by the file of its kind
(throughput.py, latency.py, startup.py, ingest.py, imbalance.py); page.py puts results, figures and the machine's
description together.
"""
