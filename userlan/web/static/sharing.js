// Which programs find each other over the LAN: a switch for each discovery profile, and with whom it is shared.

import { bdi, button, fill, h, sync, text } from "./dom.js";
import { actions, openDialog } from "./dialog.js";
import { ago } from "./format.js";
import { icon } from "./icons.js";
import { section, toggle, typed } from "./parts.js";
import { every } from "./polling.js";
import { t } from "./strings.js";
import { failed, toast } from "./toast.js";

const PAUSE = 5000; // milliseconds between two looks at what was found

/** Shows what is shared, and what was found; answers what ends it. */
export function mount(container, context) {
  const { api, store } = context;
  const find = h("input", { type: "search", id: "sharing-find", placeholder: t("sharing.find"), "aria-label": t("sharing.find"), autocomplete: "off", on: { input: () => show() } });
  const attached = h("p", { class: "notice", hidden: true }, t("sharing.attached"));
  const list = h("ul", { class: "tiles" });
  const none = h("p", { class: "quiet", hidden: true }, t("sharing.none"));
  const found = h("ul", { class: "tiles" });
  const finds = section(t("sharing.found"), h("p", { class: "quiet" }, t("sharing.found.words")), found);
  finds.hidden = true;
  const bonjour = h("ul", { class: "plain-list" });
  container.append(h("div", { class: "scroll" }, finds,
    section(t("sharing.title"), h("p", { class: "quiet" }, t("sharing.words")), attached, h("div", { class: "find-line" }, icon("search"), find), list, none),
    section(t("sharing.bonjour"), h("p", { class: "quiet" }, t("sharing.bonjour.words")), bonjour)));
  let told = { profiles: [], found: [], on_demand: [], attached: false };

  function show() {
    const wanted = find.value.trim().toLowerCase();
    const carried = told.profiles.filter((row) => row.by === "discovery" && `${row.title} ${row.profile}`.toLowerCase().includes(wanted));
    attached.hidden = !told.attached;
    none.hidden = carried.length > 0;
    sync(list, carried, (row) => row.profile, () => h("li", { class: "tile profile" }), (element, row) => update(context, element, row, polling));
    finds.hidden = told.found.length === 0;
    sync(found, told.found, (row) => `${row.profile} ${row.address}`, () => h("li", { class: "tile" }), (element, row) => updateFound(store, element, row, told.profiles));
    sync(bonjour, told.profiles.filter((row) => row.by === "mdns"), (row) => row.profile, () => h("li"), (element, row) => text(element, row.title));
  }

  async function look() {
    told = await api.call("shares");
    show();
  }

  const polling = every(PAUSE, look);
  return polling.stop;
}

function updateFound(store, element, row, profiles) {
  const told = JSON.stringify([row.address, row.key, store.nameOf(row.key)]);
  if (element.dataset.told !== told) {
    element.dataset.told = told;
    const title = profiles.find((one) => one.profile === row.profile)?.title ?? row.profile;
    fill(element, h("span", { class: "token", "aria-hidden": "true" }, icon("search")),
      h("div", { class: "about" }, h("strong", null, t("sharing.found.at", { title, name: store.nameOf(row.key) })), typed(row.address), h("span", { class: "quiet when" })));
  }
  text(element.querySelector(".when"), t("sharing.heard", { when: ago(Date.now() / 1000 - row.seconds) }));
}

function update(context, element, row, polling) {
  const { counters, ...rest } = row;
  const told = JSON.stringify(rest);
  if (element.dataset.told === told) return;
  element.dataset.told = told;
  const focused = element.contains(document.activeElement);
  const control = toggle(t("sharing.switch", { title: row.title }), row.on, async (on) => {
    await context.api.call(on ? "share" : "unshare", { profile: row.profile });
    polling.now();
  });
  const problems = Object.entries(row.problems).map(([what, why]) => h("span", { class: "problem" }, icon("warning"), bdi(`${what}: ${why}`)));
  fill(element,
    h("div", { class: "about" }, h("strong", null, bdi(row.title)),
      h("span", { class: "quiet" }, row.on ? t("sharing.with", { who: who(context.store, row.with) }) : t("sharing.off")),
      row.on && !row.picks_up ? h("span", { class: "quiet hint" }, t("sharing.deaf"), " ", button(t("sharing.search"), () => search(context, row, polling), { kind: "inline" })) : null,
      row.note ? h("span", { class: "quiet hint" }, bdi(row.note)) : null, problems),
    row.on ? button(t("sharing.whom"), () => whom(context, row, polling), { icon: icon("people"), kind: "small-words", "aria-label": t("sharing.whom.label", { title: row.title }) }) : null,
    control);
  if (focused) control.focus();
}

/** "*.home, KEY but bob" as people say it: "home, anna but bob". */
function who(store, written) {
  const named = (entries) => entries.split(", ").map((entry) => (entry === "everybody" ? t("sharing.everybody") : store.peer(entry)?.name ?? entry.replace(/^\*\./, ""))).join(", ");
  const [shared, denied] = written.split(" but ");
  return denied === undefined ? named(shared) : t("sharing.but", { who: named(shared), not: named(denied) });
}

async function search({ api }, row, polling) {
  try {
    await api.call("share", { profile: row.profile, search: true });
    polling.now();
  } catch (error) {
    failed(error);
  }
}

/** With whom: everybody, or the members of some networks and some people. */
function whom({ api, store }, row, polling) {
  const named = row.with.split(" but ")[0].split(", ");
  const everybody = named[0] === "everybody";
  const check = (value, words, on) => {
    const input = h("input", { type: "checkbox", value, checked: on });
    return [input, h("label", { class: "choice-line" }, input, bdi(words))];
  };
  const all = check("", t("sharing.everybody.label"), everybody);
  const networks = [...store.get("networks").keys()].map((name) => check(name, t("sharing.members-of", { name }), named.includes(`*.${name}`)));
  const peers = [...store.get("peers").values()].slice(0, 200).map((peer) => check(peer.key, peer.name, named.includes(peer.key) || named.includes(peer.name)));
  const single = [...networks, ...peers].map(([input]) => input);
  const follow = () => single.forEach((input) => (input.disabled = all[0].checked));
  all[0].addEventListener("change", follow);
  follow();
  const dialog = openDialog(t("sharing.whom.label", { title: row.title }), h("form", { class: "whom", on: { submit: (event) => sent(event) } }, all[1],
    h("fieldset", null, h("legend", null, t("sharing.networks")), networks.map(([, line]) => line)),
    peers.length ? h("fieldset", null, h("legend", null, t("sharing.people")), peers.map(([, line]) => line)) : null,
    actions(button(t("dialog.cancel"), () => dialog.close()), h("button", { type: "submit", class: "button primary" }, t("sharing.yes")))));

  async function sent(event) {
    event.preventDefault();
    const chosen = (list) => (all[0].checked ? [] : list.filter(([input]) => input.checked).map(([input]) => input.value));
    const given = { profile: row.profile, networks: chosen(networks), peers: chosen(peers) };
    if (!all[0].checked && !given.networks.length && !given.peers.length) {
      toast(t("sharing.nobody"), { problem: true });
      return;
    }
    try {
      await api.call("share", given);
      dialog.close(true);
      polling.now();
    } catch (error) {
      failed(error);
    }
  }
}

