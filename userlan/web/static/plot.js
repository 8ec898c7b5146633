// A line of measurements over time: drawn in the pixels that there are, read with the pointer or the arrow keys, summed up for who does not see it.

import { announce, h, text } from "./dom.js";
import { milliseconds, time } from "./format.js";
import { t } from "./strings.js";
import { polyline, svg } from "./svg.js";

const HEIGHT = 190;
const MARGIN = { top: 12, right: 14, bottom: 40, left: 50 };
const GAP = 45; // seconds: a busy peer is measured every thirty; over a longer silence no line is drawn
const BAND = { direct: 8, relayed: 6, connecting: 4, offline: 2 }; // pixels of the strip below: what the state is, by height too

/**
 * Milliseconds over time. `update({points: [{time, value}], states: [{time, state}], from, until, step})`, times in wall seconds, the oldest first.
 * Answers `{element, update, stop}`.
 */
export function linePlot(label) {
  const drawing = svg("svg", { class: "plot-drawing", "aria-hidden": "true", focusable: "false", height: HEIGHT });
  const readout = h("p", { class: "plot-readout quiet" });
  const summary = h("figcaption", { class: "quiet" });
  const area = h("div", { class: "plot-area", tabindex: "0", role: "img", "aria-label": label }, drawing);
  const element = h("figure", { class: "plot" }, area, readout, summary);
  let data = { points: [], states: [], from: 0, until: 1, step: 5 };
  let width = 600;
  let chosen = null; // the time of the point that is read

  function draw() {
    const { points, states, from, until, step } = data;
    const inner = width - MARGIN.left - MARGIN.right;
    const bottom = HEIGHT - MARGIN.bottom;
    const ticks = scale(Math.max(1, ...points.map((point) => point.value)));
    const top = ticks.at(-1);
    const x = (at) => MARGIN.left + ((at - from) / (until - from)) * inner;
    const y = (value) => bottom - (value / top) * (bottom - MARGIN.top);
    drawing.setAttribute("width", width);
    drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    drawing.replaceChildren(
      svg("g", { class: "grid" }, ticks.map((tick) => [
        svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }),
        svg("text", { x: MARGIN.left - 8, y: y(tick) + 4, "text-anchor": "end" }, milliseconds(tick)),
      ])),
      svg("text", { class: "unit", x: MARGIN.left - 8, y: HEIGHT - MARGIN.bottom + 18, "text-anchor": "end" }, t("plot.unit")),
      svg("g", { class: "axis" }, marks(from, until, inner).map(([at, words, anchor]) => svg("text", { x: x(at), y: HEIGHT - 8, "text-anchor": anchor }, words))),
      svg("g", { class: "band" }, bands(states, step).map(([begin, end, state]) => svg("rect", { class: state, x: x(Math.max(from, begin)), width: Math.max(1, x(Math.min(until, end)) - x(Math.max(from, begin))), y: bottom + 6 + (8 - (BAND[state] ?? 1)) / 2, height: BAND[state] ?? 1, rx: 1 }))),
      ...lines(points).map((line) => svg("path", { class: "line", d: polyline(line.map((point) => [x(point.time), y(point.value)])) })),
      svg("g", { class: "dots" }, points.map((point) => svg("circle", { cx: x(point.time), cy: y(point.value), r: points.length > inner / 8 ? 1.2 : 2.4 }))),
    );
    const read = points.find((point) => point.time === chosen);
    if (read) drawing.append(svg("line", { class: "cross", x1: x(read.time), x2: x(read.time), y1: MARGIN.top - 6, y2: bottom }), svg("circle", { class: "read", cx: x(read.time), cy: y(read.value), r: 4.5 }));
    if (!points.length) drawing.append(svg("text", { class: "none", x: width / 2, y: bottom / 2 + 8, "text-anchor": "middle" }, t("plot.none")));
  }

  function choose(point, said = false) {
    chosen = point?.time ?? null;
    const words = point ? t("plot.read", { value: milliseconds(point.value), when: time(point.time) }) : "";
    text(readout, words);
    if (said && words) announce(words);
    draw();
  }

  area.addEventListener("pointermove", (event) => {
    const box = area.getBoundingClientRect();
    const at = data.from + ((event.clientX - box.left - MARGIN.left) / (width - MARGIN.left - MARGIN.right)) * (data.until - data.from);
    choose(nearest(data.points, at));
  });
  area.addEventListener("pointerleave", () => choose(null));
  area.addEventListener("blur", () => choose(null));
  area.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || event.altKey || !data.points.length) return;
    event.preventDefault();
    const last = data.points.length - 1;
    const index = chosen === null ? last + 1 : data.points.findIndex((point) => point.time === chosen);
    choose(data.points[Math.min(last, Math.max(0, index + steps[event.key]))], true);
  });
  const resized = new ResizeObserver(([entry]) => {
    const wide = Math.round(entry.contentRect.width);
    if (wide > 100 && wide !== width) {
      width = wide;
      draw();
    }
  });
  resized.observe(area);

  return {
    element,
    stop: () => resized.disconnect(),
    update(next) {
      data = next;
      const words = sum(data.points.map((point) => point.value));
      text(summary, words);
      area.setAttribute("aria-label", `${label}. ${words} ${t("plot.keys")}`);
      draw();
    },
  };
}

/** The smallest, the middle and the largest of what was measured, in words. */
export function sum(values) {
  if (!values.length) return t("plot.none");
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted[Math.floor(sorted.length / 2)];
  return t("plot.summary", { least: milliseconds(sorted[0]), middle: milliseconds(middle), most: milliseconds(sorted.at(-1)), n: sorted.length });
}

/** Marks of the value axis, from 0 to a round number that is not less than `most`. */
export function scale(most) {
  const magnitude = 10 ** Math.floor(Math.log10(most));
  const step = [0.5, 1, 2, 5].map((factor) => factor * magnitude).find((size) => most / size <= 4) ?? 5 * magnitude;
  const count = Math.max(2, Math.ceil(most / step));
  return Array.from({ length: count + 1 }, (_, index) => index * step);
}

function marks(from, until, inner) {
  const minutes = Math.round((until - from) / 60);
  const between = inner > 420 && minutes >= 4 ? [0.25, 0.5, 0.75] : [0.5];
  return [
    [from, t("plot.ago", { n: minutes }), "start"],
    ...between.map((share) => [from + (until - from) * share, t("plot.ago", { n: Math.round(minutes * (1 - share) * 10) / 10 }), "middle"]),
    [until, t("plot.now"), "end"],
  ];
}

/** Points in runs without a long silence. */
function lines(points) {
  const runs = [];
  for (const point of points) {
    const run = runs.at(-1);
    if (run && point.time - run.at(-1).time <= GAP) run.push(point);
    else runs.push([point]);
  }
  return runs.filter((run) => run.length > 1);
}

/** States in runs: `[from, until, state]`. */
function bands(states, step) {
  const runs = [];
  for (const { time: at, state } of states) {
    const run = runs.at(-1);
    if (run && run[2] === state && at - run[1] <= step / 2) run[1] = at + step;
    else if (state) runs.push([at, at + step, state]);
  }
  return runs;
}

function nearest(points, at) {
  let best = null;
  for (const point of points) if (best === null || Math.abs(point.time - at) < Math.abs(best.time - at)) best = point;
  return best;
}
