// A network's page: who is in it, who asks to come in, and what its owner may change.

import { peerMenu } from "./actions.js";
import { bdi, button, fill, h, rows, sync, text } from "./dom.js";
import { ago } from "./format.js";
import { icon, presence, showPresence } from "./icons.js";
import { avatar, showAvatar } from "./avatar.js";
import { openMenu } from "./menu.js";
import { changePassword, invite, leave, lock } from "./networks.js";
import { presenceWords, shownState } from "./presence.js";
import { t } from "./strings.js";
import { failed, toast } from "./toast.js";

/** Shows the members of `params.network`; answers what ends it. */
export function mount(container, context) {
  const { store, params } = context;
  const name = params.network;
  const applicants = h("ul", { class: "cards" });
  const asking = h("section", { class: "applicants", hidden: true }, h("h2", null, t("applicants.title")), applicants);
  const count = h("h2");
  const list = h("ul", { class: "people" });
  const settings = h("section", { class: "settings" });
  container.append(h("div", { class: "scroll" }, asking, h("section", null, h("div", { class: "title-line" }, count, button(t("menu.invite"), () => invite(context, name), { icon: icon("link"), kind: "primary" })), list), settings));
  let shown = null;

  function update(keys) {
    const network = store.network(name);
    if (!network) return;
    if (keys !== null && !keys.has(name)) {
      // Members changed, and no network: only their rows are touched.
      for (const key of keys) {
        const element = rows(list).get(key);
        if (element) updateMember(context, element, key, network);
      }
      return;
    }
    const asked = network.applicants ?? [];
    asking.hidden = asked.length === 0;
    sync(applicants, asked, (one) => one.key, (one) => makeApplicant(context, name, one), (element, one) => text(element.querySelector(".since"), t("applicants.since", { when: ago(one.since) })));
    text(count, t("network.members", { n: network.members.length }));
    sync(list, network.members, (key) => key, (key) => makeMember(context, key), (element, key) => updateMember(context, element, key, network));
    const wanted = JSON.stringify([network.locked, network.approval, network.mine, store.nameOf(network.owner)]);
    if (wanted !== shown) {
      shown = wanted;
      const held = settings.contains(document.activeElement);
      fill(settings, h("h2", null, t("network.settings")), controls(context, network));
      if (held) settings.querySelector("button").focus();
    }
  }

  const off = store.on(["networks", "peers", "self"], update);
  update(null);
  return off;
}

function makeApplicant({ api }, network, { key, name }) {
  const answer = (command, done) => (event) => {
    const buttons = event.currentTarget.parentElement.querySelectorAll("button");
    buttons.forEach((one) => (one.disabled = true));
    api.call(command, { network, member: key }).then(() => toast(t(done, { name })), (error) => {
      buttons.forEach((one) => (one.disabled = false));
      failed(error);
    });
  };
  const face = avatar(key, "peer");
  showAvatar(face, key, name, "peer");
  return h("li", { class: "card" }, face, h("div", { class: "about" }, h("strong", null, bdi(name)), h("span", { class: "since quiet" })),
    button(t("applicants.approve"), answer("approve", "applicants.approved"), { icon: icon("check"), kind: "primary" }),
    button(t("applicants.deny"), answer("deny", "applicants.denied"), { kind: "quiet" }));
}

function makeMember(context, key) {
  const name = bdi("", "name");
  const open = h("button", { type: "button", class: "person", on: { click: () => key !== context.store.get("self")?.key && context.open("chat", { peer: key }) } },
    avatar(key, "peer"), h("span", { class: "about" }, name, h("span", { class: "quiet state-line" }, presence("offline"), h("span", { class: "state" }))));
  const more = button("", () => openMenu(more, peerMenu(context, key), more.getAttribute("aria-label")), { icon: icon("more"), bare: true, kind: "small" });
  return h("li", null, open, h("span", { class: "mark" }), more);
}

function updateMember({ store }, element, key, network) {
  const self = store.get("self");
  const own = key === self?.key;
  const row = own ? self : store.peer(key);
  const name = row?.name ?? store.nameOf(key);
  text(element.querySelector(".name"), name);
  showAvatar(element.querySelector(".avatar"), key, name, own ? "self" : "peer");
  showPresence(element.querySelector(".presence"), own ? "direct" : row ? shownState(row) : "offline");
  text(element.querySelector(".state"), own ? t("network.you") : row ? presenceWords(row) : t("presence.offline"));
  text(element.querySelector(".mark"), key === network.owner ? t("network.owner") : "");
  const more = element.lastElementChild;
  more.hidden = own;
  more.setAttribute("aria-label", t("roster.open-menu", { name }));
  more.title = "";
}

function controls(context, network) {
  const { store } = context;
  const mine = network.mine ?? network.owner === store.get("self")?.key;
  const access = network.locked ? "locked" : network.approval ? "approval" : "open";
  return [
    h("p", null, mine ? t("network.mine") : t("network.theirs", { name: store.nameOf(network.owner) })),
    h("p", null, h("strong", null, t("network.access"), ": "), t(`network.access.${access}`)),
    h("div", { class: "buttons" },
      mine && button(t(network.locked ? "menu.unlock" : "menu.lock"), () => lock(context, network.name, !network.locked), { icon: icon(network.locked ? "unlock" : "lock") }),
      mine && button(t("menu.password"), () => changePassword(context, network.name), { icon: icon("pencil") }),
      button(t("menu.leave"), () => leave(context, network.name), { icon: icon("leave"), kind: "danger" })),
  ];
}
