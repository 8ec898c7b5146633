// Shortcuts of the whole page. None of them is taken from a field that is being written in, but for Esc, Ctrl+F and those with Alt. A chat is not on
// the page as a whole, so that there Ctrl+F looks through what the node keeps; pressed once more it is the browser's own.

import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { findWords } from "./finding.js";
import { createNetwork, joinNetwork } from "./networks.js";
import { VIEWS } from "./routes.js";
import { conversationOf } from "./store.js";
import { t } from "./strings.js";

const LISTED = ["list", "enter", "menu", "find", "words", "next", "tabs", "escape", "new", "join", "help"];

/** Starts listening. */
export function shortcuts(context) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    if (document.querySelector("dialog[open], .menu")) return;
    if (event.ctrlKey || event.metaKey) {
      if (withControl(context, event)) event.preventDefault();
      return;
    }
    const writing = event.target.closest?.("input, textarea, select, [contenteditable]");
    const done = event.altKey ? withAlt(context, event) : event.key === "Escape" ? escape(context, event) : !writing && plain(context, event.key);
    if (done) event.preventDefault();
  });
}

function plain(context, key) {
  if (key === "?") help();
  else if (key === "/") findSomebody();
  else if (key === "n") createNetwork(context);
  else if (key === "j") joinNetwork(context);
  else return false;
  return true;
}

function withControl(context, { key, altKey, shiftKey }) {
  const { kind, id, view } = context.store.get("selection");
  if (key !== "f" || altKey || shiftKey || view !== "chat") return false;
  findWords(context, conversationOf(kind, id));
  return true;
}

function withAlt({ store, open }, { key, code }) {
  const { kind, id } = store.get("selection");
  const digit = /^Digit([1-4])$/.exec(code);
  if (digit && kind !== "none") {
    const view = VIEWS[kind][Number(digit[1]) - 1];
    open(view, kind === "self" ? {} : { [kind]: id });
    return true;
  }
  if (key !== "ArrowDown" && key !== "ArrowUp") return false;
  const unread = [...store.get("conversations").values()].filter((one) => one.unread > 0 && one.id !== `${kind}:${id}`);
  const next = key === "ArrowDown" ? unread[0] : unread.at(-1);
  if (next) open("chat", { [next.kind]: next.id.slice(next.id.indexOf(":") + 1) });
  return true;
}

function escape(context, event) {
  const find = document.querySelector(".find input");
  if (event.target === find) return false;
  const item = document.querySelector(".roster [tabindex='0']");
  if (item && item.offsetParent === null) context.open("list"); // one column: the list is behind the conversation
  document.querySelector(".roster [tabindex='0']")?.focus();
  return true;
}

function findSomebody() {
  document.querySelector(".find input")?.focus();
}

/** The list of shortcuts. */
export function help() {
  const lines = LISTED.map((name) => {
    const words = t(`keys.${name}`);
    const [keys, meaning] = [words.slice(0, words.indexOf(": ")), words.slice(words.indexOf(": ") + 2)];
    return [h("dt", null, h("kbd", null, keys)), h("dd", null, meaning)];
  });
  openDialog(t("keys.title"), h("dl", { class: "keys" }, lines));
}
