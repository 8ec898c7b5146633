// A conversation: messages by day, what is new, what became of one's own; and the field to write in.

import { button, h } from "./dom.js";
import { composer } from "./composer.js";
import { milestones } from "./milestones.js";
import { icon } from "./icons.js";
import { messageList } from "./messages.js";
import { strip } from "./files.js";
import { conversationOf } from "./store.js";
import { t } from "./strings.js";
import { failed } from "./toast.js";
import { lonely } from "./welcome.js";
import { isOnline } from "./presence.js";

const PAGE = 60; // messages fetched at once
const NEAR = 80; // pixels from the end within which what comes is followed
const EARLY = 400; // pixels from either end at which more are fetched
const SHINE = 2500; // milliseconds for which a message that was looked for is marked

/** Shows the conversation with `params.peer` or in `params.network`; answers what ends it. */
export function mount(container, context) {
  const { api, store, params } = context;
  const [kind, about] = params.peer ? ["peer", params.peer] : ["network", params.network];
  const id = conversationOf(kind, about);
  const title = () => (kind === "peer" ? store.nameOf(about) : about);
  const list = messageList(context, { id, kind, about });
  const scroll = h("div", { class: "messages", tabindex: "0", role: "log", "aria-live": "off", "aria-label": t("chat.label", { name: title() }) }, list.element);
  const below = button(t("chat.newest"), () => toEnd(true), { icon: icon("down"), kind: "below", hidden: true });
  const empty = h("div", { class: "chat-empty" });
  const offers = kind === "peer" ? strip(context, about) : null;
  const write = composer(context, { id, kind, about, sent: () => toEnd(true) });
  container.append(h("div", { class: "conversation" }, scroll, empty, below), ...[offers?.element, write.element].filter(Boolean));
  let marker = store.get("conversations").get(id)?.unread ?? 0;
  let coming = null; // what was asked for last, until it is here
  let first = true;
  let missed = 0;
  let paging = false; // what comes now was there before
  let ended = false;

  const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR;

  function toEnd(smooth = false) {
    if (store.get("history").get(id)?.newer) {
      first = true;
      store.patch("history", { [id]: null }); // fetched anew, from the end
      return;
    }
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    scroll.scrollTo({ top: scroll.scrollHeight, behavior: smooth && !still ? "smooth" : "instant" });
  }

  /** Asks for messages, and gives the answer to `take`; where something else was asked for since, it is of no use any more. */
  async function request(what, ask, take) {
    const mine = (coming = { what });
    let answer;
    try {
      answer = await ask();
    } catch (error) {
      if (coming !== mine) return;
      coming = null;
      failed(error);
      return;
    }
    if (coming !== mine) return;
    coming = null;
    take(answer);
  }

  const ask = (wanted) => api.call("chat-history", { conversation: id, limit: PAGE, ...wanted });

  /** The end of it, instead of what is here. */
  function load() {
    if (coming?.what === "end") return;
    request("end", () => ask({}), ({ messages, more }) => {
      const known = store.get("history").get(id)?.messages ?? [];
      const there = new Set(messages.map((message) => message.id));
      store.patch("history", { [id]: { messages: [...messages, ...known.filter((message) => !there.has(message.id))], more } });
    });
  }

  /** What precedes the first one that is here. */
  function loadOlder() {
    if (coming) return;
    list.older(true);
    const before = store.get("history").get(id).messages[0].seq;
    request("older", () => ask({ before }), ({ messages, more }) => {
      const known = store.get("history").get(id);
      if (known?.messages[0]?.seq === before) page({ ...known, messages: [...messages, ...known.messages], more });
      edges();
    });
  }

  /** What follows the last one that is here. */
  function loadNewer() {
    if (coming) return;
    const after = store.get("history").get(id).messages.at(-1).seq;
    request("newer", () => ask({ after }), ({ messages, more }) => {
      const known = store.get("history").get(id);
      if (known?.messages.at(-1)?.seq === after) page({ ...known, messages: [...known.messages, ...messages], newer: more });
      edges();
    });
  }

  function page(history) {
    paging = true;
    store.patch("history", { [id]: history });
    store.flush();
    paging = false;
  }

  /** Shows a message that was looked for, with what surrounds it. */
  async function show(seq) {
    let message = store.get("history").get(id)?.messages.find((one) => one.seq === seq);
    first = false;
    if (message === undefined) {
      const around = () => Promise.all([ask({ before: seq + 1, limit: PAGE / 2 }), ask({ after: seq, limit: PAGE / 2 })]);
      await request("around", around, ([older, newer]) => {
        page({ messages: [...older.messages, ...newer.messages], more: older.more, newer: newer.more });
        message = older.messages.find((one) => one.seq === seq);
      });
      if (ended) return;
    } else {
      update(null);
    }
    const row = message && list.row(message);
    if (!row) {
      update(null);
      return;
    }
    row.scrollIntoView({ block: "center", behavior: "instant" });
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.classList.add("looked-for");
    setTimeout(() => row.classList.remove("looked-for"), SHINE);
    edges();
  }

  /** Opens at the message that is looked for, where one of this conversation is; whether one was. */
  function target() {
    const wanted = store.get("target");
    if (wanted?.conversation !== id) return false;
    store.set("target", null);
    show(wanted.seq);
    return true;
  }

  function edges() {
    showBelow();
    const known = store.get("history").get(id);
    if (!known || known.messages.length === 0) return;
    if (scroll.scrollTop < EARLY && known.more) loadOlder();
    else if (known.newer && scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < EARLY) loadNewer();
  }

  function update(keys) {
    if (keys !== null && !keys.has(id)) return;
    const known = store.get("history").get(id);
    if (known === undefined) {
      load();
      return;
    }
    const follow = first || (!paging && !known.newer && atEnd());
    const [height, top] = [scroll.scrollHeight, scroll.scrollTop];
    const grown = list.show(known, known.newer ? 0 : marker);
    hint(known);
    if (first) {
      const mark = list.marker();
      if (mark) mark.scrollIntoView({ block: "center", behavior: "instant" });
      else toEnd();
      first = false;
    } else if (grown.before) {
      scroll.scrollTop = top + scroll.scrollHeight - height;
    } else if (follow) {
      toEnd();
    } else if (!paging) {
      missed += grown.after;
    }
    showBelow();
    read();
  }

  function hint(known) {
    const nothing = known.messages.length === 0;
    empty.hidden = !nothing;
    if (!nothing) {
      empty.replaceChildren();
      return;
    }
    const network = store.network(about);
    if (kind === "network" && network && network.members.length < 2) {
      empty.replaceChildren(lonely(context, about));
      return;
    }
    const words = kind === "network" ? t("chat.empty.network", { name: about }) : isOnline(store.peer(about)) ? t("chat.empty") : t("chat.empty.offline", { name: title() });
    empty.replaceChildren(h("div", { class: "empty" }, icon("chat", { className: "large" }), h("p", null, words)));
  }

  function showBelow() {
    const newest = atEnd() && !store.get("history").get(id)?.newer;
    if (newest) missed = 0;
    below.hidden = newest;
    below.lastChild.textContent = missed > 0 ? t("chat.new-below", { n: missed }) : t("chat.newest");
  }

  function read() {
    const unread = store.get("conversations").get(id)?.unread ?? 0;
    if (unread === 0 || document.hidden || !document.hasFocus() || store.get("history").get(id)?.newer) return;
    store.patch("conversations", { [id]: { ...store.get("conversations").get(id), unread: 0 } });
    api.call("chat-read", { conversation: id }).catch(() => {}); // it is counted again with the next telling
  }

  /** Of a conversation that is left only the end stays: it is what is looked at first when it is opened again. */
  function forget() {
    const known = store.get("history").get(id);
    if (known?.newer) store.patch("history", { [id]: null });
    else if (known && known.messages.length > PAGE) store.patch("history", { [id]: { messages: known.messages.slice(-PAGE), more: true } });
  }

  function seen() {
    if (!document.hidden) read();
  }

  scroll.addEventListener("scroll", edges, { passive: true });
  const resized = new ResizeObserver(() => below.hidden && toEnd());
  resized.observe(scroll);
  document.addEventListener("visibilitychange", seen);
  addEventListener("focus", seen);
  const offs = [
    store.on("history", update),
    store.on("target", target),
    store.on("conversations", (keys) => (keys === null || keys.has(id)) && read()),
    store.on(["peers", "networks"], () => store.get("history").get(id) && (hint(store.get("history").get(id)), list.names())),
    milestones.on("message", (message) => message.conversation === id && !message.own && document.hidden && (marker = marker || 1)),
  ];
  if (target()) return end;
  update(null);
  if (matchMedia("(pointer: fine)").matches && !document.activeElement?.closest("[role=tablist], dialog")) write.focus();
  return end;

  function end() {
    ended = true;
    coming = null;
    forget();
    resized.disconnect();
    offs.forEach((off) => off());
    document.removeEventListener("visibilitychange", seen);
    removeEventListener("focus", seen);
    offers?.end();
    write.end();
  }
}
