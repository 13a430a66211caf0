// Training: labels since the last one, progress, the gate's decision, versions of the model.
import { SEGMENTATION, V1, ApiError, call, get, sentence } from "./api.js";
import { Requests } from "./requests.js";
import { t } from "./strings.js";

const POLL_MS = 2000; // while a training runs
const IDLE_MS = 15000;

export class Training extends Requests {
  constructor() {
    super();
    this.stats = null; // train_stats of GET /info/
    this.models = null; // GET /models/
    /** @type {any[]} */
    this.history = [];
    /** @type {string[]} */
    this.log = [];
    this.report = null; // GET /fetaliqa/v1/models/report
    this.error = "";
    /** Losses by step, of this visit. @type {Map<number, number>} */
    this.losses = new Map();
    /** Validation figures by epoch. @type {Map<number, Record<string, number>>} */
    this.validation = new Map();
    this._run = null;
    this._timer = 0;
    this._closed = false;
  }

  get running() {
    return this.stats?.state === "running";
  }

  open() {
    this._poll();
  }

  close() {
    this._closed = true;
    clearTimeout(this._timer);
  }

  async _poll() {
    await this.refresh();
    if (!this._closed) this._timer = setTimeout(() => this._poll(), this.running ? POLL_MS : IDLE_MS);
  }

  async refresh() {
    try {
      const was = this.stats?.state;
      const info = await get("/info/");
      this.stats = info.train_stats?.[SEGMENTATION] ?? null;
      this._collect();
      const task = await get("/train/").catch((error) => {
        if (error instanceof ApiError && error.status === 404) return null;
        throw error;
      });
      this.log = task?.details ?? [];
      if (!this.models || was !== this.stats?.state) await this.readModels();
      this.error = "";
    } catch (error) {
      this.error = sentence(error);
    }
    this.changed();
  }

  /** The server keeps the last losses; those before are kept here. */
  _collect() {
    const { run, losses = [], step = 0, epoch = 0, validation = {} } = this.stats ?? {};
    if (run !== this._run) {
      this.losses.clear();
      this.validation.clear();
      this._run = run;
    }
    losses.forEach((loss, index) => this.losses.set(Math.max(0, step - losses.length) + index + 1, loss));
    if (Object.keys(validation).length) this.validation.set(epoch, validation);
  }

  async readModels() {
    this.models = await get("/models/");
    this.history = (await get("/models/history")).reverse();
    const judged = [...this.models.versions].reverse().find((one) => one.refused !== null);
    if (judged && judged.version !== this.report?.version) await this.readReport(judged.version);
    this.changed();
  }

  /** @param {string} version */
  async readReport(version) {
    this.report = await get(`${V1}/models/report`, { version }).catch(() => null);
    this.changed();
  }

  /** @param {"quick" | "full"} mode @param {boolean} publish @param {boolean} [resume] */
  start(mode, publish, resume = false) {
    return this._do(() => call("POST", `/train/${SEGMENTATION}`, { json: { mode, publish, resume } }), t("trainingStarted"));
  }

  stop() {
    return this._do(() => call("DELETE", "/train/"), t("trainingStopped"));
  }

  /** @param {string} version @param {string} [reason] to override the gate */
  publish(version, reason = "") {
    const json = reason ? { version, force: true, reason } : { version };
    return this._do(() => call("POST", "/models/publish", { json }), t("publishedVersion", { version }));
  }

  rollback() {
    return this._do(() => call("POST", "/models/rollback"), t("rolledBack"));
  }

  async _reread() {
    this.models = null;
    await this.refresh();
  }
}
