// Short messages at the edge of the page; read out by screen readers.
import { Observable } from "./observable.js";

const SHOWN_MS = 5000;
const ERROR_MS = 12000;

class Toasts extends Observable {
  constructor() {
    super();
    /** @type {{id: number, text: string, kind: string}[]} */
    this.list = [];
    this._next = 0;
  }

  remove(id) {
    this.list = this.list.filter((one) => one.id !== id);
    this.changed();
  }
}

export const toasts = new Toasts();

/** @param {string} text @param {"" | "error" | "success"} [kind] */
export function toast(text, kind = "") {
  toasts._next += 1;
  const id = toasts._next;
  const others = toasts.list.filter((one) => one.text !== text && one.kind); // a plain message replaces the one before
  toasts.list = [...others, { id, text, kind }].slice(-3);
  toasts.changed();
  setTimeout(() => toasts.remove(id), kind === "error" ? ERROR_MS : SHOWN_MS);
}
