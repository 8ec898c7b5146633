// Octets a second of each member, over the last minute, from the counters of its row.

export const SAMPLES = 30; // values in a sparkline
const STEP = 2000; // milliseconds of one
const NOTICED = 400; // octets a second: less is the tunnel keeping itself open

const counters = new Map(); // key → {octets, since}
let timer = null;

/** Takes the counters of a row; null: the member is gone. */
export function sample(store, key, row) {
  if (row === null) {
    counters.delete(key);
    store.patch("traffic", { [key]: null });
    return;
  }
  const octets = row.rx_bytes + row.tx_bytes;
  const known = counters.get(key);
  if (known === undefined) counters.set(key, { octets, begun: octets });
  else known.octets = octets;
  timer ??= setInterval(() => document.hidden || step(store), STEP);
}

function step(store) {
  const changes = {};
  const traffic = store.get("traffic");
  for (const [key, known] of counters) {
    const rate = Math.max(0, ((known.octets - known.begun) * 1000) / STEP);
    known.begun = known.octets;
    const before = traffic.get(key);
    const value = rate < NOTICED ? 0 : rate;
    if (before === undefined && value === 0) continue;
    const after = [...(before ?? new Array(SAMPLES).fill(0)), value].slice(-SAMPLES);
    changes[key] = after.some((one) => one > 0) ? after : null;
  }
  if (Object.keys(changes).length > 0) store.patch("traffic", changes);
}
