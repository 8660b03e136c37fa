import pytest

from fajita import InputError
from fajita.engine import memory
from fajita.engine.memory import HUGE_PAGE, Budget, free_bytes, huge_pages, rounded_up, usual_limit_bytes


@pytest.mark.parametrize("nbytes", [1, 1024, HUGE_PAGE, HUGE_PAGE + 1])
def test_an_area_is_whole_huge_pages_of_zeros(nbytes):
    area = huge_pages(nbytes)
    assert area.ctypes.data % HUGE_PAGE == 0
    assert nbytes <= area.nbytes < nbytes + HUGE_PAGE
    assert area.nbytes % HUGE_PAGE == 0
    assert not area[:: HUGE_PAGE // 16].any()
    area[-1] = 7
    assert area[-1] == 7


def test_areas_do_not_overlap():
    areas = [huge_pages(1) for _ in range(4)]
    for number, area in enumerate(areas):
        area[:] = number + 1
    assert [int(area[0]) for area in areas] == [int(area[-1]) for area in areas] == [1, 2, 3, 4]


@pytest.mark.parametrize("nbytes", [1 << 60, 1 << 70])
def test_memory_that_there_is_not_is_an_error_of_one_line(nbytes):
    with pytest.raises(InputError, match=r"^no memory for [0-9,]+ MiB; fewer flows"):
        huge_pages(nbytes)


@pytest.mark.parametrize("nbytes", [1, HUGE_PAGE, HUGE_PAGE + 1])
def test_what_an_area_takes_is_known_before(nbytes):
    assert rounded_up(nbytes) == huge_pages(nbytes).nbytes


def test_a_budget_gives_what_it_has_and_no_more():
    budget = Budget(100)
    assert budget.take(60)
    assert not budget.take(41)
    assert budget.take(40)
    assert budget.taken_bytes == 100
    budget.give_back(60)
    assert budget.take(60)
    budget.check()


def test_what_a_budget_cannot_begin_with_is_an_error_that_says_how_much_is_needed():
    budget = Budget(5 << 20)
    budget.need(4 << 20)
    budget.check()
    budget.need((3 << 20) + 1)
    with pytest.raises(InputError) as caught:
        budget.check()
    assert caught.value.what == "the tables need 8 MiB to begin with and may take 5 MiB"
    assert "--memory 8MiB" in caught.value.right


def test_tables_usually_take_half_of_what_is_free():
    assert 0 < usual_limit_bytes() <= free_bytes()
    assert 0.4 < usual_limit_bytes() / free_bytes() < 0.6


def test_a_container_may_have_less_than_its_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    of_machine = free_bytes()  # no such files: no container
    for name, text in (
        ("memory.max", "max\n"),
        ("memory.current", "5000\n"),
        ("memory.stat", "anon 1000\nfile 4000\n"),
    ):
        (tmp_path / name).write_text(text)
    assert free_bytes() == pytest.approx(of_machine, rel=0.2)
    (tmp_path / "memory.max").write_text("100000\n")
    assert free_bytes() == 100_000 - 5000 + 4000
    (tmp_path / "memory.max").write_text("100\n")
    assert free_bytes() == 0
