// The way between two computers as a drawing: both ends, their routers, the Internet, the relay, and the line in use.

import { icon } from "./icons.js";
import { label } from "./natwords.js";
import { t } from "./strings.js";
import { describe, short, stroke, svg } from "./svg.js";
import { milliseconds } from "./format.js";

const NARROW = 620; // pixels: below, the way goes from top to bottom

const ROUTER = ["M3.3 13.2c5.8-.4 11.6-.4 17.4 0 .3 2.1.3 4.2 0 6.3-5.8.3-11.6.3-17.4 0-.3-2.1-.3-4.2 0-6.3z", "M7 12.9c-.1-2.4-.5-4.6-1.2-6.7M16.9 12.9c.1-2.4.5-4.6 1.3-6.7", "M6.7 16.4h.1M10 16.4h.1M13.6 16.5c1.3-.1 2.5-.1 3.7 0"];
const TOWER = ["M12 9.4c1.6 3.6 3 7.2 4.2 11M12 9.4c-1.6 3.6-3 7.2-4.3 11M9.2 16.6c1.9-.2 3.8-.2 5.7 0", "M12 5.4c1.1 0 1.9.8 1.9 1.9s-.8 2-1.9 2-1.9-.9-1.9-2 .8-1.9 1.9-1.9z", "M8 3.6c-1.9 2-1.9 5.3 0 7.4M16 3.6c2 2 2 5.3 0 7.4"];
const CLOUD = "M-62 16c-15-3-17-25 1-29 1-20 27-27 38-11 9-15 37-13 41 7 22-5 36 15 22 29 6 16-15 25-28 15-9 11-28 10-35 0-14 8-35 4-39-11z";

/** Draws into `element` (an svg) in `width` pixels what `path` told of the peer. */
export function draw(element, path, width) {
  const narrow = width < NARROW;
  const here = !path.why.includes("same-computer") && !path.why.includes("same-network");
  const place = places(path, width, narrow, here);
  const parts = [];
  if (here) parts.push(cloud(place), ...ends(path, place, narrow), relay(path, place, narrow));
  else parts.push(house(path, place, narrow));
  parts.push(computer(place.me, path.own.name, path.own.seen.ipv4 ?? path.own.seen.ipv6 ?? "", "me", narrow, t("path.you")));
  parts.push(computer(place.peer, path.name, seenAt(path), path.state, narrow));
  parts.push(speed(path, place, narrow));
  element.setAttribute("viewBox", `0 0 ${width} ${place.height}`);
  element.setAttribute("width", width);
  element.setAttribute("height", place.height);
  element.replaceChildren(...lines(path, place, here), ...parts.filter(Boolean));
  describe(element, t(`path.picture.${path.state}`, { name: path.name, relay: path.relay?.name ?? "" }));
}

function seenAt(path) {
  if (path.endpoint && path.path !== "relay") return path.endpoint;
  return path.theirs.seen ?? "";
}

function places(path, width, narrow, here) {
  if (narrow) {
    const x = Math.max(70, width * 0.26);
    return { height: 470, x, me: [x, 40], ours: [x, 145], middle: [x, 235], theirs: [x, 325], peer: [x, 428], relay: [Math.min(width - 64, x + 150), 235] };
  }
  const y = here && !path.relay && !path.relays.length ? 84 : 172;
  const edge = here ? 72 : 128;
  return { height: y + 104, me: [edge, y], ours: [width * 0.28, y], middle: [width / 2, y], theirs: [width * 0.72, y], peer: [width - edge, y], relay: [width / 2, 46] };
}

// --- what stands there -------------------------------------------------------------------------------------------------

function symbol(name, [x, y], size, className) {
  const drawn = icon(name);
  for (const [key, value] of Object.entries({ x: x - size / 2, y: y - size / 2, width: size, height: size, class: `icon ${className}` })) drawn.setAttribute(key, value);
  return drawn;
}

function drawing(strokes, [x, y], size, className) {
  return svg("svg", { x: x - size / 2, y: y - size / 2, width: size, height: size, viewBox: "0 0 24 24", class: `icon ${className}` }, strokes.map((d) => svg("path", { d, class: "line" })));
}

function words([x, y], lines, narrow, side = 1) {
  const from = narrow ? [x + side * 38, y - (lines.length - 1) * 8 + 4] : [x, y + 47];
  return lines.filter(([line]) => line).map(([line, className], index) => svg("text", { x: from[0], y: from[1] + index * 17, class: className, "text-anchor": narrow ? "start" : "middle" }, line));
}

function plate([x, y], r, className) {
  return svg("path", { class: `plate ${className}`, d: `M${x - r} ${y - r * 0.7}c${r * 0.1} ${-r * 0.35} ${r * 1.8} ${-r * 0.4} ${r * 2} 0c${r * 0.12} ${r * 0.5} ${r * 0.08} ${r} 0 ${r * 1.4}c${-r * 0.2} ${r * 0.36} ${-r * 1.8} ${r * 0.34} ${-r * 2} 0c${-r * 0.1} ${-r * 0.4} ${-r * 0.1} ${-r} 0 ${-r * 1.4}z` });
}

function computer(at, name, address, state, narrow, more = "") {
  return svg("g", { class: `stop end ${state}` }, plate(at, 30, state), symbol("computer", at, 34, ""),
    words(at, [[short(name, 18), "name"], [short(address, 26), "small"], [more, "small"]], narrow));
}

function router(at, nat, side, narrow) {
  const lines = [[t(side === "ours" ? "path.router.yours" : "path.router.theirs"), "place"], [label(nat), "small"]];
  if (nat?.translated === false) return svg("g", { class: "stop router none" }, words(at, [[label(nat), "small"]], narrow));
  return svg("g", { class: "stop router" }, plate(at, 23, ""), drawing(ROUTER, at, 28, ""), words(at, lines, narrow),
    nat && !nat.udp.passes ? svg("path", { class: "barrier", d: narrow ? `M${at[0] - 30} ${at[1] + 34}h60` : `M${at[0] + (side === "ours" ? 34 : -34)} ${at[1] - 26}v52` }) : null);
}

function ends(path, place, narrow) {
  return [router(place.ours, path.own.nat, "ours", narrow), router(place.theirs, path.theirs.nat, "theirs", narrow)];
}

function cloud({ middle: [x, y] }) {
  return svg("g", { class: "cloud", transform: `translate(${Math.round(x)} ${Math.round(y)})` }, svg("path", { d: CLOUD }));
}

function relay(path, place, narrow) {
  const known = path.relay ?? path.relays[0];
  if (!known) return null;
  const used = path.relay !== null;
  const [x, y] = place.relay;
  const lines = [[t("path.relay", { name: short(known.name, 14) }), "place"], [known.rtt_ms === null ? "" : t("path.relay.away", { ms: milliseconds(known.rtt_ms) }), "small"]];
  const texts = narrow
    ? lines.filter(([line]) => line).map(([line, className], index) => svg("text", { x: x + 30, y: y - 46 + index * 17, class: className, "text-anchor": "end" }, line))
    : lines.filter(([line]) => line).map(([line, className], index) => svg("text", { x: x + 34, y: y - 2 + index * 17, class: className }, line));
  return svg("g", { class: used ? "stop relay used" : "stop relay" }, plate([x, y], 24, used ? "relayed" : ""), drawing(TOWER, [x, y], 30, ""), texts);
}

function house(path, place, narrow) {
  const words = t(path.why.includes("same-computer") ? "path.house.computer" : "path.house.network");
  const [x, y] = place.middle;
  if (narrow) return svg("text", { class: "place", x: x + 58, y: y + 5 }, words);
  const [left, right, top] = [place.me[0] - 112, place.peer[0] + 112, 74];
  return svg("g", { class: "house" }, svg("path", { d: `M${left} 100L${x} ${top - 50}L${right} 100M${left + 8} 104C${left + 4} 150 ${left + 6} 200 ${left + 8} 266C${x - 80} 270 ${x + 90} 264 ${right - 8} 267C${right - 5} 200 ${right - 6} 150 ${right - 8} 102` }), svg("text", { class: "place", x, y: 92, "text-anchor": "middle" }, words));
}

// --- the lines ---------------------------------------------------------------------------------------------------------

function lines(path, place, here) {
  const direct = here ? [place.me, place.ours, place.theirs, place.peer] : [place.me, place.peer];
  const known = path.relay ?? path.relays[0];
  const around = [place.me, place.ours, place.relay, place.theirs, place.peer];
  const used = path.state === "direct" ? "direct" : path.state === "relayed" ? "relayed" : path.state;
  const drawn = [];
  if (here && known && used !== "relayed") drawn.push(way(around.slice(1, 4), "spare"));
  drawn.push(way(direct, used === "direct" ? "used direct" : used === "connecting" ? "connecting" : "spare"));
  if (here && known && used === "relayed") drawn.push(way(around, "used relayed"));
  return drawn;
}

function way(stops, className) {
  return svg("g", { class: `way ${className}` }, stops.slice(1).map((stop, index) => svg("path", { d: stroke(stops[index], stop, index % 2 ? 5 : -5) })));
}

/** How long it takes, on the line in use. */
function speed(path, place, narrow) {
  if (path.rtt_ms === null) return null;
  const above = narrow ? [place.relay[0], place.relay[1] + 44] : [place.middle[0], (place.relay[1] + place.middle[1]) / 2 + 14];
  const [x, y] = path.state === "relayed" ? above : place.middle;
  const said = t("path.ms", { ms: milliseconds(path.rtt_ms) });
  const wide = said.length * 8 + 18;
  return svg("g", { class: `speed ${path.state}` }, svg("rect", { x: x - wide / 2, y: y - 14, width: wide, height: 27, rx: 12 }), svg("text", { x, y: y + 5, "text-anchor": "middle" }, said));
}
