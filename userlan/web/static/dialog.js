// Dialogs: the browser's own <dialog>, which keeps the focus inside and gives it back; Esc closes.

import { bdi, button, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./strings.js";

let number = 0;

/** Opens a dialog with a title and content; answers `{element, close, closed}` (`closed`: a promise of what it was closed with). */
export function openDialog(title, content, { className = "" } = {}) {
  number += 1;
  const heading = h("h2", { id: `dialog-${number}` }, title);
  const shut = button(t("dialog.close"), () => element.close(), { icon: icon("close"), bare: true });
  const element = h("dialog", { class: `dialog ${className}`.trim(), "aria-labelledby": heading.id }, h("header", null, heading, shut), h("div", { class: "dialog-body" }, content));
  let answer = null;
  const closed = new Promise((resolve) => {
    element.addEventListener("close", () => {
      element.remove();
      resolve(answer);
    });
  });
  element.addEventListener("mousedown", (event) => event.target === element && element.close());
  document.body.append(element);
  const before = document.activeElement;
  element.showModal();
  const first = element.querySelector("[autofocus]") ?? element.querySelector("input, textarea, .dialog-body button");
  if (first) first.focus();
  closed.then(() => document.activeElement === document.body && before?.isConnected && before.focus());
  return {
    element,
    closed,
    close(value = null) {
      answer = value;
      element.close();
    },
  };
}

/** Asks yes or no; `words`: what will happen. */
export async function confirm(title, words, yes, { danger = false } = {}) {
  const dialog = openDialog(title, [
    h("p", null, words),
    actions(
      button(t("dialog.cancel"), () => dialog.close(false), { autofocus: danger }),
      button(yes, () => dialog.close(true), { kind: danger ? "danger" : "primary", autofocus: !danger }),
    ),
  ]);
  return (await dialog.closed) === true;
}

/** The row of buttons at a dialog's end. */
export function actions(...buttons) {
  return h("div", { class: "actions" }, buttons);
}

/**
 * A form in a dialog. `fields`: `{name, label, hint?, type?, value?, required?, ...attributes}`, type `checkbox` or an input's; `submit(values)` may
 * return a promise, whose error is shown in the form, and whose value the dialog is closed with. `extra`: further content, or a function that makes it
 * and is given `set(name, value)`, which fills a field in.
 */
export function ask(title, fields, yes, submit, { words = null, extra = null } = {}) {
  const inputs = new Map();
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const go = h("button", { type: "submit", class: "button primary" }, h("span", null, yes));
  const form = h("form", { method: "dialog", novalidate: true, on: { submit: (event) => sent(event) } },
    words && h("p", null, words), fields.map((field) => row(field, inputs)), typeof extra === "function" ? extra(set) : extra, problem,
    actions(button(t("dialog.cancel"), () => dialog.close(null)), go));
  const dialog = openDialog(title, form);

  async function sent(event) {
    event.preventDefault();
    const values = {};
    for (const [name, input] of inputs) values[name] = input.type === "checkbox" ? input.checked : input.value;
    for (const field of fields) {
      const input = inputs.get(field.name);
      const missing = field.required && input.type !== "checkbox" && !input.value.trim();
      input.toggleAttribute("aria-invalid", missing);
      if (missing) {
        show(t("dialog.missing", { field: field.label }));
        input.focus();
        return;
      }
    }
    go.disabled = true;
    form.setAttribute("aria-busy", "true");
    try {
      dialog.close((await submit(values)) ?? true);
    } catch (error) {
      show(error.message);
    } finally {
      go.disabled = false;
      form.removeAttribute("aria-busy");
    }
  }

  function set(name, value) {
    const input = inputs.get(name);
    input.value = value;
    input.toggleAttribute("aria-invalid", false);
    problem.hidden = true;
    input.focus();
    input.setSelectionRange(0, 0); // what it begins with is seen
  }

  function show(words) {
    problem.hidden = false;
    fill(problem, icon("warning"), bdi(words));
  }

  return dialog.closed;
}

function row({ name, label, hint = null, type = "text", value = "", required = false, ...attributes }, inputs) {
  number += 1;
  const id = `field-${number}`;
  const described = hint ? { "aria-describedby": `${id}-hint` } : {};
  const hintText = hint && h("small", { id: `${id}-hint` }, hint);
  if (type === "checkbox") {
    const input = h("input", { type, id, checked: Boolean(value), ...described, ...attributes });
    inputs.set(name, input);
    return h("div", { class: "field check" }, input, h("label", { for: id }, label), hintText);
  }
  const input = type === "textarea" ? h("textarea", { id, rows: 3, ...described, ...attributes }) : h("input", { type, id, autocomplete: "off", ...described, ...attributes });
  input.value = value;
  if (required) input.setAttribute("aria-required", "true");
  inputs.set(name, input);
  return h("div", { class: "field" }, h("label", { for: id }, label), input, hintText);
}
