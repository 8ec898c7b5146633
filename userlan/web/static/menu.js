// Context menus: arrows, Home, End, first letters, Enter, Esc; the focus returns to where it was.

import { h } from "./dom.js";
import { icon } from "./icons.js";

let open = null;

/**
 * Opens a menu at an element or at a point `{x, y}`. `items`: `{label, icon?, danger?, disabled?, run}`, or null for a line between. `label`: its name
 * for a screen reader.
 */
export function openMenu(at, items, label) {
  closeMenu();
  const before = document.activeElement;
  const element = h("div", { class: "menu", role: "menu", "aria-label": label, tabindex: "-1" });
  for (const item of items) element.append(item === null ? h("div", { role: "separator" }) : entry(item));
  element.addEventListener("keydown", keys);
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  document.body.append(element);
  place(element, at);
  open = { element, before };
  entries(element)[0]?.focus({ preventScroll: true });
  document.addEventListener("pointerdown", outside, true);
  addEventListener("resize", closeMenu);
  addEventListener("blur", closeMenu);
}

/** Closes the open menu, if any is. */
export function closeMenu() {
  if (open === null) return;
  const { element, before } = open;
  open = null;
  const inside = element.contains(document.activeElement);
  element.remove();
  if (inside && before?.isConnected) before.focus({ preventScroll: true });
  document.removeEventListener("pointerdown", outside, true);
  removeEventListener("resize", closeMenu);
  removeEventListener("blur", closeMenu);
}

function entry(item) {
  const run = () => {
    closeMenu();
    item.run();
  };
  return h("button", {
    type: "button", role: "menuitem", tabindex: "-1", class: item.danger ? "danger" : null, disabled: Boolean(item.disabled), on: { click: run },
  }, item.icon ? icon(item.icon) : h("span", { class: "icon" }), h("span", null, item.label));
}

function entries(element) {
  return [...element.querySelectorAll("[role=menuitem]:not(:disabled)")];
}

function outside(event) {
  if (open !== null && !open.element.contains(event.target)) closeMenu();
}

function keys(event) {
  const all = entries(event.currentTarget);
  const index = all.indexOf(document.activeElement);
  const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: all.length - 1 }[event.key];
  if (to !== undefined) {
    all[(to + all.length) % all.length]?.focus();
  } else if (event.key === "Escape" || event.key === "Tab") {
    closeMenu();
  } else if (event.key.length === 1 && event.key !== " ") {
    const letter = event.key.toLocaleLowerCase();
    const found = [...all.slice(index + 1), ...all].find((one) => one.textContent.trim().toLocaleLowerCase().startsWith(letter));
    if (!found) return;
    found.focus();
  } else {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}

function place(element, at) {
  const box = at instanceof Element ? at.getBoundingClientRect() : { left: at.x, right: at.x, top: at.y, bottom: at.y };
  const { offsetWidth: width, offsetHeight: height } = element;
  const left = Math.max(8, Math.min(at instanceof Element ? box.right - width : box.left, innerWidth - width - 8));
  const below = box.bottom + 4;
  const top = below + height < innerHeight - 8 ? below : Math.max(8, box.top - height - 4);
  element.style.setProperty("left", `${left}px`);
  element.style.setProperty("top", `${top}px`);
}
