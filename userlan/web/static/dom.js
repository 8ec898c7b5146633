// Elements without markup: everything that is shown is a text node, so that what a peer wrote can never be more than text.

/**
 * An element. `properties`: `class`, `on: {event: listener}`, `dataset`, and attributes (true: present, false and null: absent);
 * children: nodes, texts, numbers, arrays of them; null and false are nothing.
 */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else attribute(element, name, value);
  }
  append(element, children);
  return element;
}

/** Sets an attribute where it changed; true: present and empty, false, null, undefined: absent. */
export function attribute(element, name, value) {
  if (value === false || value === null || value === undefined) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/** Sets the text where it changed: an unchanged text costs no layout. */
export function text(element, value) {
  const wanted = value === null || value === undefined ? "" : String(value);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Replaces all children. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Replaces those children that are other ones than before: what is the same keeps the focus, and the pointer that is pressed on it. */
export function refill(element, ...children) {
  const wanted = [...fill(element.cloneNode(false), children).childNodes];
  const before = [...element.childNodes];
  wanted.forEach((child, index) => {
    if (index >= before.length) element.append(child);
    else if (!before[index].isEqualNode(child)) before[index].replaceWith(child);
  });
  before.slice(wanted.length).forEach((child) => child.remove());
}

/** Text that somebody else chose, isolated in its direction from what surrounds it. */
export function bdi(value, className) {
  return h("bdi", className ? { class: className } : null, value);
}

const rowsOf = new WeakMap();

/**
 * Makes `container` show `items` in order, one element each: `key(item)` tells which, `make(item)` builds a new one,
 * `update(element, item)` brings it up to date. Elements stay the same, and are moved only where the order changed.
 */
export function sync(container, items, key, make, update) {
  const before = rowsOf.get(container) ?? new Map();
  const after = new Map();
  for (const item of items) after.set(key(item), null);
  for (const [name, element] of before) if (!after.has(name)) element.remove();
  const focused = container.contains(document.activeElement) ? document.activeElement : null;
  const staying = inOrder([...before.keys()], [...after.keys()]);
  let cursor = container.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let element = before.get(name);
    if (element === undefined) {
      element = make(item);
      before.set(name, element);
    }
    if (update) update(element, item);
    after.set(name, element);
    if (!staying.has(name) && element !== cursor) container.insertBefore(element, cursor);
    cursor = element.nextElementSibling;
  }
  rowsOf.set(container, after);
  if (focused !== null && document.activeElement !== focused && container.contains(focused)) focused.focus({ preventScroll: true });
}

/** The most names that are in the same order before and after: with them in place, as few as can be are moved, however many others go. */
function inOrder(before, after) {
  const places = new Map(before.map((name, place) => [name, place]));
  const ends = []; // by length: the name at the end of the run of that length that ends first
  const previous = new Map(); // name → the one before it in its run
  for (const name of after) {
    const place = places.get(name);
    if (place === undefined) continue;
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (places.get(ends[middle]) < place) low = middle + 1;
      else high = middle;
    }
    previous.set(name, ends[low - 1]);
    ends[low] = name;
  }
  const staying = new Set();
  for (let name = ends.at(-1); name !== undefined; name = previous.get(name)) staying.add(name);
  return staying;
}

/** The elements that `sync` made, by key. */
export function rows(container) {
  return rowsOf.get(container) ?? new Map();
}

let region = null;

/** Says something to a screen reader, without moving anything. */
export function announce(words) {
  if (region === null) {
    region = h("div", { class: "unseen", role: "status", "aria-live": "polite" });
    document.body.append(region);
  }
  region.append(h("p", null, words));
  while (region.childElementCount > 4) region.firstElementChild.remove();
}

/** A button with an icon and words, or with an icon alone and its words as its name. */
export function button(words, listener, { icon = null, kind = "", bare = false, ...rest } = {}) {
  const classes = ["button", kind, bare ? "bare" : ""].filter(Boolean).join(" ");
  const named = bare ? { "aria-label": words, title: words } : {};
  return h("button", { type: "button", class: classes, on: { click: listener }, ...named, ...rest }, icon, bare ? null : h("span", null, words));
}

/** Copies a text; true where the browser let it. */
export async function copy(value) {
  try {
    await navigator.clipboard.writeText(value);
    return true;
  } catch {
    const field = h("textarea", { class: "unseen", readonly: true }, value);
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
