import traceback

from fajita import NF, PASS, Packet, five_tuple, u64
from fajita.reference.integer import Int64
from fajita.reference.method import NFView, load_method
from fajita.reference.record import Record, record_class
from fajita.splitmix import SplitMix

SHIFT = 70


class Arithmetic(NF):
    key = five_tuple

    class Params:
        big: int = 1 << 62
        values: list[int]
        kind: str = "x"

    class State:
        result: u64

    class Core:
        turn: u64

    def packet(self, pkt: Packet, state: State) -> int:
        state.result = 1 << 70
        state.result += 1 << SHIFT
        state.result += (7 // 0) + self.values[-1] + self.values[len(self.values)]
        for step in range(2):
            state.result += step << 64
        if self.kind == "x":
            self.core.turn = self.big * 4 + 2
        return PASS

    def new_flow(self, pkt: Packet, state: State) -> None:
        state.result = self.values[0] + 5
        state.missing = 1


def _load(name: str):
    nf = Arithmetic(values=[3, 4])
    core = record_class("Core", Arithmetic.core_fields)()
    method = load_method(nf, name)
    assert method is not None
    state = record_class("State", Arithmetic.state_fields)()
    return method, _view(nf, core), state


def _view(nf: NF, core: Record) -> NFView:
    return NFView(nf, core, lambda state: None, lambda *fields: True, SplitMix(nf.name))


def test_every_integer_in_a_method_has_64_bits():
    method, view, state = _load("packet")
    assert method(view, None, state) == PASS
    assert state.result == 64 + 64 + 0 + 1
    assert view.core.turn == 2


def test_a_method_that_an_nf_has_not_is_none():
    assert load_method(Arithmetic(values=[3, 4]), "expire") is None


def test_errors_point_into_the_users_file():
    method, view, state = _load("new_flow")
    try:
        method(view, None, state)
    except AttributeError as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
    assert (last.filename, last.line) == (__file__, "state.missing = 1")


def test_the_nf_itself_is_left_as_it_was():
    nf = Arithmetic(values=[3, 4])
    view = _view(nf, record_class("Core", Arithmetic.core_fields)())
    assert type(view.big) is Int64
    assert view.values[2] == 0
    assert type(nf.big) is int
    assert type(nf.values) is list
    assert not hasattr(nf, "core")
