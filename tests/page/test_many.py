"""A network of five hundred: what changes is drawn, and nothing else is touched."""

from __future__ import annotations

from typing import Any

MEMBERS = 500
FEED = """async (count) => {
  const { status } = await import("./feed.js");
  const { store } = await import("./store.js");
  const self = store.get("self");
  const odd = { 7: "a-very-long-name-".repeat(20), 8: "<img src=x onerror=alert(1)>", 9: "\\u05d3\\u05d5\\u05d3 " };
  const peers = Array.from({ length: count }, (_, number) => ({
    name: (odd[number % 50] ?? "member-") + number,
    key: `key${number}`.padEnd(43, "A"), ipv4: `25.9.${number >> 8}.${number & 255}`, ipv6: `fd75::${number}`, networks: ["big"],
    state: ["direct", "relayed", "connecting", "offline"][number % 4], path: "udp", relay: "fra1", endpoint: null, bulk: null, cipher: "",
    rtt_ms: number, rx_bytes: 0, tx_bytes: 0, last_seen: 1700000000 + number, blocked: false,
  }));
  const network = { name: "big", owner: self.key, mine: true, locked: false, approval: false, applicants: [],
                    members: [self.key, ...peers.map((peer) => peer.key)] };
  const rest = { mediator: store.get("mediator"), waiting: [], bridges: {}, groups: null };
  status(store, { snapshot: { self, networks: [network], peers, ...rest } });
  store.flush();
  window.peers = peers;
}"""
CHANGE = """async (numbers) => {
  const { status } = await import("./feed.js");
  const { store } = await import("./store.js");
  const touched = new Set();
  const observer = new MutationObserver(() => {});
  observer.observe(document.querySelector(".roster"), { subtree: true, childList: true, attributes: true, characterData: true });
  const changed = Object.fromEntries(numbers.map((number) => [peers[number].key, { ...peers[number], rtt_ms: 1234 }]));
  const begin = performance.now();
  status(store, { changes: { peers: changed } });
  store.flush();
  const took = performance.now() - begin;
  for (const record of observer.takeRecords()) {
    const element = record.target.nodeType === Node.ELEMENT_NODE ? record.target : record.target.parentElement;
    touched.add(element.closest("[data-peer]")?.dataset.peer ?? "outside");
  }
  observer.disconnect();
  return { touched: [...touched], took };
}"""
ORDER = """() => [...document.querySelectorAll(".row .name")].slice(0, 3).map((name) => name.textContent)"""


def test_only_what_changed_is_touched(people: Any, show: Any) -> None:
    page = show(people.anna)
    page.evaluate(FEED, MEMBERS)
    assert page.locator(".row").count() == MEMBERS
    changed = page.evaluate(CHANGE, [0, 250, 480])
    keys = {f"key{number}".ljust(43, "A") for number in (0, 250, 480)}
    assert set(changed["touched"]) <= keys
    assert "1,234" in page.get_by_role("treeitem", name="member-480, online, direct").locator(".latency").text_content()
    assert page.locator("#app img").count() == 0, "a nickname is never markup"
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "a long name is cut, and stretches nothing"


def test_somebody_is_found_among_many(people: Any, show: Any) -> None:
    page = show(people.anna)
    page.evaluate(FEED, MEMBERS)
    page.keyboard.press("/")
    page.keyboard.type("member-12")
    assert page.locator(".row").count() == 1 + 10
    page.keyboard.type("nobody")
    page.get_by_text("Nobody here is called that.").wait_for()
    page.keyboard.press("Escape")
    assert page.locator(".row").count() == MEMBERS


def test_who_comes_online_moves_up_and_keeps_the_focus(people: Any, show: Any) -> None:
    page = show(people.anna)
    page.evaluate(FEED, MEMBERS)
    row = page.get_by_role("treeitem", name="member-3, last seen")
    row.focus()
    page.evaluate("""async () => {
      const { store } = await import("./store.js");
      store.patch("peers", { [peers[3].key]: { ...peers[3], state: "direct", name: "0-first" } });
      store.flush();
    }""")
    assert page.evaluate(ORDER)[0] == "0-first"
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("0-first, online, direct")


MOVED = """async () => {
  const { status } = await import("./feed.js");
  const { store } = await import("./store.js");
  const apply = (change) => {
    peers.forEach((row, number) => { if (change(number) !== undefined) peers[number] = { ...row, state: change(number) }; });
    status(store, { changes: { peers: Object.fromEntries(peers.map((row) => [row.key, row])) } });
    store.flush();
  };
  apply(() => "direct");
  const group = document.querySelector(".row").parentNode;
  const observer = new MutationObserver(() => {});
  observer.observe(group, { childList: true });
  const counted = (change) => {
    apply(change);
    return observer.takeRecords().reduce((sum, record) => sum + record.addedNodes.length, 0);
  };
  const gone = (number) => (number % 10 === 3 || (number >= 100 && number < 110) ? "offline" : undefined);
  const moves = [counted(gone), counted((number) => (gone(number) ? "direct" : undefined))];
  const shown = [...group.children].map((row) => row.dataset.peer);
  const order = peers.map((row) => row.key).sort((one, other) => {
    const name = (key) => `0${store.peer(key).name}`;
    return new Intl.Collator(undefined, { numeric: true, sensitivity: "base" }).compare(name(one), name(other)) || (one < other ? -1 : 1);
  });
  return { moves, right: JSON.stringify(shown) === JSON.stringify(order) };
}"""


def test_only_those_move_who_come_and_go(people: Any, show: Any) -> None:
    """A tenth of them, some side by side: the others stay where they are, and their rows are not laid out again."""
    page = show(people.anna)
    page.evaluate(FEED, MEMBERS)
    moved = page.evaluate(MOVED)
    assert moved["moves"] == [59, 59]
    assert moved["right"]


RENAMED = """async () => {
  const { status } = await import("./feed.js");
  const { store } = await import("./store.js");
  const network = { ...store.network("big"), own_name: "anna-2" };
  status(store, { changes: { networks: [network] } });
  store.flush();
}"""


def test_another_name_in_a_network_is_said_at_its_head(people: Any, show: Any) -> None:
    """Two people of one computer are vm and vm-2 there, and each of them vm to itself."""
    page = show(people.anna)
    page.evaluate(FEED, 3)
    page.evaluate("location.hash = '#/network/big/chat'")
    head = page.get_by_role("main")
    head.get_by_text("online").first.wait_for()
    assert "you are" not in head.inner_text()
    page.evaluate(RENAMED)
    assert "anna-2" in head.inner_text()
