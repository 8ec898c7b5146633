// Sizes, times and addresses for people.

import { LANGUAGE, number, t } from "./strings.js";

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
const sizes = UNITS.map((unit, index) => new Intl.NumberFormat(LANGUAGE, { style: "unit", unit, unitDisplay: index === 0 ? "long" : "short", maximumFractionDigits: index < 2 ? 0 : 1 }));
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dayOfYear = new Intl.DateTimeFormat(LANGUAGE, { weekday: "long", day: "numeric", month: "long" });
const dayOfAnyYear = new Intl.DateTimeFormat(LANGUAGE, { day: "numeric", month: "long", year: "numeric" });
const whole = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeStyle: "medium" });

/** Octets: "3.2 MB". */
export function size(octets) {
  let value = Math.max(0, octets);
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return sizes[unit].format(value);
}

/** Octets a second. */
export function rate(octets) {
  return t("rate", { size: size(octets) });
}

/** Wall seconds → "5 minutes ago". */
export function ago(seconds, now = Date.now() / 1000) {
  if (!seconds) return t("time.never");
  const past = Math.max(0, now - seconds);
  if (past < 60) return t("time.now");
  if (past < 3600) return t("time.minutes", { n: Math.floor(past / 60) });
  if (past < 86_400) return t("time.hours", { n: Math.floor(past / 3600) });
  if (past < 30 * 86_400) return t("time.days", { n: Math.floor(past / 86_400) });
  return dayOfAnyYear.format(seconds * 1000);
}

/** Seconds that something still takes. */
export function left(seconds) {
  if (seconds < 60) return t("left.seconds", { n: Math.max(1, Math.ceil(seconds)) });
  if (seconds < 5400) return t("left.minutes", { n: Math.round(seconds / 60) });
  return t("left.hours", { n: Math.round(seconds / 3600) });
}

/** Wall seconds → "14:05". */
export function time(seconds) {
  return clock.format(seconds * 1000);
}

/** Wall seconds → date and time in full. */
export function moment(seconds) {
  return whole.format(seconds * 1000);
}

/** Wall seconds → a day's name for a separator. */
export function day(seconds) {
  const date = new Date(seconds * 1000);
  const today = new Date();
  const days = Math.round((midnight(today) - midnight(date)) / 86_400_000);
  if (days === 0) return t("chat.today");
  if (days === 1) return t("chat.yesterday");
  return (date.getFullYear() === today.getFullYear() ? dayOfYear : dayOfAnyYear).format(date);
}

/** The same for all moments of one day. */
export function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** Milliseconds of a round trip: "23", "0.4". */
export function milliseconds(value) {
  return number(value < 10 ? Math.round(value * 10) / 10 : Math.round(value));
}

/** A member's address to show and to copy: IPv4 where it has one. */
export function address(row) {
  return row?.ipv4 ?? row?.ipv6 ?? "";
}
