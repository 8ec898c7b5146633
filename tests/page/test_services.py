"""Services through the page: what a peer offers is opened, what is switched on is reached, and no name becomes a link."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.page.conftest import People
from tests.page.nodes import PATIENCE, Node, start_all, until

HOSTILE = "<img src=x onerror=alert(1)> javascript:alert(1)"
WORDS = b"what ben has to say"


@pytest.fixture(scope="module")
def pair() -> Iterator[People]:
    """Anna and ben, who tell each other what they offer."""
    folder = Path(tempfile.mkdtemp(prefix="userlan-page-"))
    anna, ben = Node(folder, "anna", telling=True), Node(folder, "ben", telling=True)
    try:
        start_all(anna, ben)
        ben.call("join", invite=anna.call("create", network="home")["invite"])
        until(lambda: anna.sees(ben) and ben.sees(anna), "anna and ben meet")
        yield People(anna, ben)
    finally:
        anna.stop()
        ben.stop()
        shutil.rmtree(folder, ignore_errors=True)


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(WORDS)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[int]:
    """A web server of this process; its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A web server that is another process: its port, and its name in the list."""
    script = tmp_path / "wiki.py"
    script.write_text(
        "import http.server, sys\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n"
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()\n"
    )
    (tmp_path / "index.html").write_text("the wiki")
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline()), "wiki"
        server.kill()


def of(value: object) -> str:
    """As the page writes it into a sentence: its direction isolated (U+2068, U+2069)."""
    return f"\u2068{value}\u2069"


def view(page: Any, where: str) -> None:
    page.evaluate("hash => { location.hash = hash }", where)


def test_a_service_that_is_opened_answers(pair: People, show: Any, site: int) -> None:
    pair.ben.call("expose", service=str(site), port=8080, name=HOSTILE)
    page = show(pair.anna)
    view(page, f"#/peer/{pair.ben.key}/services")
    page.get_by_text(HOSTILE, exact=True).wait_for()
    assert page.locator("main img").count() == 0
    link = page.get_by_role("link", name=f"Open {of(HOSTILE)}")
    href = link.get_attribute("href")
    assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener noreferrer")
    assert not href.startswith(pair.anna.address().partition("?")[0]), "another name than the page's own: its cookies stay here"
    with page.expect_popup() as opened:
        link.click()
    assert opened.value.evaluate("window.opener") is None
    with urlopen(href, timeout=PATIENCE) as answer:
        assert answer.read() == WORDS
    pair.ben.call("unexpose", service=str(site))
    page.get_by_text(HOSTILE, exact=True).wait_for(state="detached")


def test_a_shared_folder_is_opened(pair: People, show: Any, tmp_path: Path) -> None:
    pictures = tmp_path / "Pictures"
    pictures.mkdir()
    (pictures / "beach.txt").write_bytes(WORDS)
    (pictures / "page.html").write_text("<title>quiet</title><p>here</p><script>document.title = origin</script>")
    pair.ben.call("folder-add", path=str(pictures))
    page = show(pair.anna)
    view(page, f"#/peer/{pair.ben.key}/services")
    link = page.get_by_role("link", name=f"Open {of('Pictures')}")
    with page.expect_popup() as opened:
        link.click()
    folder = opened.value
    folder.get_by_role("link", name="beach.txt").wait_for()
    assert folder.evaluate("[window.opener, document.scripts.length, origin != 'null']") == [None, 0, True]
    with urlopen(f"{folder.url}beach.txt", timeout=PATIENCE) as answer:
        assert answer.read() == WORDS
    folder.get_by_role("link", name="page.html").click()
    folder.get_by_text("here").wait_for()
    assert folder.title() == "quiet", "its script did not run"
    own = show(pair.ben)
    view(own, "#/self/services")
    own.get_by_role("switch", name=f"Share the folder {of('Pictures')}").click()     # it goes with its folder: nothing to look at then
    until(lambda: not pair.ben.call("folder-list"), "it is not shared any more")
    page.get_by_text("Pictures", exact=True).wait_for(state="detached")


def test_a_network_lists_what_all_of_its_members_offer(pair: People, show: Any, site: int) -> None:
    pair.ben.call("expose", service=str(site), port=8888, name="Photos")
    page = show(pair.anna, phone=True)
    view(page, "#/network/home/services")
    page.get_by_role("heading", name="ben").wait_for()
    page.get_by_role("link", name=f"Open {of('Photos')}").wait_for()
    page.get_by_role("button", name="ben", exact=True).click()
    page.get_by_role("heading", name=f"What {of('ben')} offers").wait_for()
    pair.ben.call("unexpose", service=str(site))


def test_a_switch_lets_others_in_and_out_again(pair: People, show: Any, program: tuple[int, str]) -> None:
    port, name = program
    page = show(pair.anna)
    view(page, "#/self/services")
    switch = page.get_by_role("switch", name=f"port {of(port)}")
    switch.wait_for()
    assert page.get_by_text(name, exact=True).first.is_visible()
    switch.check()
    until(lambda: any(row["port"] == port for row in pair.anna.call("exposes")), "it is exposed")
    listen = pair.ben.call("forward", rule=f"0:anna:{port}")["listen"]
    with urlopen(f"http://{listen}/", timeout=PATIENCE) as answer:
        assert answer.read() == b"the wiki"
    offered = page.get_by_role("heading", name="Offered to your networks").locator("xpath=ancestor::section")
    offered.get_by_role("switch", name=f"port {of(port)}").click()       # it goes from here to the others
    until(lambda: not any(row["port"] == port for row in pair.anna.call("exposes")), "it is not exposed any more")
    with pytest.raises(OSError):
        urlopen(f"http://{listen}/", timeout=PATIENCE)
    pair.ben.call("unforward", rule=listen)


def test_any_port_by_hand_for_some_alone(pair: People, show: Any, site: int) -> None:
    page = show(pair.anna)
    view(page, "#/self/services")
    page.get_by_role("button", name="Another port").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Port of this computer").fill(str(site))
    form.get_by_label("Name").fill("Diary")
    form.get_by_label("Seen by the others").fill("8082")
    form.get_by_label("Who may use it").fill("ben")
    form.get_by_role("button", name="Offer").click()
    page.get_by_text(f"seen at port {of(8082)}").wait_for()
    (row,) = [row for row in pair.anna.call("exposes") if row["port"] == 8082]
    assert (row["name"], row["allow"], row["target"]) == ("Diary", ["ben"], f"127.0.0.1:{site}")
    pair.anna.call("unexpose", service="Diary")
    page.get_by_text(f"seen at port {of(8082)}").wait_for(state="detached")


def test_a_way_to_any_port_of_a_peer(pair: People, show: Any, site: int) -> None:
    pair.ben.call("expose", service=str(site), port=8083)
    page = show(pair.anna)
    view(page, f"#/peer/{pair.ben.key}/services")
    page.get_by_label("Port", exact=True).fill("8083")
    page.get_by_role("button", name="Make it reachable").click()
    page.get_by_text(f"Port {of(8083)} of {of('ben')}").wait_for()
    (row,) = [row for row in pair.anna.call("forwards") if row["port"] == 8083]
    with urlopen(f"http://{row['listen']}/", timeout=PATIENCE) as answer:
        assert answer.read() == WORDS
    own = page.evaluate("location.hostname")
    assert not row["listen"].startswith(f"{own}:"), "what is opened at the page's own host gets the page's cookie"
    assert page.get_by_role("link", name=f"Open {of(8083)}").get_attribute("href") == f"http://{row['listen']}/"
    page.get_by_role("button", name=f"Close the way to port {of(8083)}").click()
    until(lambda: not any(row["port"] == 8083 for row in pair.anna.call("forwards")), "it is closed")
    pair.ben.call("unexpose", service=str(site))


@pytest.mark.parametrize(
    ("url", "where", "link"),
    [
        ("http://127.1.2.3:8080/a?b", "127.1.2.3:8080", "http://127.1.2.3:8080/a?b"),
        ("http://127.1.2.3:80/", "127.1.2.3:80", "http://127.1.2.3/"),
        ("https://[fd75:6c61:6e00::1]:8443/", "[fd75:6c61:6e00::1]:8443", "https://[fd75:6c61:6e00::1]:8443/"),
        ("vnc://127.1.2.3:5900", "127.1.2.3:5900", "vnc://127.1.2.3:5900"),
        ("http://127.0.0.1:8080/", "127.0.0.1:8080", "http://localhost:8080/"),
        ("javascript:alert(1)", "127.1.2.3:80", None),
        (" JaVaScRiPt:alert(1)", "127.1.2.3:80", None),
        ("java\tscript:alert(1)", "127.1.2.3:80", None),
        ("data:text/html,<script>alert(1)</script>", "127.1.2.3:80", None),
        ("vbscript:msgbox", "127.1.2.3:80", None),
        ("file:///etc/passwd", "127.1.2.3:80", None),
        ("blob:http://127.1.2.3/1", "127.1.2.3:80", None),
        ("ms-msdt:/id", "127.1.2.3:80", None),
        ("http://evil.example:80/", "127.1.2.3:80", None),
        ("http://127.1.2.3:80@evil.example/", "127.1.2.3:80", None),
        ("http://user:word@127.1.2.3:80/", "127.1.2.3:80", None),
        ("//evil.example/", "127.1.2.3:80", None),
        ("", "127.1.2.3:80", None),
        ("ssh://-oProxyCommand=x", "127.1.2.3:22", None),
    ],
)
def test_what_becomes_a_link(linked: Any, url: str, where: str, link: str | None) -> None:
    assert linked(url, where) == link


@pytest.fixture(scope="module")
def linked(pair: People, browser: Any) -> Iterator[Any]:
    """``linkOf`` of the page's own module, in the browser."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(pair.anna.address())
    page.locator(".own-card .name").get_by_text("anna", exact=True).wait_for()
    yield lambda url, where: page.evaluate("async ([url, where]) => (await import('./services.js')).linkOf(url, where)", [url, where])
    context.close()


def test_a_profile_is_switched_off_and_on_and_shared_with_some(pair: People, show: Any) -> None:
    def row() -> dict[str, Any]:
        (found,) = [one for one in pair.anna.call("shares")["profiles"] if one["profile"] == "openttd"]
        return dict(found)

    page = show(pair.anna)
    view(page, "#/self/sharing")
    page.get_by_label("Find a program").fill("openttd")
    switch = page.get_by_role("switch", name=f"Share {of('OpenTTD')}")
    switch.uncheck()
    until(lambda: not row()["on"], "it is not shared")
    switch.check()
    until(lambda: row()["on"], "it is shared")
    page.get_by_role("button", name=f"With whom: {of('OpenTTD')}").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Everybody in my networks").uncheck()
    form.get_by_label("ben", exact=True).check()
    form.get_by_role("button", name="Share").click()
    form.wait_for(state="detached")
    assert row()["with"] == pair.ben.key
    page.get_by_text(f"shared with {of('ben')}").wait_for()
    pair.anna.call("share", profile="openttd")
