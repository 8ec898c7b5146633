// The messages of a conversation as bubbles: days between them, authors, links as links, and what became of one's own.

import { attribute, bdi, h, rows, sync, text } from "./dom.js";
import { avatar, showAvatar } from "./avatar.js";
import { day, midnight, moment, time } from "./format.js";
import { icon } from "./icons.js";
import { linked } from "./links.js";
import { t } from "./strings.js";

const TOGETHER = 300; // seconds within which messages of one author are one group

/** A list of messages; `show({messages, more}, unread)` brings it up to date. */
export function messageList({ store }, { id, kind, about }) {
  const older = h("p", { class: "note older", hidden: true }, t("chat.older"));
  const beginning = h("p", { class: "note beginning", hidden: true }, t("chat.beginning"));
  const list = h("ol", { class: "bubbles" });
  const element = h("div", { class: "messages-inner" }, beginning, older, list);
  let mark = null; // the message before which the marker stands
  let ends = { first: null, last: null };

  function show({ messages, more }, unread) {
    older.hidden = true;
    beginning.hidden = more || messages.length === 0;
    if (mark === null && unread > 0) mark = unreadFrom(messages, unread);
    sync(list, items(messages, mark), (item) => item.key, make, update);
    const before = ends;
    ends = { first: messages[0]?.id ?? null, last: messages.at(-1)?.id ?? null };
    const index = messages.findIndex((message) => message.id === before.last);
    return {
      before: before.first !== null && before.first !== ends.first && messages.some((message) => message.id === before.first),
      after: before.last === null || index < 0 ? 0 : messages.length - 1 - index,
    };
  }

  function make(item) {
    if (item.day) return h("li", { class: "day" }, h("span", null, item.day));
    if (item.unread) return h("li", { class: "unread-mark" }, h("span", null, t("chat.unread")));
    return makeMessage(store, item.message, kind);
  }

  function update(element, item) {
    if (item.message) updateMessage(store, element, item, kind, about);
  }

  return {
    element,
    show,
    older: (shown) => (older.hidden = !shown),
    marker: () => rows(list).get("unread"),
    row: (message) => rows(list).get(`m ${message.id}`),
    names() {
      for (const [key, element] of rows(list)) if (key.startsWith("m ")) authorName(store, element);
    },
    id,
  };
}

function unreadFrom(messages, unread) {
  const received = messages.filter((message) => !message.own);
  return received.at(-Math.min(unread, received.length))?.id ?? null;
}

function items(messages, mark) {
  const all = [];
  let before = null;
  let date = null;
  for (const message of messages) {
    const midnightOf = midnight(new Date(message.time * 1000));
    if (midnightOf !== date) {
      date = midnightOf;
      all.push({ key: `d ${midnightOf} ${message.id}`, day: day(message.time) });
      before = null;
    }
    if (message.id === mark) {
      all.push({ key: "unread", unread: true });
      before = null;
    }
    const follows = before !== null && before.from === message.from && message.time - before.time < TOGETHER;
    all.push({ key: `m ${message.id}`, message, follows });
    before = message;
  }
  return all;
}

function makeMessage(store, message, kind) {
  const { own, from } = message;
  const face = kind === "network" && !own ? avatar(from, "peer") : null;
  const author = h("span", { class: own || kind === "peer" ? "author unseen" : "author" });
  if (own) author.textContent = t("chat.own");
  else author.append(bdi(""));
  const words = h("p", { class: "words", dir: "auto" }, linked(message.text));
  const state = own ? h("span", { class: "delivery" }) : null;
  const when = h("time", { datetime: new Date(message.time * 1000).toISOString(), title: moment(message.time) }, time(message.time));
  const element = h("li", { class: own ? "message own" : "message", dataset: { from } }, face, h("div", { class: "bubble" }, author, words, h("div", { class: "meta" }, when, state)));
  if (!own) {
    element.dataset.name = message.name ?? "";
    authorName(store, element);
  }
  return element;
}

function authorName(store, element) {
  const { from, name } = element.dataset;
  if (element.classList.contains("own") || from === undefined) return;
  const called = store.peer(from)?.name ?? (name || store.nameOf(from));
  text(element.querySelector(".author").firstChild, called);
  const face = element.querySelector(".avatar");
  if (face) showAvatar(face, from, called, "peer");
}

function updateMessage(store, element, { message, follows }, kind, about) {
  element.classList.toggle("follows", follows);
  if (!message.own) return;
  const shown = `${message.state} ${message.delivered} ${message.recipients}`;
  const state = element.querySelector(".delivery");
  if (state.dataset.shown === shown) return;
  state.dataset.shown = shown;
  const [picture, words] = stateOf(store, message, kind, about);
  attribute(state, "data-state", message.state);
  state.replaceChildren(icon(picture), h("span", null, words));
}

function stateOf(store, { state, delivered, recipients }, kind, about) {
  if (state === "delivered") return ["check", t("chat.state.delivered")];
  if (state === "failed") return ["warning", t("chat.state.failed")];
  if (kind === "network") return ["clock", t("chat.state.waiting.network", { delivered: delivered ?? 0, recipients: recipients ?? 0 })];
  return ["clock", t("chat.state.waiting", { name: store.nameOf(about) })];
}
