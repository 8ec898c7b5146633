"""The reactor's clock is the monotonic one."""

from __future__ import annotations

import time
from typing import Any

import pytest
from twisted.internet.selectreactor import SelectReactor

from tests.driver.loop import Loop
from userlan.driver.reactor import use_monotonic_time


def test_time_is_monotonic_and_timers_follow_it(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loop.reactor.seconds() == pytest.approx(time.monotonic(), abs=1.0)
    fired: list[float] = []
    start = time.monotonic()
    loop.reactor.callLater(0.05, lambda: fired.append(time.monotonic()))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    loop.until(lambda: fired)
    assert fired[0] - start == pytest.approx(0.05, abs=2.0)


def test_it_is_refused_once_calls_are_scheduled(loop: Loop) -> None:
    call: Any = loop.reactor.callLater(1.0, lambda: None)
    with pytest.raises(RuntimeError, match="scheduled"):
        use_monotonic_time(loop.reactor)
    call.cancel()
    assert SelectReactor.seconds is not time.monotonic, "other reactors are left alone"
