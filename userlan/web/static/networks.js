// Networks: made, joined, invited to, left, locked; each by a dialog that says what will happen.

import { ask, confirm, openDialog } from "./dialog.js";
import { clearItem } from "./clearing.js";
import { take } from "./clipboard.js";
import { button, fill, h } from "./dom.js";
import { icon, qr } from "./icons.js";
import { t } from "./strings.js";
import { failed, toast } from "./toast.js";

const SCHEME = "userlan://";

/** The items of a network's menu. */
export function networkMenu(context, name) {
  const { store, open } = context;
  const network = store.network(name);
  if (!network) return [];
  const mine = network.mine ?? network.owner === store.get("self")?.key;
  const items = [
    { label: t("menu.chat"), icon: "chat", run: () => open("chat", { network: name }) },
    { label: t("menu.invite"), icon: "link", run: () => invite(context, name) },
    { label: t("menu.members"), icon: "people", run: () => open("members", { network: name }) },
    { label: t("menu.map"), icon: "map", run: () => open("map", { network: name }) },
    null,
    ...clearItem(context, `network:${name}`),
  ];
  if (mine) {
    items.push(lockItem(context, network), { label: t("menu.password"), icon: "pencil", run: () => changePassword(context, name) });
  }
  items.push({ label: t("menu.leave"), icon: "leave", danger: true, run: () => leave(context, name) });
  return items;
}

/** The items of the menu of a network that waits for approval. */
export function waitingMenu(context, name) {
  return [{ label: t("waiting.cancel"), icon: "leave", danger: true, run: () => context.api.call("leave", { network: name }).catch(failed) }];
}

function lockItem(context, { name, locked }) {
  return locked
    ? { label: t("menu.unlock"), icon: "unlock", run: () => lock(context, name, false) }
    : { label: t("menu.lock"), icon: "lock", run: () => lock(context, name, true) };
}

/** Locks or unlocks. */
export function lock({ api }, network, locked) {
  return api.call(locked ? "lock" : "unlock", { network }).then(() => toast(t(locked ? "lock.done" : "unlock.done", { network })), failed);
}

/** Makes a network, then shows its link. */
export async function createNetwork(context) {
  const fields = [
    { name: "network", label: t("create.name"), hint: t("create.name.hint"), required: true, maxlength: 63, spellcheck: "false", autocapitalize: "none" },
    { name: "password", label: t("create.password"), hint: t("create.password.hint"), type: "password", autocomplete: "new-password" },
    { name: "approval", label: t("create.approval"), type: "checkbox" },
  ];
  const made = await ask(t("create.title"), fields, t("create.yes"), ({ network, password, approval }) => {
    const wanted = { network: network.trim().toLowerCase() };
    if (password) wanted.password = password;
    if (approval) wanted.approval = true;
    return context.api.call("create", wanted);
  }, { words: t("create.words") });
  if (!made) return;
  toast(t("create.done", { network: made.network }));
  context.open("chat", { network: made.network });
  invite(context, made.network);
}

/** Joins by a link, or by name and password. */
export async function joinNetwork(context, link = "") {
  const other = button(t("join.by-password"), () => {
    document.querySelector("dialog[open] header button").click();
    joinByPassword(context);
  }, { kind: "quiet" });
  const fields = [{ name: "link", label: t("join.link"), hint: t("join.link.hint"), value: link, required: true, spellcheck: "false", autocapitalize: "none", dir: "ltr" }];
  const done = await ask(t("join.title"), fields, t("join.yes"), (values) => {
    const given = cleaned(values.link);
    if (!given.startsWith(SCHEME)) throw new Error(t("join.not-a-link"));
    return context.api.call("join", { invite: given });
  }, { words: t("join.words"), extra: other });
  joined(context, done);
}

async function joinByPassword(context) {
  const fields = [
    { name: "network", label: t("join.name"), required: true, spellcheck: "false", autocapitalize: "none" },
    { name: "password", label: t("join.password"), type: "password", required: true, autocomplete: "current-password" },
  ];
  const done = await ask(t("join.title"), fields, t("join.yes"), ({ network, password }) => context.api.call("join", { network: network.trim().toLowerCase(), password }));
  joined(context, done);
}

/** Asks before it joins: anybody could have made the link that opened this page. */
export async function confirmJoin(context, link) {
  const given = cleaned(link);
  const parsed = parts(given);
  if (parsed === null) {
    joinNetwork(context, given);
    return;
  }
  const words = [h("p", null, t("join.confirm.words", { network: parsed.network })), h("p", { class: "quiet" }, t("join.confirm.server", { server: parsed.servers }))];
  const done = await ask(t("join.confirm.title", { network: parsed.network }), [], t("join.yes"), () => context.api.call("join", { invite: given }), { extra: words });
  joined(context, done);
}

function cleaned(link) {
  return link.trim().replace(/^['"<]+|['">]+$/g, "");
}

/** What a link names; null: it is none. */
function parts(link) {
  const found = /^userlan:\/\/([^/#\s]+)\/[^/#\s]+\/([^/#\s]+)#\S+$/.exec(link);
  return found && { servers: found[1], network: found[2] };
}

function joined(context, done) {
  if (!done) return;
  if (done.waiting) {
    toast(t("join.waiting", { network: done.network }));
  } else {
    toast(t("join.done", { network: done.network }));
    context.open("chat", { network: done.network });
  }
}

/** Shows a network's link, to copy and as a QR code. */
export async function invite(context, network) {
  const { api, store } = context;
  let link;
  try {
    link = (await api.call("invite", { network })).invite;
  } catch (error) {
    failed(error);
    return;
  }
  const row = store.network(network);
  const field = h("textarea", { class: "link", readonly: true, rows: 4, dir: "ltr", "aria-label": t("invite.link", { network }), spellcheck: "false", on: { focus: () => field.select() } }, link);
  const code = h("div", { class: "qr-frame" });
  const copying = button(t("invite.copy"), () => take(link, t("copied.link")), { icon: icon("copy"), kind: "primary", autofocus: true });
  openDialog(t("invite.title", { network }), [
    row?.locked && h("p", { class: "problem" }, icon("lock"), t("invite.locked", { network })),
    h("p", null, t(row?.approval ? "invite.approval" : "invite.words")),
    h("div", { class: "invitation" }, h("div", { class: "invitation-link" }, field, copying), code),
    h("p", { class: "quiet" }, t("invite.command")), h("code", { class: "command", dir: "ltr" }, `userlan join '${link}'`),
  ], { className: "wide" });
  api.call("invite-qr", { network }).then(({ rows }) => fill(code, qr(rows, t("invite.qr"))), () => code.remove());
}

/** Leaves, after a question. */
export async function leave(context, network) {
  const { api, store, open } = context;
  const row = store.network(network);
  const mine = row?.mine && row.members.length > 1;
  if (!(await confirm(t("leave.title", { network }), t(mine ? "leave.owner" : "leave.words", { network }), t("leave.yes"), { danger: true }))) return;
  let done;
  try {
    done = await api.call("leave", { network });
  } catch (error) {
    failed(error);
    return;
  }
  toast(t(done.later ? "leave.later" : "leave.done", { network }));
  const { kind, id } = store.get("selection");
  if (kind === "network" && id === network) open("list");
}

/** Gives a network another password. */
export async function changePassword({ api }, network) {
  const fields = [{ name: "password", label: t("password.new"), type: "password", required: true, autocomplete: "new-password" }];
  const done = await ask(t("password.title", { network }), fields, t("password.yes"), ({ password }) => api.call("password", { network, password }), { words: t("password.words") });
  if (done) toast(t(done.later ? "password.later" : "password.done", { network }));
}
