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
const EARLY = 400; // pixels from the beginning at which older ones are fetched

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
  let loading = false;
  let first = true;
  let missed = 0;
  let ended = false;

  const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR;

  function toEnd(smooth = false) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    scroll.scrollTo({ top: scroll.scrollHeight, behavior: smooth && !still ? "smooth" : "instant" });
  }

  async function load(before = null) {
    if (loading) return;
    loading = true;
    list.older(before !== null);
    try {
      const answer = await api.call("chat-history", before === null ? { conversation: id, limit: PAGE } : { conversation: id, before, limit: PAGE });
      const known = store.get("history").get(id);
      const there = new Set(answer.messages.map((message) => message.id));
      const messages = [...answer.messages, ...(known?.messages ?? []).filter((message) => !there.has(message.id))];
      if (!ended) store.patch("history", { [id]: { messages, more: answer.more } });
    } catch (error) {
      failed(error);
    } finally {
      loading = false;
    }
  }

  function update(keys) {
    if (keys !== null && !keys.has(id)) return;
    const known = store.get("history").get(id);
    if (known === undefined) {
      load();
      return;
    }
    const follow = first || atEnd();
    const [height, top] = [scroll.scrollHeight, scroll.scrollTop];
    const grown = list.show(known, marker);
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
    } else {
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
    if (atEnd()) missed = 0;
    below.hidden = atEnd();
    below.lastChild.textContent = missed > 0 ? t("chat.new-below", { n: missed }) : t("chat.newest");
  }

  function read() {
    const unread = store.get("conversations").get(id)?.unread ?? 0;
    if (unread === 0 || document.hidden || !document.hasFocus()) return;
    store.patch("conversations", { [id]: { ...store.get("conversations").get(id), unread: 0 } });
    api.call("chat-read", { conversation: id }).catch(() => {}); // it is counted again with the next telling
  }

  /** Of a conversation that is left only the end stays: it is what is looked at first when it is opened again. */
  function forget() {
    const known = store.get("history").get(id);
    if (known && known.messages.length > PAGE) store.patch("history", { [id]: { messages: known.messages.slice(-PAGE), more: true } });
  }

  function seen() {
    if (!document.hidden) read();
  }

  scroll.addEventListener("scroll", () => {
    showBelow();
    const known = store.get("history").get(id);
    if (scroll.scrollTop < EARLY && known?.more && known.messages.length > 0) load(known.messages[0].seq);
  }, { passive: true });
  const resized = new ResizeObserver(() => below.hidden && toEnd());
  resized.observe(scroll);
  document.addEventListener("visibilitychange", seen);
  addEventListener("focus", seen);
  const offs = [
    store.on("history", update),
    store.on("conversations", (keys) => (keys === null || keys.has(id)) && read()),
    store.on(["peers", "networks"], () => store.get("history").get(id) && (hint(store.get("history").get(id)), list.names())),
    milestones.on("message", (message) => message.conversation === id && !message.own && document.hidden && (marker = marker || 1)),
  ];
  update(null);
  if (matchMedia("(pointer: fine)").matches && !document.activeElement?.closest("[role=tablist], dialog")) write.focus();
  return () => {
    ended = true;
    forget();
    resized.disconnect();
    offs.forEach((off) => off());
    document.removeEventListener("visibilitychange", seen);
    removeEventListener("focus", seen);
    offers?.end();
    write.end();
  };
}
