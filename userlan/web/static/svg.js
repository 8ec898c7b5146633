// Drawings: elements of SVG as `h` makes those of HTML. Texts are text nodes here too.

const SVG = "http://www.w3.org/2000/svg";

/** An element of a drawing; attributes with null are left out, `on: {event: listener}` listens. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (value !== null && value !== undefined) element.setAttribute(key, typeof value === "number" ? round(value) : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== false));
  return element;
}

function round(value) {
  return Math.round(value * 10) / 10;
}

/** The path through points: `[[x, y], …]`. */
export function polyline(points) {
  return points.map(([x, y], index) => `${index ? "L" : "M"}${round(x)} ${round(y)}`).join("");
}

/** A line with the unevenness of a pen: a curve that leaves the straight way by `bend` in its middle. */
export function stroke([x1, y1], [x2, y2], bend = 0) {
  const [length, middle] = [Math.hypot(x2 - x1, y2 - y1) || 1, [(x1 + x2) / 2, (y1 + y2) / 2]];
  const [across, along] = [-(y2 - y1) / length, (x2 - x1) / length];
  return `M${round(x1)} ${round(y1)}Q${round(middle[0] + across * bend)} ${round(middle[1] + along * bend)} ${round(x2)} ${round(y2)}`;
}

/** What a screen reader says of a drawing; without it, it is for the eye alone. */
export function describe(element, words) {
  if (words === null) {
    element.setAttribute("aria-hidden", "true");
    element.setAttribute("focusable", "false");
    return element;
  }
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", words);
  return element;
}

/** A text that fits into `most` characters. */
export function short(value, most) {
  const letters = [...String(value)];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : letters.join("");
}
