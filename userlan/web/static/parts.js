// Pieces that several views are made of.

import { take } from "./clipboard.js";
import { bdi, button, h } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./strings.js";
import { toast } from "./toast.js";

/** A button that copies `what` and says so. */
export function copyButton(what, label = t("parts.copy", { what })) {
  return button(label, () => take(what), { icon: icon("copy"), bare: true, kind: "small" });
}

/** An address or a command, as it is typed, with a button that copies it. */
export function typed(what, className = "") {
  return h("span", { class: `typed ${className}`.trim() }, h("code", null, bdi(what)), copyButton(what));
}

/** A word in a small frame. */
export function chip(words, kind = "") {
  return h("span", { class: `chip ${kind}`.trim() }, words);
}

/** A switch with its label: `change(on)` may return a promise, whose failure puts it back. */
export function toggle(label, on, change, { disabled = false, describedby = null } = {}) {
  const input = h("input", { type: "checkbox", role: "switch", class: "switch", checked: on, disabled, "aria-label": label, "aria-describedby": describedby });
  input.addEventListener("change", async () => {
    const wanted = input.checked;
    input.disabled = true;
    try {
      await change(wanted);
    } catch (error) {
      input.checked = !wanted;
      toast(error.message, { problem: true });
    } finally {
      input.disabled = disabled;
      if (document.activeElement === document.body) input.focus();
    }
  });
  return input;
}

/** Nothing there yet, and what to do about it. */
export function empty(name, title, words, ...more) {
  return h("div", { class: "nothing-here" }, icon(name), h("p", { class: "title" }, title), words && h("p", { class: "quiet" }, words), more);
}

/** A part of a view with its heading. */
export function section(title, ...content) {
  return h("section", { class: "part" }, h("h2", null, title), content);
}
