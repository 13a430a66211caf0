// All texts of the page. Another language is another table with the same keys; {name} is filled in.
import { TEXTS } from "./texts_en.js";

const plurals = new Intl.PluralRules("en");

/**
 * @param {string} key
 * @param {Record<string, string | number>} [values] `count` chooses between `key` and `key_one`
 */
export function t(key, values = {}) {
  const one = typeof values.count === "number" && plurals.select(values.count) === "one";
  const text = (one && TEXTS[`${key}_one`]) || TEXTS[key];
  if (text === undefined) throw new Error(`there is no text ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** @param {number} value @param {number} digits */
export const number = (value, digits = 0) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false });

/** @param {string | null | undefined} iso @returns {string} */
export function when(iso) {
  if (!iso) return "";
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "";
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString("en-GB", today ? { hour: "2-digit", minute: "2-digit" } : { day: "numeric", month: "short", year: "numeric" });
}
