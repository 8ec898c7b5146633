// What this computer offers: a row for each program that serves a port, with a switch that lets peers reach it.

import { bdi, button, fill, h, sync, text } from "./dom.js";
import { ask } from "./dialog.js";
import { icon } from "./icons.js";
import { chip, section, toggle, typed } from "./parts.js";
import { every } from "./polling.js";
import { t } from "./strings.js";
import { toast } from "./toast.js";

const PAUSE = 4000; // milliseconds between two looks: a server that was just started shows up by itself

/** Mounts it; answers what ends it. */
export function mine(container, context) {
  const { api } = context;
  const on = h("ul", { class: "tiles" });
  const off = h("ul", { class: "tiles" });
  const offered = h("p", { class: "quiet" });
  const others = h("p", { class: "quiet" });
  const found = h("ul", { class: "plain-list" });
  const announced = section(t("services.own.announced"), h("p", { class: "quiet" }, t("services.own.announced.words"), " ", button(t("tab.sharing"), () => context.open("sharing"), { kind: "inline" })), found);
  announced.hidden = true;
  const folders = h("ul", { class: "tiles" });
  const sharing = section(t("services.folders"), h("p", { class: "quiet" }, t("services.folders.words")), typed("userlan folder add DIR"), folders);
  sharing.hidden = true;
  container.append(h("div", { class: "scroll" },
    h("section", { class: "part" }, h("div", { class: "title-line" }, h("h2", null, t("services.own.on")), button(t("services.own.add"), () => expose(context, {}, () => polling.now()), { icon: icon("plus"), kind: "primary" })), offered, on), sharing,
    section(t("services.own.off"), others, off), announced));

  async function look() {
    const [rows, shares, shared] = await Promise.all([
      api.call("local-services"), api.call("shares").catch(() => ({ on_demand: [] })), api.call("folder-list").catch(() => null)]);
    const exposed = rows.filter((row) => row.exposed);
    const rest = rows.filter((row) => !row.exposed);
    text(offered, exposed.length ? t("services.own.on.words") : t("services.own.on.none"));
    text(others, rest.length ? t("services.own.off.words") : t("services.own.off.none"));
    const make = () => h("li", { class: "tile" });
    sync(on, exposed, keyOf, make, (element, row) => update(context, element, row, polling));
    sync(off, rest, keyOf, make, (element, row) => update(context, element, row, polling));
    sharing.hidden = shared === null; // a node without them
    sync(folders, shared ?? [], (row) => row.name, make, (element, row) => updateFolder(context, element, row, polling));
    const demanded = shares.on_demand.filter((row) => row.kind === "exposed");
    announced.hidden = demanded.length === 0;
    sync(found, demanded, (row) => `${row.port}/${row.protocol}`, () => h("li"), (element, row) => text(element, t("services.own.demand", { port: String(row.port), protocol: row.protocol.toUpperCase(), target: row.target, why: row.why.join(", ") })));
  }

  const polling = every(PAUSE, look);
  return polling.stop;
}

function keyOf(row) {
  return JSON.stringify([row.host, row.port, row.protocol, row.exposed_as]);
}

function nameOf(row) {
  return row.exposed && row.name ? row.name : row.program || row.name || t("services.own.port", { port: String(row.port) });
}

function update(context, element, row, polling) {
  const told = JSON.stringify({ ...row, streams: 0 });
  if (element.dataset.told === told || element.contains(document.activeElement) && document.activeElement.disabled) return;
  element.dataset.told = told;
  const focused = element.contains(document.activeElement);
  const name = nameOf(row);
  const elsewhere = !["127.0.0.1", "::1"].includes(row.host);
  const place = [elsewhere ? row.host : "", t(row.protocol === "udp" ? "services.own.at.udp" : "services.own.at", { port: String(row.port) })].filter(Boolean).join(", ");
  const who = row.exposed ? (row.allow.length ? t("services.own.for", { who: row.allow.join(", ") }) : t("services.own.for.all")) : "";
  const as = row.exposed && row.exposed_as !== row.port ? t("services.own.as", { port: String(row.exposed_as) }) : "";
  const control = toggle(t("services.own.switch", { name, port: String(row.port) }), row.exposed, (wanted) => change(context, row, wanted, polling), { disabled: row.configured });
  fill(element,
    h("span", { class: "token", "aria-hidden": "true" }, icon(row.protocol === "udp" ? "ping" : "plug")),
    h("div", { class: "about" },
      h("strong", null, bdi(name), row.exposed && row.program && row.program !== name ? h("span", { class: "quiet" }, " ", bdi(row.program)) : null),
      h("span", { class: "quiet" }, bdi([place, as, who, !row.program && row.serving ? t("services.own.foreign") : ""].filter(Boolean).join(" · "))),
      row.exposed && !row.serving && row.host === "127.0.0.1" ? h("span", { class: "problem" }, icon("warning"), t("services.own.silent")) : null,
      row.error ? h("span", { class: "problem" }, icon("warning"), bdi(row.error)) : null,
      row.configured ? h("span", { class: "quiet hint" }, t("services.own.configured")) : null),
    row.exposed && !row.configured ? button(t("services.own.edit", { name }), () => edit(context, row, polling), { icon: icon("pencil"), bare: true, kind: "small" }) : chipOf(row),
    control);
  if (focused) control.focus();
}

function updateFolder({ api }, element, row, polling) {
  const told = JSON.stringify(row);
  if (element.dataset.told === told || element.contains(document.activeElement) && document.activeElement.disabled) return;
  element.dataset.told = told;
  fill(element,
    h("span", { class: "token", "aria-hidden": "true" }, icon("folder")),
    h("div", { class: "about" },
      h("strong", null, bdi(row.name)),
      h("span", { class: "quiet" }, bdi([row.path, row.allow.length ? t("services.own.for", { who: row.allow.join(", ") }) : t("services.own.for.all")].join(" · "))),
      row.error ? h("span", { class: "problem" }, icon("warning"), bdi(row.error)) : null),
    toggle(t("services.folders.switch", { name: row.name }), true, async () => {
      await api.call("folder-remove", { name: row.name });
      toast(t("services.folders.now-off", { name: row.name }));
      polling.now();
    }));
}

function chipOf(row) {
  return row.protocol === "udp" ? chip("UDP") : null;
}

/** As `unexpose` names it. */
function handle(row) {
  return `${row.exposed_as}${row.protocol === "udp" ? "/udp" : ""}`;
}

async function change({ api }, row, wanted, polling) {
  if (wanted) {
    const name = row.program || row.name;
    await api.call("expose", { service: row.service, ...(name ? { name: [...name].slice(0, 63).join("") } : {}) });
    toast(t("services.own.now-on", { name: nameOf(row) }));
  } else {
    await api.call("unexpose", { service: handle(row) });
    toast(t("services.own.now-off", { name: nameOf(row) }));
  }
  polling.now();
}

function edit(context, row, polling) {
  const again = async (values) => {
    await context.api.call("unexpose", { service: handle(row) });
    try {
      return await context.api.call("expose", values);
    } catch (error) {
      await context.api.call("expose", { service: row.service, port: row.exposed_as, name: row.name, allow: row.allow });
      throw error;
    }
  };
  expose(context, { title: t("services.own.edit", { name: nameOf(row) }), service: row.service, port: row.exposed_as, name: row.name, allow: row.allow, run: again }, () => polling.now());
}

/** Asks for all that can be said of an exposed service. */
async function expose({ api }, { title = t("services.own.add"), service = "", port = "", name = "", allow = [], run = null }, done) {
  const udp = service.endsWith("/udp");
  const answer = await ask(title, [
    { name: "service", label: t("services.form.service"), hint: t("services.form.service.hint"), value: service.replace(/\/udp$/, ""), required: true, autofocus: true, spellcheck: "false", autocapitalize: "none" },
    { name: "udp", label: t("services.form.udp"), type: "checkbox", value: udp },
    { name: "name", label: t("services.form.name"), hint: t("services.form.name.hint"), value: name, maxlength: 63 },
    { name: "port", label: t("services.form.port"), hint: t("services.form.port.hint"), value: String(port), inputmode: "numeric" },
    { name: "allow", label: t("services.form.allow"), hint: t("services.form.allow.hint"), value: allow.join(", "), spellcheck: "false", autocapitalize: "none" },
  ], t("services.form.yes"), (values) => {
    const wanted = values.port.trim() ? Number(values.port) : undefined;
    if (wanted !== undefined && !(Number.isInteger(wanted) && wanted > 0 && wanted < 65536)) throw new Error(t("services.form.port.wrong"));
    const written = values.service.trim() + (values.udp && !values.service.trim().endsWith("/udp") ? "/udp" : "");
    const members = values.allow.split(/[\s,;]+/).filter(Boolean);
    return (run ?? ((given) => api.call("expose", given)))({ service: written, ...(wanted ? { port: wanted } : {}), ...(values.name.trim() ? { name: values.name.trim() } : {}), allow: members });
  });
  if (answer !== null) {
    toast(t("services.own.now-on", { name: answer.name || answer.service || "" }));
    done();
  }
}
