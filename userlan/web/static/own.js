// The top of the list: the mark, one's own name and address, and the window's few switches.

import { ask } from "./dialog.js";
import { take } from "./clipboard.js";
import { attribute, bdi, button, h, text } from "./dom.js";
import { findWords } from "./finding.js";
import { address } from "./format.js";
import { icon, logo } from "./icons.js";
import { avatar, showAvatar } from "./avatar.js";
import { help } from "./keys.js";
import { openMenu } from "./menu.js";
import { createNetwork, joinNetwork } from "./networks.js";
import { t } from "./strings.js";
import { toast } from "./toast.js";

const THEMES = ["auto", "light", "dark"];
const THEME_ICONS = { auto: "contrast", light: "sun", dark: "moon" };

/** The card of this computer. */
export function own(context) {
  const { store, open } = context;
  const face = avatar("", "self");
  const name = bdi("", "name");
  const rename = button(t("self.rename"), () => edit(), { icon: icon("pencil"), bare: true, kind: "small" });
  const where = button("", () => take(where.dataset.address), { kind: "address quiet", icon: icon("copy") });
  const self = h("button", { type: "button", class: "self-open", on: { click: () => open("sharing", {}) }, "aria-label": t("self.open"), title: t("self.open") }, face);
  const more = button(t("app.more"), () => openMenu(more, menu(context), t("app.more")), { icon: icon("more"), bare: true, "aria-haspopup": "menu" });
  const naming = h("div", { class: "naming" }, name, rename);

  function edit() {
    const field = h("input", { class: "rename", "aria-label": t("self.name"), maxlength: 63, autocomplete: "off", spellcheck: "false" });
    field.value = store.get("self")?.name ?? "";
    let ended = false;
    const end = (focus) => {
      if (ended) return;
      ended = true;
      field.replaceWith(naming);
      if (focus) rename.focus();
    };
    field.addEventListener("keydown", async (event) => {
      if (event.key === "Escape") end(true);
      else if (event.key !== "Enter") return;
      else await give(field, end);
      event.stopPropagation();
    });
    field.addEventListener("blur", () => end(false));
    naming.replaceWith(field);
    field.select();
    field.focus();
  }

  async function give(field, end) {
    const wanted = field.value.trim();
    if (!wanted || wanted === store.get("self")?.name) return end(true);
    try {
      const done = await context.api.call("nick", { name: wanted });
      toast(t(done.later ? "self.renamed.later" : "self.renamed", { name: done.name }));
      return end(true);
    } catch (error) {
      field.setAttribute("aria-invalid", "true");
      return toast(error.message, { problem: true });
    }
  }

  function update() {
    const row = store.get("self");
    if (!row) return;
    text(name, row.name);
    showAvatar(face, row.key, row.name, "self");
    const place = address(row);
    where.dataset.address = place;
    text(where.lastChild, place || t("self.no-address"));
    attribute(where, "aria-label", t("copy.address", { address: place }));
    where.disabled = !place;
  }

  store.on("self", update);
  update();
  return h("header", { class: "own-card" },
    h("div", { class: "brand" }, logo(), h("span", null, t("app.title")), theme(), more),
    h("div", { class: "me" }, self, h("div", { class: "about" }, naming, where)));
}

/** Renames this computer in a dialog (from the welcome). */
export function renameSelf({ api, store }) {
  return ask(t("self.rename"), [{ name: "name", label: t("self.name"), hint: t("self.name.hint"), value: store.get("self")?.name ?? "", required: true, maxlength: 63 }], t("dialog.ok"), (values) => api.call("nick", { name: values.name.trim() }));
}

function menu(context) {
  return [
    { label: t("roster.new"), icon: "plus", run: () => createNetwork(context) },
    { label: t("roster.join"), icon: "link", run: () => joinNetwork(context) },
    null,
    { label: t("menu.find.all"), icon: "search", run: () => findWords(context) },
    { label: t("tab.sharing"), icon: "share", run: () => context.open("sharing") },
    { label: t("tab.files"), icon: "file", run: () => context.open("files") },
    { label: t("tab.doctor"), icon: "doctor", run: () => context.open("doctor") },
    null,
    { label: t("app.help"), icon: "help", run: help },
  ];
}

function theme() {
  const element = button("", next, { bare: true, icon: icon("contrast"), kind: "small" });
  const current = () => document.documentElement.dataset.theme ?? "auto";
  function show() {
    attribute(element, "aria-label", t(`app.theme.${current()}`));
    attribute(element, "title", t(`app.theme.${current()}`));
    element.replaceChildren(icon(THEME_ICONS[current()]));
  }
  function next() {
    const wanted = THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length];
    if (wanted === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = wanted;
    try {
      localStorage.setItem("userlan.theme", wanted);
    } catch {
      // Storage is switched off: it holds until the page is left.
    }
    show();
  }
  show();
  return element;
}
