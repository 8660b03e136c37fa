import pytest

from fajita.errors import InputError, nearest


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("no such file",), "no such file"),
        (("no such file", "chain.yaml:3"), "chain.yaml:3: no such file"),
        (("no such file", "", "give one that is there"), "no such file; give one that is there"),
        (("no such file", "chain.yaml:3", "give another"), "chain.yaml:3: no such file; give another"),
    ],
)
def test_the_message_says_where_what_and_what_would_be_right(parts, message):
    error = InputError(*parts)
    assert str(error) == message
    assert (error.what, error.where, error.right) == (*parts, "", "")[:3]
    assert error.run is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mac_swop", "did you mean mac_swap?"),
        ("counter", "did you mean flow_counter or source_counter?"),
        ("zzz", "known: flow_counter, mac_swap, source_counter"),
        ("", "known: flow_counter, mac_swap, source_counter"),
    ],
)
def test_the_nearest_names_or_all(name, text):
    assert nearest(name, {"source_counter", "flow_counter", "mac_swap"}) == text


def test_nothing_is_near_where_nothing_is_known():
    assert nearest("a", []) == "known: none"
