"""Fields that are written in a row: the source, and that the checksums come out as if each had been repaired."""

import pytest

from fajita.kernel.fused_writes import fused

ROW = """\
def f(frame, headers):
    write_src(frame, headers, load_u32(state + 4))
    write_src_port(frame, headers, read_dst_port(frame, headers))
    return 0"""


def test_writes_in_a_row_are_followed_by_one_repair() -> None:
    assert fused(ROW).splitlines() == [
        "def f(frame, headers):",
        "    change = patch_src(frame, headers, load_u32(state + 4))",
        "    change += patch_src_port(frame, headers, read_dst_port(frame, headers))",
        "    repair_segment(frame, headers, change)",
        "    return 0",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "    write_src(frame, headers, 1)",
        "    write_src(frame, headers, 1)\n    store_8(state, 1)\n    write_dst(frame, headers, 1)",
        "    write_src(frame, headers, 1)\n        write_dst(frame, headers, 1)",
        "    write_ttl(frame, headers, 1)\n    write_eth_src(frame, headers, 1)",
        "    write_src(frame, headers, 1)\n    write_dst(frame, headers, checksum_valid(frame, headers, captured))",
        "    write_src(frame, headers, 1)\n    write_quoted_src(frame, headers, captured, 1)",
    ],
)
def test_others_stay_as_they_are(text: str) -> None:
    assert fused(text) == text
