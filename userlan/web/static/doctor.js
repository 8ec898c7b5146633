// This computer's connection in words: what its NAT does to it, and what the doctor finds wrong, each with what to do.

import { announce, bdi, button, fill, h } from "./dom.js";
import { ago, milliseconds } from "./format.js";
import { icon } from "./icons.js";
import { factList } from "./natwords.js";
import { chip, typed } from "./parts.js";
import { t } from "./strings.js";

const LEVELS = { wrong: "warning", note: "help", unseen: "search" };

/** Shows both; answers what ends it. */
export function mount(container, { api, store }) {
  const findings = h("div");
  const network = h("div");
  const mediator = h("p");
  const again = button(t("doctor.again"), () => look(), { icon: icon("retry"), kind: "primary" });
  container.append(h("div", { class: "scroll" },
    h("section", { class: "part" }, h("div", { class: "title-line" }, h("h2", null, t("doctor.title")), again), mediator, findings),
    h("section", { class: "part" }, h("h2", null, t("doctor.network")), network)));
  let gone = false;

  function meeting() {
    const row = store.get("mediator");
    const state = ["connected", "connecting", "offline"].includes(row?.state) ? row.state : "none";
    fill(mediator, chip(t(`doctor.mediator.${state}`), state === "connected" ? "good" : state === "connecting" ? "connecting" : "bad"), " ", h("span", { class: "quiet" }, bdi(row?.reason ?? "")));
  }

  async function look() {
    again.disabled = true;
    fill(findings, busy(t("doctor.looking")));
    fill(network, busy(t("doctor.measuring")));
    const [found, measured] = await Promise.allSettled([api.call("advice"), api.call("netcheck")]);
    if (gone) return;
    fill(findings, found.status === "fulfilled" ? adviceOf(found.value) : trouble(found.reason));
    fill(network, measured.status === "fulfilled" ? networkOf(measured.value) : trouble(measured.reason));
    again.disabled = false;
    announce(found.status === "fulfilled" ? summary(found.value) : found.reason.message);
  }

  const off = store.on("mediator", meeting);
  meeting();
  look();
  return () => {
    gone = true;
    off();
  };
}

function busy(words) {
  return h("p", { class: "quiet busy", role: "status" }, words);
}

function trouble(error) {
  return h("p", { class: "problem", role: "alert" }, icon("warning"), bdi(error.message));
}

function summary({ findings }) {
  const wrong = findings.filter((one) => one.level === "wrong").length;
  return wrong ? t("doctor.wrong", { n: wrong }) : t("doctor.fine");
}

/** What the doctor said, the worst first. */
export function adviceOf(told) {
  return h("div", { class: "advice" },
    h("p", { class: told.wrong ? "verdict wrong" : "verdict fine" }, icon(told.wrong ? "warning" : "check"), h("strong", null, summary(told))),
    told.findings.length ? h("ul", { class: "findings" }, told.findings.map(finding)) : null,
    told.fine.length ? h("details", null, h("summary", null, t("doctor.checked", { n: told.fine.length })), h("ul", { class: "fine-list" }, told.fine.map((one) => h("li", null, icon("check"), bdi(one))))) : null);
}

function finding({ level, what, evidence, remedy }) {
  const known = Object.hasOwn(LEVELS, level) ? level : "note";
  return h("li", { class: `finding level-${known}` }, icon(LEVELS[known]),
    h("div", { class: "about" }, h("strong", null, h("span", { class: "unseen" }, `${t(`doctor.level.${known}`)}: `), bdi(sentence(what))),
      evidence && h("span", { class: "quiet" }, bdi(evidence)),
      remedy && h("span", { class: "remedy" }, h("span", null, t("doctor.remedy")), typed(remedy))));
}

/** With a capital, and without the marks of code. */
function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1).replaceAll("`", "");
}

function networkOf(told) {
  const seen = [told.seen.ipv4, told.seen.ipv6].filter(Boolean);
  return [
    h("p", { class: told.direct === "yes" ? "verdict fine" : "verdict" }, icon(told.direct === "yes" ? "check" : "help"), h("strong", null, t(`doctor.direct.${["yes", "most", "hardly"].includes(told.direct) ? told.direct : "unknown"}`))),
    h("p", { class: "quiet" }, [told.translated === true ? t("doctor.translated") : told.translated === false ? t("doctor.untranslated") : "", seen.length ? t("doctor.seen", { where: seen.join(", ") }) : "",
      told.measured ? t("doctor.measured", { when: ago(told.measured) }) : ""].filter(Boolean).join(" ")),
    factList(told),
    h("h3", null, t("doctor.relays")),
    told.relays.length ? h("ul", { class: "plain-list relays" }, told.relays.map((one) => h("li", null, bdi(one.name), one.region ? h("span", { class: "quiet" }, " ", bdi(one.region)) : null, h("span", { class: "number" }, one.rtt_ms === null ? t("doctor.relay.silent") : t("path.ms", { ms: milliseconds(one.rtt_ms) })))))
      : h("p", { class: "quiet" }, t("doctor.relays.none")),
  ];
}
