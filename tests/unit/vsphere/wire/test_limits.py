from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from vmops.vsphere.wire.limits import Limits

PAGE = Path(__file__).parents[4] / "docs" / "reliability.md"


def test_the_page_has_the_numbers() -> None:
    told = {
        name: float(number)
        for name, number in re.findall(
            r"^\| `(\w+)` \| ([\d.]+) (?:s|B/s) \|$", PAGE.read_text(), re.MULTILINE
        )
    }
    assert told == dataclasses.asdict(Limits())


def test_limits_so_much_longer_let_transfers_move_as_many_bytes() -> None:
    twice = Limits().times(2)
    assert twice.transfer_silence_s * twice.least_rate == 60 * 1024
    assert twice.answer_s == 120
    assert twice.handshake_s < twice.window_s
