// What can be done with a member: the context menu, the ping, blocking, removing.

import { confirm, openDialog, actions } from "./dialog.js";
import { clearItem } from "./clearing.js";
import { take } from "./clipboard.js";
import { bdi, button, h } from "./dom.js";
import { address, milliseconds } from "./format.js";
import { icon } from "./icons.js";
import { chooseFiles } from "./upload.js";
import { t } from "./strings.js";
import { failed, toast } from "./toast.js";

const PINGS = 5;

/** The items of a member's menu; `network`: in whose part of the list it was opened. */
export function peerMenu(context, key, network = null) {
  const { store, open } = context;
  const row = store.peer(key);
  if (!row) return [];
  const items = [
    { label: t("menu.chat"), icon: "chat", run: () => open("chat", { peer: key }) },
    { label: t("menu.file"), icon: "attach", disabled: row.blocked, run: () => chooseFiles(context, key) },
    { label: t("menu.services"), icon: "plug", run: () => open("services", { peer: key }) },
    { label: t("menu.path"), icon: "path", run: () => open("path", { peer: key }) },
    { label: t("menu.ping"), icon: "ping", disabled: row.blocked, run: () => ping(context, key) },
    { label: t("menu.copy-address"), icon: "copy", run: () => take(address(row)) },
    null,
    ...clearItem(context, `peer:${key}`),
    row.blocked ? { label: t("menu.unblock"), icon: "block", run: () => unblock(context, key) } : { label: t("menu.block"), icon: "block", danger: true, run: () => block(context, key) },
  ];
  const mine = row.networks.filter((name) => (network === null || name === network) && store.network(name)?.owner === store.get("self")?.key);
  for (const name of mine) items.push({ label: t("menu.evict", { network: name }), icon: "leave", danger: true, run: () => evict(context, key, name) });
  return items;
}

/** A member for commands that take what a person writes: its address, which no other has. */
function written(store, key) {
  return store.peer(key)?.ipv6 ?? key;
}

/** Pings a member, and shows each answer as it comes. */
export function ping(context, key) {
  const { api, store } = context;
  const name = store.nameOf(key);
  const lines = h("ol", { class: "pings", "aria-live": "polite" });
  const status = h("p", { class: "quiet" }, t("ping.running", { name }));
  const again = button(t("ping.again"), run, { icon: icon("retry"), disabled: true });
  const dialog = openDialog(t("ping.title", { name }), [status, lines, actions(again, button(t("dialog.ok"), () => dialog.close(), { kind: "primary" }))]);
  let cancel = () => {};
  let wasDirect = null;
  let lastPath = null; // said again only where it is another one

  function run() {
    wasDirect = lastPath = null;
    lines.replaceChildren();
    again.disabled = true;
    status.hidden = false;
    cancel = api.stream("ping", { peer: written(store, key), count: PINGS, interval: 0.6, timeout: 3 }, reply, { once: true, onEnd: ended });
  }

  function reply(item) {
    const { sequence: n, rtt_ms: ms, path, reason } = item;
    const words = ms === null ? t(reason ? "ping.lost.why" : "ping.lost", { n, why: reason }) : t(path === lastPath ? "ping.reply.same" : "ping.reply", { n, ms: milliseconds(ms), path });
    const direct = ms !== null && path.startsWith("direct");
    lines.append(h("li", null, icon(ms === null ? "warning" : "check"), h("span", null, words), direct && wasDirect === false && h("strong", null, t("ping.direct"))));
    if (ms !== null) [wasDirect, lastPath] = [direct, path];
  }

  function ended(error) {
    status.hidden = true;
    again.disabled = false;
    if (error) lines.append(h("li", { class: "problem" }, icon("warning"), bdi(error.message)));
  }

  run();
  dialog.closed.then(() => cancel());
}

/** Blocks a member, after a question. */
export async function block({ api, store }, key) {
  const name = store.nameOf(key);
  if (!(await confirm(t("block.title", { name }), t("block.words", { name }), t("block.yes"), { danger: true }))) return;
  api.call("block", { peer: key }).then(() => toast(t("block.done", { name })), failed);
}

/** Takes a block back. */
export function unblock({ api, store }, key) {
  const name = store.nameOf(key);
  api.call("unblock", { peer: key }).then(() => toast(t("block.undone", { name })), failed);
}

async function evict({ api, store }, key, network) {
  const name = store.nameOf(key);
  if (!(await confirm(t("evict.title", { name, network }), t("evict.words", { name, network }), t("evict.yes"), { danger: true }))) return;
  api.call("evict", { member: written(store, key), network }).then(({ later }) => toast(t(later ? "evict.later" : "evict.done", { name, network })), failed);
}
