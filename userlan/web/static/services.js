// Services: what a peer, or everybody in a network, offers; and what this computer offers, with one switch each.

import { CommandError } from "./api.js";
import { bdi, button, fill, h, sync, text } from "./dom.js";
import { icon, presence, showPresence } from "./icons.js";
import { chip, empty, section, typed } from "./parts.js";
import { every } from "./polling.js";
import { presenceWords, shownState } from "./presence.js";
import { mine } from "./services-own.js";
import { t } from "./strings.js";
import { failed, toast } from "./toast.js";

const PAUSE = 4000; // milliseconds between two looks at what is offered

// What a link may begin with: a program that shows, fetches or talks. Whatever else a peer says is an address to copy, never a link.
const SCHEMES = ["http:", "https:", "ssh:", "sftp:", "ftp:", "smb:", "afp:", "vnc:", "rdp:", "ipp:", "ipps:", "rtsp:", "nfs:", "rsync:", "mqtt:", "postgresql:", "telnet:", "ldap:", "daap:"];

// By type: its words (services.kind.…) and its icon.
const KINDS = {
  "_http._tcp": ["web", "link"], "_https._tcp": ["web", "link"], "_webdav._tcp": ["folder", "folder"], "_webdavs._tcp": ["folder", "folder"],
  "_ftp._tcp": ["folder", "folder"], "_smb._tcp": ["folder", "folder"], "_afpovertcp._tcp": ["folder", "folder"], "_nfs._tcp": ["folder", "folder"],
  "_sftp-ssh._tcp": ["folder", "folder"], "_rsync._tcp": ["folder", "folder"], "_ssh._tcp": ["shell", "computer"], "_telnet._tcp": ["shell", "computer"],
  "_rfb._tcp": ["screen", "computer"], "_rdp._tcp": ["screen", "computer"], "_ipp._tcp": ["printer", "file"], "_ipps._tcp": ["printer", "file"],
  "_printer._tcp": ["printer", "file"], "_pdl-datastream._tcp": ["printer", "file"], "_rtsp._tcp": ["stream", "ping"], "_daap._tcp": ["stream", "ping"],
  "_mpd._tcp": ["stream", "ping"], "_postgresql._tcp": ["data", "plug"], "_mqtt._tcp": ["data", "plug"], "_ldap._tcp": ["data", "plug"],
  "_domain._tcp": ["dns", "plug"], "_domain._udp": ["dns", "plug"], "_userlan-svc._tcp": ["other", "plug"], "_userlan-svc._udp": ["other", "plug"],
};

const UNKNOWN = "_userlan-svc._tcp"; // what listens at a port that no kind of program is known for: perhaps a web server

/** Shows the services of `params.peer`, of `params.network`'s members, or of this computer; answers what ends it. */
export function mount(container, context) {
  if (context.params.peer) return ofPeer(container, context);
  if (context.params.network) return ofNetwork(container, context);
  return mine(container, context);
}

/** The link that opens a service, or null: only with a scheme that is known, and only to where the node says that it is. */
export function linkOf(url, where) {
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    return null;
  }
  const host = where.slice(0, where.lastIndexOf(":"));
  if (!SCHEMES.includes(parsed.protocol) || parsed.username || parsed.password || parsed.hostname !== host) return null;
  // A browser sends the cookies of a host to all of its ports: what listens at the page's own name is opened by another one.
  if (parsed.protocol.startsWith("http") && parsed.hostname === location.hostname) parsed.hostname = parsed.hostname === "localhost" ? "127.0.0.1" : "localhost";
  return parsed.href;
}

// --- a peer's, a network's ---------------------------------------------------------------------------------------------

function ofPeer(container, context) {
  const { api, store, params } = context;
  const list = h("ul", { class: "tiles" });
  const nothing = h("div");
  const forwards = h("ul", { class: "tiles" });
  const others = section(t("services.forwards"), forwards);
  others.hidden = true;
  const name = () => store.nameOf(params.peer);
  const heading = h("h2");
  container.append(h("div", { class: "scroll" }, h("section", { class: "part" }, heading, list, nothing), others, byHand(context, () => polling.now())));
  let shown = null;

  function show(rows) {
    sync(list, rows, keyOf, () => h("li", { class: "tile" }), updateService);
    const row = store.peer(params.peer);
    const why = rows.length > 0 ? "" : row?.blocked ? "blocked" : row && ["direct", "relayed"].includes(row.state) ? "none" : "away";
    if (why !== shown) {
      shown = why;
      fill(nothing, why && empty("plug", t(`services.${why}.title`, { name: name() }), t(`services.${why}.words`, { name: name() })));
    }
    text(heading, t("services.of", { name: name() }));
  }

  async function look() {
    const [offered, forwarded] = await Promise.all([api.call("services"), api.call("forwards")]);
    show(offered.filter((row) => row.key === params.peer));
    const own = forwarded.filter((row) => meant(store.peer(params.peer), row.peer));
    others.hidden = own.length === 0;
    sync(forwards, own, (row) => row.rule, (row) => forwardCard(context, row, () => polling.now()));
  }

  show([]);
  const polling = every(PAUSE, look);
  const off = store.on("peers", (keys) => (keys === null || keys.has(params.peer)) && polling.now());
  return () => {
    off();
    polling.stop();
  };
}

function ofNetwork(container, context) {
  const { api, store, params } = context;
  const list = h("div", { class: "groups" });
  const nothing = h("div");
  container.append(h("div", { class: "scroll" }, list, nothing));

  async function look() {
    const rows = (await api.call("services")).filter((row) => store.peer(row.key)?.networks.includes(params.network));
    const members = [...new Set(rows.map((row) => row.key))].sort((one, other) => store.nameOf(one).localeCompare(store.nameOf(other)));
    sync(list, members, (key) => key, (key) => makeGroup(context, key), (element, key) => {
      const row = store.peer(key);
      text(element.querySelector(".name"), store.nameOf(key));
      showPresence(element.querySelector(".presence"), row ? shownState(row) : "offline");
      text(element.querySelector(".state"), row ? presenceWords(row) : t("presence.offline"));
      sync(element.querySelector(".tiles"), rows.filter((one) => one.key === key), keyOf, () => h("li", { class: "tile" }), updateService);
    });
    fill(nothing, rows.length === 0 && empty("plug", t("services.network.title"), t("services.network.words")));
  }

  const polling = every(PAUSE, look);
  return polling.stop;
}

function makeGroup(context, key) {
  const open = h("button", { type: "button", class: "plain", on: { click: () => context.open("services", { peer: key }) } }, bdi("", "name"));
  return h("section", { class: "part" }, h("h2", { class: "with-state" }, open, h("span", { class: "quiet state-line" }, presence("offline"), h("span", { class: "state" }))), h("ul", { class: "tiles" }));
}

function keyOf(row) {
  return JSON.stringify([row.key, row.type, row.name, row.lan]);
}

/** What is told of one service; made anew where that changed. */
function updateService(element, row) {
  const told = JSON.stringify(row);
  if (element.dataset.told === told) return;
  element.dataset.told = told;
  const [kind, image] = row.text?.folder ? ["folder", "folder"] : KINDS[row.type.toLowerCase()] ?? ["", "plug"];
  const words = kind ? t(`services.kind.${kind}`) : row.type.replace(/^_|\._(tcp|udp)$/g, "");
  const udp = row.type.endsWith("_udp");
  const link = row.error || udp ? null : linkOf(row.url, row.where);
  const inBrowser = link?.startsWith("http") ?? false;
  const perhaps = !link && !row.error && row.type.toLowerCase() === UNKNOWN ? linkOf(`http://${row.where}/`, row.where) : null;
  fill(element, h("span", { class: "token", "aria-hidden": "true" }, icon(image)),
    h("div", { class: "about" },
      h("strong", null, bdi(row.name)),
      h("span", { class: "quiet" }, bdi(words), udp ? " · UDP" : "", row.source === "exposed" ? "" : ` · ${t("services.by", { source: sourceWords(row.source) })}`),
      typed(row.where),
      row.error && h("span", { class: "problem" }, icon("warning"), bdi(row.error)),
      !link && !row.error && h("span", { class: "quiet hint" }, t(udp ? "services.hint.udp" : "services.hint.tcp")),
      link && !inBrowser && h("span", { class: "quiet hint" }, t("services.hint.program", { scheme: new URL(link).protocol.slice(0, -1) }))),
    link && h("a", { class: "button primary", href: link, rel: "noopener noreferrer", target: inBrowser ? "_blank" : null, "aria-label": t("services.open.label", { name: row.name }) }, icon("link"), h("span", null, t("services.open"))),
    perhaps && h("a", { class: "button", href: perhaps, rel: "noopener noreferrer", target: "_blank", "aria-label": t("services.open.web.label", { name: row.name }) }, t("services.open.web")));
}

function sourceWords(source) {
  return source === "bonjour" ? t("services.source.bonjour") : source.replace(/^discovery: /, "");
}

// --- any port ----------------------------------------------------------------------------------------------------------

/** Whether a forward's peer, as it was written, is this member. */
function meant(row, written) {
  if (!row) return false;
  const names = [row.ipv4, row.ipv6, row.name, ...row.networks.flatMap((network) => [`${row.name}.${network}`, `${row.name}.${network}.internal`])];
  return names.includes(written);
}

/** A member as a forward names it: by its nickname where that is its alone, else by the address that follows from its key. */
function written(store, row) {
  const same = [...store.get("peers").values()].filter((other) => other.name === row.name);
  return same.length > 1 || store.get("self")?.name === row.name ? `[${row.ipv6}]` : row.name;
}

/**
 * A way to a peer's port: at the peer's own address of this computer (127.a.b.c for 25.a.b.c), since what is opened at 127.0.0.1 gets this page's
 * cookie; at 127.0.0.1 where the system has no such addresses.
 */
async function forward(api, row, to) {
  if (row.ipv4) {
    try {
      return await api.call("forward", { rule: `127.${row.ipv4.split(".").slice(1).join(".")}:0:${to}` });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
    }
  }
  return api.call("forward", { rule: `0:${to}` });
}

function byHand(context, done) {
  const { api, store, params } = context;
  const port = h("input", { type: "number", id: "forward-port", min: 1, max: 65535, required: true, inputmode: "numeric", placeholder: "8080" });
  const protocol = h("select", { id: "forward-protocol" }, h("option", { value: "" }, "TCP"), h("option", { value: "/udp" }, "UDP"));
  const form = h("form", { class: "line-form", on: { submit: (event) => sent(event) } },
    h("div", { class: "field" }, h("label", { for: port.id }, t("services.port")), port),
    h("div", { class: "field" }, h("label", { for: protocol.id }, t("services.protocol")), protocol),
    h("button", { type: "submit", class: "button" }, icon("path"), h("span", null, t("services.reach"))));

  async function sent(event) {
    event.preventDefault();
    const row = store.peer(params.peer);
    if (!row || !port.value) return;
    try {
      const made = await forward(api, row, `${written(store, row)}:${port.value}${protocol.value}`);
      toast(t("services.forwarded", { listen: made.listen }));
      port.value = "";
      done();
    } catch (error) {
      failed(error);
    }
  }

  return section(t("services.any.title"), h("p", { class: "quiet" }, t("services.any.words", { name: store.nameOf(params.peer) })), form);
}

function forwardCard({ api, store, params }, row, done) {
  const remove = async () => {
    try {
      await api.call("unforward", { rule: row.rule });
      toast(t("services.unforwarded", { listen: row.listen }));
      done();
    } catch (error) {
      failed(error);
    }
  };
  const link = row.protocol === "tcp" ? linkOf(`http://${row.listen}/`, row.listen) : null;
  return h("li", { class: "tile" }, h("span", { class: "token", "aria-hidden": "true" }, icon("path")),
    h("div", { class: "about" }, h("strong", null, t("services.port.of", { port: String(row.port), name: store.nameOf(params.peer) }), row.protocol === "udp" ? chip("UDP") : null), typed(row.listen),
      row.error && h("span", { class: "problem" }, icon("warning"), bdi(row.error))),
    link && h("a", { class: "button", href: link, target: "_blank", rel: "noopener noreferrer", "aria-label": t("services.open.label", { name: String(row.port) }) }, t("services.open.web")),
    row.configured ? chip(t("services.configured")) : button(t("services.forward.remove", { port: String(row.port) }), remove, { icon: icon("trash"), bare: true, kind: "small" }));
}

