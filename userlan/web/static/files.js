// Files that were sent and offered: what became of each, and what can be done with it.

import { attribute, bdi, button, h, sync, text } from "./dom.js";
import { left, moment, rate, size } from "./format.js";
import { icon } from "./icons.js";
import { t } from "./strings.js";
import { failed } from "./toast.js";
import { chooseFiles } from "./upload.js";

const RUNNING = ["uploading", "waiting", "offered", "accepted", "active", "paused"];

/** Shows the transfers with `params.peer`, or all; answers what ends it. */
export function mount(container, context) {
  const { store, params } = context;
  const key = params.peer ?? null;
  const label = key ? t("files.label", { name: store.nameOf(key) }) : t("files.label.all");
  const list = h("ul", { class: "transfers", "aria-label": label });
  const empty = h("div", { class: "empty" }, icon("file", { className: "large" }), h("h2", null, t("files.empty")), h("p", null, key ? t("files.empty.words", { name: store.nameOf(key) }) : t("files.empty.all")));
  const send = key && h("div", { class: "send-files" }, button(t("files.send"), () => chooseFiles(context, key), { icon: icon("attach"), kind: "primary" }), h("span", { class: "quiet" }, t("files.send.words")));
  const folder = !key && button(t("files.open.inbox"), () => context.api.call("files-open", {}).catch(failed), { icon: icon("folder") });
  container.append(h("div", { class: "scroll", tabindex: "0" }, send || folder, list, empty));

  function update() {
    const all = [...uploads(store, key), ...transfers(store, key)];
    empty.hidden = all.length > 0;
    list.hidden = all.length === 0;
    sync(list, all, (one) => one.id, () => makeTransfer(), (element, one) => updateTransfer(context, element, one, key === null));
  }

  const off = store.on(["transfers", "uploads"], update);
  update();
  return off;
}

/** Offers and running transfers with a member, for above the field to write in. */
export function strip(context, key) {
  const { store } = context;
  const element = h("ul", { class: "transfers strip", hidden: true, "aria-label": t("files.label", { name: store.nameOf(key) }) });
  function update() {
    const running = [...uploads(store, key), ...transfers(store, key)].filter((one) => RUNNING.includes(one.state)).slice(0, 3);
    element.hidden = running.length === 0;
    sync(element, running, (one) => one.id, () => makeTransfer(), (row, one) => updateTransfer(context, row, one, false));
  }
  update();
  return { element, end: store.on(["transfers", "uploads"], update) };
}

function transfers(store, key) {
  const all = [...store.get("transfers").values()].filter((one) => key === null || one.peer === key);
  return all.sort((one, other) => other.time - one.time);
}

function uploads(store, key) {
  return [...store.get("uploads").values()].filter((one) => key === null || one.peer === key);
}

function makeTransfer() {
  return h("li", { class: "transfer" }, h("span", { class: "picture" }),
    h("div", { class: "about" }, h("strong", { class: "file" }, bdi("")), h("progress", { max: "1" }), h("span", { class: "quiet status", dir: "auto" })),
    h("div", { class: "buttons" }));
}

function updateTransfer(context, element, one, named) {
  const { store } = context;
  const name = store.nameOf(one.peer) || one.name;
  const picture = element.querySelector(".picture");
  const mark = `${one.direction} ${one.state} ${one.held_up ?? false}`;
  text(element.querySelector("bdi"), one.file);
  attribute(element.querySelector(".file"), "title", one.file);
  const bar = element.querySelector("progress");
  bar.hidden = !["uploading", "active", "paused"].includes(one.state);
  bar.value = one.size > 0 ? one.done / one.size : 0;
  attribute(bar, "aria-label", t("files.progress", { file: one.file, percent: Math.floor(bar.value * 100) }));
  const line = [named && t(one.direction === "in" ? "files.from" : "files.to", { name }), ["active", "paused"].includes(one.state) ? null : size(one.size), words(one, name)].filter(Boolean).join(" · ");
  text(element.querySelector(".status"), line);
  attribute(element.querySelector(".status"), "title", moment(one.time));
  if (element.dataset.mark === mark) return;
  element.dataset.mark = mark;
  attribute(element, "data-state", one.state);
  picture.replaceChildren(icon(pictureOf(one)));
  const held = element.contains(document.activeElement);
  element.querySelector(".buttons").replaceChildren(...choices(context, one));
  if (held) element.querySelector(".buttons button")?.focus();
}

function pictureOf({ state, direction, held_up: heldUp }) {
  if (state === "done") return "check";
  if (state === "failed" || heldUp) return "warning";
  if (state === "paused") return "pause";
  if (state === "declined" || state === "cancelled") return "close";
  return direction === "in" ? "download" : "upload";
}

function words(one, name) {
  const { state, direction, done } = one;
  const of = { done: size(done), size: size(one.size), name };
  if (state === "uploading") return t("files.uploading");
  if (state === "waiting") return t("files.state.waiting", { name });
  if (state === "offered") return t(direction === "in" ? "files.state.offered.in" : "files.state.offered.out", { name });
  if (state === "active") {
    if (!one.rate) return t("files.state.active.bare", of);
    return t("files.state.active", { ...of, rate: rate(one.rate), left: left((one.size - done) / one.rate) });
  }
  if (state === "paused" && one.held_up) return t("files.state.paused.why", { ...of, why: one.error }); // nobody's absence: this computer
  if (state === "paused") return t("files.state.paused", of);
  if (state === "done") return t(direction === "in" ? "files.state.done.in" : "files.state.done.out");
  if (state === "failed" && one.error) return t("files.state.failed.why", { why: one.error });
  return t(`files.state.${["accepted", "declined", "failed", "cancelled"].includes(state) ? state : "done"}`);
}

function choices({ api }, { id, state, direction, file, cancel }) {
  const labelled = (label, command, options) => {
    const one = button(t(label), () => api.call(command, { id }).catch(failed), options);
    one.setAttribute("aria-label", `${t(label)}: ${file}`);
    return one;
  };
  if (state === "uploading") return [button(t("files.cancel"), cancel, { kind: "quiet", "aria-label": `${t("files.cancel")}: ${file}` })];
  if (state === "offered" && direction === "in") return [labelled("files.accept", "files-accept", { kind: "primary", icon: icon("check") }), labelled("files.decline", "files-decline", { kind: "quiet" })];
  if (RUNNING.includes(state)) return [labelled("files.cancel", "files-cancel", { kind: "quiet" })];
  const forget = labelled("files.forget", "files-forget", { icon: icon("close"), bare: true, kind: "small" });
  return state === "done" && direction === "in" ? [labelled("files.open", "files-open", { icon: icon("folder") }), forget] : [forget];
}
