// Review of another rater's label of the open case: overlay, agreement, accept, request changes, pick.
import { V1, call, get, sentence } from "./api.js";
import { framesOf } from "./annotation.js";
import { Requests } from "./requests.js";
import { t } from "./strings.js";
import { toast } from "./toasts.js";

const FINAL = "final";

export class Review extends Requests {
  /** @param {import("./case_work.js").CaseWork} work */
  constructor(work) {
    super();
    this.work = work;
    /** Versions by tag, oldest first. @type {Record<string, any[]>} */
    this.labels = {};
    this.tag = "";
    this.version = 0;
    /** @type {Map<number, import("./annotation.js").FrameLabel>} */
    this.frames = new Map();
    this.agreement = null;
    this.beside = false; // side by side, instead of one over the other
    this.left = ""; // label on the left, if not one's own
    this.leftVersion = 0;
    /** @type {Map<number, import("./annotation.js").FrameLabel>} */
    this.leftFrames = new Map();
    this.error = "";
  }

  async readLabels() {
    try {
      this.labels = await get(`${V1}/labels`, { image: this.work.id });
      this.error = "";
    } catch (error) {
      this.error = sentence(error);
    }
    this.changed();
  }

  changed() {
    super.changed();
    this.work.changed();
  }

  _reread() {
    return this.readLabels();
  }

  /** Compare with a label; an empty tag ends it. @param {string} tag @param {number} [version] */
  async compare(tag, version) {
    this.tag = tag;
    this.frames = new Map();
    this.version = 0;
    if (!tag || tag === this.left) this._ownOnTheLeft();
    this.changed();
    if (tag) {
      const label = await this._label(tag, version);
      if (!label || this.tag !== tag) return; // another one was chosen meanwhile
      this.frames = framesOf(label);
      this.version = label.version;
    }
    await this._readAgreement();
  }

  /** Show another label on the left, beside the compared one; an empty tag: one's own. @param {string} tag */
  async showLeft(tag) {
    this._ownOnTheLeft();
    this.left = tag;
    this.changed();
    if (tag) {
      const label = await this._label(tag);
      if (!label || this.left !== tag) return;
      this.leftFrames = framesOf(label);
      this.leftVersion = label.version;
    }
    await this._readAgreement();
  }

  /** Side by side, or one over the other. @param {boolean} beside */
  place(beside) {
    this.beside = beside;
    if (!beside && this.left) this.showLeft("");
    this.changed();
  }

  /** Whether two other labels are compared. */
  get others() {
    return this.beside && this.tag !== "" && this.left !== "";
  }

  /** Whether two labels are shown side by side. */
  get split() {
    return this.beside && this.tag !== "";
  }

  _ownOnTheLeft() {
    this.left = "";
    this.leftVersion = 0;
    this.leftFrames = new Map();
    this.agreement = null;
  }

  async _label(tag, version) {
    try {
      const label = await get(`${V1}/label`, { image: this.work.id, tag, version });
      this.error = "";
      return label;
    } catch (error) {
      this.error = sentence(error);
      this.changed();
      return null;
    }
  }

  /** Of the last versions of both labels. */
  async _readAgreement() {
    const [first, second] = [this.left || this.work.tag, this.tag];
    this.agreement = null;
    if (second && first !== second && this.labels[first]) {
      try {
        const found = await get(`${V1}/agreement`, { image: this.work.id, first, second });
        if (first === (this.left || this.work.tag) && second === this.tag) this.agreement = found;
      } catch (error) {
        this.error = sentence(error);
      }
    }
    this.changed();
  }

  /** The version that is compared, as the server lists it. */
  get entry() {
    return this.labels[this.tag]?.find((one) => one.version === this.version) ?? null;
  }

  async accept() {
    await this._review("accepted", "", t("reviewAccepted", { tag: this.tag, version: this.version }));
  }

  /** @param {string} comment */
  async requestChanges(comment) {
    if (!comment.trim()) {
      toast(t("commentNeeded"));
      return false;
    }
    return this._review("returned", comment.trim(), t("changesRequested", { tag: this.tag, version: this.version }));
  }

  async _review(state, comment, done) {
    if (!this.version) return false;
    const form = new FormData();
    form.append("state", state);
    form.append("comment", comment);
    const query = { label: this.work.id, tag: this.tag, version: this.version };
    return this._do(() => call("POST", "/datastore/label/review", { query, form }), done);
  }

  /** Make the compared version the final label. */
  async pick() {
    const query = { label: this.work.id, tag: this.tag, version: this.version, final: FINAL };
    return this._do(() => call("POST", "/datastore/label/pick", { query }), t("picked", { tag: this.tag, version: this.version }));
  }
}
