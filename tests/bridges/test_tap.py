"""The section ``tap`` of the configuration, and an interface that is lost at once. All else is tested in the lab, with real ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from bridges import tap
from bridges.tap import TapBridge, TapOptions
from userlan.driver.bridge import CommandError
from userlan.driver.tap.device import TapError


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


class Lost:
    """An interface whose addresses cannot be set."""

    mtu, hardware, warning = 1420, bytes(6), ""

    def __init__(self, *arguments: object) -> None:
        self.link = SimpleNamespace(described=lambda: ["25.0.0.1/8"])
        self.closed = False

    def follow(self, addresses: list[str]) -> None:
        raise TapError("RTNETLINK says no")

    def close(self) -> None:
        self.closed = True


def test_a_command_whose_interface_takes_no_address_is_told_and_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """For ever, attached to nothing: it would hear of it by the log of the node alone."""
    monkeypatch.setattr(tap, "open_tap", lambda name: 7)
    monkeypatch.setattr(tap, "make_uplink", lambda lan, gateway: None)
    monkeypatch.setattr(tap, "Attached", Lost)
    monkeypatch.setattr(tap, "InterfaceSetup", Lost)
    monkeypatch.setattr(tap, "stack_ports", lambda: (1, 2))
    attached: list[bool] = []
    lan: Any = SimpleNamespace(computer_attached=attached.append)
    bridge = TapBridge(lan, TapOptions(), None)  # type: ignore[arg-type]
    reply: Any = SimpleNamespace(descriptor=lambda: None)
    with pytest.raises(CommandError, match="detached: RTNETLINK says no"):
        bridge.streaming_commands()["tap"]({}, reply)
    assert attached == [True, False]
    assert bridge.status() == "detached: RTNETLINK says no"
