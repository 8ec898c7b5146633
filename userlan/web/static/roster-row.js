// One member's row in the list. An update touches only what changed: hundreds of rows may be updated in one turn.

import { attribute, bdi, h, text } from "./dom.js";
import { avatar, showAvatar } from "./avatar.js";
import { address, milliseconds, rate } from "./format.js";
import { icon, presence, showPresence, showSparkline, sparkline } from "./icons.js";
import { isOnline, presenceWords, shownState } from "./presence.js";
import { t } from "./strings.js";

const parts = new WeakMap(); // row → its parts

/** What a row's place follows from: who is there stands before who is not. Another place, another text. */
export function rank(row) {
  const group = isOnline(row) ? 0 : row.state === "connecting" && !row.blocked ? 1 : 2;
  return `${group}${row.name}`;
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** Compares two rows by their ranks: `{rank, key}`. */
export function compare(one, other) {
  if (one.rank[0] !== other.rank[0]) return one.rank[0] < other.rank[0] ? -1 : 1;
  return collator.compare(one.rank, other.rank) || (one.key < other.key ? -1 : 1);
}

/** A new row for a member of a network. */
export function makeRow(context, key, network) {
  const face = avatar(key, "peer");
  const signal = presence("offline");
  const name = bdi("", "name");
  const where = h("span", { class: "address", dataset: { act: "copy" } });
  const state = h("span", { class: "state" });
  const latency = h("span", { class: "latency" });
  const badge = h("span", { class: "badge", hidden: true });
  const line = sparkline();
  line.setAttribute("class", "sparkline still");
  const menu = h("span", { class: "row-menu", dataset: { act: "menu" } }, icon("more"));
  const element = h("div", { class: "row", role: "treeitem", tabindex: "-1", "aria-level": "2", "aria-selected": "false", dataset: { peer: key, network } },
    h("span", { class: "face" }, face, signal),
    h("span", { class: "about" }, h("span", { class: "first" }, name, badge), h("span", { class: "second" }, state, where)),
    h("span", { class: "numbers" }, latency, line), menu);
  parts.set(element, { face, signal, name, where, state, latency, badge, line, rank: null, row: null, traffic: undefined, unread: -1, offers: -1 });
  updateRow(context, element, key);
  return element;
}

/** Brings a row up to date; true where its place in the list changed. */
export function updateRow({ store }, element, key) {
  const part = parts.get(element);
  const row = store.peer(key);
  if (row === undefined) return true;
  const unread = store.get("conversations").get(`peer:${key}`)?.unread ?? 0;
  const offers = offersOf(store, key);
  const traffic = store.get("traffic").get(key);
  if (traffic !== part.traffic) showTraffic(part, traffic);
  if (row === part.row && unread === part.unread && offers === part.offers && row.state !== "offline") return false;
  Object.assign(part, { row, unread, offers });
  text(part.name, row.name);
  showAvatar(part.face, key, row.name, "peer");
  const state = shownState(row);
  showPresence(part.signal, state);
  attribute(element, "data-state", state);
  const words = presenceWords(row);
  text(part.state, state === "direct" || state === "relayed" ? "" : words);
  text(part.where, address(row));
  const online = isOnline(row) && row.rtt_ms !== null && row.rtt_ms !== undefined;
  text(part.latency, online ? t("latency", { ms: milliseconds(row.rtt_ms) }) : "");
  const count = unread + offers;
  attribute(part.badge, "hidden", count === 0);
  text(part.badge, count > 99 ? "99+" : count || "");
  const said = [row.name, words];
  if (online) said.push(t("latency.label", { ms: milliseconds(row.rtt_ms) }));
  if (unread) said.push(t("roster.unread", { n: unread }));
  if (offers) said.push(t("roster.offers", { n: offers }));
  attribute(element, "aria-label", said.join(", "));
  const place = rank(row);
  const moved = part.rank !== null && part.rank !== place;
  part.rank = place;
  return moved;
}

function showTraffic(part, traffic) {
  part.traffic = traffic;
  part.line.setAttribute("class", traffic ? "sparkline" : "sparkline still");
  if (!traffic) return;
  showSparkline(part.line, traffic);
  part.line.parentNode.title = t("traffic", { rate: rate(traffic.at(-1)) });
}

let counted = new Map(); // offers by key, for one state of the transfers
let countedVersion = -1;

function offersOf(store, key) {
  const transfers = store.get("transfers");
  if (countedVersion !== store.version("transfers")) {
    counted = new Map();
    for (const one of transfers.values()) if (one.direction === "in" && one.state === "offered") counted.set(one.peer, (counted.get(one.peer) ?? 0) + 1);
    countedVersion = store.version("transfers");
  }
  return counted.get(key) ?? 0;
}
