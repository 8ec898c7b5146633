// A member's state in one word for its signal, and in words for people.

import { ago } from "./format.js";
import { t } from "./strings.js";

/** direct, relayed, connecting, offline or blocked. */
export function shownState(row) {
  return row.blocked ? "blocked" : row.state;
}

/** Whether it can be reached now. */
export function isOnline(row) {
  return row !== undefined && !row.blocked && (row.state === "direct" || row.state === "relayed");
}

/** "2 of 5 online", without oneself. */
export function countWords(online, total) {
  return total === 0 ? t("roster.only-you") : t("roster.count", { online, total });
}

/** "online, by the relay fra1", "last seen 5 minutes ago". */
export function presenceWords(row) {
  if (row.blocked) return t("presence.blocked");
  if (row.state === "relayed" && row.relay) return t("presence.relayed.name", { relay: row.relay });
  if (row.state === "offline" && row.last_seen) return t("presence.offline.seen", { when: ago(row.last_seen) });
  return t(`presence.${["direct", "relayed", "connecting"].includes(row.state) ? row.state : "offline"}`);
}
