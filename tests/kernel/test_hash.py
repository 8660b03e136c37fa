"""The hash against Python's integers of any size, and what the flow table needs of it."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.kernel.entry import compiled
from fajita.kernel.hash import HASHES, SOME_KEY, fold_multiply
from fajita.kernel.table import tag_of
from fajita.reference.integer import wrap
from tests.kernel.callees import Callees

HASH_NAMES = [f"hash_{words}" for words in HASHES]
CALLEES = Callees(
    {"fold_multiply": fold_multiply, "tag_of": tag_of} | dict(zip(HASH_NAMES, HASHES.values(), strict=True))
)
ENTER = CALLEES.enter
word64 = st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from((0, 1, 1 << 63, (1 << 64) - 1)))


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


def folded_product(left: int, right: int) -> int:
    product = left * right
    return (product >> 64) ^ (product & ((1 << 64) - 1))


@given(left=word64, right=word64)
def test_fold_multiply_is_the_unsigned_product_folded(call, left, right):
    assert call("fold_multiply", left, right) == wrap(folded_product(left, right))


def expected_hash(secret_0: int, secret_1: int, key: list[int]) -> int:
    folded = secret_0
    for first, second in zip(key[::2], [*key[1::2], 0], strict=False):
        folded = folded_product(folded ^ first, second ^ secret_1)
    return folded_product(folded, secret_0) | SOME_KEY


@given(secret_0=word64, secret_1=word64, key=st.lists(word64, min_size=1, max_size=len(HASHES)))
def test_hashes_are_the_folded_products_that_they_say(call, secret_0, secret_1, key):
    assert call(f"hash_{len(key)}", secret_0, secret_1, *key) == wrap(expected_hash(secret_0, secret_1, key))


@given(hashed=word64)
def test_a_tag_is_the_top_byte_and_never_that_of_a_place_without_entry(call, hashed):
    assert call("tag_of", hashed) == max(1, hashed >> 56)


@pytest.mark.parametrize("name", HASH_NAMES)
def test_other_secrets_give_other_hashes(call, name):
    keys = [tuple(range(key, key + int(name[-1]))) for key in range(200)]
    first, second = ([secrets.randbits(64) | 1 for _ in range(2)] for _ in range(2))
    by_first = [call(name, *first, *key) for key in keys]
    assert by_first == [call(name, *first, *key) for key in keys]
    assert all(one != other for one, other in zip(by_first, (call(name, *second, *key) for key in keys), strict=True))


@pytest.mark.parametrize("name", HASH_NAMES)
def test_neighbouring_keys_spread_over_groups_and_tags(call, name):
    """Fixed secrets, so that the figures are always the same: 4096 keys over 256 groups, 16 in each on average."""
    secret_0, secret_1 = 0xA0761D6478BD642F, 0xE7037ED1A0B428DB
    keys = [(0x0100000A + (key << 24), 0x3500 | key, 7, key, 0, 0)[: int(name[-1])] for key in range(4096)]
    hashes = [call(name, secret_0, secret_1, *key) for key in keys]
    assert len(set(hashes)) == len(keys)
    groups = [hashes_in_group & 255 for hashes_in_group in hashes]
    assert max(groups.count(group) for group in set(groups)) < 40
    assert len({call("tag_of", hashed) for hashed in hashes}) > 240
