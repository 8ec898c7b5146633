// The frame of the window: list on the left, the chosen one on the right with its views as tabs, and what has to be said above both.

import { peerMenu } from "./actions.js";
import { take } from "./clipboard.js";
import { attribute, bdi, button, fill, h, text } from "./dom.js";
import { openMenu } from "./menu.js";
import { address } from "./format.js";
import { icon, presence, showPresence } from "./icons.js";
import { avatar, showAvatar } from "./avatar.js";
import { banner } from "./banner.js";
import { findWords } from "./finding.js";
import { networkMenu } from "./networks.js";
import { own } from "./own.js";
import { countWords, presenceWords, shownState } from "./presence.js";
import { VIEWS } from "./routes.js";
import { conversationOf } from "./store.js";
import { t } from "./strings.js";
import { nothing } from "./welcome.js";
import * as chat from "./chat.js";
import * as doctor from "./doctor.js";
import * as files from "./files.js";
import * as map from "./map.js";
import * as members from "./members.js";
import * as paths from "./paths.js";
import * as roster from "./roster.js";
import * as services from "./services.js";
import * as sharing from "./sharing.js";

const MODULES = { chat, files, services, path: paths, members, map, sharing, doctor };
const ICONS = { chat: "chat", files: "file", services: "plug", path: "path", members: "people", map: "map", sharing: "share", doctor: "doctor" };

/** Builds the frame in `root`. */
export function shell(root, context) {
  const { store } = context;
  const side = h("aside", { class: "side", "aria-label": t("app.roster") });
  const main = h("main", { class: "main", id: "main", tabindex: "-1", "aria-label": t("app.main") });
  const frame = h("div", { class: "frame" }, side, main);
  const skip = h("a", { class: "skip", href: "#main", on: { click: (event) => (event.preventDefault(), main.focus()) } }, t("app.skip"));
  fill(root, skip, banner(context), frame);
  side.append(own(context));
  const list = h("div", { class: "list" });
  side.append(list);
  roster.mount(list, context);
  const pane = detail(main, context);
  store.on("selection", () => {
    frame.dataset.shows = store.get("selection").kind === "none" ? "list" : "detail";
    pane();
  });
  store.on("ready", pane);
  store.on("connection", () => (frame.dataset.connection = store.get("connection")));
  frame.dataset.shows = "list";
  pane();
}

/** The right side; answers what brings it to the selection. */
function detail(main, context) {
  const { store } = context;
  let shown = null; // the selection that is on the screen
  let unmount = () => {};
  let header = null;

  store.on(["peers", "networks", "self", "conversations"], (keys) => {
    if (header !== null && (keys === null || keys.has(shown.id) || shown.kind !== "peer")) header.update();
  });

  return () => {
    const wanted = store.get("selection");
    const same = shown !== null && shown.kind === wanted.kind && shown.id === wanted.id;
    if (same && shown.view === wanted.view && wanted.kind !== "none") return;
    unmount();
    unmount = () => {};
    if (wanted.kind === "none") {
      header = null;
      shown = wanted;
      unmount = nothing(fill(main), context);
      return;
    }
    const focused = main.querySelector("[role=tab]:focus") !== null;
    if (!same) {
      header = heading(context, wanted);
      fill(main, header.element, h("div", { class: "panel", role: "tabpanel", id: "panel" }));
    }
    shown = wanted;
    header.select(wanted.view, focused);
    const panel = main.querySelector("#panel");
    panel.setAttribute("aria-labelledby", `tab-${wanted.view}`);
    panel.className = `panel ${wanted.view}-panel`;
    const params = wanted.kind === "self" ? {} : { [wanted.kind]: wanted.id };
    unmount = MODULES[wanted.view].mount(fill(panel), { ...context, params }) ?? (() => {});
    if (document.activeElement === document.body || document.activeElement?.offsetParent === null) main.focus({ preventScroll: true });
  };
}

/** The line above the views: who it is, how it is, what can be done; and the tabs. */
function heading(context, selection) {
  const { store, open } = context;
  const { kind, id } = selection;
  const face = avatar(kind === "self" ? store.get("self")?.key : id, kind);
  const signal = presence("offline");
  const name = h("h1", null, bdi(""));
  const state = h("span", { class: "state" });
  const where = button("", () => take(where.dataset.address), { kind: "address quiet", icon: icon("copy") });
  const more = button(t("roster.open-menu", { name: "" }), () => openMenu(more, items(), more.getAttribute("aria-label")), { icon: icon("more"), bare: true, "aria-haspopup": "menu" });
  const find = button(t("menu.find"), () => findWords(context, conversationOf(kind, id)), { icon: icon("search"), bare: true, hidden: true });
  const back = button(t("app.back"), () => open("list"), { icon: icon("back"), bare: true, kind: "back" });
  const tabs = tablist(context, selection);
  const element = h("header", { class: "heading" },
    h("div", { class: "who" }, back, face, h("div", { class: "about" }, name, h("p", null, kind === "peer" ? signal : null, state, where)), find, kind === "self" ? null : more), tabs.element);
  const items = () => (kind === "peer" ? peerMenu(context, id) : networkMenu(context, id));

  let last = null; // its name while it was there
  let known = false; // whether it was there since this heading is: what was made just now comes with the next telling

  function update() {
    const row = kind === "peer" ? store.peer(id) : kind === "network" ? store.network(id) : store.get("self");
    known ||= row !== undefined && row !== null;
    const gone = known ? t("gone.title") : t("app.loading");
    const called = kind === "network" ? id : row?.name ?? last ?? store.nameOf(id);
    last = row?.name ?? last;
    text(name.firstChild, called);
    showAvatar(face, kind === "network" ? id : row?.key ?? id ?? "", called, kind);
    attribute(more, "aria-label", t("roster.open-menu", { name: called }));
    tabs.label(called);
    const place = kind === "network" ? "" : address(row);
    where.hidden = place === "";
    where.dataset.address = place;
    text(where.lastChild, place);
    attribute(where, "aria-label", t("copy.address", { address: place }));
    if (kind === "peer") {
      showPresence(signal, row ? shownState(row) : "offline");
      text(state, row ? presenceWords(row) : gone);
    } else if (kind === "network") {
      text(state, row ? membersLine(store, row) : gone);
    } else {
      text(state, t("app.this-computer"));
    }
  }

  update();
  const select = (view, focus) => {
    find.hidden = view !== "chat";
    tabs.select(view, focus);
  };
  return { element, update, select };
}

function membersLine(store, network) {
  const others = network.members.filter((key) => key !== store.get("self")?.key);
  const online = others.filter((key) => ["direct", "relayed"].includes(store.peer(key)?.state)).length;
  const count = countWords(online, others.length);
  const name = network.own_name;      // another one than everywhere else, where a member had that before
  return !name || name === store.get("self")?.name ? count : t("network.you-are", { count, name });
}

/** Tabs as the ARIA practices have them: one stop of the Tab key, arrows between. */
function tablist({ open }, { kind, id }) {
  const element = h("div", { role: "tablist", class: "tabs" });
  const params = kind === "self" ? {} : { [kind]: id };
  for (const view of VIEWS[kind]) {
    element.append(h("button", { type: "button", role: "tab", id: `tab-${view}`, "aria-controls": "panel", on: { click: () => open(view, params) } },
      icon(ICONS[view]), h("span", null, t(`tab.${view}`))));
  }
  element.addEventListener("keydown", (event) => {
    if (event.altKey) return;
    const tabs = [...element.children];
    const index = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined || index < 0) return;
    event.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
  return {
    element,
    label: (name) => attribute(element, "aria-label", t("tab.list", { name })),
    select(view, focus) {
      for (const tab of element.children) {
        const selected = tab.id === `tab-${view}`;
        attribute(tab, "aria-selected", String(selected));
        attribute(tab, "tabindex", selected ? "0" : "-1");
        if (selected && focus) tab.focus();
      }
    },
  };
}
