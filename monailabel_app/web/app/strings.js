// All texts of the page. Another language is another table with the same keys; {name} is filled in.
import { TEXTS } from "./texts_en.js";

/** The words of the texts, which name the abdomen, and what stands for them. @type {[RegExp, string][]} */
let words = [];

const plurals = new Intl.PluralRules("en");

/**
 * Name what the model outlines in all texts, which are written for the abdomen.
 * @param {{anatomy: string, measurement: string} | null | undefined} model of the server
 */
export function nameAnatomy(model) {
  words = model && model.anatomy !== "abdomen" ? [[/\babdomen\b/g, model.anatomy], [/\bAC\b/g, model.measurement]] : [];
}

/**
 * @param {string} key
 * @param {Record<string, string | number>} [values] `count` chooses between `key` and `key_one`
 */
export function t(key, values = {}) {
  const one = typeof values.count === "number" && plurals.select(values.count) === "one";
  const text = (one && TEXTS[`${key}_one`]) || TEXTS[key];
  if (text === undefined) throw new Error(`there is no text ${key}`);
  const named = words.reduce((before, [word, other]) => before.replace(word, other), text);
  return named.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
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
