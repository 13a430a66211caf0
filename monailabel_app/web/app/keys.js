// Keys: the table in keys.json, with the names and keys of the Slicer module (a test compares them).

/** @typedef {{name: string, key: string, group: string, only?: string}} Key */

const QT_NAMES = { PageDown: "PgDown", PageUp: "PgUp", Delete: "Del", Enter: "Return" };

/** @type {Key[]} */
export let table = [];

export async function loadKeys() {
  const response = await fetch(new URL("../keys.json", import.meta.url));
  table = await response.json();
}

/** The key of an event as the table writes it. @param {KeyboardEvent} event */
export function keyOf(event) {
  const name = QT_NAMES[event.key] ?? (event.key.length === 1 ? event.key.toUpperCase() : event.key);
  const modifiers = [event.ctrlKey || event.metaKey ? "Ctrl" : "", event.altKey ? "Alt" : "", event.shiftKey ? "Shift" : ""];
  return [...modifiers.filter(Boolean), name].join("+");
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement
    && (target.isContentEditable || ["INPUT", "SELECT", "TEXTAREA"].includes(target.tagName))
    && !(target instanceof HTMLInputElement && ["range", "checkbox", "radio", "button"].includes(target.type));
}

/**
 * Call the action of each key; what is typed into a field, or while a dialog is open, is no action.
 * @param {Record<string, () => void>} actions by name
 * @returns {() => void} ends it
 */
export function listen(actions) {
  const names = new Map(table.map(({ key, name }) => [key, name]));
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.defaultPrevented || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const name = names.get(keyOf(event));
    if (!name || !actions[name]) return;
    event.preventDefault();
    actions[name]();
  };
  window.addEventListener("keydown", onKey);
  return () => window.removeEventListener("keydown", onKey);
}

/** Key of an action, for buttons and their tips. @param {string} name */
export const keyFor = (name) => table.find((one) => one.name === name)?.key ?? "";
