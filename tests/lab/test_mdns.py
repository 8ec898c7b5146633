"""Services announced on one computer appear on the others: avahi and python-zeroconf here and there, nothing of it on the wire."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.avahi import Avahi, unavailable
from tests.lab.conftest import ANNA, BEN, MEDIATOR, Site
from tests.lab.network import Namespace, end, tun_unavailable, until

pytestmark = [pytest.mark.lab, pytest.mark.interop]

NAME = "Box v1.2 (ä)"

SERVE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"hello {self.client_address[0]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
"""

BROWSE = """
import json, sys, time
from zeroconf import ServiceBrowser, Zeroconf
kind, seconds = sys.argv[1], float(sys.argv[2])
zeroconf, names, rows = Zeroconf(), set(), []
def heard(zeroconf, service_type, name, state_change):
    (names.discard if state_change.name == "Removed" else names.add)(name)
ServiceBrowser(zeroconf, kind, handlers=[heard])
time.sleep(seconds)
for name in names:
    info = zeroconf.get_service_info(kind, name)
    if info is not None:
        text = {key.decode(): (value or b"").decode() for key, value in info.properties.items()}
        rows.append([name, info.parsed_addresses(), info.port, text])
print(json.dumps(rows))
zeroconf.close()
"""

PUBLISH = """
import socket, sys, time
from zeroconf import ServiceInfo, Zeroconf
name, kind, address, port = sys.argv[1:5]
zeroconf = Zeroconf(interfaces=[address])
info = ServiceInfo(kind, f"{name}.{kind}", int(port), properties={"v": "1"}, server="python.local.", addresses=[socket.inet_aton(address)])
zeroconf.register_service(info)
print("registered", flush=True)
try:
    time.sleep(600)
finally:
    zeroconf.unregister_all_services()
    zeroconf.close()
"""

WATCH = """
import socket, sys
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
raw.bind((sys.argv[1], 0))
with open(sys.argv[2], "ab", buffering=0) as out:
    while True:
        frame, about = raw.recvfrom(65535)
        if about[2] == socket.PACKET_OUTGOING and frame[12:14] in (b"\\x08\\x00", b"\\x86\\xdd"):
            out.write(frame + b"\\n--\\n")
"""


@pytest.fixture
def avahi(site: Site, tmp_path: Path) -> tuple[Avahi, Avahi]:
    """One on each computer."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    return Avahi(site.anna_space, tmp_path / "a", "anna-pc", ["eth0"]), Avahi(site.ben_space, tmp_path / "b", "ben-pc", ["eth0"])


def apart(site: Site) -> None:
    """Multicast of one computer does not reach the other: as if each stood on a link of its own."""
    for space, own in ((site.anna_space, ANNA), (site.ben_space, BEN)):
        others = f"ip daddr 224.0.0.251 ip saddr != {own}"
        space.nft(f"table ip far {{ chain in {{ type filter hook input priority 0; iif eth0 {others} drop; }}; }}")
        space.nft("table ip6 far { chain in { type filter hook input priority 0; iif eth0 ip6 daddr ff02::fb drop; }; }")


def is_mdns(frame: bytes) -> bool:
    """IPv4, UDP, to port 5353."""
    return frame[12:14] == b"\x08\x00" and frame[23:24] == b"\x11" and frame[36:38] == (5353).to_bytes(2, "big")


def is_answer(frame: bytes) -> bool:
    """A response; programs' own questions name what they ask for."""
    return is_mdns(frame) and bool(frame[44] & 0x80)


def web(space: Namespace, port: int) -> None:
    space.start(sys.executable, "-c", SERVE, str(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def services(member: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = member.call("services")
    return rows


def listed(member: Any, name: str, patience: float = 60) -> dict[str, Any]:
    found: dict[str, Any] = until(
        lambda: next((row for row in services(member) if row["name"] == name), None), patience, f"{member.name} lists {name}", 0.5
    )
    return found


def get(space: Namespace, url: str) -> str:
    return space.run("curl", "-sS", "--max-time", "60", url).stdout


def test_published_by_avahi_here_browsed_by_avahi_and_zeroconf_there(site: Site, avahi: tuple[Avahi, Avahi], tmp_path: Path) -> None:
    here, there = avahi
    apart(site)
    web(site.anna_space, 8000)
    site.join()
    alias = "127" + site.ben.peer("anna")["ipv4"].removeprefix("25")       # type: ignore[index]
    wire = tmp_path / "wire"
    wire.touch()
    site.ben_space.start(sys.executable, "-c", WATCH, "eth0", str(wire))
    publisher = here.publish(NAME, "_http._tcp", 8000, "path=/x", "a=b", subtypes=["_printer._sub._http._tcp"])

    found = there.wait_for(NAME, "_http._tcp", where={"address": alias})
    assert (found.host, found.text) == ("anna-userlan.local", ("a=b", "path=/x"))
    assert get(site.ben_space, f"http://{alias}:{found.port}/").startswith("hello 127.")
    row = listed(site.ben, NAME)
    assert (row["peer"], row["type"], row["source"]) == ("anna", "_http._tcp", "bonjour")
    assert row["url"] == f"http://{alias}:{found.port}/x"
    assert NAME in site.ben.run("services").stdout
    assert json.loads(site.ben.run("services", "--json").stdout) == services(site.ben)
    until(lambda: there.browse("_printer._sub._http._tcp"), 60, "the subtype is kept", 0.5)

    def browsed() -> list[Any]:
        rows = json.loads(site.ben_space.run(sys.executable, "-W", "ignore", "-c", BROWSE, "_http._tcp.local.", "4").stdout)
        return [(addresses, port, text) for _, addresses, port, text in rows]

    assert until(browsed, 60, "zeroconf finds it") == [([alias], found.port, {"a": "b", "path": "/x"})]

    end(publisher)
    until(lambda: not services(site.ben), 60, "the goodbye came through", 0.5)
    until(lambda: not there.browse("_http._tcp"), 60, "and was said to this computer's programs", 0.5)
    frames = wire.read_bytes().split(b"\n--\n")
    assert len(frames) > 10, "the observer saw what ben sent"
    assert not [frame for frame in frames if is_answer(frame) and (b"-userlan" in frame or b"Box v1.2" in frame)]
    assert not [frame for frame in frames if is_mdns(frame) and frame[22] == 0], "a time to live of 0 does not leave"
    for member in (site.anna, site.ben):
        member.stop()
        told = member.log.read_text()
        assert "Traceback" not in told, told


def test_two_on_one_link_and_a_name_that_is_taken(site: Site, avahi: tuple[Avahi, Avahi]) -> None:
    """Nothing runs in circles: what anna announces is offered once, and never offered back by ben, who hears it on the wire as well."""
    here, there = avahi
    web(site.anna_space, 8000)
    site.join()
    here.publish(NAME, "_http._tcp", 8000, "from=anna")
    there.publish("Only Ben", "_http._tcp", 8001, "from=ben")
    listed(site.ben, NAME)
    listed(site.anna, "Only Ben")
    shown = there.wait_for(f"{NAME} on anna", "_http._tcp")
    assert shown.address.startswith("127.")
    assert get(site.ben_space, f"http://{shown.address}:{shown.port}/").startswith("hello 127.")
    there.wait_for(NAME, "_http._tcp", where={"address": ANNA})
    time.sleep(5)

    def native() -> list[str]:
        return [one.address for one in there.browse("_http._tcp") if one.name == NAME and one.protocol == "IPv4"]

    until(lambda: native() == [ANNA], 60, "what was offered under that name before it was heard on the wire is taken back")
    assert [row["name"] for row in services(site.ben)] == [NAME]
    assert [row["name"] for row in services(site.anna)] == ["Only Ben"]
    for member, name in ((site.anna, NAME), (site.ben, "Only Ben")):
        assert [one["name"] for one in member.status()["bridges"]["mdns"]["offered"]] == [name]


def test_exposed_by_hand_and_the_physical_link(site: Site, tmp_path: Path) -> None:
    """The hub's computer is in no network: by anna's policy its services are offered, and by ben's policy it sees those of the LAN."""
    site.anna.config.write_text("name: anna\nmdns: {physical: browse, deny: ['Secret*']}\n")
    site.ben.config.write_text("name: ben\nmdns: {physical: advertise}\n")
    web(site.hub, 9000)
    web(site.anna_space, 8000)
    site.join()
    python = (sys.executable, "-W", "ignore", "-c")
    for name, port in (("Printer", "9000"), ("Secret", "9001")):
        log = tmp_path / f"{name}.log"
        with log.open("wb") as out:
            site.hub.start(*python, PUBLISH, name, "_http._tcp.local.", MEDIATOR, port, stdout=out, stderr=out)
        until(lambda log=log: b"registered" in log.read_bytes(), 60, f"{name} is registered")
    site.anna.run("expose", "8000", "--name", "Site")

    printer = listed(site.ben, "Printer")
    assert get(site.ben_space, printer["url"]).startswith("hello 10.99.0.2"), "the hub sees anna"
    exposed = listed(site.ben, "Site")
    assert (exposed["peer"], exposed["source"], exposed["text"]) == ("anna", "exposed", {})
    assert exposed["where"].startswith(f"{BEN}:"), "it is advertised to the link, so the forward listens there"
    assert get(site.hub, exposed["url"]).startswith("hello 127.")

    def seen() -> bool:
        rows = json.loads(site.hub.run(*python, BROWSE, "_http._tcp.local.", "3").stdout)
        return any(name.startswith("Site.") and addresses == [BEN] for name, addresses, _, _ in rows)

    until(seen, 60, "the hub sees what anna has exposed, at ben")
    assert "Secret" not in {row["name"] for row in services(site.ben)}
    site.anna.run("unexpose", "8000")
    until(lambda: "Site" not in {row["name"] for row in services(site.ben)}, 60, "it is gone", 0.5)
    site.anna.stop()
    until(lambda: not services(site.ben), 60, "all of anna's are gone with it", 0.5)


def test_a_kernel_in_the_lan(site: Site, tmp_path: Path) -> None:
    """Ben's whole computer is attached: its own avahi speaks on the LAN's interface, to anna's node, which has none."""
    reason = unavailable() or tun_unavailable()
    if reason:
        pytest.skip(reason)
    site.ben.config.write_text("name: ben\ntap: {attach: yes}\n")
    web(site.anna_space, 8000)
    site.join()
    here, there = Avahi(site.anna_space, tmp_path / "a", "anna-pc", ["eth0"]), Avahi(site.ben_space, tmp_path / "b", "ben-pc", ["lan0"])
    address = site.ben.peer("anna")["ipv4"]       # type: ignore[index]
    here.publish(NAME, "_http._tcp", 8000, "a=b")
    found = there.wait_for(NAME, "_http._tcp", where={"protocol": "IPv4"})
    assert (found.interface, found.address, found.host, found.text) == ("lan0", address, "anna.local", ("a=b",))
    assert get(site.ben_space, f"http://{found.address}:{found.port}/").startswith("hello 127.")
    web(site.ben_space, 8001)
    there.publish("From the kernel", "_http._tcp", 8001)
    row = listed(site.anna, "From the kernel")
    assert row["peer"] == "ben"
    assert get(site.anna_space, row["url"]).startswith("hello 25.")
    shown = here.wait_for("From the kernel", "_http._tcp")
    assert (shown.host, shown.address) == ("ben-userlan.local", row["where"].rpartition(":")[0])
    place = f"{address}:{found.port}"
    until(lambda: listed(site.ben, NAME)["where"] == place, 60, "no forward: the kernel gets there by itself", 0.5)
