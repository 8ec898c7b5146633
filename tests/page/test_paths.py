"""The path to a peer, the map, and the doctor, through the page."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from tests.page.nodes import until
from tests.page.test_accessible import CONTRAST, findings
from tests.page.test_services import of, view

CLICK = """hit => {
  hit.scrollIntoView({ block: "center" });
  const { left, top, width, height } = hit.getBoundingClientRect();
  document.elementFromPoint(left + width / 2, top + height / 2).dispatchEvent(new MouseEvent("click", { bubbles: true }));
}"""
"""A click on what is seen there, in one turn: a member moves as its latency does."""
PLOTTED = re.compile(r"Shortest .* of [1-9][\d,]* measurements")


def test_how_a_peer_is_reached_and_why(people: Any, show: Any) -> None:
    page = show(people.anna)
    view(page, f"#/peer/{people.ben.key}/path")
    page.get_by_text(f"You reach {of('ben')} directly.").wait_for()
    page.get_by_text(f"{of('ben')} is on this computer").wait_for()
    picture = page.get_by_role("img", name=f"A direct line between this computer and {of('ben')}")
    assert picture.locator("g.way.used.direct").count() == 1
    page.locator("figcaption").get_by_text(PLOTTED).wait_for()
    told = people.anna.call("path", peer=people.ben.key)
    assert page.get_by_role("definition").get_by_text(told["endpoint"], exact=True).first.is_visible(), "its bulk may have the same one"
    assert told["history"]["rtt_ms"].count(None) < len(told["history"]["rtt_ms"]), "the page's own echoes are measurements, too"
    plot = page.locator(".plot-area")
    plot.focus()
    page.keyboard.press("End")
    page.locator(".plot-readout").get_by_text("ms at").wait_for()


def test_the_doctor_says_what_is_wrong_and_looks_again(people: Any, show: Any) -> None:
    page = show(people.anna, phone=True)
    view(page, "#/self/doctor")
    page.get_by_text("The doctor is looking").wait_for()
    told = people.anna.call("advice")       # the same question: both get the answer of one run
    verdict = page.locator(".verdict")
    verdict.nth(1).wait_for()
    wanted = "keep" if told["wrong"] else "Nothing is wrong."
    assert wanted in verdict.first.inner_text()
    assert [one.inner_text() for one in page.locator(".finding code").all()] == [one["remedy"] for one in told["findings"] if one["remedy"]]
    page.get_by_role("button", name="Check again").click()
    page.get_by_text("The doctor is looking").wait_for()
    verdict.nth(1).wait_for()
    assert findings(page, "main") == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_serious_once_all_is_shown(people: Any, show: Any, dark: bool) -> None:
    page = show(people.anna, dark=dark)
    view(page, f"#/peer/{people.ben.key}/path")
    page.locator("figcaption").get_by_text(PLOTTED).wait_for()
    changed = CONTRAST if dark else None
    assert findings(page, "main", changed) == []
    for where, shown in (("#/self/services", ".tile"), ("#/self/sharing", ".tile"), ("#/network/home/map", ".map-drawing .member")):
        view(page, where)
        page.locator(shown).first.wait_for()
        assert findings(page, "main", changed) == [], where


def test_the_map_and_its_list_lead_to_the_path(people: Any, show: Any) -> None:
    page = show(people.anna)
    view(page, "#/network/home/map")
    drawing = page.get_by_role("img", name=f"Map of the network {of('home')}")
    drawing.locator(".member.direct").wait_for()
    assert drawing.locator(".member").count() == drawing.locator(".ray.direct").count() == 1
    page.locator(".map-list").get_by_role("button", name="ben online, direct").focus()
    page.keyboard.press("Enter")
    page.get_by_text(f"You reach {of('ben')} directly.").wait_for()
    page.go_back()
    drawing.locator(".member.direct .hit").evaluate(CLICK)
    page.get_by_text(f"You reach {of('ben')} directly.").wait_for()


LOOK_AGAIN = """async () => {
  const { api } = await import("./api.js");
  const looked = new Promise((resolve) => {
    api.call = (command, ...rest) => {
      const answer = Object.getPrototypeOf(api).call.call(api, command, ...rest);
      if (command === "path") answer.then(() => setTimeout(resolve));
      return answer;
    };
  });
  document.dispatchEvent(new Event("visibilitychange"));
  await looked;
  delete api.call;
}"""
"""The next of the looks at the path, now; it is over when this is."""


def test_who_is_at_a_button_stays_there_when_the_path_is_told_again(people: Any, show: Any) -> None:
    page = show(people.anna)
    view(page, f"#/peer/{people.ben.key}/path")
    copying = page.locator(".facts .typed button").first
    copying.focus()
    name = copying.get_attribute("aria-label")
    page.evaluate(LOOK_AGAIN)
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == name


MEMBERS = """async (count) => {
  const [{ store }, map] = await Promise.all([import("./store.js"), import("./map.js")]);
  const state = ["direct", "relayed", "connecting", "offline"];
  const peers = Array.from({ length: count }, (_, index) => ({
    key: `K${index}`, name: `<b>member</b> ${index}`, networks: ["crowd"], state: state[index % 4],
    relay: index % 4 === 1 ? "<i>relay</i>" : null, rtt_ms: index % 4 < 2 ? 3 * index + 1 : null, last_seen: null,
  }));
  store.set("peers", new Map(peers.map((peer) => [peer.key, peer])));
  store.set("networks", new Map([["crowd", { name: "crowd", owner: "K0", members: peers.map((peer) => peer.key) }]]));
  const container = document.body.appendChild(document.createElement("div"));
  container.id = "crowd";
  map.mount(container, { store, params: { network: "crowd" }, open: (view, { peer }) => (window.opened = peer) });
}"""
SLOWER = """async () => {
  const { store } = await import("./store.js");
  store.patch("peers", { K0: { ...store.peer("K0"), rtt_ms: 300 } });
}"""


def test_a_map_of_few_and_of_many(people: Any, show: Any) -> None:
    """Each member is drawn once, nothing of what it says is markup, and no two names of a crowd are written across each other."""
    page = show(people.anna)
    for count in (3, 100):
        page.evaluate(MEMBERS, count)
        page.locator("#crowd .member").nth(count - 1).wait_for(state="attached")
        assert page.locator("#crowd .member").count() == page.locator("#crowd .map-list li").count() == count
        assert page.locator("#crowd b, #crowd i").count() == 0
        if count < 100:
            page.evaluate("document.getElementById('crowd').remove()")
            continue
        turns = page.locator("#crowd .ray-name").evaluate_all("names => names.map(name => name.getAttribute('transform'))")
        assert len(set(turns)) == count
        read = "names => names.map(name => [+name.getAttribute('x'), +name.getAttribute('y')])"
        places = page.locator("#crowd .ray-name").evaluate_all(read)
        near = min(abs(complex(*one) - complex(*other)) for one, other in pairwise(places))
        assert near > 12, "pixels between the lines of two names"


def test_a_member_is_clicked_though_it_moves_meanwhile(people: Any, show: Any) -> None:
    """Drawn anew between the press and the release, what was pressed would not be there to be clicked."""
    page = show(people.anna)
    page.evaluate(MEMBERS, 3)
    hit = page.locator("#crowd .member.direct .hit")
    hit.scroll_into_view_if_needed()
    place = hit.bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.mouse.down()
    page.evaluate(SLOWER)
    page.locator("#crowd .map-list .number").get_by_text(f"{of(300)} ms").wait_for()
    page.mouse.up()
    assert page.evaluate("window.opened") == "K0"
    until(lambda: hit.bounding_box() != place, "then it has moved")


DRAWN = """async ([path, width]) => {
  const { draw } = await import("./path-picture.js");
  document.getElementById("picture")?.remove();
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.id = "picture";
  draw(picture, path, width);
  document.body.append(picture);
  const used = picture.querySelectorAll(".way.used.relayed").length;
  return { label: picture.getAttribute("aria-label"), used, wide: picture.viewBox.baseVal.width };
}"""


def test_the_picture_of_each_state(people: Any, show: Any) -> None:
    """What another one's node and NAT say is text in the drawing, whatever it says."""
    nat = people.anna.call("netcheck")
    page = show(people.anna)
    for state in ("relayed", "connecting", "offline"):
        relayed = state == "relayed"
        relay = {"name": "<i>fra</i>", "rtt_ms": 12.0}
        path = {
            "name": "<script>", "state": state, "path": "relay", "endpoint": None, "rtt_ms": 23.4 if relayed else None,
            "why": ["unforeseeable-both"], "own": {"name": "anna", "nat": nat, "seen": nat["seen"]},
            "theirs": {"nat": None, "seen": "<b>seen</b>"}, "relay": relay if relayed else None, "relays": [relay],
        }  # fmt: skip
        for width in (330, 860):
            drawn = page.evaluate(DRAWN, [path, width])
            assert "<script>" in drawn["label"]
            assert (drawn["used"], drawn["wide"]) == (int(relayed), width)
            assert page.locator("#picture").locator("script, b, i").count() == 0
