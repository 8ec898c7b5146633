// Where the page is: `#/peer/KEY/chat`, `#/network/NAME/members`, `#/self/sharing`, `#/`. The browser's own back and forward work.

import { store } from "./store.js";

export const VIEWS = {
  peer: ["chat", "files", "services", "path"],
  network: ["chat", "members", "services", "map"],
  self: ["sharing", "services", "files", "doctor"],
};
const JOIN = "#join=";

/** Goes to a view of a peer, of a network, or of this computer; `list`: none of them. */
export function open(view, params = {}) {
  const [kind, id] = params.peer ? ["peer", params.peer] : params.network ? ["network", params.network] : ["self", null];
  if (view === "list") go("#/");
  else go(`#/${[kind, id, view].filter((part) => part !== null).map(encodeURIComponent).join("/")}`);
}

function go(hash) {
  if (hash === location.hash) return;
  history.pushState(null, "", hash);
  route();
}

/** Reads the address into the store's selection. */
export function route() {
  const selection = parse(location.hash);
  const before = store.get("selection");
  if (selection.kind !== before.kind || selection.id !== before.id || selection.view !== before.view) store.set("selection", selection);
}

function parse(hash) {
  let parts;
  try {
    parts = hash.replace(/^#\//, "").split("/").map(decodeURIComponent);
  } catch {
    parts = [];
  }
  const [kind, ...rest] = parts;
  if (!Object.hasOwn(VIEWS, kind)) return { kind: "none", id: null, view: null };
  const [id, view] = kind === "self" ? [null, rest[0]] : [rest[0], rest[1]];
  if (kind !== "self" && !id) return { kind: "none", id: null, view: null };
  return { kind, id, view: VIEWS[kind].includes(view) ? view : VIEWS[kind][0] };
}

let invite = null;

/** The first address: an invite in it is taken out, so that no history keeps its secret. */
export function start() {
  take();
  route();
}

function take() {
  if (!location.hash.startsWith(JOIN)) return;
  invite = location.hash.slice(JOIN.length);
  history.replaceState(null, "", "#/");
}

/** Asks about an invite that the page was opened with. */
export async function invitation(context) {
  take();
  if (invite === null) return;
  let link = invite;
  invite = null;
  if (!link.includes("//")) {
    try {
      link = decodeURIComponent(link);
    } catch {
      return;
    }
  }
  const { confirmJoin } = await import("./networks.js");
  confirmJoin(context, link);
}
