// Links in what somebody wrote: text nodes and, for http and https alone, anchors that tell the other side nothing.

import { h } from "./dom.js";

const FOUND = /https?:\/\/[^\s<>"'`\u2066-\u2069\u202a-\u202e]+/gi;
const LONGEST = 2000; // characters; whatever is longer stays text

/** The nodes of a text. */
export function linked(words) {
  const nodes = [];
  let end = 0;
  for (const found of words.matchAll(FOUND)) {
    const written = trimmed(found[0]);
    const address = safe(written);
    if (address === null) continue;
    nodes.push(words.slice(end, found.index));
    nodes.push(h("a", { href: address, rel: "noopener noreferrer", target: "_blank", dir: "ltr" }, written));
    end = found.index + written.length;
  }
  nodes.push(words.slice(end));
  return nodes.filter((node) => node !== "");
}

/** Without the punctuation of the sentence around it. */
function trimmed(written) {
  let address = written.replace(/[.,;:!?…]+$/u, "");
  while (address.endsWith(")") && address.split("(").length < address.split(")").length) address = address.slice(0, -1).replace(/[.,;:!?…]+$/u, "");
  return address;
}

function safe(written) {
  if (written.length > LONGEST) return null;
  try {
    const address = new URL(written);
    return address.protocol === "http:" || address.protocol === "https:" ? address.href : null;
  } catch {
    return null;
  }
}
