// The list: networks and their members as in a messenger, a tree for the keyboard and for screen readers.

import { attribute, bdi, button, h, rows, sync, text } from "./dom.js";
import { createNetwork, joinNetwork, networkMenu, waitingMenu } from "./networks.js";
import { openMenu } from "./menu.js";
import { peerMenu } from "./actions.js";
import { icon } from "./icons.js";
import { compare, makeRow, rank, updateRow } from "./roster-row.js";
import { t } from "./strings.js";
import { take } from "./clipboard.js";
import { countWords, isOnline } from "./presence.js";
import { ago } from "./format.js";
import { moves } from "./tree.js";

const FIND_FROM = 8; // members from which on a field to find somebody is worth its place
const FOLDED = "userlan.folded";
const MINUTE = 60_000;

/** Shows the list; answers what ends it. */
export function mount(container, context) {
  const { store, open } = context;
  const tree = h("div", { class: "roster", role: "tree", "aria-label": t("roster.label") });
  const input = h("input", { type: "search", placeholder: t("roster.find"), "aria-label": t("roster.find"), autocomplete: "off", spellcheck: "false" });
  const find = h("div", { class: "find", hidden: true }, icon("search"), input);
  const nobody = h("p", { class: "nobody", hidden: true }, t("roster.nobody-found"));
  const foot = h("footer", { class: "side-foot" },
    button(t("roster.new"), () => createNetwork(context), { icon: icon("plus"), kind: "quiet" }), button(t("roster.join"), () => joinNetwork(context), { icon: icon("link"), kind: "quiet" }));
  container.append(find, tree, nobody, foot);
  const folded = new Set(remembered());
  const members = new Map(); // network → keys in the order shown

  // --- what is shown ---

  function sections() {
    const networks = [...store.get("networks").values()];
    const waiting = [...store.get("waiting"), ...store.get("denied")].filter((one) => !store.network(one.network)).map((one) => ({ ...one, name: one.network, waiting: true }));
    find.hidden = store.get("peers").size < FIND_FROM;
    sync(tree, [...networks, ...waiting], (one) => (one.waiting ? `waiting ${one.name}` : one.name), (one) => (one.waiting ? makeWaiting(one) : makeNetwork(one)), (element, one) => {
      if (one.waiting) text(element.querySelector(".note"), waitingWords(one));
      else updateNetwork(element, one);
    });
    for (const network of networks) order(network);
    for (const name of members.keys()) if (!store.network(name)) members.delete(name);
    if (!tree.querySelector("[tabindex='0']")) tree.querySelector("[role=treeitem]")?.setAttribute("tabindex", "0");
  }

  function order(network) {
    const own = store.get("self")?.key;
    const wanted = input.value.trim().toLocaleLowerCase();
    const shown = [];
    for (const key of network.members) {
      const row = store.peer(key);
      if (key === own || row === undefined) continue;
      if (wanted && !row.name.toLocaleLowerCase().includes(wanted) && !(row.ipv4 ?? "").includes(wanted)) continue;
      shown.push({ rank: rank(row), key });
    }
    const keys = shown.sort(compare).map((one) => one.key);
    members.set(network.name, keys);
    const group = section(network.name).lastElementChild;
    sync(group, keys, (key) => key, (key) => makeRow(context, key, network.name), null);
    section(network.name).querySelector(".alone").hidden = network.members.some((key) => key !== own) || Boolean(wanted);
  }

  function section(name) {
    return rows(tree).get(name);
  }

  function changed(keys) {
    if (keys === null) return everything();
    const stale = new Set();
    for (const key of keys) {
      const row = store.peer(key);
      if (row === undefined) {
        for (const network of store.get("networks").values()) stale.add(network.name);
        continue;
      }
      for (const name of row.networks) {
        const element = section(name) && rows(section(name).lastElementChild).get(key);
        if (!element) stale.add(name);
        else if (updateRow(context, element, key)) stale.add(name);
      }
    }
    for (const name of stale) if (store.network(name) && section(name)) order(store.network(name));
    for (const network of store.get("networks").values()) if (section(network.name)) updateCount(section(network.name), network);
    return undefined;
  }

  function everything() {
    sections();
    for (const network of store.get("networks").values()) {
      for (const [key, element] of rows(section(network.name).lastElementChild)) updateRow(context, element, key);
    }
    selected();
  }

  function updateCount(element, network) {
    const others = network.members.filter((key) => key !== store.get("self")?.key);
    const online = others.filter((key) => isOnline(store.peer(key))).length;
    text(element.querySelector(".count"), countWords(online, others.length));
    const unread = store.get("conversations").get(`network:${network.name}`)?.unread ?? 0;
    const badge = element.querySelector(".network-line .badge");
    attribute(badge, "hidden", unread === 0);
    text(badge, unread > 99 ? "99+" : unread);
    const applicants = network.applicants?.length ?? 0;
    const asking = element.querySelector(".asking");
    attribute(asking, "hidden", applicants === 0);
    text(asking.lastChild, t("roster.applicants", { n: applicants }));
    const said = [network.name, countWords(online, others.length)];
    if (network.approval) said.push(t("roster.approval"));
    if (network.locked) said.push(t("roster.locked"));
    if (unread) said.push(t("roster.unread", { n: unread }));
    if (applicants) said.push(t("roster.applicants", { n: applicants }));
    attribute(element, "aria-label", said.join(", "));
  }

  /** Whoever has the focus in the list keeps it there, though what had it be gone. */
  function keeping(update) {
    return (keys) => {
      const held = tree.contains(document.activeElement);
      update(keys);
      if (!held || tree.contains(document.activeElement)) return;
      const next = tree.querySelector("[role=treeitem][tabindex='0']") ?? tree.querySelector("[role=treeitem]");
      next?.setAttribute("tabindex", "0");
      (next ?? foot.querySelector("button")).focus();
    };
  }

  // --- the network's part ---

  function makeNetwork(network) {
    const name = network.name;
    const fold = h("span", { class: "fold", dataset: { act: "fold" } }, icon("down"));
    const menu = button(t("roster.open-menu", { name }), () => showMenu(menu, element), { icon: icon("more"), bare: true, kind: "small", tabindex: "-1" });
    const line = h("div", { class: "network-line" }, fold, bdi(name, "name"), h("span", { class: "marks" }), h("span", { class: "badge", hidden: true }), h("span", { class: "count" }), menu);
    const asking = h("button", { type: "button", class: "asking", hidden: true, tabindex: "-1", on: { click: () => open("members", { network: name }) } }, icon("person"), h("span", null, ""));
    const alone = h("p", { class: "alone", hidden: true }, t("roster.alone"));
    const element = h("div", { class: "network", role: "treeitem", tabindex: "-1", "aria-level": "1", dataset: { network: name } }, line, asking, alone, h("div", { role: "group", class: "members" }));
    line.addEventListener("click", (event) => {
      if (event.target.closest(".fold")) toggle(element);
      else if (!event.target.closest("button")) open("chat", { network: name });
    });
    return element;
  }

  function updateNetwork(element, network) {
    const marks = element.querySelector(".marks");
    const wanted = `${network.locked} ${network.approval} ${network.mine}`; // drawn anew where one of them changed
    if (marks.dataset.shown !== wanted) {
      marks.dataset.shown = wanted;
      marks.replaceChildren(...[network.mine && icon("crown", { label: t("roster.owner") }), network.approval && icon("person", { label: t("roster.approval") }), network.locked && icon("lock", { label: t("roster.locked") })].filter(Boolean));
    }
    attribute(element, "aria-expanded", String(!folded.has(network.name)));
    updateCount(element, network);
  }

  function makeWaiting({ name }) { // asked for, or refused
    const menu = button(t("roster.open-menu", { name }), () => showMenu(menu, element), { icon: icon("more"), bare: true, kind: "small", tabindex: "-1" });
    const element = h("div", { class: "network waiting", role: "treeitem", tabindex: "-1", "aria-level": "1", dataset: { waiting: name } },
      h("div", { class: "network-line" }, icon("clock"), bdi(name, "name"), menu), h("p", { class: "note" }));
    return element;
  }

  function toggle(element, fold = !folded.has(element.dataset.network)) {
    const name = element.dataset.network;
    if (fold) folded.add(name);
    else folded.delete(name);
    attribute(element, "aria-expanded", String(!fold));
    remember([...folded]);
  }

  // --- what is done ---

  function showMenu(at, element) {
    const { peer, network, waiting } = element.dataset;
    const name = peer ? store.nameOf(peer) : network ?? waiting;
    openMenu(at, peer ? peerMenu(context, peer, network) : network ? networkMenu(context, network) : waitingMenu(context, waiting), t("roster.menu", { name }));
  }

  function selected() {
    const { kind, id } = store.get("selection");
    for (const element of tree.querySelectorAll("[aria-selected=true]")) element.setAttribute("aria-selected", "false");
    const found = [...tree.querySelectorAll(kind === "peer" ? "[data-peer]" : "[data-network]:not([data-peer])")].filter((element) => (kind === "peer" ? element.dataset.peer : element.dataset.network) === id);
    for (const element of found) element.setAttribute("aria-selected", "true");
  }

  tree.addEventListener("click", (event) => {
    const row = event.target.closest("[data-peer]");
    if (!row) return;
    if (event.target.closest(".address")) take(event.target.closest(".address").textContent);
    else if (event.target.closest(".row-menu")) showMenu(event.target.closest(".row-menu"), row);
    else open("chat", { peer: row.dataset.peer });
  });
  tree.addEventListener("contextmenu", (event) => {
    const item = event.target.closest("[role=treeitem]");
    if (!item) return;
    event.preventDefault();
    const byKey = event.clientX === 0 && event.clientY === 0;
    const line = item.querySelector(".network-line") ?? item;
    showMenu(byKey ? line : { x: event.clientX, y: event.clientY }, item);
  });
  moves(tree, {
    toggle,
    activate: (item) => {
      const { peer, network } = item.dataset;
      if (peer) open("chat", { peer });
      else if (network) open("chat", { network });
    },
    menu: (item) => showMenu(item.querySelector(".network-line") ?? item, item),
  });

  input.addEventListener("input", () => {
    sections();
    nobody.hidden = !input.value.trim() || tree.querySelector("[data-peer]") !== null;
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      input.value = "";
      sections();
      nobody.hidden = true;
    } else if (event.key !== "ArrowDown") {
      return;
    }
    event.preventDefault();
    (tree.querySelector("[data-peer]") ?? tree.querySelector("[role=treeitem]"))?.focus();
  });

  let offering = new Set();

  function offers() {
    const before = offering;
    offering = new Set([...store.get("transfers").values()].filter((one) => one.direction === "in" && one.state === "offered").map((one) => one.peer));
    changed(new Set([...before, ...offering]));
  }

  const about = (keys) => changed(keys === null ? null : new Set([...keys].filter((id) => id.startsWith("peer:")).map((id) => id.slice(5))));
  const offs = [
    store.on(["networks", "waiting", "denied", "self"], keeping(everything)),
    store.on(["peers", "traffic"], keeping(changed)),
    store.on("conversations", about),
    store.on("transfers", offers),
    store.on("selection", selected),
  ];
  const timer = setInterval(() => document.hidden || changed(new Set([...store.get("peers").values()].filter((row) => row.state === "offline").map((row) => row.key))), MINUTE);
  everything();
  return () => {
    clearInterval(timer);
    offs.forEach((off) => off());
    container.replaceChildren();
  };
}

function waitingWords({ since, reason }) {
  return since === undefined ? t("roster.denied", { why: reason }) : t("roster.waiting", { when: ago(since) });
}

function remembered() {
  try {
    const names = JSON.parse(localStorage.getItem(FOLDED) ?? "[]");
    return Array.isArray(names) ? names : [];
  } catch {
    return [];
  }
}

function remember(names) {
  try {
    localStorage.setItem(FOLDED, JSON.stringify(names));
  } catch {
    // Storage is switched off: folded until the page is left.
  }
}
