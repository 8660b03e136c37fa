"""Declaring and making NFs: what their classes must be, and their parameters, keys, names and timeouts."""

from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.errors import InputError
from fajita.key import destination, five_tuple, source
from fajita.nf import NF, PASS, ParameterError, snake_case
from fajita.quantities import Duration, IPv4, Rate, RateValue
from fajita.state_types import Array, StateType, flag, i8, ipv4, u8, u16, u32, u64


class Counter(NF):
    """A well-formed NF."""

    key = five_tuple
    keys = (source,)

    class Params:
        rate: Rate
        servers: list[IPv4] = ["10.0.0.1"]  # noqa: RUF012 - as a user writes it
        idle: Duration = "1s"  # type: ignore[assignment]
        share: int = 1

    class State:
        packets: u64
        port: u16
        seen: flag

    class Core:
        turn: i8

    def prepare(self) -> None:
        if self.share > 100:  # type: ignore[attr-defined]
            raise ValueError("share is over 100")
        self.doubled = 2 * self.share  # type: ignore[attr-defined]

    def packet(self, pkt: Any, state: Any) -> int:
        return PASS


class Stateless(NF):
    def packet(self, pkt: Any) -> int:
        return PASS


def declare(name: str = "Wrong", **members: Any) -> type[NF]:
    return type(name, (NF,), {"packet": lambda self, pkt: PASS, **members})


def inner(types: dict[str, Any], **values: Any) -> type:
    return type("Inner", (), {"__annotations__": types, **values})


@pytest.mark.parametrize("name", ["emit", "lands_here"])
def test_names_that_are_fajitas_own(name: str) -> None:
    with pytest.raises(InputError, match=rf"Wrong\.{name} has a name that the NF uses itself; choose another"):
        declare(**{name: lambda self, state: None})
    with pytest.raises(InputError, match=rf"Wrong\.Params\.{name} has a name that the NF uses itself"):
        declare(Params=inner({name: int}))


def test_fields_are_known_by_type_and_order() -> None:
    assert list(Counter.state_fields.items()) == [
        ("packets", StateType("u64", 8)),
        ("port", StateType("u16", 2)),
        ("seen", StateType("flag", 1, shown="bool")),
    ]
    assert Counter.core_fields == {"turn": StateType("i8", 1, signed=True)}


@pytest.mark.parametrize("kind", [u16, u32, u64, i8, flag, ipv4])
def test_dtype_has_the_size_and_sign_of_the_field(kind: Any) -> None:
    (state_type,) = kind.__metadata__
    assert np.dtype(state_type.dtype).itemsize == state_type.bytes
    assert np.dtype(state_type.dtype).kind == ("i" if state_type.signed else "u")


def test_parameters_become_attributes_in_the_units_of_the_nf() -> None:
    nf: Any = Counter(rate="1Gbps")
    assert nf.params() == {"rate": RateValue(10**9, "bps"), "servers": [0x0A000001], "idle": 10**9, "share": 1}
    assert nf.doubled == 2
    assert (nf.name, nf.granularity, nf.timeout_ns) == ("counter", five_tuple, None)


def test_settings() -> None:
    nf = Counter(rate="1Gbps", name="mine_2", key="source", timeout="30s")
    assert (nf.name, nf.granularity, nf.timeout_ns) == ("mine_2", source, 30 * 10**9)
    assert Counter(rate="1Gbps", key=source).granularity is source


def test_subclass_inherits_its_declarations() -> None:
    class Heir(Counter):
        pass

    assert Heir(rate="1Gbps").name == "heir"
    assert Heir.state_fields == Counter.state_fields
    assert list(Heir.params_model.model_fields) == ["rate", "servers", "idle", "share"]


@pytest.mark.parametrize(
    ("options", "path", "what"),
    [
        ({}, ("rate",), "Counter needs the parameter rate"),
        ({"rat": "1Gbps"}, ("rat",), "Counter has no parameter rat"),
        ({"self": "1Gbps"}, ("self",), "Counter has no parameter self"),
        ({"rate": 1}, ("rate",), "parameter rate of Counter: 1 is not a quantity such as 1Gbps"),
        ({"rate": "1Gbps", "share": "1"}, ("share",), "parameter share of Counter: Input should be a valid integer"),
        ({"rate": "1Gbps", "share": True}, ("share",), "parameter share of Counter: Input should be a valid integer"),
        ({"rate": "1Gbps", "servers": ["10.0.0.1", "x"]}, ("servers", 1), "parameter servers.1 of Counter: 'x' is not"),
        ({"rate": "1Gbps", "name": ""}, ("name",), "'' cannot be the name of a network function"),
        ({"rate": "1Gbps", "key": "destination"}, ("key",), "Counter cannot be keyed by 'destination'"),
        ({"rate": "1Gbps", "key": destination}, ("key",), "Counter cannot be keyed by 'destination'"),
        ({"rate": "1Gbps", "timeout": "30"}, ("timeout",), "timeout of Counter: '30' is not a quantity such as 30s"),
        ({"rate": "1Gbps", "timeout": "0s"}, ("timeout",), "timeout of Counter is 0s"),
    ],
)
def test_wrong_parameter_is_named(options: dict[str, Any], path: tuple[str | int, ...], what: str) -> None:
    # `self` as well is a name that a chain may give.
    with pytest.raises(ParameterError) as caught:
        Counter(**options)
    assert caught.value.path == path
    assert caught.value.what.startswith(what)


@pytest.mark.parametrize("name", ["a", "A", "a1", "my_nf_2", "LoadBalancer"])
def test_names_that_may_be_given(name: str) -> None:
    assert Stateless(name=name).name == name


@pytest.mark.parametrize("name", ["", "_a", "a_", "a__b", "1a", "a-b", "a b", "../a", "a\n", "é", "²", 3])
def test_names_that_could_not_stand_in_a_kernel_or_a_file_name(name: Any) -> None:
    with pytest.raises(ParameterError, match="cannot be the name of a network function"):
        Stateless(name=name)


def test_nf_without_state_takes_no_key_and_no_timeout() -> None:
    with pytest.raises(ParameterError, match="it takes no key"):
        Stateless(key="source")
    with pytest.raises(ParameterError, match="keeps no state per key, so it takes no timeout"):
        Stateless(timeout="1s")


def test_value_error_of_prepare_is_the_users_and_names_the_nf() -> None:
    with pytest.raises(InputError, match=r"^Counter: share is over 100$"):
        Counter(rate="1Gbps", share=101)


def test_other_error_of_prepare_names_the_line() -> None:
    class Fails(Stateless):
        def prepare(self) -> None:
            raise KeyError("x")

    line = Fails.prepare.__code__.co_firstlineno + 1
    with pytest.raises(InputError) as caught:
        Fails()
    assert caught.value.what == "Fails.prepare failed: KeyError: 'x'"
    assert caught.value.where == f"{__file__}:{line}"


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ({"key": "five_tuple"}, "Wrong.key is not a granularity"),
        ({"State": inner({"packets": u64})}, "Wrong has State but no key"),
        ({"key": five_tuple, "State": inner({"packets": int})}, "Wrong.State.packets has the type int"),
        ({"key": five_tuple, "State": inner({"rate": Rate})}, "Wrong.State.rate has the type"),
        ({"key": five_tuple, "State": inner({"packets": "u65"})}, "Wrong.State uses a type that is not known"),
        ({"key": five_tuple, "State": inner({}, packets=0)}, "Wrong.State.packets has no type"),
        ({"key": five_tuple, "State": inner({"packets": u64}, packets=7)}, "Wrong.State.packets has a default"),
        ({"Core": inner({"turn": u64}, turn=0)}, "Wrong.Core.turn has a default"),
        ({"Core": inner({"turn": float})}, "Wrong.Core.turn has the type float"),
        ({"Core": inner({}, turn=0)}, "Wrong.Core.turn has no type"),
        ({"Params": inner({}, rate="1Gbps")}, "Wrong.Params.rate has no type"),
        ({"Params": inner({"rate": "Rat"})}, "Wrong.Params uses a type that is not known"),
        ({"packet": None}, "Wrong has no method packet"),
        *(
            ({"Params": inner({name: int})}, f"Wrong.Params.{name} has a name that the NF uses itself")
            for name in ("name", "key", "timeout", "core", "packet", "summary", "params")
        ),
    ],
)
def test_class_that_cannot_be_an_nf(members: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError) as caught:
        declare(**members)
    assert caught.value.what.startswith(what)
    assert caught.value.right


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("newflow", "new_flow"),
        ("on_packet", "packet"),
        ("expired", "expire"),
        ("prepared", "prepare"),
        ("summarize", "summary"),
    ],
)
def test_method_that_is_almost_a_hook(name: str, near: str) -> None:
    with pytest.raises(InputError) as caught:
        declare(**{name: lambda self: None})
    assert caught.value.what == f"Wrong.{name} is not called by fajita"
    assert caught.value.right == f"did you mean {near}?"


@pytest.mark.parametrize(
    ("name", "near"), [("state", "State"), ("States", "State"), ("CORE", "Core"), ("Parameters", "Params")]
)
def test_inner_class_that_is_almost_a_declaration(name: str, near: str) -> None:
    with pytest.raises(InputError, match=rf"Wrong\.{name} is not used by fajita; did you mean {near}\?"):
        declare(**{name: inner({"packets": u64})})


def test_other_members_have_whatever_name_they_like() -> None:
    class Own(Stateless):
        class Table:
            pass

        expired = 3

        def prepare(self) -> None:
            self.packets()

        def packets(self) -> None:
            """Called, so that its name is no mistake."""

        def _new_flow(self) -> None:
            pass

        def weigh(self) -> None:
            pass

    assert Own().name == "own"


def test_class_without_packet() -> None:
    with pytest.raises(InputError, match="Empty has no method packet; write: def packet"):
        type("Empty", (NF,), {})


def test_mistake_in_a_class_names_its_file_and_line() -> None:
    with pytest.raises(InputError) as caught:

        class WithoutKey(NF):
            class State:
                packets: u64

            def packet(self, pkt: Any, state: Any) -> int:
                return PASS

    assert caught.value.where.startswith(f"{__file__}:")
    line = int(caught.value.where.rpartition(":")[2])
    with open(__file__) as file:
        assert file.readlines()[line - 1].strip() == "class WithoutKey(NF):"


def test_short_repr() -> None:
    assert repr(Counter(rate="1Gbps", name="mine")) == "Counter(mine by five_tuple)"
    assert repr(Stateless()) == "Stateless(stateless)"


def test_summary_counts_the_entries_unless_there_are_none() -> None:
    assert Counter(rate="1Gbps").summary(np.zeros(3, [("packets", "u8")]), {}) == {"entries": 3}
    assert Stateless().summary(np.zeros(0, [("packets", "u8")]), {}) == {}


def test_summary_has_the_core_variables() -> None:
    assert Counter(rate="1Gbps").summary(np.zeros(3, [("packets", "u8")]), {"turn": 2}) == {"entries": 3, "turn": 2}


class TestSnakeCase:
    CASES: ClassVar = {
        "NF": "nf",
        "FlowCounter": "flow_counter",
        "MyNF": "my_nf",
        "NAT": "nat",
        "TTLLimit": "ttl_limit",
    }

    @pytest.mark.parametrize(("name", "expected"), CASES.items())
    def test_words(self, name: str, expected: str) -> None:
        assert snake_case(name) == expected

    @given(st.lists(st.from_regex(r"[A-Z][a-z]+", fullmatch=True), min_size=1))
    def test_capitalized_words_are_joined_by_underscores(self, words: list[str]) -> None:
        assert snake_case("".join(words)) == "_".join(words).lower()


def test_a_class_may_have_a_timeout_that_the_chain_can_change() -> None:
    patient = declare(key=source, timeout="15s", packet=lambda self, pkt, state: PASS)
    assert patient().timeout_ns == 15 * 10**9
    assert patient(timeout="1min").timeout_ns == 60 * 10**9
    assert Counter(rate="1Gbps").timeout_ns is None
    with pytest.raises(InputError, match="Wrong has timeout but no key; for example: key = five_tuple"):
        declare(timeout="15s")


@pytest.mark.parametrize("kind", [u16, Array[u8, 4]])
def test_why_a_state_ends_is_told_in_one_byte(kind: Any) -> None:
    assert declare(key=source, Core=inner({"ended_by": u8})).core_fields["ended_by"].bytes == 1
    with pytest.raises(InputError, match=r"Wrong.Core.ended_by has no type for it; use Max\[u8\]"):
        declare(key=source, Core=inner({"ended_by": kind}))
