// A network as a map: this computer in the middle, the members around it, near where the answer comes soon; and the same as a list.

import { bdi, h, sync, text } from "./dom.js";
import { milliseconds } from "./format.js";
import { icon, presence, showPresence } from "./icons.js";
import { countWords, isOnline, presenceWords, shownState } from "./presence.js";
import { t } from "./strings.js";
import { describe, short, stroke, svg } from "./svg.js";

const CROWD = 18; // members from which names are written along the rays
const MULTITUDE = 140; // members from which the list alone has the names: around the rim there is no room for more
const RINGS = [10, 30, 100]; // milliseconds at which circles are drawn
const SLOWEST = 400; // milliseconds at the rim
const DUE = 1000; // milliseconds between two drawings: positions follow smoothed latencies, and need not follow each of them

/** Shows the map of `params.network`; answers what ends it. */
export function mount(container, context) {
  const { store, params } = context;
  const drawing = svg("svg", { class: "map-drawing" });
  const frame = h("div", { class: "map-frame" }, drawing);
  const legend = h("ul", { class: "legend" }, ["direct", "relayed", "connecting", "offline"].map((state) => h("li", null, sample(state), t(`map.legend.${state}`))));
  const count = h("p", { class: "quiet" });
  const list = h("ul", { class: "people map-list" });
  container.append(h("div", { class: "scroll" }, h("section", { class: "part" }, h("h2", { class: "unseen" }, t("tab.map")), frame, legend), h("section", { class: "part" }, h("h2", null, t("map.list")), count, list)));
  let width = 0;
  let timer = null;
  let pressed = false; // on what is drawn: drawn anew before it is let go, it would not be clicked
  let shown = ""; // what the drawing was made of: of a crowd, coarse latencies

  function members() {
    const network = store.network(params.network);
    const own = store.get("self")?.key;
    return (network?.members ?? []).filter((key) => key !== own).map((key) => store.peer(key)).filter(Boolean);
  }

  function show() {
    clearTimeout(timer);
    timer = null;
    const rows = members();
    const facts = rows.map((row) => [row.key, row.name, shownState(row), row.relay, rows.length > CROWD ? grade(row) : row.rtt_ms]);
    const seen = JSON.stringify([width, store.get("self")?.name, store.get("mediator")?.state, facts]);
    if (!pressed) {
      if (width > 0 && seen !== shown) draw(drawing, rows, store, context, params.network, width);
      shown = seen;
    }
    const online = rows.filter(isOnline).length;
    text(count, countWords(online, rows.length));
    const sorted = [...rows].sort((one, other) => isOnline(other) - isOnline(one) || (grade(one) - grade(other) || 0) || one.name.localeCompare(other.name));
    sync(list, sorted, (row) => row.key, (row) => makeRow(context, row), updateRow);
  }

  const press = () => (pressed = true);
  const release = () => {
    if (!pressed) return;
    pressed = false;
    timer ??= setTimeout(show, DUE);
  };
  drawing.addEventListener("pointerdown", press);
  addEventListener("pointerup", release);
  addEventListener("pointercancel", release);
  const resized = new ResizeObserver(([entry]) => {
    const wide = Math.round(entry.contentRect.width);
    if (wide > 0 && wide !== width) {
      width = wide;
      show();
    }
  });
  resized.observe(frame);
  const off = store.on(["peers", "networks", "self", "mediator"], () => (timer ??= setTimeout(show, DUE)));
  show();
  return () => {
    off();
    clearTimeout(timer);
    resized.disconnect();
    removeEventListener("pointerup", release);
    removeEventListener("pointercancel", release);
  };
}

/** A latency in coarse steps: neighbours in the list do not change places with every measurement. */
function grade(row) {
  return row.rtt_ms === null ? Infinity : Math.round(2 * Math.log2(1 + row.rtt_ms));
}

function sample(state) {
  return svg("svg", { viewBox: "0 0 34 12", width: 34, height: 12, "aria-hidden": "true", focusable: "false" }, svg("path", { class: `ray ${state}`, d: stroke([2, 7], [32, 6], 2) }));
}

function makeRow(context, row) {
  return h("li", null, h("button", { type: "button", class: "person", on: { click: () => context.open("path", { peer: row.key }) } },
    presence("offline"), h("span", { class: "about" }, bdi("", "name"), h("span", { class: "quiet state" })), h("span", { class: "quiet number" })));
}

function updateRow(element, row) {
  showPresence(element.querySelector(".presence"), shownState(row));
  text(element.querySelector(".name"), row.name);
  text(element.querySelector(".state"), presenceWords(row));
  text(element.querySelector(".number"), isOnline(row) && row.rtt_ms !== null ? t("path.ms", { ms: milliseconds(row.rtt_ms) }) : "");
}

// --- the drawing -------------------------------------------------------------------------------------------------------

/** Where a latency is between the middle (0) and the rim (1): by its logarithm, since 1 and 10 ms differ as 10 and 100 do. */
export function distance(milliseconds_) {
  const share = Math.log10(1 + Math.max(0, milliseconds_)) / Math.log10(1 + SLOWEST);
  return 0.3 + 0.6 * Math.min(1, share);
}

function draw(element, rows, store, context, network, width) {
  const crowd = rows.length > CROWD;
  const side = Math.min(width, crowd ? 860 : 400 + 14 * rows.length);
  const dots = crowd && (side < 500 || rows.length > MULTITUDE);
  const names = crowd ? (dots ? 14 : 92) : side < 500 ? 46 : 76;
  const radius = side / 2 - names;
  const centre = [side / 2, side / 2];
  // Who goes by the same relay stands together, and the rest by name: nobody's place changes with a latency.
  const sorted = [...rows].sort((one, other) => String(one.relay ?? "").localeCompare(String(other.relay ?? "")) || one.name.localeCompare(other.name) || one.key.localeCompare(other.key));
  const at = new Map(sorted.map((row, index) => [row.key, place(row, index, sorted.length, centre, radius)]));
  const relays = stations(sorted, at, centre, radius, side);
  element.setAttribute("viewBox", `0 0 ${side} ${side}`);
  element.classList.toggle("small-crowd", dots);
  element.setAttribute("width", side);
  element.setAttribute("height", side);
  element.replaceChildren(
    svg("g", { class: "rings" }, RINGS.map((ring) => [
      svg("circle", { cx: centre[0], cy: centre[1], r: distance(ring) * radius }),
      side >= 500 && svg("text", { x: centre[0], y: centre[1] - distance(ring) * radius - 3, "text-anchor": "middle" }, t("path.ms", { ms: milliseconds(ring) })),
    ])),
    svg("g", { class: "rays" }, rays(sorted, at, relays, centre)),
    svg("g", { class: "stations" }, [...relays].map(([name, spot]) => station(name, spot, spot[1] < centre[1]))),
    ...mediator(store, centre, radius),
    svg("g", { class: "members" }, sorted.map((row) => member(row, at.get(row.key), { crowd, dots, few: rows.length <= 8, side }, context))),
    own(store, centre, side < 500 ? 18 : 24),
  );
  describe(element, t("map.words", { network, n: rows.length }));
}

function place(row, index, count, [x, y], radius) {
  const angle = (index / Math.max(1, count)) * 2 * Math.PI - Math.PI / 2 + (count === 2 ? Math.PI / 2 : Math.PI / Math.max(3, count));
  const far = isOnline(row) && row.rtt_ms !== null ? distance(row.rtt_ms) : 0.97;
  return { angle, x: x + Math.cos(angle) * far * radius, y: y + Math.sin(angle) * far * radius, rim: [x + Math.cos(angle) * radius, y + Math.sin(angle) * radius] };
}

/** The relays in use, each between the middle and those whom it carries. */
function stations(rows, at, [x, y], radius, side) {
  const sums = new Map();
  for (const row of rows) {
    if (row.state !== "relayed" || !row.relay) continue;
    const { angle } = at.get(row.key);
    const sum = sums.get(row.relay) ?? [0, 0];
    sums.set(row.relay, [sum[0] + Math.cos(angle), sum[1] + Math.sin(angle)]);
  }
  const spots = new Map();
  for (const [name, [across, down]] of sums) {
    const angle = Math.atan2(down, across);
    const far = Math.max(side < 500 ? 36 : 50, radius * 0.3);
    spots.set(name, [x + Math.cos(angle) * far, y + Math.sin(angle) * far]);
  }
  return spots;
}

function rays(rows, at, relays, centre) {
  const drawn = [];
  for (const row of rows) {
    const { x, y } = at.get(row.key);
    const state = shownState(row);
    const from = state === "relayed" ? relays.get(row.relay) ?? centre : centre;
    drawn.push(svg("path", { class: `ray ${state}`, d: stroke(from, [x, y], 4) }));
  }
  for (const spot of relays.values()) drawn.push(svg("path", { class: "ray relayed trunk", d: stroke(centre, spot, 3) }));
  return drawn;
}

function station(name, [x, y], above) {
  return svg("g", { class: "station" }, svg("path", { d: `M${x} ${y - 10}l9 9-9 10-9-10z` }), svg("text", { x, y: y + (above ? -15 : 23), "text-anchor": "middle" }, short(name, 14)));
}

function mediator(store, [x, y], radius) {
  const row = store.get("mediator");
  if (!row || row.state === "none") return [];
  const spot = [x - radius * 0.92, y - radius * 0.98];
  const connected = row.state === "connected";
  return [svg("path", { class: `ray ${connected ? "mediator" : "offline"}`, d: stroke([x, y], spot, -12) }),
    svg("g", { class: "station mediator" }, svg("path", { d: `M${spot[0] - 9} ${spot[1] - 8}c6-.6 12-.6 18 0 .5 5 .5 11 0 16-6 .5-12 .5-18 0-.5-5-.5-11 0-16z` }),
      svg("text", { x: spot[0] + 15, y: spot[1] + 4 }, t(connected ? "map.mediator" : "map.mediator.lost")))];
}

function member(row, spot, { crowd, dots, few, side }, context) {
  const state = shownState(row);
  const group = svg("g", { class: `member ${state}`, on: { click: () => context.open("path", { peer: row.key }) } },
    svg("title", {}, `${row.name} – ${presenceWords(row)}${isOnline(row) && row.rtt_ms !== null ? ` – ${t("path.ms", { ms: milliseconds(row.rtt_ms) })}` : ""}`),
    mark(state, spot.x, spot.y, (crowd ? 5 : 10) * (dots || side < 500 ? 0.68 : 1)));
  const left = Math.cos(spot.angle) < -0.001;
  if (crowd) {
    if (!dots) group.append(along(row, spot, left));
    return group;
  }
  const upright = Math.abs(Math.cos(spot.angle)) < 0.35;
  const below = Math.sin(spot.angle) > 0;
  const [x, y] = upright ? [spot.x, spot.y + (below ? 27 : -17)] : [spot.x + (left ? -16 : 16), spot.y + 5];
  const most = Math.min(16, Math.max(3, Math.floor((upright ? side : left ? spot.x - 16 : side - spot.x - 16) / 7.5)));
  group.append(svg("text", { class: "name", x, y, "text-anchor": upright ? "middle" : left ? "end" : "start" }, short(row.name, most)));
  if (isOnline(row) && row.rtt_ms !== null && (side >= 500 || few)) {
    group.append(svg("text", { class: "small", x, y: y + (upright && !below ? -16 : 16), "text-anchor": upright ? "middle" : left ? "end" : "start" }, t("path.ms", { ms: milliseconds(row.rtt_ms) })));
  }
  return group;
}

/** A name along its ray, outside of the rim: a hundred of them do not touch. */
function along(row, { angle, rim }, left) {
  const degrees = Math.round((angle * 1800) / Math.PI) / 10;
  const turn = left ? degrees + 180 : degrees;
  const [x, y] = [rim[0] + Math.cos(angle) * 8, rim[1] + Math.sin(angle) * 8];
  return svg("text", { class: "name ray-name", x, y, "text-anchor": left ? "end" : "start", "dominant-baseline": "middle", transform: `rotate(${turn} ${Math.round(x * 10) / 10} ${Math.round(y * 10) / 10})` }, short(row.name, 14));
}

/** As the presence signal: full, between arcs, dashed with a dot, hollow, crossed. */
function mark(state, x, y, r) {
  const ring = svg("circle", { class: "hit", cx: x, cy: y, r: Math.max(11, r) });
  if (state === "direct") return svg("g", {}, ring, svg("circle", { class: "full", cx: x, cy: y, r }));
  if (state === "relayed") return svg("g", {}, ring, svg("circle", { class: "full", cx: x, cy: y, r: r * 0.62 }), svg("path", { class: "arcs", d: `M${x - r * 0.8} ${y - r}q${-r * 0.9} ${r} 0 ${2 * r}M${x + r * 0.8} ${y - r}q${r * 0.9} ${r} 0 ${2 * r}` }));
  if (state === "connecting") return svg("g", {}, ring, svg("circle", { class: "dashed", cx: x, cy: y, r }), svg("circle", { class: "full", cx: x, cy: y, r: r * 0.35 }));
  return svg("g", {}, ring, svg("circle", { class: "hollow", cx: x, cy: y, r: r * 0.85 }), state === "blocked" ? svg("path", { class: "arcs", d: `M${x - r * 0.6} ${y - r * 0.6}l${r * 1.2} ${r * 1.2}` }) : null);
}

function own(store, [x, y], r) {
  const drawn = icon("computer");
  for (const [key, value] of Object.entries({ x: x - r * 0.62, y: y - r * 0.62, width: r * 1.24, height: r * 1.24 })) drawn.setAttribute(key, value);
  return svg("g", { class: "own" }, svg("circle", { cx: x, cy: y, r }), drawn, svg("text", { class: "name", x, y: y + r + 17, "text-anchor": "middle" }, short(store.get("self")?.name ?? "", 14)));
}
