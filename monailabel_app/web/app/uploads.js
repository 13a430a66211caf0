// Files on their way to the server, one after the other, whatever view is shown; the server checks each one.
import { isAbort, sentence, upload } from "./api.js";
import { Observable } from "./observable.js";
import { serverInfo } from "./server_info.js";
import { t } from "./strings.js";
import { worklist } from "./worklist.js";

const FORM_BYTES = 1024; // of a request beside the file and its name
const MEBIBYTE = 1024 ** 2;

/**
 * @typedef {object} Upload
 * @property {number} id
 * @property {string} name
 * @property {number} size bytes
 * @property {"waiting" | "sending" | "checking" | "done" | "failed" | "cancelled"} state
 * @property {number} sent bytes
 * @property {string} text why it failed
 */

class Uploads extends Observable {
  constructor() {
    super();
    /** @type {Upload[]} */
    this.list = [];
    /** @type {Map<number, File>} */
    this._files = new Map();
    this._abort = new AbortController();
    this._running = false;
    this._next = 0;
    window.addEventListener("beforeunload", (event) => { if (this.busy) event.preventDefault(); });
  }

  get busy() {
    return this.list.some((one) => one.state === "waiting" || one.state === "sending" || one.state === "checking");
  }

  /** Queue files; one above the server's limit is refused before it is sent. @param {File[]} files */
  async add(files) {
    await serverInfo.read();
    for (const file of files) {
      this._next += 1;
      const id = this._next;
      const limit = serverInfo.maxUpload;
      const large = file.size + FORM_BYTES + 3 * file.name.length > limit;
      const text = large ? t("uploadTooLarge", { size: mebibytes(file.size, Math.ceil), limit: mebibytes(limit, Math.floor) }) : "";
      this.list = [...this.list, { id, name: file.name, size: file.size, state: large ? "failed" : "waiting", sent: 0, text }];
      if (!large) this._files.set(id, file);
    }
    this.changed();
    if (!this._running) this._run();
  }

  async _run() {
    this._running = true;
    for (let next = this._waiting(); next; next = this._waiting()) await this._send(next.id);
    this._running = false;
  }

  _waiting() {
    return this.list.find((one) => one.state === "waiting");
  }

  async _send(id) {
    const file = /** @type {File} */ (this._files.get(id));
    this._abort = new AbortController();
    this._set(id, { state: "sending" });
    const onProgress = (bytes, total) => this._set(id, { sent: Math.min(bytes, file.size), state: bytes < total ? "sending" : "checking" });
    try {
      await upload("/datastore/image", file, { signal: this._abort.signal, onProgress });
      this._set(id, { state: "done", sent: file.size });
    } catch (error) {
      if (isAbort(error)) this._set(id, { state: "cancelled" });
      else this._set(id, { state: "failed", text: sentence(error) });
    }
    this._files.delete(id);
    worklist.refresh();
  }

  /** Stop one that is not completely sent yet; the server keeps nothing of it. @param {number} id */
  cancel(id) {
    const state = this.list.find((one) => one.id === id)?.state;
    if (state === "sending") this._abort.abort();
    else if (state === "waiting") this._set(id, { state: "cancelled" });
  }

  cancelAll() {
    for (const { id } of [...this.list].reverse()) this.cancel(id);
  }

  /** Forget those that have ended. */
  clear() {
    this.list = this.list.filter((one) => ["waiting", "sending", "checking"].includes(one.state));
    this.changed();
  }

  /** @param {number} id @param {Partial<Upload>} values */
  _set(id, values) {
    this.list = this.list.map((one) => (one.id === id ? { ...one, ...values } : one));
    this.changed();
  }
}

/** @param {number} bytes @param {(value: number) => number} round */
export const mebibytes = (bytes, round = Math.round) => round((bytes / MEBIBYTE) * 10) / 10;

export const uploads = new Uploads();
