// What the node tells, into the store: its status, the chat, the files.

import { cleared as forget } from "./clearing.js";
import { milestones } from "./milestones.js";
import { sample } from "./traffic.js";

const INTERVAL = 1.0; // seconds between two tellings of what changed

let listing = null; // the transfers of a connection that has just begun, until all have been told

/** Connects, and keeps the store as the node is. */
export function follow(context) {
  const { api, store } = context;
  api.start((state) => connection(context, state));
  api.stream("watch", { interval: INTERVAL }, (item) => status(store, item));
  api.stream("chat-watch", {}, (item) => chat(context, item), { onEnd: () => {} });
  api.stream("files-watch", {}, (item) => files(context, item), { onEnd: () => {} });
}

function connection({ store }, state) {
  store.set("connection", state);
  if (state !== "live") return;
  listing = new Map();
  store.set("history", new Map()); // What was missed while the connection was away is fetched anew.
}

function ignored() {
  // A node without chat or files: their views say so when they ask themselves.
}

function conversations(store, listed) {
  store.set("conversations", new Map(listed.map((conversation) => [conversation.id, conversation])));
}

/** One item of `watch`. */
export function status(store, { snapshot, changes }) {
  const { peers, networks, ...rest } = snapshot ?? changes ?? {};
  for (const name of ["self", "mediator", "waiting", "denied", "bridges", "groups", "page"]) if (name in rest) store.set(name, rest[name]);
  if (networks) store.set("networks", new Map(networks.map((network) => [network.name, network])));
  if (snapshot) {
    store.set("peers", new Map(peers.map((peer) => [peer.key, peer])));
    for (const peer of peers) sample(store, peer.key, peer);
    store.set("ready", true);
  } else if (peers) {
    for (const [key, row] of Object.entries(peers)) sample(store, key, row);
    store.patch("peers", peers);
  }
}

/** One item of `chat-watch`. What there is, is asked for once it watches: asked for before, it would lack what happens in between. */
export function chat(context, { watching, message, delivery, conversation, read, cleared }) {
  const { api, store } = context;
  if (watching) api.call("chat-conversations").then((listed) => conversations(store, listed), ignored);
  if (message) arrived(context, message);
  if (delivery) changed(store, delivery);
  if (conversation) store.patch("conversations", { [conversation.id]: conversation });
  if (cleared) forget(store, cleared.conversation);
  if (read) {
    const known = store.get("conversations").get(read.conversation);
    if (known) store.patch("conversations", { [known.id]: { ...known, unread: 0 } });
  }
}

/** Puts a new message where it belongs; one that is there already is only brought up to date. */
export function arrived(context, message) {
  const { store } = context;
  const id = message.conversation;
  const known = store.get("history").get(id);
  if (known?.messages.some((other) => other.id === message.id)) {
    changed(store, message);
    return;
  }
  if (known && !known.newer) {
    const messages = [...known.messages, message].sort((one, other) => one.seq - other.seq);
    store.patch("history", { [id]: { ...known, messages } });
  }
  const [kind, about] = [id.slice(0, id.indexOf(":")), id.slice(id.indexOf(":") + 1)];
  const before = store.get("conversations").get(id) ?? { id, kind, title: kind === "peer" ? store.nameOf(about) : about, unread: 0, last: null, muted: false };
  if ((before.last?.seq ?? -1) < message.seq) {
    store.patch("conversations", { [id]: { ...before, last: message, unread: message.own ? before.unread : before.unread + 1 } });
  }
  milestones.emit("message", message);
}

function changed(store, message) {
  const known = store.get("history").get(message.conversation);
  if (known) {
    const messages = known.messages.map((other) => (other.id === message.id ? message : other));
    store.patch("history", { [message.conversation]: { ...known, messages } });
  }
  const conversation = store.get("conversations").get(message.conversation);
  if (conversation?.last?.id === message.id) store.patch("conversations", { [conversation.id]: { ...conversation, last: message } });
}

/** One item of `files-watch`: all transfers as they are, `listed`, then each change. */
function files({ store }, { transfer, listed, gone }) {
  if (listed) {
    store.set("transfers", listing);
    listing = null;
  } else if (transfer && listing !== null) {
    listing.set(transfer.id, transfer);
  } else if (transfer) {
    const before = store.get("transfers").get(transfer.id);
    store.patch("transfers", { [transfer.id]: transfer });
    if (before?.state !== transfer.state) milestones.emit("transfer", transfer);
  }
  if (gone !== undefined) store.patch("transfers", { [gone]: null });
}
