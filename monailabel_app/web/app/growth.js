// The gestational age that is given for a case, and what a growth chart says of a circumference; the server computes it.
import { V1, call, get, isAbort, sentence } from "./api.js";
import { Requests } from "./requests.js";
import { t } from "./strings.js";

const WAIT_MS = 200; // while an outline is being changed
const DAYS = 7;
export const MOST_WEEKS = 45;

/**
 * @typedef {object} Figures as `growth` of an assessment's record
 * @property {{days: number, source: string} | null} given_age
 * @property {{days: number, formula: string} | null} age
 * @property {{percent: number, z: number, formula: string} | null} centile
 * @property {{grams: number, formula: string} | null} weight
 * @property {string[]} notes
 */

export class Growth extends Requests {
  /** @param {import("./case_work.js").CaseWork} work */
  constructor(work) {
    super();
    this.work = work;
    /** What somebody gave. @type {{days: number | null, user: string | null, time: string | null}} */
    this.given = { days: null, user: null, time: null };
    this.error = "";
    this.known = false; // whether `given` was read
    /** @type {Map<string, Figures | null>} */
    this._figures = new Map();
    /** @type {Figures | null} */
    this._last = null;
    this._wanted = "";
    this._timer = 0;
  }

  async read() {
    try {
      this.given = await this.work._get("/case/age", { image: this.work.id });
      this.known = true;
      this.error = "";
    } catch (error) {
      if (isAbort(error)) return;
      this.error = sentence(error);
    }
    this.changed();
  }

  changed() {
    super.changed();
    this.work.changed();
  }

  close() {
    clearTimeout(this._timer);
  }

  /** The age that counts: what somebody gave, else that of the file. @returns {{days: number, source: string} | null} */
  get age() {
    const { days, user } = this.given;
    if (days !== null) return { days, source: user ? t("ageGivenBy", { user }) : t("ageGiven") };
    const header = this.work.assessment?.growth?.given_age;
    return header ? { days: header.days, source: t("ageOfHeader") } : null;
  }

  /** @param {number | null} days null: not known */
  give(days) {
    const request = async () => {
      this.given = await call("PUT", `${V1}/case/age`, { query: { image: this.work.id }, json: { days, rater: this.work.rater } });
    };
    return this._do(request, days === null ? t("ageRemoved") : t("ageSaved", { age: ageText(days) }));
  }

  /**
   * Figures of a circumference; those of the last one, marked as old, until the server has answered.
   * @param {string} name AC, HC or FL
   * @param {number} mm
   * @returns {{figures: Figures | null, old: boolean}}
   */
  of(name, mm) {
    const value = Math.round(mm * 10) / 10;
    const days = this.age?.days ?? null;
    const key = `${name} ${value} ${days}`;
    const figures = this._figures.get(key);
    if (figures !== undefined) {
      this._last = figures;
      return { figures, old: false };
    }
    if (this._wanted !== key) {
      this._wanted = key;
      clearTimeout(this._timer);
      this._timer = setTimeout(() => this._ask(key, { measurement: name, mm: value, days }), WAIT_MS);
    }
    return { figures: this._last, old: true };
  }

  async _ask(key, query) {
    let figures = null;
    try {
      figures = await get(`${V1}/growth`, query);
      this._figures.set(key, figures);
    } catch {
      this._wanted = ""; // asked again when something changes
      return;
    }
    this.changed();
  }
}

/** Days from weeks and days as typed; null for nothing. @returns {{days: number | null} | {wrong: string}} */
export function parseAge(weeks, days) {
  if (!weeks.trim() && !days.trim()) return { days: null };
  const [whole, rest] = [Number(weeks), Number(days || 0)];
  if (!Number.isInteger(whole) || whole < 1 || whole > MOST_WEEKS) return { wrong: t("ageWeeksWrong", { most: MOST_WEEKS }) };
  if (!Number.isInteger(rest) || rest < 0 || rest >= DAYS) return { wrong: t("ageDaysWrong") };
  return { days: whole * DAYS + rest };
}

/** @param {number} days */
export const ageText = (days) => t("weeksAndDays", { weeks: Math.floor(days / DAYS), days: days % DAYS });
