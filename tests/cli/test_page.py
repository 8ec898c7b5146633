"""``userlan open`` and ``userlan status --watch``, with a node that runs."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from userlan.cli.client import call
from userlan.cli.watch_view import Mirror
from userlan.lan.invite import Invite

CONFIG = """\
name: anna
listen: 127.0.0.1:0
traversal: {port_mapping: no, lan_discovery: no}
discovery: {enabled: no}
mdns: {enabled: no}
dns: {listen: none}
proxy: {listen: none}
notices: {enabled: no}
page: {listen: "127.0.0.1:0", metrics: yes}
"""
INVITE = str(Invite((("203.0.113.1", 41414),), bytes(32), "home", bytes(16)))
PATIENCE = 60.0
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
"""The node in the background is of the same code as this."""


class Anna:
    """The command line of a state folder whose node `userlan open` starts."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "userlan", "--state", str(self.state), "--config", str(self.config), *arguments]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = ENVIRONMENT | environment
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, env=given
        )


@pytest.fixture(scope="module")
def anna(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anna]:
    made = Anna(tmp_path_factory.mktemp("anna"))
    yield made
    made.run("down")


def wait_for(process: subprocess.Popen[bytes], descriptor: int, pattern: str) -> str:
    """What a process shows, until it matches."""
    shown, give_up = "", time.monotonic() + PATIENCE
    while not re.search(pattern, shown):
        assert time.monotonic() < give_up, shown
        assert process.poll() is None, shown
        if select.select([descriptor], [], [], 0.2)[0]:
            shown += os.read(descriptor, 1 << 16).decode(errors="replace")      # a character may come in two pieces
    return shown


def test_open_starts_the_node_and_its_link_lets_one_browser_in(anna: Anna) -> None:
    first = anna.run("open", "--print")
    assert (first.returncode, first.stderr) == (0, "")
    url = first.stdout.strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/\?token=[-_0-9A-Za-z]{43}", url)

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *arguments: Any) -> None:
            return None

    opener = urllib.request.build_opener(Stay, urllib.request.ProxyHandler({}))
    codes = []
    for _ in range(2):
        with pytest.raises(urllib.error.HTTPError) as caught:
            opener.open(url)
        codes.append(caught.value.code)
        caught.value.close()
    assert codes == [303, 403]
    page = call(anna.state, "status")["page"]
    assert url.startswith(page)
    assert page in anna.run("status").stdout


def test_each_link_is_another_one_and_an_invite_goes_behind_it(anna: Anna) -> None:
    links = [anna.run("open", INVITE, "--print").stdout.strip() for _ in range(2)]
    assert links[0] != links[1]
    for link in links:
        _, _, fragment = link.partition("#")
        assert urllib.parse.unquote(fragment) == f"join={INVITE}"
    wrong = anna.run("open", "userlan://x", "--print")
    assert wrong.returncode == 1
    assert len(wrong.stderr.splitlines()) == 1


def test_without_a_desktop_the_link_is_printed(anna: Anna) -> None:
    told = anna.run("open", DISPLAY="", WAYLAND_DISPLAY="", BROWSER="")
    assert told.returncode == 0
    assert "/?token=" in told.stdout


def test_a_browser_is_started_with_the_link(anna: Anna, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/told\n')
    browser.chmod(0o755)
    told = anna.run("open", DISPLAY=":0", BROWSER=f"{browser} %s")
    assert (told.returncode, told.stdout) == (0, "")
    assert "/?token=" in (tmp_path / "told").read_text()


def test_the_metrics_of_a_real_node(anna: Anna) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    anna.run("open", "--print")
    page = call(anna.state, "status")["page"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{page}metrics") as answer:
        families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    assert families["userlan_node_info"].samples[0].labels["name"] == "anna"
    assert {"userlan_peers", "userlan_events", "userlan_tcp_connections", "process_cpu_seconds"} <= families.keys()
    assert {sample.labels["part"] for sample in families["userlan_events"].samples} >= {"tunnel"}


def test_watching_in_json_is_one_object_a_line_and_ends_quietly(anna: Anna) -> None:
    anna.run("open", "--print")
    process = subprocess.Popen(anna.command("status", "--watch", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    snapshot = json.loads(process.stdout.readline())["snapshot"]
    assert snapshot["self"]["name"] == "anna"
    call(anna.state, "nick", name="anne")
    mirror = Mirror()
    mirror.take({"snapshot": snapshot})
    while mirror.snapshot["self"]["name"] != "anne":
        mirror.take(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == b""
    process.stdout.close()
    process.stderr.close()


def test_watching_on_a_terminal(anna: Anna) -> None:
    """Drawn in place, at the end of what the terminal shows already, and redrawn when something changes."""
    anna.run("open", "--print")
    call(anna.state, "nick", name="anna")
    master, slave = pty.openpty()
    environment = ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(anna.command("status", "--watch"), stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    wait_for(process, master, r"anna  25\.")
    call(anna.state, "nick", name="berta")
    shown = wait_for(process, master, r"berta  25\.")
    assert "\x1b[?1049h" not in shown, "the whole screen is not taken"
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    os.close(master)


def test_watching_through_a_pipe_is_plain_text(anna: Anna) -> None:
    anna.run("open", "--print")
    process = subprocess.Popen(anna.command("status", "--watch"), stdout=subprocess.PIPE)
    assert process.stdout is not None
    first = process.stdout.readline().decode()
    assert "25." in first
    assert "\x1b" not in first
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    process.stdout.close()


def test_connections_are_not_watched(anna: Anna) -> None:
    told = anna.run("status", "--watch", "--connections")
    assert told.returncode == 2
    assert "--connections" in told.stderr


def test_the_mirror() -> None:
    mirror = Mirror()
    mirror.take({"snapshot": {"self": 1, "peers": [{"key": "a", "name": "ann"}, {"key": "b", "name": "ben"}]}})
    mirror.take({"changes": {"peers": {"a": None, "c": {"key": "c", "name": "abe"}}}})
    assert mirror.snapshot == {"self": 1, "peers": [{"key": "c", "name": "abe"}, {"key": "b", "name": "ben"}]}
    mirror.take({"changes": {"self": 2}})
    assert mirror.snapshot["self"] == 2
