from collections.abc import Callable
from pathlib import Path

import pytest

from fajita import InputError
from fajita.dpdk.port import DESCRIPTORS, Port, find_port, list_ports
from fajita.dpdk.queue import BLOCK, Lane
from fajita.dpdk.session import Session, mbufs_needed
from fajita.rss import SHARD_KEYS
from tests.command import some_capture

AddDevice = Callable[..., str]


def test_ports_are_found_by_name_and_number(add_device: AddDevice) -> None:
    name = add_device("net_null")
    found = find_port(name, "--in")
    assert (found.name, found.description.driver) == (name, "net_null")
    assert find_port(str(found.number), "--in").name == name
    assert name in [port.name for port in list_ports()]
    with pytest.raises(InputError, match=f"--in net_nul: no port net_nul; did you mean {name}"):
        find_port("net_nul", "--in")


def test_a_link_that_comes_or_goes_is_told_once(add_device: AddDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (find_port(add_device("net_null"), "--in") for _ in range(2))
    session = Session([Lane(first, second)], 1)
    session.start()
    assert session.link_changes() == []
    monkeypatch.setattr(Port, "is_up", lambda port: port is first)
    (change,) = session.link_changes()
    assert change.startswith(f"{second.name}: the link went down at ")
    assert (session.is_up(first), session.is_up(second)) == (True, False)
    assert session.link_changes() == []
    monkeypatch.undo()
    (change,) = session.link_changes()
    assert change.startswith(f"{second.name}: the link went up at ")
    session.close()


def test_workers_share_what_a_port_has_too_few_of(add_device: AddDevice, tmp_path: Path) -> None:
    files = f"rx_pcap={some_capture(tmp_path)},tx_pcap={tmp_path / 'out.pcap'}"
    port = find_port(add_device("net_pcap", files), "--in")
    session = Session([Lane(port, port)], 3, SHARD_KEYS["five_tuple"])
    lanes = [queue.words.lane[0] for queue in session.queues]
    assert [lane.in_queue for lane in lanes] == [0, 65535, 65535]
    assert [lane.out_queue for lane in lanes] == [0, 0, 0]
    assert len({lane.lock for lane in lanes}) == 1
    assert not port.is_spreading
    session.close()


def test_a_port_whose_driver_hashes_is_told_key_fields_and_table(add_device: AddDevice) -> None:
    source, target = find_port(add_device("net_null"), "--in"), find_port(add_device("net_null"), "--out")
    session = Session([Lane(source, target)], 2, SHARD_KEYS["source"])
    session.start()
    assert source.is_spreading
    assert not target.is_spreading
    session.close()


@pytest.mark.parametrize(("lanes", "workers"), [(1, 1), (2, 1), (1, 2), (2, 8)])
def test_a_pool_lasts_though_every_queue_is_full_of_its_frames(lanes: int, workers: int) -> None:
    queues = lanes * DESCRIPTORS * (1 + workers)
    assert mbufs_needed(lanes, workers) >= queues + workers * BLOCK + (workers - 1) * 1024


def test_all_workers_have_one_clock(add_device: AddDevice) -> None:
    port = find_port(add_device("net_null"), "--in")
    session = Session([Lane(port, port)], 3, SHARD_KEYS["source"])
    assert len({queue.words.clock_offset_ns for queue in session.queues}) == 1
    session.close()
