"""The section ``tap`` of the configuration. What the bridge does is tested in the lab, with real interfaces."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridges.tap import TapOptions


def test_by_default_nothing_is_attached() -> None:
    assert msgspec.convert({}, TapOptions) == TapOptions(False, "lan0", None, False)


@pytest.mark.parametrize(
    ("section", "wrong"),
    [
        ({"name": ""}, "name:"),
        ({"name": "a" * 16}, "name:"),
        ({"name": "län"}, "name:"),
        ({"mtu": 1279}, "mtu:"),
        ({"mtu": 65522}, "mtu:"),
        ({"interface": "lan0"}, "interface"),
        ({"attach": "yes"}, "attach"),
        ({"broadcasts": 1}, "broadcasts"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(section: dict[str, Any], wrong: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=wrong):
        msgspec.convert(section, TapOptions)
