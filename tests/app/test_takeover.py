"""A configuration that is read again while the node runs (SIGHUP): two real nodes, whose bridges are started anew, or go on."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli.two_nodes import CONFIG, Nodes
from tests.lab.network import until

PATIENCE = 60.0
BASE = CONFIG.replace("proxy: {listen: none}\n", "").replace("level: warn", "level: info").replace("tunnel: debug, control: debug", "")


class Echo:
    """A service of this computer that says everything again."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return      # closed
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    @staticmethod
    def _answer(client: socket.socket) -> None:
        with client, suppress(OSError):
            while data := client.recv(4096):
                client.sendall(data)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Site:
    """anna, whose configuration is read again, ben, and what both reach."""

    def __init__(self, folder: Path) -> None:
        self.echo = Echo()
        self.nodes = Nodes(folder)

    def reload(self, text: str) -> None:
        """Have anna read this, and wait for what she says of it."""
        before = len(self.log())
        (self.nodes.state("anna") / "config.yaml").write_text(text)
        os.kill(self.nodes.call("anna", "hello")["process"], signal.SIGHUP)
        until(lambda: len(self.log()) > before, PATIENCE, "it is read again")

    def log(self) -> list[str]:
        """What was said of readings."""
        lines = (self.nodes.state("anna") / "log").read_text().splitlines()
        said = [json.loads(line)["message"] for line in lines if line.startswith("{") and line.endswith("}")]
        return [line for line in said if "was read again" in line or "was not reloaded" in line]

    def taken(self) -> set[str]:
        """The keys that were taken over by the last of them."""
        return set(self.log()[-1].partition("; taken over: ")[2].split(", "))

    def told(self) -> list[str]:
        lines: list[str] = self.nodes.status("anna")["configuration"]
        return lines

    def bridge(self, name: str) -> Any:
        return self.nodes.status("anna")["bridges"][name]

    def close(self) -> None:
        self.nodes.stop()
        self.echo.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("takeover"))
    try:
        yield made
    finally:
        made.close()


def says_again(stream: socket.socket, what: bytes) -> bool:
    stream.sendall(what)
    heard = b""
    while len(heard) < len(what):
        data = stream.recv(4096)
        if not data:
            return False
        heard += data
    return heard == what


def connected(port: int) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    stream.settimeout(PATIENCE)
    return stream


def config(*sections: str, base: str = BASE) -> str:
    return "\n".join(["name: anna", base, *sections])


def test_bridges_are_started_anew_and_others_go_on(site: Site) -> None:
    """Forwards added; then a stream through one of them lives on while the proxy and the exposed services change, until it is removed."""
    site.nodes.call("ben", "expose", service=str(site.echo.port), port=7001)
    site.nodes.call("anna", "expose", service=str(site.echo.port), port=7003)
    forward, proxy = "forward: ['127.0.0.1:0:ben:7001']", "proxy: {listen: '127.0.0.1:0'}"
    site.reload(config(forward, proxy))
    assert site.taken() == {"log.level", "log.parts", "proxy", "forward"}
    assert site.told() == []
    (row,) = site.bridge("forward")
    port = int(row["listen"].rpartition(":")[2])
    old_proxy = site.bridge("proxy")
    with connected(port) as stream:
        assert says_again(stream, b"before")
        site.reload(config(forward, "proxy: {listen: '127.0.0.1:0', outside: refuse}", f"expose: ['{site.echo.port} --as 7002']"))
        assert site.taken() == {"proxy", "expose"}
        assert says_again(stream, b"and after")
        assert site.nodes.call("anna", "proxy")["outside"] == "refuse", "the commands are the new one's"
        assert {row["port"]: row["configured"] for row in site.bridge("expose")} == {7002: True, 7003: False}, "of a command: kept"
        if site.bridge("proxy") != old_proxy:
            with pytest.raises(ConnectionRefusedError):
                connected(int(old_proxy.rpartition(":")[2]))
        for number in (7002, 7003):
            row = site.nodes.call("ben", "forward", rule=f"127.0.0.1:0:anna:{number}")
            with connected(int(row["listen"].rpartition(":")[2])) as other:
                assert says_again(other, b"from ben")
        site.reload(config(f"expose: ['{site.echo.port} --as 7002']"))
        assert site.taken() == {"proxy", "forward"}
        assert site.bridge("forward") == []
        with suppress(ConnectionResetError):
            assert stream.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connected(port)


def test_a_port_that_is_taken_leaves_all_as_it_was(site: Site) -> None:
    """The node goes on, by the section of before; the next reading tries again."""
    site.reload(config("proxy: {listen: '127.0.0.1:0'}"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        there = f"127.0.0.1:{taken.getsockname()[1]}"
        site.reload(config(f"proxy: {{listen: '{there}'}}"))
        (line,) = site.told()
        assert line.startswith("proxy goes on as before: ")
        assert there in line
        assert f"configuration  {line}" in site.nodes.run("anna", "status").stdout
        assert site.bridge("proxy").startswith("127.0.0.1:")
        assert site.bridge("proxy") != there
        connected(int(site.bridge("proxy").rpartition(":")[2])).close()
    site.reload(config(f"proxy: {{listen: '{there}'}}"))
    assert site.told() == []
    assert site.bridge("proxy") == there


def test_what_waits_is_named_by_its_keys(site: Site) -> None:
    """Once, for as long as the file differs from what holds; what the core can take holds at once."""
    site.reload(config())
    base = BASE.replace("127.0.0.1:0", "127.0.0.1:41999", 1)
    site.reload(config("tunnel: {mtu: 1400, keepalive: 9s}", "chat: {history: 500}", "lan: {broadcast_rate: 0}", base=base))
    line = "listen, tunnel.mtu, chat: changed, taken over at the next start"
    assert site.taken() == {"tunnel.keepalive", "lan.broadcast_rate"}
    assert site.told() == [line]
    assert (site.nodes.state("anna") / "log").read_text().count(f'"message": "{line}"') == 1
    site.reload(config())
    assert site.told() == []


def test_a_mistake_changes_nothing(site: Site) -> None:
    site.reload(config())
    before = site.bridge("proxy"), site.bridge("forward"), site.bridge("expose")
    site.reload(config("proxy: {listen: nowhere}", "forward: ['8080:ben:80']"))
    assert "was not reloaded" in site.log()[-1]
    assert (site.bridge("proxy"), site.bridge("forward"), site.bridge("expose")) == before


def test_each_other_bridge_is_started_anew(site: Site) -> None:
    """Twice, so that what the first one held is free again, and who observes another bridge goes on observing."""
    base = "\n".join(line for line in BASE.splitlines() if not line.startswith(("dns", "mdns", "discovery", "notices")))
    names = {"dns", "mdns", "discovery", "notices"}
    for number, answer in enumerate(("virtual", "alias", "virtual")):
        sections = (
            f"dns: {{listen: '127.0.0.1:0', answer: {answer}}}",
            f"mdns: {{interfaces: [lo], deny: [Laser{number}]}}",
            f"discovery: {{enabled: no, deny: [eve{number}]}}",
            f"notices: {{members: {'yes' if number % 2 else 'no'}}}",
            f"expose: ['{site.echo.port} --as {7010 + number}']",
        )
        site.reload(config(*sections, base=base))
        assert names <= site.taken()
        assert site.told() == []
        assert site.nodes.call("anna", "dns")["answer"] == answer
        assert 7010 + number in {row["port"] for row in site.bridge("expose")}
    said = [json.loads(line) for line in (site.nodes.state("anna") / "log").read_text().splitlines() if line.startswith("{")]
    assert [one["message"] for one in said if "failed" in one["message"] or "Traceback" in one["message"]] == []
