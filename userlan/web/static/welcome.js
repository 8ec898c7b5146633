// The right side when nobody is chosen: for whom it is the first time, what to do first; for whom is alone, whom to send the link.

import { button, fill, h } from "./dom.js";
import { icon, logo } from "./icons.js";
import { createNetwork, invite, joinNetwork } from "./networks.js";
import { renameSelf } from "./own.js";
import { t } from "./strings.js";

/** Shows what there is to do; answers what ends it. */
export function nothing(main, context) {
  const { store } = context;
  let shown = null;
  function update() {
    const networks = [...store.get("networks").values()];
    const alone = networks.find((network) => network.members.length < 2);
    const waits = store.get("waiting")[0]?.network;
    const kind = !store.get("ready") ? "loading" : networks.length === 0 ? (waits ? `waiting ${waits}` : "welcome") : store.get("peers").size === 0 && alone ? `alone ${alone.name}` : "nothing";
    const wanted = `${kind} ${store.get("self")?.name}`;
    if (wanted === shown) return;
    shown = wanted;
    if (kind === "loading") fill(main, h("div", { class: "empty" }, logo(), h("p", null, t("app.loading"))));
    else if (kind === "welcome") fill(main, welcome(context));
    else if (kind.startsWith("waiting")) fill(main, h("div", { class: "empty" }, icon("clock", { className: "large" }), h("h2", null, t("waiting.title", { network: waits })), h("p", null, t("waiting.words"))));
    else if (kind === "nothing") fill(main, h("div", { class: "empty" }, logo(), h("h1", null, t("nothing.title")), h("p", null, t("nothing.words"))));
    else fill(main, lonely(context, alone.name));
  }
  update();
  return store.on(["ready", "networks", "peers", "waiting", "self"], update);
}

function welcome(context) {
  const choice = (name, picture, run) =>
    h("button", { type: "button", class: "choice", on: { click: run } }, icon(picture), h("strong", null, t(`welcome.${name}`)), h("span", null, t(`welcome.${name}.words`)));
  return h("div", { class: "empty welcome" }, logo(), h("h1", null, t("welcome.title")), h("p", null, t("welcome.words")),
    h("div", { class: "choices" }, choice("create", "plus", () => createNetwork(context)), choice("join", "link", () => joinNetwork(context))),
    h("p", { class: "called" }, t("welcome.name"), " ", h("bdi", null, context.store.get("self")?.name ?? ""), " ", button(t("self.rename"), () => renameSelf(context), { icon: icon("pencil"), bare: true, kind: "small" })));
}

/** Nobody else is in the network: the link is the next step. */
export function lonely(context, network) {
  return h("div", { class: "empty" }, icon("people", { className: "large" }), h("h2", null, t("alone.title", { network })), h("p", null, t("alone.words")),
    button(t("menu.invite"), () => invite(context, network), { icon: icon("link"), kind: "primary" }));
}
