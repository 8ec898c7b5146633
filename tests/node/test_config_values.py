"""Values that a configuration writes as text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.node.config_values import ListenAddress, boolean, duration, mediator_url


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("25", 25), ("25s", 25), ("500ms", 0.5), ("2m", 120), ("1h30m", 5400), ("1.5 h", 5400), ("1D", 86400), ("0", 0)],
)
def test_durations(written: str, seconds: float) -> None:
    assert duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize("written", ["", "s", "-1", "1x", "1m-3s", "inf", "nan", "1e3", "9" * 41, "\u0663s"])
def test_what_is_no_duration(written: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        duration(written)


def test_booleans() -> None:
    assert [boolean(word) for word in ("true", "Yes", "ON", "false", "no", "off")] == [True] * 3 + [False] * 3
    with pytest.raises(ValueError, match="neither true nor false"):
        boolean("maybe")


@pytest.mark.parametrize(
    ("written", "shown"),
    [("0.0.0.0:41414", "0.0.0.0:41414"), ("[0::0]:1", "[::]:1"), ("localhost:0", "127.0.0.1:0")],
)
def test_listen_addresses(written: str, shown: str) -> None:
    assert str(ListenAddress.parse(written)) == shown


@pytest.mark.parametrize(
    "written", ["", ":", "0.0.0.0", ":80", "0.0.0.0:", "0.0.0.0:65536", "nas:1", "::1:80", "[::1]", "1.2.3:4"]
)
def test_what_is_no_listen_address(written: str) -> None:
    with pytest.raises(ValueError, match="'"):
        ListenAddress.parse(written)


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=50) | st.text(alphabet="0123456789.:[]hms/", max_size=20))
def test_any_text_is_a_value_or_a_value_error(written: str) -> None:
    for parse in (duration, boolean, ListenAddress.parse, mediator_url):
        try:
            parse(written)
        except ValueError as error:
            lines = str(error).splitlines()
        else:
            lines = [""]
        assert len(lines) == 1
