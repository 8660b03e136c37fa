import pytest

from fajita import InputError
from fajita.engine.memory import HUGE_PAGE, huge_pages


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
