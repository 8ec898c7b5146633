// The path to a peer: how it is reached and why, how long that takes, and what was tried.

import { bdi, button, fill, h, refill, text } from "./dom.js";
import { adviceOf } from "./doctor.js";
import { ago, milliseconds, moment } from "./format.js";
import { icon } from "./icons.js";
import { chances, factList } from "./natwords.js";
import { chip, empty, section, typed } from "./parts.js";
import { draw } from "./path-picture.js";
import { linePlot } from "./plot.js";
import { every } from "./polling.js";
import { number, t } from "./strings.js";
import { svg } from "./svg.js";

const PAUSE = 5000; // milliseconds between two looks
const ECHO = 2.0; // seconds between two echoes while somebody looks
const KEPT = 400; // measurements of this visit that are kept: ten minutes, and some

const WHYS = ["same-computer", "same-network", "ipv6", "mapped-here", "mapped-there", "open-here", "open-there", "punched", "remembered", "framed-tcp", "udp-blocked-here", "udp-blocked-there", "unforeseeable-both", "unforeseeable-here", "unforeseeable-there", "failed", "trying", "untried", "offline", "silent", "no-mediator"];
const TECHNIQUES = ["candidates", "simultaneous", "one-first", "prediction", "both-incremental", "birthday", "aimed-birthday", "chunked", "ipv6", "lan", "hairpin", "reversal", "port-mapping", "tcp-simultaneous", "relay"];

/** Shows the path to `params.peer`; answers what ends it. */
export function mount(container, context) {
  const { api, store, params } = context;
  const key = params.peer;
  const picture = svg("svg", { class: "path-drawing" });
  const frame = h("div", { class: "path-frame" }, picture);
  const headline = h("p", { class: "headline" });
  const reasons = h("ul", { class: "reasons" });
  const plot = linePlot(t("path.plot", { name: store.nameOf(key) }));
  const details = h("dl", { class: "facts short" });
  const ways = h("div", { class: "scroll-x" });
  const tried = h("div", { class: "scroll-x" });
  const nats = h("div", { class: "columns" });
  const advice = h("div");
  const problem = h("div");
  const whole = h("div", { class: "stack" },
    h("section", { class: "part" }, h("h2", { class: "unseen" }, t("tab.path")), frame, headline, reasons),
    section(t("path.latency"), plot.element),
    h("section", { class: "part" }, h("div", { class: "title-line" }, h("h2", null, t("path.check.title")), button(t("path.check"), () => examine(), { icon: icon("doctor") })), advice),
    section(t("path.details"), details),
    section(t("path.tried"), tried),
    section(t("path.ways"), ways),
    section(t("path.nats"), nats));
  whole.hidden = true;
  container.append(h("div", { class: "scroll" }, problem, whole));
  let told = null;
  let width = 0;
  const live = []; // measurements of this visit, by the wall clock

  function redraw() {
    if (told !== null && width > 0) draw(picture, told, width);
  }

  function plotAll() {
    if (told === null) return;
    const { step, until, rtt_ms: rtts, states } = told.history;
    const now = Date.now() / 1000;
    const from = now - rtts.length * step;
    const at = (index) => until - (rtts.length - index) * step;
    const begun = live.length ? live[0].time : Infinity;
    const points = rtts.map((value, index) => ({ time: at(index) + step / 2, value })).filter((point) => point.value !== null && point.time < begun && point.time >= from);
    plot.update({ points: [...points, ...live.filter((point) => point.time >= from)], states: states.map((state, index) => ({ time: at(index), state })), from, until: now, step });
  }

  async function look() {
    try {
      told = await api.call("path", { peer: key });
    } catch (error) {
      whole.hidden = true;
      fill(problem, empty("path", t("path.gone"), null, store.peer(key) && h("p", { class: "quiet" }, bdi(error.message))));
      return;
    }
    fill(problem);
    whole.hidden = false;
    width ||= Math.round(frame.clientWidth);
    redraw();
    show(told, { headline, reasons, details, ways, tried, nats });
    plotAll();
  }

  async function examine() {
    fill(advice, h("p", { class: "quiet busy", role: "status" }, t("doctor.looking")));
    try {
      fill(advice, adviceOf(await api.call("advice", { peer: key })));
    } catch (error) {
      fill(advice, h("p", { class: "problem", role: "alert" }, icon("warning"), bdi(error.message)));
    }
  }

  const resized = new ResizeObserver(([entry]) => {
    const wide = Math.round(entry.contentRect.width);
    if (wide > 0 && wide !== width) {
      width = wide;
      redraw();
    }
  });
  resized.observe(frame);
  const polling = every(PAUSE, look);
  let shownState = store.peer(key)?.state;
  const off = store.on("peers", (keys) => {
    if (keys !== null && !keys.has(key)) return;
    const row = store.peer(key);
    if (`${row?.state} ${row?.endpoint}` !== shownState) polling.now();
    shownState = `${row?.state} ${row?.endpoint}`;
  });
  const echoes = echo(api, key, (rtt) => {
    live.push({ time: Date.now() / 1000, value: rtt });
    if (live.length > KEPT) live.shift();
    plotAll();
  });
  return () => {
    off();
    echoes();
    polling.stop();
    plot.stop();
    resized.disconnect();
  };
}

/** Echoes to a peer while the page is visible: what is looked at is measured more often. */
function echo(api, key, measured) {
  let cancel = null;
  const begin = () => {
    if (cancel === null && !document.hidden) cancel = api.stream("ping", { peer: key, interval: ECHO }, (item) => item.rtt_ms !== null && measured(item.rtt_ms), { onEnd: () => (cancel = null) });
  };
  const end = () => {
    cancel?.();
    cancel = null;
  };
  const turned = () => (document.hidden ? end() : begin());
  document.addEventListener("visibilitychange", turned);
  begin();
  return () => {
    document.removeEventListener("visibilitychange", turned);
    end();
  };
}

function show(path, { headline, reasons, details, ways, tried, nats }) {
  const { name } = path;
  text(headline, t(`path.state.${path.state}`, { name, relay: path.relay?.name ?? "", when: ago(path.heard) }));
  headline.className = `headline ${path.state}`;
  refill(reasons, path.why.filter((why) => WHYS.includes(why)).map((why) => h("li", null, t(`path.why.${why}`, { name }))));
  refill(details, rowsOf(path).map(([term, value, words]) => h("div", null, h("dt", null, term), h("dd", null, value, words && h("span", { class: "quiet" }, " ", words)))));
  refill(tried, path.tried.length ? triedTable(path) : h("p", { class: "quiet" }, t("path.tried.none")));
  refill(ways, path.paths.length ? waysTable(path) : h("p", { class: "quiet" }, t("path.ways.none")));
  refill(nats, natPart(t("path.nat.yours"), path.own.nat, path.own), path.theirs.nat ? natPart(t("path.nat.theirs", { name }), path.theirs.nat, path.theirs)
    : h("div", null, h("h3", null, t("path.nat.theirs", { name })), h("p", { class: "quiet" }, t("path.nat.untold", { name }))));
}

function rowsOf(path) {
  const rows = [];
  if (path.endpoint) rows.push([t("path.endpoint"), typed(path.endpoint)]);
  if (path.relay) rows.push([t("path.through"), bdi(path.relay.name), path.relay.rtt_ms === null ? "" : t("path.relay.rtt", { ms: milliseconds(path.relay.rtt_ms) })]);
  if (path.rtt_ms !== null) rows.push([t("path.rtt"), t("path.ms", { ms: milliseconds(path.rtt_ms) })]);
  if (path.cipher) rows.push([t("path.cipher"), path.cipher, t("path.cipher.words")]);
  if (path.mtu !== null) rows.push([t("path.mtu"), t("path.octets", { n: path.mtu }), t("path.mtu.words")]);
  if (path.bulk) rows.push([t("path.bulk"), bdi(path.bulk), t("path.bulk.words")]);
  if (path.handshake) rows.push([t("path.handshake"), ago(path.handshake)]);
  rows.push([t("path.heard"), path.heard ? ago(path.heard) : t("time.never")]);
  return rows;
}

function triedTable({ tried }) {
  const head = ["when", "technique", "outcome", "seconds", "packets"].map((name) => h("th", { scope: "col" }, t(`path.tried.${name}`)));
  const rows = [...tried].reverse().map((one) => h("tr", null,
    h("td", { title: moment(one.time) }, ago(one.time)),
    h("td", null, TECHNIQUES.includes(one.technique) ? t(`path.technique.${one.technique}`) : bdi(one.technique), one.by === "member" ? h("span", { class: "quiet" }, ` ${t("path.by.member")}`) : null),
    h("td", null, one.met === null ? chip(t("path.outcome.going"), "connecting") : one.met ? chip(t("path.outcome.met"), "good") : chip(t("path.outcome.failed"), "bad")),
    h("td", { class: "number" }, one.seconds === null ? "–" : t("path.seconds", { s: number(Math.round(one.seconds * 100) / 100) })),
    h("td", { class: "number" }, number(one.packets))));
  return h("table", null, h("caption", { class: "unseen" }, t("path.tried")), h("thead", null, h("tr", null, head)), h("tbody", null, rows));
}

function waysTable({ paths }) {
  const head = ["way", "rtt", "state", "heard"].map((name) => h("th", { scope: "col" }, t(`path.way.${name}`)));
  const rows = paths.map((one) => h("tr", null,
    h("td", null, one.relay ? t("path.relay", { name: one.relay }) : h("span", null, t(`path.transport.${one.transport === "tcp" ? "tcp" : "udp"}`), " ", h("code", null, one.endpoint))),
    h("td", { class: "number" }, one.rtt_ms === null ? "–" : t("path.ms", { ms: milliseconds(one.rtt_ms) })),
    h("td", null, one.used ? chip(t("path.way.used"), "good") : chip(t(one.sound ? "path.way.spare" : "path.way.doubted"), one.sound ? "" : "bad")),
    h("td", null, one.heard ? ago(one.heard) : t("time.never"))));
  return h("table", null, h("caption", { class: "unseen" }, t("path.ways")), h("thead", null, h("tr", null, head)), h("tbody", null, rows));
}

function natPart(title, nat, side) {
  const where = side.seen && typeof side.seen === "object" ? [side.seen.ipv4, side.seen.ipv6].filter(Boolean).join(", ") : side.seen;
  return h("div", null, h("h3", null, title), h("p", null, chances(nat)), where ? h("p", { class: "quiet" }, t("path.seen", { where })) : null, factList(nat));
}
