"""Receive-side scaling as it is defined: Microsoft's vectors, and what holds of the hash."""

from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.errors import InputError
from fajita.key import KEYS
from fajita.rss import (
    DEFAULT_KEY,
    INDIRECTION_ENTRIES,
    MAXIMUM_INPUT_BYTES,
    SHARD_KEYS,
    SYMMETRIC_KEY,
    HashFields,
    fields_of_key_name,
    toeplitz,
    usual_indirection,
)

#: "Verifying the RSS hash calculation": destination, source, hash of the addresses, hash with the ports of TCP.
VECTORS = (
    ("161.142.100.80", 1766, "66.9.149.187", 2794, 0x323E8FC2, 0x51CCC178),
    ("65.69.140.83", 4739, "199.92.111.2", 14230, 0xD718262A, 0xC626B0EA),
    ("12.22.207.184", 38024, "24.19.198.95", 12898, 0xD2D0A5DE, 0x5C2B394A),
    ("209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xAFC7327F),
    ("202.188.127.2", 1303, "153.39.163.191", 44251, 0x5D1809C5, 0x10E828A2),
    ("3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2CC18CD5, 0x40207D3D),
    ("ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0F0C461C, 0xDDE51BBF),
    ("fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4B61E985, 0x02D1FEEF),
)
ports = st.integers(0, 65535)
address_pairs = st.sampled_from((4, 16)).flatmap(lambda size: st.tuples(*[st.binary(min_size=size, max_size=size)] * 2))
every_fields = st.builds(HashFields, *[st.booleans()] * 3, st.just(value=True))


@pytest.mark.parametrize(("destination", "to", "source", "from_", "of_addresses", "with_ports"), VECTORS)
def test_the_hash_is_that_of_the_verification_suite(destination, to, source, from_, of_addresses, with_ports):
    packet = ip_address(source).packed, ip_address(destination).packed, from_, to
    pair, all_four = SHARD_KEYS["address_pair"], SHARD_KEYS["five_tuple"]
    assert toeplitz(DEFAULT_KEY, pair.input(*packet)) == of_addresses
    assert toeplitz(DEFAULT_KEY, all_four.input(*packet)) == with_ports
    assert pair.bucket(*packet) == of_addresses & 127
    assert all_four.bucket(*packet) == with_ports & 127


@given(st.binary(max_size=36), st.binary(max_size=36))
def test_the_hash_is_linear(left, right):
    size = max(len(left), len(right))
    both = [data.ljust(size, b"\0") for data in (left, right)]
    mixed = bytes(a ^ b for a, b in zip(*both, strict=True))
    assert toeplitz(DEFAULT_KEY, mixed) == toeplitz(DEFAULT_KEY, both[0]) ^ toeplitz(DEFAULT_KEY, both[1])


@given(st.binary(max_size=36))
def test_zeros_at_the_end_change_nothing(data):
    assert toeplitz(DEFAULT_KEY, data.ljust(36, b"\0")) == toeplitz(DEFAULT_KEY, data)


@given(address_pairs)
def test_ports_of_zero_are_no_ports(addresses):
    packet = (*addresses, 0, 0)
    assert SHARD_KEYS["five_tuple"].bucket(*packet) == SHARD_KEYS["address_pair"].bucket(*packet)


@given(address_pairs, ports, ports)
def test_a_symmetric_hash_is_that_of_the_other_direction(addresses, source_port, destination_port):
    fields = SHARD_KEYS["connection"]
    there = fields.input(*addresses, source_port, destination_port)
    back = fields.input(*reversed(addresses), destination_port, source_port)
    assert toeplitz(SYMMETRIC_KEY, there) == toeplitz(SYMMETRIC_KEY, back)
    pair = HashFields(source=True, destination=True, symmetric=True)
    assert pair.bucket(*addresses, 0, 0) == pair.bucket(*reversed(addresses), 0, 0)


@given(every_fields, address_pairs, ports, ports, address_pairs, ports)
def test_fields_that_are_not_hashed_do_not_count(fields, addresses, source_port, port, others, other_port):
    if len(others[0]) != len(addresses[0]):
        return
    bucket = fields.bucket(*addresses, source_port, port)
    source = addresses[0] if fields.source else others[0]
    destination = addresses[1] if fields.destination else others[1]
    assert fields.bucket(source, destination, source_port if fields.source_port else other_port, port) == bucket


def test_a_hash_of_the_source_is_that_of_its_bytes_alone():
    source = ip_address("66.9.149.187").packed
    bucket = SHARD_KEYS["source"].bucket(source, ip_address("161.142.100.80").packed, 2794, 1766)
    assert bucket == toeplitz(DEFAULT_KEY, source) % INDIRECTION_ENTRIES


def test_keys_are_long_enough_for_all_that_is_hashed():
    assert len(DEFAULT_KEY) == len(SYMMETRIC_KEY) == MAXIMUM_INPUT_BYTES + 4
    with pytest.raises(ValueError, match="a key of 7 bytes; 4 bytes of data need 8"):
        toeplitz(bytes(7), bytes(4))


def test_fields_have_the_names_of_keys_or_their_own():
    for name, fields in SHARD_KEYS.items():
        assert fields.name == name
        assert fields_of_key_name(name) is fields
        assert set(fields.fields) <= set(KEYS[name].fields)
        assert fields.symmetric == KEYS[name].symmetric
    assert HashFields(source=True, source_port=True).name == "src, src_port"
    assert HashFields(source=True, destination=True, symmetric=True).name == "src, dst, symmetric"


def test_what_cannot_be_hashed_is_refused():
    with pytest.raises(ValueError, match="no field"):
        HashFields(symmetric=True)
    with pytest.raises(ValueError, match="alike"):
        HashFields(source=True, symmetric=True)
    with pytest.raises(ValueError, match="alike"):
        HashFields(source=True, destination=True, source_port=True, symmetric=True)


def test_a_key_by_which_packets_cannot_be_spread_is_one_clear_error():
    with pytest.raises(InputError, match=r"packets cannot be spread by sorce; did you mean source\?|source"):
        fields_of_key_name("sorce")
    with pytest.raises(InputError, match="cannot be spread by vlan"):
        fields_of_key_name("vlan")


@pytest.mark.parametrize("workers", [1, 2, 3, 8, 128, 200])
def test_buckets_are_spread_evenly(workers):
    table = usual_indirection(workers)
    assert table.dtype == np.uint8
    assert len(table) == INDIRECTION_ENTRIES
    counts = np.bincount(table, minlength=workers)
    assert counts.sum() == INDIRECTION_ENTRIES
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("workers", [0, -1, 257])
def test_a_number_of_workers_that_cannot_be_is_refused(workers):
    with pytest.raises(ValueError, match="1 to 254"):
        usual_indirection(workers)
