// Finding what was said, in one conversation or in all of them. The node looks at so much for one answer; a finding opens its conversation there.

import { openDialog } from "./dialog.js";
import { bdi, button, fill, h, text } from "./dom.js";
import { day, moment, time as clock } from "./format.js";
import { icon } from "./icons.js";
import { t } from "./strings.js";

const PAUSE = 250; // milliseconds after the last letter
const PAGE = 40; // findings of one answer
const STEPS = 8; // answers without a finding after which a person says whether to go on
const BEFORE = 40; // characters of a message before what was found
const SHOWN = 240; // characters of a message

/** Opens the search, in the conversation `id` where there is one. */
export function findWords(context, id = null) {
  const { api } = context;
  const field = h("input", { type: "text", role: "searchbox", id: "finding-words", autocomplete: "off", spellcheck: "false", enterkeyhint: "search", maxlength: 200, dir: "auto" });
  const all = h("input", { type: "checkbox", id: "finding-all", checked: id === null });
  const status = h("p", { class: "quiet", role: "status" }, t("find.hint"));
  const list = h("ol", { class: "hits", "aria-label": t("find.list") });
  const older = button(t("find.older"), () => look(true), { icon: icon("clock"), hidden: true });
  const dialog = openDialog(t("find.title"), [
    h("div", { class: "field" }, h("label", { class: "unseen", for: field.id }, t("find.words")), field),
    id !== null && h("div", { class: "field check" }, all, h("label", { for: all.id }, t("find.all"))),
    status, h("div", { class: "found" }, list, older),
  ], { className: "search" });
  let number = 0; // of the last search: an answer to an earlier one is of no use
  let before = null;
  let timer = null;
  let looked = ""; // what the list is about

  async function look(further = false) {
    clearTimeout(timer);
    const wanted = further ? looked : field.value.trim();
    const mine = (number += 1);
    if (!further) {
      before = null;
      list.replaceChildren();
    }
    looked = wanted;
    older.hidden = true;
    if (wanted === "") return text(status, t("find.hint"));
    text(status, t("find.looking"));
    try {
      const found = await step(wanted, mine);
      if (found === null) return undefined;
      const last = list.lastElementChild;
      list.append(...found.map((message) => h("li", null, row(message, wanted))));
      if (further) (last?.nextElementSibling ?? list.firstElementChild)?.firstElementChild.focus();
      older.hidden = before === null;
      const count = list.childElementCount;
      return text(status, count > 0 ? t("find.found", { n: count }) : t(before === null ? "find.nothing" : "find.nothing-yet"));
    } catch (error) {
      return mine === number && text(status, error.message);
    }
  }

  /** Asks until there is something, or nothing more, or it has taken long; null: nobody wants to know any more. */
  async function step(wanted, mine) {
    for (let asked = 0; asked < STEPS; asked += 1) {
      const answer = await api.call("chat-search", { text: wanted, conversation: all.checked ? null : id, before, limit: PAGE });
      if (mine !== number) return null;
      before = answer.before;
      if (answer.messages.length > 0 || before === null) return answer.messages.reverse();
    }
    return [];
  }

  function row(message, wanted) {
    const { conversation, from, name, own, time } = message;
    const { store, open } = context;
    const [kind, about] = [conversation.slice(0, conversation.indexOf(":")), conversation.slice(conversation.indexOf(":") + 1)];
    const author = own ? t("chat.own") : store.peer(from)?.name ?? name;
    const where = kind === "network" ? about : store.peer(about)?.name ?? store.get("conversations").get(conversation)?.title ?? store.nameOf(about);
    const show = () => {
      dialog.close();
      store.set("target", { conversation, seq: message.seq });
      open("chat", { [kind]: about });
    };
    const when = h("time", { datetime: new Date(time * 1000).toISOString(), title: moment(time) }, t("find.when", { day: day(time), time: clock(time) }));
    const place = all.checked && (own || kind === "network") ? h("span", null, t(kind === "network" ? "find.in" : "find.to", { name: where })) : null;
    return h("button", { type: "button", on: { click: show } },
      h("span", { class: "first" }, bdi(author, "name"), place, when), h("span", { class: "words", dir: "auto" }, marked(message.text, wanted)));
  }

  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE);
  });
  all.addEventListener("change", () => look());
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    if (field.value.trim() === looked && list.firstElementChild) list.firstElementChild.firstElementChild.click();
    else look();
  });
  dialog.element.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const stops = [field, ...list.querySelectorAll("button")];
    const index = stops.indexOf(document.activeElement);
    const next = stops[index + (event.key === "ArrowDown" ? 1 : -1)];
    if (index < 0 || !next) return;
    event.preventDefault();
    next.focus();
  });
  dialog.closed.then(() => {
    clearTimeout(timer);
    number += 1;
  });
}

/** A part of a message around what was found, which is marked; its beginning where this language folds letters in another way. */
function marked(words, wanted) {
  const [folded, sought] = [words.toLowerCase(), wanted.toLowerCase()];
  const place = folded.length === words.length ? folded.indexOf(sought) : -1;
  const start = whole(words, Math.max(0, place - BEFORE));
  const end = whole(words, start + SHOWN);
  const [head, tail] = [start > 0 ? "…" : "", end < words.length ? "…" : ""];
  if (place < 0) return [words.slice(0, end), tail];
  const last = Math.min(place + sought.length, end);
  return [head, words.slice(start, place), h("mark", null, words.slice(place, last)), words.slice(last, end), tail];
}

/** A place that parts no character of two halves. */
function whole(words, place) {
  return /[\uDC00-\uDFFF]/.test(words[place] ?? "") ? place - 1 : place;
}
