// The field to write in: several lines, a draft kept for each conversation, Enter sends.

import { unblock } from "./actions.js";
import { button, h } from "./dom.js";
import { arrived } from "./feed.js";
import { icon } from "./icons.js";
import { t } from "./strings.js";
import { failed } from "./toast.js";
import { chooseFiles } from "./upload.js";

const TALLEST = 180; // pixels; longer texts scroll
const BRIEF = 32; // characters of a name in the empty field
const DRAFT = "userlan.draft.";

/** The form under a conversation. `sent()` is called when a message is on its way. */
export function composer(context, { id, kind, about, sent }) {
  const { api, store } = context;
  const name = () => (kind === "peer" ? store.nameOf(about) : about);
  const field = h("textarea", { rows: 1, "aria-label": t("chat.input", { name: name() }), placeholder: t("chat.placeholder", { name: brief(name()) }), dir: "auto", enterkeyhint: "send", title: t("chat.hint") });
  const attach = kind === "peer" ? button(t("chat.attach"), () => chooseFiles(context, about), { icon: icon("attach"), bare: true }) : null;
  const go = h("button", { type: "submit", class: "button primary bare send", "aria-label": t("chat.send"), title: t("chat.send") }, icon("send"));
  const why = h("span");
  const blocked = h("p", { class: "note blocked", hidden: true }, why, button(t("menu.unblock"), () => unblock(context, about)));
  const form = h("form", { class: "composer", on: { submit: (event) => (event.preventDefault(), send()) } }, attach, field, go);
  const element = h("div", { class: "compose" }, blocked, form);
  field.value = draft(id);

  function grow() {
    field.style.setProperty("height", "auto");
    field.style.setProperty("height", `${Math.min(field.scrollHeight, TALLEST)}px`);
    go.disabled = field.value.trim() === "";
  }

  async function send() {
    const words = field.value.trim();
    if (!words) return;
    field.value = "";
    written();
    field.focus();
    try {
      const { message } = await api.call("chat-send", { to: id, text: words });
      arrived(context, message);
      sent();
    } catch (error) {
      failed(error);
      field.value = field.value ? `${words}\n${field.value}` : words;
      written();
    }
  }

  function written() {
    keep(id, field.value);
    grow();
  }

  field.addEventListener("input", written);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.altKey || matchMedia("(pointer: coarse)").matches) return;
    event.preventDefault();
    send();
  });

  function update() {
    const row = kind === "peer" ? store.peer(about) : null;
    form.hidden = Boolean(row?.blocked);
    blocked.hidden = !row?.blocked;
    if (row?.blocked) why.textContent = t("chat.blocked", { name: row.name });
    field.placeholder = t("chat.placeholder", { name: brief(name()) });
    field.setAttribute("aria-label", t("chat.input", { name: name() }));
  }

  update();
  requestAnimationFrame(grow);
  return { element, focus: () => field.focus({ preventScroll: true }), end: store.on(["peers", "networks"], update) };
}

function brief(name) {
  const letters = [...name];
  return letters.length > BRIEF ? `${letters.slice(0, BRIEF).join("")}…` : name;
}

function draft(id) {
  try {
    return localStorage.getItem(DRAFT + id) ?? "";
  } catch {
    return "";
  }
}

function keep(id, words) {
  try {
    if (words) localStorage.setItem(DRAFT + id, words);
    else localStorage.removeItem(DRAFT + id);
  } catch {
    // Storage is full or switched off: the draft lives as long as the field.
  }
}
