// Icons, drawn by hand on a grid of 24: lines that are a little uneven, as a pen makes them.

const SVG = "http://www.w3.org/2000/svg";

// Each: paths of strokes; one that begins with "*" is filled.
const STROKES = {
  chat: ["M4.2 5.6c4.6-1 10.7-1.1 15.5-.1.7 3.5.7 6.6 0 10.1-3 .5-6.1.8-8.9.6L6.6 19.9l.3-4c-1-.1-1.8-.3-2.6-.4-.7-3.4-.7-6.5-.1-9.9z", "M8.1 9.5c2.6-.3 5.2-.3 7.7 0M8.2 12.4c1.8-.2 3.3-.2 4.9 0"],
  file: ["M6.3 3.4c2.7-.3 5-.3 7.5-.1l4.3 4.5c.2 4.3.1 8.6-.3 12.7-3.8.4-7.7.4-11.5 0-.4-5.7-.4-11.4 0-17.1z", "M13.6 3.5c-.1 1.6-.1 3.1.1 4.5 1.5.1 2.9.1 4.3-.1"],
  send: ["M3.5 11.2 20.6 3.8c-1.7 5.7-3.7 11.3-6.1 16.6l-3.3-7.2z", "m11.3 13 4.3-4.3"],
  attach: ["m8.2 12.9 6.1-6.2c1.2-1.2 2.8-1.3 4-.2 1.1 1.1 1.2 2.8 0 4l-7.4 7.6c-1.9 1.9-4.6 2-6.3.2-1.7-1.7-1.6-4.3.2-6.2L12 4.8"],
  plus: ["M12.1 4.6c-.2 5 -.2 9.9.1 14.9M4.6 12.1c5-.3 9.9-.3 14.9-.1"],
  link: ["M10.3 13.9c-1.5-1.7-1.4-4 .2-5.6l3-3c1.6-1.5 3.9-1.5 5.3 0 1.5 1.5 1.5 3.7 0 5.3l-1.7 1.7", "M13.8 10.2c1.4 1.7 1.3 3.9-.3 5.5l-3 3c-1.6 1.5-3.9 1.5-5.3 0-1.4-1.5-1.4-3.7.1-5.2l1.6-1.7"],
  qr: ["M4.2 4.3c1.8-.1 3.6-.1 5.4 0 .1 1.7.1 3.5 0 5.3-1.8.1-3.6.1-5.4 0-.1-1.8-.1-3.6 0-5.3zM14.4 4.3c1.8-.1 3.6-.1 5.3 0 .1 1.7.1 3.5 0 5.3-1.7.1-3.5.1-5.3 0-.1-1.8-.1-3.6 0-5.3zM4.2 14.4c1.8-.1 3.6-.1 5.4 0 .1 1.8.1 3.6 0 5.4-1.8.1-3.6.1-5.4 0-.1-1.8-.1-3.6 0-5.4z", "M14.5 14.5v2M19.6 14.4l.1 1.2M17 17.1l.1.1M14.6 19.7h1.1M19.7 18.3v1.5"],
  camera: ["M4 7.6c1.3-.2 2.5-.2 3.8-.2l1.7-2.3c1.7-.2 3.4-.2 5.1 0l1.6 2.3c1.3 0 2.6.1 3.9.2.3 3.7.3 7.3 0 11-5.4.4-10.8.4-16.1 0-.3-3.7-.3-7.3 0-11z", "M12.1 9.5c2-.1 3.5 1.5 3.5 3.5s-1.6 3.6-3.6 3.5c-2 0-3.5-1.5-3.5-3.5s1.5-3.5 3.6-3.5z"],
  more: ["*M12 6.7a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4zM12.1 13.7a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4zM11.9 20.7a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4z"],
  back: ["M19.8 12.1c-5-.3-10-.3-15 0M11 5.1c-2.2 2.2-4.4 4.5-6.5 7 2 2.4 4.2 4.7 6.5 6.9"],
  close: ["M5.7 5.5c4 4.4 8.3 8.7 12.7 12.9M18.4 5.7C14 9.9 9.7 14.1 5.6 18.4"],
  down: ["M5.5 9.2c2.1 2.2 4.2 4.3 6.5 6.3 2.3-2 4.5-4.1 6.6-6.4"],
  search: ["M10.4 4.2c3.5-.2 6.3 2.6 6.3 6.1 0 3.6-2.6 6.4-6.2 6.4-3.5.1-6.3-2.7-6.3-6.2 0-3.5 2.7-6.2 6.2-6.3z", "M15.2 15.3c1.5 1.4 3 2.9 4.6 4.5"],
  copy: ["M8.7 8.5c3.6-.2 7.2-.2 10.8 0 .3 3.7.3 7.3 0 11-3.6.3-7.2.3-10.9 0-.2-3.7-.2-7.3.1-11z", "M15.3 8.2c0-1.3 0-2.5-.2-3.7-3.6-.3-7.1-.3-10.6 0-.3 3.6-.3 7.1 0 10.7 1.2.1 2.4.2 3.7.2"],
  check: ["M4.7 12.7c1.6 1.5 3.1 3.2 4.5 5C12 13 15.3 9 19.5 5.6"],
  clock: ["M12.1 3.9c4.5-.1 8.1 3.5 8.1 8s-3.5 8.2-8 8.2c-4.6.1-8.3-3.5-8.3-8 0-4.6 3.6-8.2 8.2-8.2z", "M12 7.5c-.1 1.7-.1 3.2.1 4.8 1.2.6 2.2 1.2 3.3 2"],
  warning: ["M12 3.8c3 5 5.8 10.1 8.3 15.4-5.5.6-11.1.6-16.6.1C6.2 14 8.9 8.8 12 3.8z", "M12 9.3c0 1.7 0 3.3.1 4.9M12.1 16.8v.2"],
  lock: ["M5.7 10.9c4.2-.4 8.4-.4 12.6 0 .3 3 .3 6 0 8.9-4.2.4-8.4.4-12.6 0-.3-3-.3-6 0-8.9z", "M8.2 10.6c-.4-4.3 1-6.8 3.9-6.8 2.8 0 4.2 2.5 3.8 6.8M12 14.3c0 .8 0 1.5.1 2.2"],
  unlock: ["M5.7 10.9c4.2-.4 8.4-.4 12.6 0 .3 3 .3 6 0 8.9-4.2.4-8.4.4-12.6 0-.3-3-.3-6 0-8.9z", "M8.2 10.6c-.5-4.4.9-6.9 3.7-6.9 1.9 0 3.2 1 3.8 2.9M12 14.3c0 .8 0 1.5.1 2.2"],
  person: ["M12 4c2.2-.1 3.8 1.5 3.8 3.8 0 2.2-1.7 4-3.8 4-2.2 0-3.8-1.8-3.8-4C8.2 5.6 9.8 4 12 4z", "M4.6 20.2c.5-3.7 3.4-5.8 7.5-5.8 4 0 6.9 2.1 7.4 5.8"],
  people: ["M9 5c1.9-.1 3.3 1.3 3.3 3.2 0 2-1.4 3.5-3.3 3.5S5.7 10.2 5.7 8.2C5.7 6.3 7.1 5 9 5z", "M2.8 19.4c.4-3.2 2.8-5 6.2-5s5.8 1.8 6.3 5M15.2 5.3c1.7.1 2.9 1.4 2.9 3s-1 2.8-2.6 3.1M17.3 14.6c2.3.6 3.7 2.2 4 4.7"],
  leave: ["M13.7 4.2c-2.9-.3-5.7-.3-8.6 0-.3 5.2-.3 10.4 0 15.6 2.9.3 5.7.3 8.6 0", "M10 12.1c3.4-.2 6.7-.2 10 0M16.6 8.4c1.2 1.2 2.3 2.4 3.5 3.7-1.1 1.2-2.3 2.4-3.5 3.5"],
  block: ["M12.1 3.9c4.5-.1 8.1 3.5 8.1 8s-3.5 8.2-8 8.2c-4.6.1-8.3-3.5-8.3-8 0-4.6 3.6-8.2 8.2-8.2z", "M6.3 6.6c3.9 3.6 7.7 7.3 11.4 11.1"],
  folder: ["M3.7 6c2-.3 3.8-.3 5.6-.2l2.1 2.3c3-.2 5.9-.2 8.9.1.3 3.7.2 7.2-.2 10.7-5.4.4-10.8.4-16.2 0-.5-4.3-.6-8.6-.2-12.9z"],
  download: ["M12.1 4.1c-.2 3.7-.2 7.3 0 11M7.1 10.9c1.6 1.6 3.2 3.2 4.9 4.7 1.7-1.5 3.3-3 4.9-4.7M4.5 19.9c5-.3 10-.3 15.1 0"],
  upload: ["M12.1 15.6c-.2-3.7-.2-7.3 0-11M7.1 8.9C8.7 7.3 10.3 5.7 12 4.2c1.7 1.5 3.3 3 4.9 4.7M4.5 19.9c5-.3 10-.3 15.1 0"],
  pause: ["M8.5 5.4c-.2 4.4-.2 8.8 0 13.2M15.5 5.4c.2 4.4.2 8.8 0 13.2"],
  sun: ["M12 7.8c2.4-.1 4.2 1.8 4.2 4.2 0 2.3-1.8 4.3-4.2 4.3S7.8 14.4 7.8 12c0-2.3 1.8-4.2 4.2-4.2z", "M12 2.7v1.7M12.1 19.6v1.7M2.8 12.1h1.7M19.6 12h1.7M5.4 5.5l1.2 1.2M17.4 17.3l1.2 1.3M18.5 5.4l-1.2 1.3M6.7 17.4l-1.3 1.2"],
  moon: ["M10.2 3.9c-1.4 4.8 1.9 10.1 9.6 10.3-1.4 3.7-4.8 5.9-8.6 5.7-4.3-.3-7.5-3.9-7.3-8.2.2-3.7 2.7-6.9 6.3-7.8z"],
  contrast: ["M12.1 3.9c4.5-.1 8.1 3.5 8.1 8s-3.5 8.2-8 8.2c-4.6.1-8.3-3.5-8.3-8 0-4.6 3.6-8.2 8.2-8.2z", "*M12.1 4.9c-.2 4.7-.2 9.5.1 14.2 3.9 0 6.9-3.2 6.9-7.1s-3.1-7.1-7-7.1z"],
  ping: ["*M12 10.3a1.8 1.8 0 1 0 .1 3.6 1.8 1.8 0 0 0-.1-3.6z", "M8.1 15.7c-2-2-2-5.4.1-7.4M15.9 8.3c2 2.1 2 5.3 0 7.4M5.3 18.5c-3.6-3.6-3.5-9.4.1-12.9M18.7 5.6c3.5 3.6 3.5 9.2 0 12.8"],
  plug: ["M7.6 9.5c3-.3 5.9-.3 8.9 0 .2 4.1-1.2 6.5-4.4 6.5-3.3 0-4.8-2.4-4.5-6.5z", "M9.7 9.1c-.1-1.9-.1-3.7 0-5.6M14.4 9.1c.1-1.9.1-3.7 0-5.6M12.1 16.2c0 1.6-.1 3-.1 4.5"],
  path: ["M5.6 15.8c1.3-.1 2.2.9 2.2 2.2s-.9 2.3-2.2 2.3-2.2-1-2.2-2.3.9-2.1 2.2-2.2zM18.4 3.7c1.3-.1 2.2.9 2.2 2.2s-.9 2.2-2.2 2.2-2.2-.9-2.2-2.2.9-2.2 2.2-2.2z", "M8 17.8c4.4.3 6.4-.8 6.3-2.9-.1-2.5-5-2.7-5-5.6 0-2.3 2.6-3.4 6.6-3.3"],
  map: ["M12 3.6c1.4 0 2.4 1 2.4 2.4 0 1.4-1 2.4-2.4 2.4-1.4 0-2.4-1-2.4-2.4 0-1.4 1-2.4 2.4-2.4zM5.9 15.7c1.3 0 2.3 1 2.3 2.4 0 1.3-1 2.3-2.3 2.3-1.4 0-2.4-1-2.4-2.3 0-1.4 1-2.4 2.4-2.4zM18.2 15.7c1.3 0 2.3 1 2.3 2.4 0 1.3-1 2.3-2.3 2.3-1.4 0-2.4-1-2.4-2.3 0-1.4 1-2.4 2.4-2.4z", "M10.8 8.3c-1.3 2.4-2.5 4.9-3.7 7.5M13.2 8.3c1.4 2.4 2.6 4.9 3.8 7.5M8.4 18.2c2.4-.2 4.8-.2 7.2 0"],
  doctor: ["M6.2 3.7C5 3.8 4.5 4.3 4.5 5.4c0 4.7 1.4 7.5 4.4 7.5s4.5-2.8 4.5-7.5c0-1.1-.5-1.6-1.7-1.7", "M9 13c-.2 4.7 1.4 7.3 4.7 7.3 2.9 0 4.5-1.9 4.4-5.2", "M18 11.3c1 0 1.7.7 1.7 1.7S19 14.8 18 14.8s-1.7-.8-1.7-1.8.7-1.7 1.7-1.7z"],
  help: ["M12.1 3.9c4.5-.1 8.1 3.5 8.1 8s-3.5 8.2-8 8.2c-4.6.1-8.3-3.5-8.3-8 0-4.6 3.6-8.2 8.2-8.2z", "M9.6 9.6c.1-1.5 1.1-2.4 2.6-2.4 1.4 0 2.4.9 2.4 2.2 0 1.9-2.5 2-2.6 4.3M12 16.6v.2"],
  crown: ["M4.2 17.9c-.4-3.3-.9-6.5-1.5-9.7 1.9 1.2 3.5 2.5 5 4 1.2-2.4 2.6-4.7 4.3-7 1.7 2.3 3.1 4.6 4.4 7 1.5-1.5 3.1-2.8 4.9-4-.6 3.2-1.1 6.4-1.5 9.7-5.2.4-10.4.4-15.6 0z"],
  pencil: ["M4.3 19.8c.3-1.7.7-3.2 1.2-4.7L15.6 5c1-1 2.3-1 3.2-.1 1 .9 1 2.2 0 3.2L8.8 18.4c-1.5.5-3 1-4.5 1.4z", "M13.9 6.8c1.1 1 2.1 2 3.1 3.1"],
  bell: ["M6 16.6c1.3-1.5 1.5-3.4 1.6-5.6.2-3.2 1.7-5.3 4.4-5.3s4.2 2.1 4.4 5.3c.1 2.2.3 4.1 1.6 5.6-4 .4-8 .4-12 0z", "M10.3 19.2c.9 1.1 2.5 1.1 3.4 0M12 5.6V4.2"],
  "bell-off": ["M6 16.6c1.3-1.5 1.5-3.4 1.6-5.6.2-3.2 1.7-5.3 4.4-5.3s4.2 2.1 4.4 5.3c.1 2.2.3 4.1 1.6 5.6-4 .4-8 .4-12 0z", "M10.3 19.2c.9 1.1 2.5 1.1 3.4 0M12 5.6V4.2", "M4.5 4.7c5 5 9.9 9.9 15 14.8"],
  trash: ["M4.6 6.8c5-.3 9.9-.3 14.9 0M9.3 6.5c-.1-2 .4-2.8 2.7-2.8s2.8.8 2.7 2.8M6.4 7c.3 4.3.7 8.6 1.3 12.9 2.9.3 5.7.3 8.6 0 .6-4.3 1-8.6 1.3-12.9M10.3 10.5c.1 2.1.2 4.2.4 6.3M13.8 10.5c-.1 2.1-.2 4.2-.4 6.3"],
  computer: ["M3.6 5c5.6-.3 11.2-.3 16.9 0 .3 3.5.3 7.1 0 10.6-5.6.3-11.3.3-16.9 0-.3-3.5-.3-7.1 0-10.6z", "M12 16v3.5M8 19.9c2.7-.2 5.4-.2 8.1 0"],
  share: ["M6 9.7c1.4 0 2.4 1 2.4 2.4S7.4 14.5 6 14.5s-2.4-1-2.4-2.4 1-2.4 2.4-2.4zM17.8 3.5c1.3 0 2.3 1 2.3 2.3s-1 2.4-2.3 2.4c-1.4 0-2.4-1-2.4-2.4 0-1.3 1-2.3 2.4-2.3zM17.8 15.8c1.3 0 2.3 1 2.3 2.3s-1 2.4-2.3 2.4c-1.4 0-2.4-1-2.4-2.4 0-1.3 1-2.3 2.4-2.3z", "M8.3 11c2.4-1.2 4.8-2.6 7.2-4M8.3 13.2c2.4 1.2 4.8 2.5 7.2 3.8"],
  retry: ["M19.6 12.2c-.1 4.2-3.4 7.6-7.6 7.6-4.3 0-7.7-3.4-7.7-7.7S7.7 4.4 12 4.4c2.6 0 4.7 1 6.2 2.9M18.7 3.6c.1 1.4 0 2.7-.1 4.1-1.4 0-2.7 0-4-.2"],
};

function svg(name, attributes = {}) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** An icon by name; for the eye alone unless it has a label. */
export function icon(name, { label = null, className = "" } = {}) {
  const element = svg("svg", { viewBox: "0 0 24 24", class: `icon ${className}`.trim(), focusable: "false" });
  if (label === null) element.setAttribute("aria-hidden", "true");
  else named(element, label);
  for (const line of STROKES[name] ?? STROKES.help) {
    const filled = line.startsWith("*");
    element.append(svg("path", { d: filled ? line.slice(1) : line, class: filled ? "filled" : "line" }));
  }
  return element;
}

function named(element, label) {
  const title = svg("title");
  title.textContent = label;
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", label);
  element.prepend(title);
}

// Presence is a shape and a colour: a full dot, a dot between two arcs, a dashed ring, a hollow ring, a crossed ring.
const PRESENCE = {
  direct: ["*M8 2.8a5.2 5.2 0 1 0 .1 10.4A5.2 5.2 0 0 0 8 2.8z"],
  relayed: ["*M8 5.1a2.9 2.9 0 1 0 .1 5.8A2.9 2.9 0 0 0 8 5.1z", "M4 3.1c-2.5 2.8-2.5 7 0 9.8M12 3.1c2.5 2.8 2.5 7 0 9.8"],
  connecting: ["M8 3a5 5 0 1 0 .1 10A5 5 0 0 0 8 3z", "*M8 6.1a1.9 1.9 0 1 0 0 3.8 1.9 1.9 0 0 0 0-3.8z"],
  offline: ["M8 3.4a4.6 4.6 0 1 0 .1 9.2A4.6 4.6 0 0 0 8 3.4z"],
  blocked: ["M8 3a5 5 0 1 0 .1 10A5 5 0 0 0 8 3z", "M4.7 4.8l6.6 6.4"],
};

/** The presence signal of a state; its label is said beside it. */
export function presence(state) {
  const element = svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" });
  showPresence(element, state);
  return element;
}

/** Changes a presence signal. */
export function showPresence(element, state) {
  if (element.dataset.state === state) return;
  element.dataset.state = state;
  element.setAttribute("class", `presence ${state}`);
  element.replaceChildren();
  for (const line of PRESENCE[state] ?? PRESENCE.offline) {
    const filled = line.startsWith("*");
    element.append(svg("path", { d: filled ? line.slice(1) : line, class: filled ? "filled" : "line" }));
  }
}

/** The mark: a cable that hangs as a u between two computers. */
export function logo() {
  const element = svg("svg", { viewBox: "0 0 32 32", class: "logo", "aria-hidden": "true", focusable: "false" });
  element.append(
    svg("path", { class: "cable", d: "M8.1 9.5c-.9 9.7 1.2 16.2 7.8 16.3 6.7.1 9-6.4 8.1-16.4" }),
    svg("path", { class: "end", d: "M8.2 3.3c2.5-.1 4.3 1.7 4.3 4.2s-1.8 4.2-4.2 4.2c-2.5.1-4.3-1.7-4.3-4.1s1.7-4.3 4.2-4.3z" }),
    svg("path", { class: "end other", d: "M23.9 3.2c2.4-.1 4.2 1.8 4.2 4.2 0 2.5-1.7 4.3-4.2 4.3-2.4 0-4.2-1.8-4.2-4.2 0-2.5 1.8-4.2 4.2-4.3z" }),
  );
  return element;
}

/** A line of numbers from the oldest to the newest, `width` and `height` in the drawing's units; changed by `showSparkline`. */
export function sparkline(width = 56, height = 16) {
  const element = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "sparkline", "aria-hidden": "true", focusable: "false", preserveAspectRatio: "none" });
  element.append(svg("path", { class: "area" }), svg("path", { class: "line" }));
  return element;
}

/** Draws the numbers; the scale is theirs alone. */
export function showSparkline(element, numbers) {
  const [width, height] = element.getAttribute("viewBox").split(" ").slice(2).map(Number);
  const top = Math.max(1, ...numbers);
  const step = width / Math.max(1, numbers.length - 1);
  const points = numbers.map((number, index) => `${(index * step).toFixed(1)} ${(height - 1 - (number / top) * (height - 3)).toFixed(1)}`);
  const line = points.length > 1 ? `M${points.join("L")}` : "";
  element.lastChild.setAttribute("d", line);
  element.firstChild.setAttribute("d", line && `${line}L${width} ${height}L0 ${height}Z`);
}

/** A QR code from its rows of 0 and 1, with the quiet zone that readers want. */
export function qr(rows, label) {
  const size = rows.length + 8;
  const element = svg("svg", { viewBox: `0 0 ${size} ${size}`, class: "qr", "shape-rendering": "crispEdges" });
  named(element, label);
  let dark = "";
  rows.forEach((row, y) => [...row].forEach((module, x) => module === "1" && (dark += `M${x + 4} ${y + 4}h1v1h-1z`)));
  element.append(svg("rect", { width: size, height: size, class: "paper" }), svg("path", { d: dark, class: "ink" }));
  return element;
}
