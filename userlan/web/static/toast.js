// Short words above all: what was done, or what did not work. They are said to a screen reader, and go by themselves.

import { bdi, button, h } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./strings.js";

const STAYS = 5000; // milliseconds; a problem stays twice as long
const MOST = 4; // more at once nobody reads

let container = null;

/** Shows `words`; `problem`: something went wrong; `action`: `{label, run}`, a button beside them. */
export function toast(words, { problem = false, action = null } = {}) {
  container ??= document.body.appendChild(h("div", { class: "toasts", role: "status", "aria-live": "polite", popover: "manual" }));
  const element = h("div", { class: problem ? "toast problem" : "toast" },
    icon(problem ? "warning" : "check"), bdi(words, "words"),
    action && button(action.label, () => (leave(), action.run())),
    button(t("dialog.close"), leave, { icon: icon("close"), bare: true }));
  let timer = null;
  const start = () => (timer = setTimeout(leave, problem || action ? 2 * STAYS : STAYS));
  function leave() {
    clearTimeout(timer);
    element.remove();
    if (container.childElementCount === 0 && container.matches(":popover-open")) container.hidePopover();
  }
  element.addEventListener("pointerenter", () => clearTimeout(timer));
  element.addEventListener("pointerleave", start);
  element.addEventListener("focusin", () => clearTimeout(timer));
  container.append(element);
  if (container.matches(":popover-open")) container.hidePopover();
  container.showPopover(); // above a dialog that was opened since
  while (container.childElementCount > MOST) container.firstElementChild.remove();
  start();
  return leave;
}

/** Shows what went wrong; for `promise.catch(failed)`. */
export function failed(error) {
  toast(error.message, { problem: true });
}
