// What happens once and is no state: a message came, a transfer reached another state. Who listens may say or show it.

const listeners = new Map();

export const milestones = {
  /** Calls `listener(value)` for each; returns what ends it. */
  on(name, listener) {
    if (!listeners.has(name)) listeners.set(name, new Set());
    listeners.get(name).add(listener);
    return () => listeners.get(name).delete(listener);
  },

  emit(name, value) {
    for (const listener of listeners.get(name) ?? []) listener(value);
  },
};
