// The worklist: cases with their states, filter and order; the next case of the query strategy.
import { V1, call, get, sentence } from "./api.js";
import { allWork } from "./journal.js";
import { Observable } from "./observable.js";
import { asName, settings } from "./settings.js";
import { nameAnatomy, t } from "./strings.js";
import { toast } from "./toasts.js";

export const IN_PROGRESS = "in progress";
export const STATES = ["not started", IN_PROGRESS, "submitted", "changes requested", "accepted"];
export const ORDERS = ["name", "state", "quality", "ac", "saved"];

/** @typedef {Record<string, any>} Row of GET /fetaliqa/v1/worklist */

class Worklist extends Observable {
  constructor() {
    super();
    /** @type {Row[] | null} */
    this.rows = null;
    this.notOffered = [];
    this.error = "";
    this.loading = false;
    this.state = "";
    this.text = "";
    this.order = "name";
    this.descending = false;
    this.scroll = 0; // where the list was left
    /** Suggested frames by case, of the query strategy. @type {Map<string, {frame: number, reason: string}[]>} */
    this.suggested = new Map();
    /** @type {string[]} */
    this._skipped = [];
  }

  async refresh() {
    if (this.loading) return;
    this.loading = true;
    this.changed();
    try {
      const [answer, work] = await Promise.all([get(`${V1}/worklist`, { tag: settings.tag }), allWork().catch(() => [])]);
      const mine = work.filter((one) => one.tag === settings.tag && one.rater === settings.rater).map((one) => one.case);
      const open = new Set(mine);
      this.rows = answer.cases.map((row) => (open.has(row.id) ? { ...row, state: IN_PROGRESS } : row));
      this.notOffered = answer.not_offered;
      nameAnatomy(answer.model);
      this.error = "";
    } catch (error) {
      this.error = sentence(error);
    }
    this.loading = false;
    this.changed();
  }

  /** Rows that the filters leave, in the chosen order. @returns {Row[]} */
  get shown() {
    const text = this.text.trim().toLowerCase();
    const rows = (this.rows ?? []).filter((row) => (!this.state || row.state === this.state) && row.id.toLowerCase().includes(text));
    const by = {
      name: (row) => row.id.toLowerCase(),
      state: (row) => STATES.indexOf(row.state),
      quality: (row) => row.best?.quality ?? -1,
      ac: (row) => row.best?.length_mm ?? row.best?.circumference_mm ?? -1,
      saved: (row) => row.saved ?? "",
    }[this.order];
    const way = this.descending ? -1 : 1;
    return rows.sort((one, two) => {
      const [first, second] = [by(one), by(two)];
      return first < second ? -way : first > second ? way : one.id.localeCompare(two.id);
    });
  }

  /** @param {Partial<Worklist>} values */
  set(values) {
    Object.assign(this, values);
    this.changed();
  }

  /**
   * Ask for the next case, which is leased to this rater.
   * @param {string} [skip] the open case
   * @returns {Promise<string | null>} its id
   */
  async next(skip) {
    if (skip && !this._skipped.includes(skip)) this._skipped.push(skip);
    try {
      const json = { user: asName(settings.rater) || "unknown", skip: this._skipped.slice(-500) };
      const answer = await call("POST", "/activelearning/fetaliqa", { json });
      if (answer.exhausted) {
        this._skipped = [];
        toast(t("exhausted"));
        return null;
      }
      this.suggested.set(answer.id, answer.frames);
      const reason = answer.frames[0]?.reason ?? answer.note;
      if (reason) toast(t("nextReason", { reason }));
      return answer.id;
    } catch (error) {
      toast(sentence(error), "error");
      return null;
    }
  }

  /** Assess all cases ahead, in a worker process; the query strategies use what it finds. */
  async assessAll() {
    try {
      await call("POST", "/scoring/frames", { json: {} });
      toast(t("assessingAll"));
    } catch (error) {
      toast(sentence(error), "error");
    }
  }
}

export const worklist = new Worklist();
