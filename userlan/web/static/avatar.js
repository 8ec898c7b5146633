// A member's face: its first letter on a soft blob; colour and outline follow from its key, so that each looks the same everywhere.

import { h, text } from "./dom.js";

const HUES = 8; // classes hue-0 … hue-7, each with enough contrast for its letter
const OUTLINES = 5; // classes blob-0 … blob-4

/** A face; changed by `showAvatar`. `kind`: peer, network or self. */
export function avatar(key, kind) {
  const element = h("span", { class: "avatar", "aria-hidden": "true" });
  showAvatar(element, key ?? "", "", kind);
  return element;
}

/** Brings a face to a key and a name. */
export function showAvatar(element, key, name, kind) {
  const number = hash(String(key));
  const wanted = `avatar ${kind} hue-${number % HUES} blob-${(number >>> 8) % OUTLINES}`;
  if (element.className !== wanted) element.className = wanted;
  text(element, [...String(name).trim()][0]?.toLocaleUpperCase() ?? "");
}

function hash(value) {
  let number = 2166136261;
  for (let index = 0; index < value.length; index += 1) number = Math.imul(number ^ value.charCodeAt(index), 16777619);
  return number >>> 0;
}
