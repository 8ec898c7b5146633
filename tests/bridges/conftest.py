"""One reactor for all tests of a file; nothing may be left behind or logged as a failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridges.proxy import ProxyBridge, ProxyOptions
from tests.bridges.harness import WAIT, FakeLan, Loop, MemoryStore


@pytest.fixture(scope="module")
def shared_loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.stop()


@pytest.fixture
def loop(shared_loop: Loop) -> Iterator[Loop]:
    shared_loop.failures.clear()
    yield shared_loop
    until(lambda: not shared_loop.call(shared_loop.reactor.getReaders)[1:], shared_loop)
    shared_loop.call(lambda: None)
    assert not shared_loop.failures, shared_loop.failures


@pytest.fixture
def lan(loop: Loop) -> Any:
    return FakeLan(loop.reactor)


@pytest.fixture
def start_proxy(loop: Loop, lan: Any) -> Iterator[Callable[..., tuple[str, int]]]:
    """Starts a proxy with given options on a free port; gives its address."""
    started: list[ProxyBridge] = []

    def start(options: ProxyOptions | None = None, **limits: Any) -> tuple[str, int]:
        store: Any = MemoryStore()
        bridge = ProxyBridge(lan, options or ProxyOptions(listen="127.0.0.1:0"), store, **limits)
        started.append(bridge)
        loop.call(bridge.start)
        status = loop.call(bridge.status)
        host, _, port = status.rpartition(":")
        address = (host.strip("[]"), int(port))
        start.bridge = bridge  # type: ignore[attr-defined]
        return address

    yield start
    for bridge in started:
        loop.call(bridge.stop)


@pytest.fixture
def proxy(start_proxy: Callable[..., tuple[str, int]]) -> tuple[str, int]:
    return start_proxy()


def until(condition: Callable[[], bool], loop: Loop) -> None:
    """Wait until something holds in the reactor."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it does not come to hold"
        time.sleep(0.01)
