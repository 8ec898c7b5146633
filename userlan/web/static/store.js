// What the page knows, in slices; views listen to the slices that they show. Changes of one turn are told once.

const MAPS = ["peers", "networks", "conversations", "transfers", "history", "traffic", "uploads"];

const state = {
  connection: "connecting", // connecting, live, lost, refused
  ready: false, // the first snapshot is here
  self: null,
  mediator: null,
  networks: new Map(), // name → row
  peers: new Map(), // key → row
  waiting: [], // networks that were asked to join: {network, since}
  denied: [], // those that refused: {network, reason}
  bridges: {},
  groups: null,
  page: null,
  conversations: new Map(), // id → conversation
  history: new Map(), // conversation id → {messages: [oldest first], more: there are older ones, newer: there are newer ones}
  target: null, // the message that a conversation is opened for: {conversation, seq}
  transfers: new Map(), // id → transfer
  uploads: new Map(), // id → {id, peer, file, size, done}: what this window hands to the node
  traffic: new Map(), // key → octets a second, oldest first; absent where nothing moves
  selection: { kind: "none", id: null, view: null },
};

const listeners = new Map();
const versions = new Map();
let pending = new Map();
let scheduled = false;

function mark(slice, keys) {
  versions.set(slice, (versions.get(slice) ?? 0) + 1);
  const changed = pending.get(slice);
  if (keys === null || changed === null) pending.set(slice, null);
  else if (changed === undefined) pending.set(slice, new Set(keys));
  else for (const key of keys) changed.add(key);
  if (!scheduled) {
    scheduled = true;
    queueMicrotask(flush);
  }
}

/** Tells the listeners now, what would be told at the end of this turn. */
function flush() {
  scheduled = false;
  const told = pending;
  pending = new Map();
  const called = new Map();
  for (const [slice, keys] of told) {
    for (const listener of listeners.get(slice) ?? []) {
      const whole = called.get(listener);
      if (whole === undefined) called.set(listener, keys === null ? null : new Set(keys));
      else if (whole === null || keys === null) called.set(listener, null);
      else for (const key of keys) whole.add(key);
    }
  }
  for (const [listener, keys] of called) {
    try {
      listener(keys);
    } catch (error) {
      console.error(error); // One view's mistake is not another's.
    }
  }
}

export const store = {
  /** A slice's value; a Map for peers, networks, conversations, history and transfers. */
  get(slice) {
    return state[slice];
  },

  /** A whole new value of a slice. */
  set(slice, value) {
    if (!MAPS.includes(slice) && typeof value !== "object" && state[slice] === value) return;
    state[slice] = value;
    mark(slice, null);
  },

  /** Changed entries of a slice that is a Map; null: gone. */
  patch(slice, changes) {
    const entries = changes instanceof Map ? [...changes] : Object.entries(changes);
    for (const [key, value] of entries) {
      if (value === null) state[slice].delete(key);
      else state[slice].set(key, value);
    }
    mark(slice, entries.map(([key]) => key));
  },

  /**
   * Calls `listener(keys)` after each turn that changed one of the slices (a name, or several); `keys`: which entries changed, null where all may
   * have. Returns what ends it.
   */
  on(slices, listener) {
    const names = Array.isArray(slices) ? slices : [slices];
    for (const name of names) {
      if (!listeners.has(name)) listeners.set(name, new Set());
      listeners.get(name).add(listener);
    }
    return () => names.forEach((name) => listeners.get(name).delete(listener));
  },

  flush,

  /** Grows with every change of a slice: for whoever keeps something that follows from it. */
  version(slice) {
    return versions.get(slice) ?? 0;
  },

  /** A member by key, or undefined. */
  peer(key) {
    return state.peers.get(key);
  },

  /** A network by name, or undefined. */
  network(name) {
    return state.networks.get(name);
  },

  /** A nickname by key: ours, a member's, or the key's beginning where it is nobody's. */
  nameOf(key) {
    if (state.self && state.self.key === key) return state.self.name;
    return state.peers.get(key)?.name ?? String(key).slice(0, 8);
  },

  /** Messages that nobody has read, in all conversations. */
  unread() {
    let count = 0;
    for (const conversation of state.conversations.values()) if (!conversation.muted) count += conversation.unread;
    return count;
  },
};

/** The conversation of a selection: `peer:KEY` or `network:NAME`. */
export function conversationOf(kind, id) {
  return `${kind}:${id}`;
}
