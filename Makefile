# The two commands of the README. PYTHON chooses another interpreter, from 3.11 on.
PYTHON ?= python3
VENV ?= .venv

.PHONY: run test environment dpdk

# Make a trace of a million packets and run the chain `three` on it.
run: $(VENV)/fajita
	$(VENV)/bin/fajita gen trace.pcap --flows 10000 --packets 1000000
	$(VENV)/bin/fajita run chains/three.yaml --pcap trace.pcap

# All but the first line run traffic through kernels that check the bounds of every load and store. These are the same
# however much LLVM optimises, which the first line has it do; compiled without, it is done in half the time.
test: $(VENV)/development
	$(VENV)/bin/python -m pytest -n auto --dist worksteal
	NUMBA_OPT=0 FAJITA_CHECK_BOUNDS=1 FAJITA_EXAMPLES=10 $(VENV)/bin/python -m pytest -n auto --dist worksteal \
		tests/test_differential.py tests/kernel/test_tunnels.py tests/kernel/test_tunnel_fields.py tests/io/test_pcap.py \
		tests/io/test_pcapng.py tests/test_workers.py::test_engines_agree_on_many_flows tests/engine/test_live.py \
		tests/dpdk/test_mbufs.py

environment: $(VENV)/development

# Build what `fajita run --dpdk` needs, with the DPDK that pkg-config finds.
dpdk: $(VENV)/development
	$(VENV)/bin/python -m fajita.dpdk.build

$(VENV)/fajita: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --editable .
	touch $@

$(VENV)/development: $(VENV)/fajita
	$(VENV)/bin/pip install --quiet --editable '.[dev]'
	touch $@
