// What a NAT does, in words for people beside RFC 4787's own.

import { bdi, h } from "./dom.js";
import { number, t } from "./strings.js";

const DEPENDENCES = ["endpoint-independent", "address-dependent", "address-and-port-dependent"];

/** One sentence: whether others reach a computer behind this NAT. */
export function chances(nat) {
  return t(`nat.direct.${["yes", "most", "hardly"].includes(nat.direct) ? nat.direct : "unknown"}`);
}

/** A few words for below a router in a picture. */
export function label(nat) {
  if (nat === null) return t("nat.label.untold");
  if (nat.translated === false) return t("nat.label.none");
  if (!nat.udp.passes) return t("nat.label.blocked");
  if (nat.port_mapping) return t("nat.label.mapped", { how: protocolName(nat.port_mapping) });
  if (nat.udp.mapping === "endpoint-independent" || nat.udp.allocation === "preserving") return t("nat.label.one");
  if (nat.udp.mapping === "unknown") return t("nat.label.unknown");
  return t(nat.udp.allocation === "random" ? "nat.label.random" : "nat.label.each");
}

/** PCP, NAT-PMP or UPnP. */
export function protocolName(kind) {
  return { pcp: "PCP", "nat-pmp": "NAT-PMP", upnp: "UPnP" }[kind] ?? String(kind);
}

/** `[term, value, explanation]` of each property, in RFC 4787's order. */
export function facts(nat) {
  const { udp, tcp } = nat;
  return [
    [t("nat.udp"), t(udp.passes ? "nat.passes" : "nat.blocked"), t(udp.passes ? "nat.udp.passes" : "nat.udp.blocked")],
    [t("nat.mapping"), dependence(udp.mapping), t(`nat.mapping.${known(udp.mapping)}`)],
    [t("nat.filtering"), dependence(udp.filtering), t(`nat.filtering.${known(udp.filtering)}`)],
    [t("nat.allocation"), allocation(udp), t(`nat.allocation.${["preserving", "incremental", "chunked", "random"].includes(udp.allocation) ? udp.allocation : "unknown"}`)],
    [t("nat.lifetime"), udp.lifetime ? t("nat.seconds", { n: Math.round(udp.lifetime) }) : t("nat.unknown"), t("nat.lifetime.words")],
    [t("nat.hairpin"), yesNo(nat.hairpin), t("nat.hairpin.words")],
    [t("nat.nested"), yesNo(nat.nested), t("nat.nested.words")],
    [t("nat.port-mapping"), nat.port_mapping ? protocolName(nat.port_mapping) : t("nat.no"), t(nat.port_mapping ? "nat.port-mapping.yes" : "nat.port-mapping.no")],
    [t("nat.tcp"), t(tcp.passes ? "nat.passes" : "nat.blocked"), t(tcp.passes ? "nat.tcp.passes" : "nat.tcp.blocked")],
    [t("nat.ipv6"), t(`nat.ipv6.${["none", "open", "firewall"].includes(nat.ipv6) ? nat.ipv6 : "unknown"}`), t("nat.ipv6.words")],
  ];
}

function known(word) {
  return DEPENDENCES.includes(word) ? word : "unknown";
}

function dependence(word) {
  return DEPENDENCES.includes(word) ? word : t("nat.unknown");
}

function allocation(udp) {
  if (udp.allocation === "incremental" && udp.step) return t("nat.incremental", { step: udp.step > 0 ? `+${number(udp.step)}` : number(udp.step) });
  return ["preserving", "incremental", "chunked", "random"].includes(udp.allocation) ? udp.allocation : t("nat.unknown");
}

function yesNo(value) {
  return t(value === true ? "nat.yes" : value === false ? "nat.no" : "nat.unknown");
}

/** The properties as a list of terms. */
export function factList(nat) {
  return h("dl", { class: "facts" }, facts(nat).map(([term, value, words]) => h("div", null, h("dt", null, term), h("dd", null, h("strong", null, bdi(value)), h("span", { class: "quiet" }, " ", words)))));
}
