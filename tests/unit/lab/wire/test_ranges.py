import pytest

from vmops.lab.wire.ranges import RangeNotSatisfiable, http_date, is_unchanged, requested_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 6)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("Bytes = 2 - 5", (2, 6)),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=1-2,4-5", None),
        ("lines=1-2", None),
        ("bytes=x-y", None),
        ("bytes=1-99999999999999999999999", None),
    ],
)
def test_one_range_is_served_and_anything_else_means_the_whole(
    header: str | None, expected: tuple[int, ...] | None
) -> None:
    assert requested_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        requested_range(header, 10)


def test_no_range_of_an_empty_file_can_be_served() -> None:
    with pytest.raises(RangeNotSatisfiable):
        requested_range("bytes=-1", 0)


def test_if_range_wants_the_same_file() -> None:
    modified = 1_700_000_000.75
    assert is_unchanged(None, '"a"', modified)
    assert is_unchanged('"a"', '"a"', modified)
    assert not is_unchanged('"b"', '"a"', modified)
    assert not is_unchanged('W/"a"', '"a"', modified)
    assert is_unchanged(http_date(modified), '"a"', modified)
    assert not is_unchanged(http_date(modified + 60), '"a"', modified)
    assert not is_unchanged("yesterday", '"a"', modified)
