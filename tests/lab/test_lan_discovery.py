"""Members on one local network find each other with no mediator, at addresses that nobody has told them (RFC 6762, 6763)."""

from __future__ import annotations

import ast
import sys

import pytest

from tests.lab.conftest import Site
from tests.lab.network import until

pytestmark = pytest.mark.lab

BROWSE = """
import time
from zeroconf import ServiceBrowser, Zeroconf
zeroconf, told = Zeroconf(interfaces=["10.99.0.1"]), []
def heard(zeroconf, service_type, name, state_change):
    info = zeroconf.get_service_info(service_type, name)
    if state_change.name == "Added" and info is not None:
        told.append((name, info.port, info.properties))
ServiceBrowser(zeroconf, "_userlan._udp.local.", handlers=[heard])
time.sleep(3)
zeroconf.close()
print(repr(told))
"""


def move(site: Site) -> None:
    """Both computers get other addresses; the mediator is gone for good."""
    site.mediator.kill()
    for space, old, new in ((site.anna_space, "10.99.0.2/24", "10.99.0.12/24"), (site.ben_space, "10.99.0.3/24", "10.99.0.13/24")):
        space.ip("addr", "del", old, "dev", "eth0")
        space.ip("addr", "add", new, "dev", "eth0")


def test_restarted_at_other_addresses_without_a_mediator(site: Site) -> None:
    site.join()
    site.anna.stop()
    site.ben.stop()
    move(site)
    site.anna.up()
    site.ben.up()
    there = site.anna.wait_state("ben", "direct", 30)
    assert (there["path"], there["endpoint"]) == ("lan", "10.99.0.13:41414")
    assert site.ben.wait_state("anna", "direct")["endpoint"] == "10.99.0.12:41414"
    for member in (site.anna, site.ben):
        member.stop()
        told = member.log.read_text()
        assert "Traceback" not in told
        assert "Warning" not in told


def test_those_who_are_running_find_each_other_again(site: Site) -> None:
    """Both get new addresses at one moment: neither knows where the other went."""
    site.join()
    move(site)

    def found() -> bool:
        peer = site.anna.peer("ben")
        return peer is not None and (peer["state"], peer["endpoint"]) == ("direct", "10.99.0.13:41414")

    until(found, 40, "anna finds ben at his new address", 0.5)


def browse(site: Site) -> list[tuple[str, int, dict[bytes, bytes]]]:
    """What a stranger on the same link hears."""
    told: list[tuple[str, int, dict[bytes, bytes]]] = ast.literal_eval(
        site.hub.run(sys.executable, "-W", "ignore", "-c", BROWSE, timeout=30).stdout
    )
    return told


def both_announced(site: Site) -> list[tuple[str, int, dict[bytes, bytes]]]:
    def both() -> list[tuple[str, int, dict[bytes, bytes]]] | None:
        announced = browse(site)
        return announced if len(announced) == 2 else None

    found: list[tuple[str, int, dict[bytes, bytes]]] = until(both, 60, "both announce themselves")
    return found


def test_outsiders_learn_nothing_but_that_somebody_is_there(site: Site) -> None:
    site.join()
    announced = both_announced(site)
    keys = [site.anna.status()["self"]["key"], site.ben.status()["self"]["key"]]
    for name, port, properties in announced:
        assert port == 41414
        assert len(name.split(".")[0]) == 16
        assert sorted(properties) == [b"s", b"t0", b"v"]
        assert len(properties[b"t0"]) == 4 * 12
    for word in ("anna", "ben", "home", *keys):
        assert word not in repr(announced)
    before = {name for name, _, _ in announced}
    site.anna.stop()
    site.anna.up("--mediator", site.mediator.url)
    assert {name for name, _, _ in both_announced(site)} != before, "another name for another run"


def test_switched_off(site: Site) -> None:
    for member in (site.anna, site.ben):
        member.config.write_text(f"name: {member.name}\ntraversal:\n  lan_discovery: false\n  port_mapping: false\n")
    site.join()
    assert browse(site) == []
