"""Chains from YAML: what they give, and the file and line of every mistake."""

from pathlib import Path

import pytest

from fajita.chain import Chain
from fajita.chain_file import load_chain
from fajita.errors import InputError
from fajita.quantities import RateValue
from fajita.settings import Settings
from tests.chains import example_chains

EXAMPLES = Path(__file__).parents[1] / "chains"
LIMITER = "- rate_limiter: {rate: 1Gbps, burst: 64kB"


def load(folder: Path, text: str) -> Chain:
    path = folder / "chain.yaml"
    path.write_text(text)
    return load_chain(path)


def refused(folder: Path, text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        load(folder, text)
    assert str(caught.value).isprintable()
    return caught.value


def test_three_as_in_the_design() -> None:
    chain = load_chain(EXAMPLES / "three.yaml")
    assert (chain.name, chain.settings.other) == ("three", "pass")
    assert [nf.name for nf in chain.nfs] == ["flow_counter", "load_balancer", "rate_limiter"]
    assert chain.nfs[1].params()["servers"] == [0x0A000001, 0x0A000002, 0x0A000003]
    assert chain.nfs[2].params()["rate"] == RateValue(10**9, "bps")
    assert chain.nfs[2].timeout_ns == 30 * 10**9
    assert len(chain.plan.tables) == 1


@pytest.mark.parametrize("path", example_chains(), ids=lambda path: path.stem)
def test_example_can_be_planned_and_says_what_it_is_for(path: Path) -> None:
    chain = Chain.load(path)
    assert chain.name == path.stem
    assert len(chain.plan.nfs) == len(chain.nfs)
    assert path.read_text().startswith("# ")


def test_defaults_and_settings(tmp_path: Path) -> None:
    chain = load(tmp_path, f"nfs:\n- flow_counter\n{LIMITER}, as: mine, key: source, timeout: 2min}}\n- mac_swap:\n")
    assert (chain.name, chain.settings.other) == ("chain", "pass")
    assert [nf.name for nf in chain.nfs] == ["flow_counter", "mine", "mac_swap"]
    assert [str(nf.granularity) for nf in chain.nfs] == ["five_tuple", "source", "None"]
    assert [nf.timeout_ns for nf in chain.nfs] == [None, 120 * 10**9, None]


def test_name_other_and_a_byte_order_mark(tmp_path: Path) -> None:
    chain = load(tmp_path, "\ufeffname: my chain\nother: drop\nfragments: flow\nnfs: [mac_swap]\n")
    assert (chain.name, chain.settings.other, chain.settings.fragments) == ("my chain", "drop", "flow")


def test_when_flows_end_and_how_many_there_may_be(tmp_path: Path) -> None:
    chain = load(tmp_path, "timeout: 90s\ncapacity: 10_000\nfull: evict\nnfs: [flow_counter]\n")
    assert chain.settings == Settings(timeout_ns=90 * 10**9, capacity=10_000, full="evict")
    assert chain.plan.nfs[0].timeout_ns == 90 * 10**9


def test_inner_is_a_truth_value(tmp_path: Path) -> None:
    assert load(tmp_path, "nfs: [mac_swap]\ninner: true\n").settings.inner
    assert not load(tmp_path, "nfs: [mac_swap]\n").settings.inner


def test_own_nf_relative_to_the_chain(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from fajita import NF, PASS\n\n\nclass TTLLimit(NF):\n    class Params:\n        ttl: int\n\n"
        "    def packet(self, pkt):\n        return PASS if pkt.ttl > self.ttl else pkt.drop('ttl')\n"
    )
    chain = load(tmp_path, "nfs:\n- ./own.py:TTLLimit: {ttl: 3}\n- own:TTLLimit: {ttl: 4, as: second}\n")
    assert [(nf.name, nf.params()) for nf in chain.nfs] == [("ttl_limit", {"ttl": 3}), ("second", {"ttl": 4})]
    assert len(chain.plan.nfs) == 2


@pytest.mark.parametrize(
    ("text", "line", "what", "right"),
    [
        # Not YAML, or more of YAML than a chain may have.
        ("a: b: c\n", 1, "cannot read the YAML: mapping values are not allowed here", ""),
        ("nfs:\n\t- x\n", 2, "cannot read the YAML: found character '\\t'", "indent with spaces"),
        ("nfs: [flow_counter\n", 2, "cannot read the YAML: expected ',' or ']'", ""),
        ("nfs:\n- x: \x01\n", 2, "cannot read the YAML: the character 0x1 is not allowed", ""),
        ("nfs: [mac_swap]\n---\nnfs: []\n", 2, "cannot read the YAML: but found another document", ""),
        ("name: &a x\nother: *a\n", 2, "cannot read the YAML: the alias *a is not supported", ""),
        ("nfs:\n" + "[" * 500, 2, "cannot read the YAML: nested deeper than 20 levels", ""),
        ("nfs: !mine [mac_swap]\n", 1, "cannot read the YAML: the tag !mine is not supported", ""),
        ("nfs:\n- !!python/name:os.system x\n", 2, "cannot read the YAML: could not determine a constructor", ""),
        ("nfs:\n- 2024-13-45\n", 2, "2024-13-45 cannot be read as YAML: month", "put it in quotes"),
        # YAML 1.1 reads these as something else than they look.
        ("nfs: [mac_swap]\nother: no\n", 2, "YAML reads no as a truth value, false", "write false, or 'no'"),
        ("nfs:\n- rate_limiter:\n    burst: 1:30\n", 3, "YAML reads 1:30 in base 60, 90", "write 90, or '1:30'"),
        ("nfs:\n- rate_limiter:\n    burst: 010\n", 3, "YAML reads 010 in base 8, 8", "write 8, or '010'"),
        # The top level.
        ("- flow_counter\n", 1, "the chain is a list where a mapping is needed", "for example: nfs:"),
        ("flow_counter\n", 1, "the chain is `flow_counter` where a mapping is needed", "for example: nfs:"),
        ("nfs: [mac_swap]\nothr: drop\n", 2, "a chain has no setting othr", "did you mean other?"),
        ("nfs: [mac_swap]\n3: drop\n", 2, "a key is `3` where text is needed", ""),
        ("nfs: [mac_swap]\n? [a]\n: b\n", 2, "a key is a list where text is needed", ""),
        ("nfs: [mac_swap]\nname: x\nname: y\n", 3, "name stands twice in the same mapping, first in line 2", ""),
        ("nfs: [mac_swap]\nother: maybe\n", 2, "other is 'maybe'", "pass or drop"),
        ("nfs: [mac_swap]\nfull: evct\n", 2, "full is 'evct'", "drop or bypass or evict"),
        ("nfs: [mac_swap]\ncapacity: 0\n", 2, "capacity is 0", "a number of flows, 1 to 2,147,483,648"),
        ("nfs: [mac_swap]\ncapacity: 10k\n", 2, "capacity is '10k'", "a number of flows"),
        ("nfs: [mac_swap]\nfull: evict\ncapacity: 1.5\n", 3, "capacity is 1.5", "a number of flows"),
        ("nfs: [mac_swap]\ncapacity: [3]\n", 2, "capacity is [3]", "a number of flows"),
        ("nfs: [mac_swap]\ntimeout: 30\n", 2, "timeout of the chain: 30 is not a quantity such as 30s", ""),
        ("nfs: [mac_swap]\ntimeout: 0s\n", 2, "timeout of the chain is 0s", "more than 0"),
        ("nfs: [mac_swap]\ntimeout:\n", 2, "timeout has no value", "give one or leave it out"),
        ("nfs: [mac_swap]\ncapacity:\n", 2, "capacity has no value", "give one or leave it out"),
        ("nfs: [mac_swap]\ntimout: 3s\n", 2, "a chain has no setting timout", "did you mean timeout?"),
        ("nfs: [mac_swap]\nfragments: hold\n", 2, "fragments is 'hold'", "pass or flow or drop"),
        ("nfs: [mac_swap]\ninner: vxlan\n", 2, "inner is 'vxlan'", "true or false"),
        ("nfs: [mac_swap]\ninner: 1\n", 2, "inner is 1", "true or false"),
        ("nfs: [mac_swap]\ninner:\n", 2, "inner has no value", "give one or leave it out"),
        ("nfs: [mac_swap]\nname: 3\n", 2, "name is `3` where text is needed", "put it in quotes"),
        ("nfs: [mac_swap]\nname: ''\n", 2, "the chain's name is empty", ""),
        ('nfs: [mac_swap]\nname: "a\\nb"\n', 2, "name is `a\\nb`, with characters that cannot be shown", ""),
        ("name: x\n", 1, "the chain has no list of network functions", "for example: nfs:"),
        ("name: x\nnfs: []\n", 2, "nfs has to be a list of at least one network function", "for example: nfs:"),
        ("name: x\nnfs: mac_swap\n", 2, "nfs has to be a list of at least one network function", "for example: nfs:"),
        # Items.
        ("nfs:\n- mac_swap\n- 3\n", 3, "the name of a network function is `3` where text is needed", ""),
        ("nfs:\n- mac_swap\n-\n", 3, "the name of a network function is empty where text is needed", ""),
        ("nfs:\n- mac_swap\n- [mac_swap]\n", 3, "the name of a network function is a list where text", ""),
        ("nfs:\n- mac_swop\n", 2, "there is no network function mac_swop", "did you mean mac_swap?"),
        ("nfs:\n- mac_swap\n- ./absent.py:Own\n", 3, "there is no file ./absent.py", "looked for"),
        ("nfs:\n- rate_limiter:\n  rate: 1Gbps\n", 2, "an item of nfs has 2 keys: rate_limiter, rate", "indent the"),
        ("nfs:\n- {}\n", 2, "an item of nfs has 0 keys: none", "for example: - flow_counter"),
        ("nfs:\n- flow_counter: 3\n", 2, "what flow_counter is given is `3` where a mapping is needed", ""),
        ("nfs:\n- flow_counter: [3]\n", 2, "what flow_counter is given is a list where a mapping is needed", ""),
        ("nfs:\n- mac_swap\n- mac_swap\n", 3, "the name mac_swap stands twice in the chain, first in line 2", "give"),
        ("nfs:\n- flow_counter: {as: x}\n- mac_swap: {as: x}\n", 3, "the name x stands twice", "give this one another"),
        # Settings of every NF.
        ("nfs:\n- flow_counter:\n    as: a/b\n", 3, "'a/b' cannot be the name of a network function", "letters"),
        ("nfs:\n- flow_counter:\n    as: 3\n", 3, "3 cannot be the name of a network function", "letters"),
        ("nfs:\n- flow_counter:\n    as:\n", 3, "as has no value", "give one"),
        ("nfs:\n- flow_counter:\n    name: x\n", 3, "flow_counter has no parameter name", "`as:`"),
        ("nfs:\n- flow_counter:\n    key: sorce\n", 3, "there is no key sorce", "did you mean source?"),
        ("nfs:\n- flow_counter:\n    key: [source]\n", 3, "key is a list where text is needed", ""),
        (
            "nfs:\n- source_counter:\n    key: destination\n",
            3,
            "SourceCounter cannot be keyed by 'destination'",
            "one of",
        ),
        ("nfs:\n- mac_swap:\n    key: source\n", 3, "MacSwap cannot be keyed by 'source'", "it takes no key"),
        ("nfs:\n- flow_counter:\n    timeout: 30\n", 3, "timeout of FlowCounter: 30 is not a quantity such as 30s", ""),
        ("nfs:\n- flow_counter:\n    timeout: 0s\n", 3, "timeout of FlowCounter is 0s", "more than 0"),
        ("nfs:\n- flow_counter:\n    timeout:\n", 3, "timeout has no value", "give one"),
        ("nfs:\n- mac_swap:\n    timeout: 1s\n", 3, "MacSwap keeps no state per key", ""),
        # Parameters.
        ("nfs:\n- flow_counter:\n    self: 1\n", 3, "FlowCounter has no parameter self", "its parameters: records"),
        ("nfs:\n- mac_swap\n- rate_limiter:\n    rate: 1Gbps\n", 3, "RateLimiter needs the parameter burst", "its"),
        (
            "nfs:\n- rate_limiter:\n    rate: 1Gbps\n    brst: 64kB\n",
            4,
            "RateLimiter has no parameter brst",
            "its parameters: rate, burst; settings: key, timeout",
        ),
        (
            "nfs:\n- rate_limiter:\n    rate: 1Gbps\n    rate: 2Gbps\n",
            4,
            "rate stands twice in the same mapping, first in line 3",
            "delete one",
        ),
        (
            "nfs:\n- rate_limiter:\n    burst: 64kB\n    rate: 1Gbit\n",
            4,
            "parameter rate of RateLimiter: '1Gbit' is not a quantity such as 1Gbps",
            "",
        ),
        (
            "nfs:\n- load_balancer:\n    servers:\n    - 10.0.0.1\n    - 10.0.0\n",
            5,
            "parameter servers.1 of LoadBalancer: '10.0.0' is not an IPv4 address",
            "",
        ),
        (
            "nfs:\n- mac_swap\n- rate_limiter:\n    rate: 1Gbps\n    burst: 64\n",
            3,
            "RateLimiter: burst does not fit a rate in bps",
            "",
        ),
    ],
)
def test_mistake_has_its_line(tmp_path: Path, text: str, line: int, what: str, right: str) -> None:
    error = refused(tmp_path, text)
    assert error.what.startswith(what)
    assert error.where == f"{tmp_path / 'chain.yaml'}:{line}"
    assert error.right.startswith(right)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_empty_file(tmp_path: Path, text: str) -> None:
    error = refused(tmp_path, text)
    assert error.where.startswith(str(tmp_path / "chain.yaml"))
    assert error.right


def test_mistake_in_an_own_nf_names_its_file_not_the_chain(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("x = 1\nx ==\n")
    error = refused(tmp_path, "nfs:\n- ./own.py:Own\n")
    assert error.where == f"{tmp_path / 'own.py'}:2"


def test_prepare_that_fails_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from fajita import NF, PASS\n\n\nclass Own(NF):\n    def prepare(self):\n        {}['x']\n\n"
        "    def packet(self, pkt):\n        return PASS\n"
    )
    error = refused(tmp_path, "nfs:\n- ./own.py:Own\n")
    assert error.what == "Own.prepare failed: KeyError: 'x'"
    assert error.where == f"{tmp_path / 'own.py'}:6"


def test_billion_laughs_is_refused_before_it_grows(tmp_path: Path) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30)]
    error = refused(tmp_path, "\n".join(["l0: &l0 [x]", *levels]))
    assert error.what == "cannot read the YAML: the alias *l0 is not supported"


@pytest.mark.parametrize(("content", "line", "offset"), [(b"\xff\xfen\0f\0", 1, 0), (b"name: a\nother: \xe9\n", 2, 15)])
def test_file_that_is_not_utf_8(tmp_path: Path, content: bytes, line: int, offset: int) -> None:
    path = tmp_path / "chain.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_chain(path)
    assert caught.value.what == f"byte {offset} is not UTF-8"
    assert caught.value.where == f"{path}:{line}"


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        load_chain(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_chain(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        load_chain("nul\0.yaml")
