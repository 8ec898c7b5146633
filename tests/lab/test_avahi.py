"""avahi as the lab runs it, between two hosts of one link and nothing of userlan: the method is known to be good."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.avahi import Avahi, unavailable
from tests.lab.network import Lab, end, until

pytestmark = [pytest.mark.lab, pytest.mark.interop]


def test_published_here_and_found_there(lab: Lab, tmp_path: Path) -> None:
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    one, two = lab.namespace("one"), lab.namespace("two")
    lab.switch("switch", [(one, "10.98.0.1/24"), (two, "10.98.0.2/24")])
    here, there = (Avahi(space, tmp_path / name, name, ["eth0"]) for space, name in ((one, "one"), (two, "two")))
    publisher = here.publish("My v1.2 box; (ä)", "_http._tcp", 8000, "path=/x", "a=b", subtypes=["_printer._sub._http._tcp"])
    found = there.wait_for("My v1.2 box; (ä)", "_http._tcp", where={"protocol": "IPv4"})
    assert (found.address, found.port, found.host, found.text) == ("10.98.0.1", 8000, "one.local", ("a=b", "path=/x"))
    assert there.browse("_printer._sub._http._tcp")
    end(publisher)
    until(lambda: not there.browse("_http._tcp"), 60, "goodbye was heard")
    here.stop()
    there.stop()
