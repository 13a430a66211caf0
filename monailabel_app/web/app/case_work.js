// One open case: frames, assessment, labels with their journal, and what is shown. The panels follow it.
import { ActionQueue } from "./action_queue.js";
import { Annotation, InvalidAction, framesOf } from "./annotation.js";
import { V1, call, get, isAbort, sentence } from "./api.js";
import { frameAhead, suggestedAhead } from "./frame_navigation.js";
import { measurementOf, measurementOfLabel } from "./frame_measurement.js";
import { archive, journaledWork, keepInJournal } from "./case_journal.js";
import { Frames } from "./frames.js";
import { Growth } from "./growth.js";
import { Observable } from "./observable.js";
import { asName } from "./settings.js";
import { pixelsOf } from "./run_lengths.js";
import { nameAnatomy, t } from "./strings.js";
import { snapshot, submit } from "./submission.js";
import { toast } from "./toasts.js";

const SEARCHED = 40; // frames from which on the best one is searched for first

export class CaseWork extends Observable {
  /**
   * @param {string} id
   * @param {{rater: string, tag: string, readOnly?: boolean}} settings `readOnly`: as the server has it, without journal
   * @param {{frame: number, reason: string}[]} [suggested] frames of the query strategy
   */
  constructor(id, { rater, tag, readOnly = false }, suggested = []) {
    super();
    this.id = id;
    this.rater = rater;
    this.tag = tag;
    this.suggested = suggested;
    this.readOnly = readOnly;
    this.label = null; // as the server has it
    this.info = null;
    this.layout = null;
    this.assessment = null;
    this.complete = false; // whether the whole case is assessed
    /** @type {Frames | null} */
    this.frames = null;
    this.annotation = new Annotation(rater, (number) => this._modelProposal(number), (number) => this.isPadding(number));
    this.position = 0;
    this.ready = false; // whether labels may be changed
    this.heldElsewhere = false;
    this.restored = false;
    this.error = "";
    this.assessmentError = "";
    this.journalError = "";
    this.submitting = false;
    /** @type {import("./submission.js").Conflict | null} */
    this.conflict = null;
    /** Of another rater's label. @type {import("./review.js").Review | null} */
    this.review = null;
    this.growth = new Growth(this);
    this.actions = new ActionQueue((action) => this._apply(action), () => this.changed());
    this._abort = new AbortController();
    this._release = () => {};
    this._measured = new WeakMap();
    this._shownBySomebody = false;
  }

  async open() {
    try {
      this.info = await this._get("/case", { image: this.id });
    } catch (error) {
      if (!isAbort(error)) this._fail(error);
      return;
    }
    nameAnatomy(this.info.model);
    this.frames = new Frames(this.id, this.info);
    this.goTo(this.suggested[0]?.frame ?? this.info.best?.frame ?? 0, false);
    await Promise.all([this._readLayout(), this._readLabel(), this._assess(), this.growth.read()]);
  }

  close() {
    this._abort.abort();
    this.growth.close();
    this._release();
    this.frames?.close();
  }

  retry() {
    this.error = "";
    this.changed();
    if (!this.info) this.open();
    else Promise.all([this.layout ? null : this._readLayout(), this.ready ? null : this._readLabel(), this.complete ? null : this._assess(), this.growth.known ? null : this.growth.read()]);
    this.frames?.retry();
  }

  // -- reading ------------------------------------------------------------------------------------

  _get(path, query) {
    return get(`${V1}${path}`, query, { signal: this._abort.signal });
  }

  _fail(error) {
    this.error = sentence(error);
    this.changed();
  }

  async _readLayout() {
    try {
      const layout = await this._get("/case/layout", { image: this.id });
      layout.paddingSet = new Set(layout.padding);
      layout.fieldPixels = pixelsOf(layout.field_of_view);
      layout.measurablePixels = pixelsOf(layout.measurable);
      this.layout = layout;
      this._measured = new WeakMap();
      if (!this._shownBySomebody && this.isPadding(this.position)) this.goTo(this.next(1) ?? this.position, false);
      this.changed();
    } catch (error) {
      if (!isAbort(error)) this._fail(error);
    }
  }

  /** The label from the server, then unsubmitted work from the journal. */
  async _readLabel() {
    try {
      const label = await this._get("/label", { image: this.id, tag: this.tag });
      this.label = label;
      if (this.readOnly) {
        this.annotation.replaceAll(framesOf(label), label.version, true);
        this.changed();
        return;
      }
      this.heldElsewhere = !(await this._lock());
      const work = this.heldElsewhere ? undefined : await journaledWork(this).catch((error) => this._noJournal(error));
      if (work) {
        this.annotation.replaceAll(new Map(Object.entries(work.frames).map(([key, one]) => [Number(key), one])), work.basedOn, false);
        this.annotation.sent = work.sent;
        this.restored = true;
        if (label.version !== work.basedOn) await this._compareRestored(label);
      } else {
        this.annotation.replaceAll(framesOf(label), label.version, true);
      }
      this.ready = !this.heldElsewhere;
      this.annotation.startViewing(this.position);
      this.changed();
    } catch (error) {
      if (!isAbort(error)) this._fail(error);
    }
  }

  /** Of restored work: was it saved, and only the answer lost? Else somebody saved another version. */
  async _compareRestored(label) {
    if (this.annotation.sent.includes(label.submission)) {
      this.annotation.basedOn = label.version;
      return;
    }
    const who = label.rater || label.user || "";
    this.conflict = { message: "", version: label.version, who, frames: framesOf(label) };
  }

  /** Hold the case in this tab: two tabs would overwrite each other's journal. @returns {Promise<boolean>} */
  _lock() {
    if (!navigator.locks) return Promise.resolve(true);
    return new Promise((resolve) => {
      navigator.locks.request(`fetaliqa ${this.tag} ${this.rater} ${this.id}`, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        return lock && new Promise((release) => { this._release = () => release(null); });
      });
    });
  }

  /** Best frame first where the case was not assessed before. */
  async _assess() {
    try {
      this.assessmentError = "";
      const known = this.info.best !== null || this.count < SEARCHED;
      if (!known) this._assessed(await this._get("/case/assessment", { image: this.id, search: true }));
      this._assessed(await this._get("/case/assessment", { image: this.id }), true);
    } catch (error) {
      if (isAbort(error)) return;
      this.assessmentError = sentence(error);
      this.changed();
    }
  }

  _assessed(assessment, complete = false) {
    assessment.estimatedSet = new Set(assessment.estimated);
    assessment.unlikeSet = new Set(assessment.unlike_training_data);
    this.assessment = assessment;
    this.complete = complete || !assessment.estimated.length;
    if (!this._shownBySomebody && !this.suggested.length && assessment.best.frame !== null) this.goTo(assessment.best.frame, false);
    this.changed();
  }

  // -- what is known of a frame -------------------------------------------------------------------

  get count() {
    return this.info?.frames ?? 0;
  }

  get sweeps() {
    return this.assessment?.sweeps ?? this.layout?.sweeps ?? [[0, this.count]];
  }

  /** Whether the anatomy is a line, not an ellipse. */
  get isLine() {
    return this.info?.model?.shape === "line";
  }

  sweepOf(number) {
    return Math.max(0, this.sweeps.findIndex(([start, stop]) => number >= start && number < stop));
  }

  isPadding(number) {
    return this.layout?.paddingSet.has(number) ?? false;
  }

  quality(number) {
    return this.assessment?.quality[number] ?? null;
  }

  get spacing() {
    return this.assessment ? this.assessment.spacing_mm : this.info?.spacing_mm ?? null;
  }

  /** Suggested frames: of the strategy, else the model's ranking. */
  get suggestions() {
    return this.suggested.length ? this.suggested.map((one) => one.frame) : this.assessment?.ranking ?? [];
  }

  reasonFor(number) {
    return this.suggested.find((one) => one.frame === number)?.reason ?? "";
  }

  _modelProposal(number) {
    const found = this.assessment?.frames[number];
    const model = this.assessment?.model;
    return found ? { mask: found.mask, model: model.name, version: String(model.version) } : null;
  }

  /** Of the label, else of the proposal. @param {number} number */
  measurement(number) {
    return measurementOf(this, number, this._measured);
  }

  /** Of another label. @param {number} number @param {import("./annotation.js").FrameLabel} label */
  measurementOfLabel(number, label) {
    return measurementOfLabel(this, number, label, this._measured);
  }

  // -- navigation ---------------------------------------------------------------------------------

  /** @param {number | null} number @param {boolean} [byUser] */
  goTo(number, byUser = true) {
    if (number === null || number < 0 || number >= this.count) return;
    this._shownBySomebody ||= byUser;
    this.position = number;
    this.annotation.startViewing(number);
    this.changed();
  }

  /** The frame `by` frames ahead, not counting black ones. @param {number} by @returns {number | null} */
  next(by) {
    return frameAhead(this, by);
  }

  /** The next suggested frame, unlabelled ones first. @param {1 | -1} direction @returns {number | null} */
  nextSuggested(direction) {
    return suggestedAhead(this, direction);
  }

  // -- changes ------------------------------------------------------------------------------------

  /**
   * Do one action, after those before it; it is in the journal before the next one. The action must not ask which
   * frame is shown: another one may be by then.
   * @param {(annotation: Annotation) => string | void} action returns a message
   * @returns {Promise<boolean>} whether it was possible
   */
  apply(action) {
    return this.actions.add(action);
  }

  async _apply(action) {
    if (!this.ready) {
      toast(this.heldElsewhere ? t("heldElsewhere") : t("stillOpening"));
      return false;
    }
    if (this.review?.others) {
      toast(t("othersCompared")); // one's own label is not shown
      return false;
    }
    try {
      const message = action(this.annotation);
      if (message) toast(message);
    } catch (error) {
      if (!(error instanceof InvalidAction)) throw error;
      toast(error.message);
      return false;
    }
    const written = this._write();
    this.changed();
    await written;
    return true;
  }

  async undoOrRedo(name) {
    let shown = -1;
    await this.apply((annotation) => {
      const step = name === "undo" ? annotation.undo() : annotation.redo();
      shown = step.frame;
      return t(name === "undo" ? "undone" : "redone", { name: t(`action_${step.name}`), frame: step.frame });
    });
    if (shown >= 0 && shown !== this.position) this.goTo(shown);
  }

  async copy(by) {
    const source = this.position;
    const target = source + by;
    const done = await this.apply((annotation) => annotation.copy(source, target, this.sweepOf(source) === this.sweepOf(target)));
    if (done) this.goTo(target);
  }

  async _write() {
    try {
      await keepInJournal(this);
      this.journalError = "";
    } catch (error) {
      this._noJournal(error);
    }
  }

  _noJournal(error) {
    this.journalError = t("noJournal", { reason: sentence(error) });
    this.changed();
    return undefined;
  }

  // -- submission ---------------------------------------------------------------------------------

  /** @param {string} [tag] another label name, which the work goes on under */
  async submit(tag = this.tag) {
    if (!this.ready || this.submitting) return;
    const { annotation } = this;
    if (tag === this.tag && !annotation.unsaved) return void toast(t("nothingToSubmit"));
    this.submitting = true;
    this.changed();
    try {
      await this.actions.done;
      const submission = snapshot(this.id, tag, annotation);
      if (tag !== this.tag) submission.body.based_on = 0;
      await this._write(); // with the token: should the answer be lost, it is recognised
      const outcome = await submit(submission);
      if ("conflict" in outcome && tag !== this.tag) toast(t("tagTaken", { tag }), "error");
      else if ("conflict" in outcome) this.conflict = outcome.conflict;
      else await this._submitted(submission, outcome.version, tag);
    } catch (error) {
      toast(sentence(error), "error");
    } finally {
      this.submitting = false;
      this.changed();
    }
  }

  async _submitted(submission, version, tag) {
    const { annotation } = this;
    this.conflict = null;
    if (tag !== this.tag) {
      toast(t("savedAs", { tag, version }));
      return;
    }
    annotation.basedOn = version;
    annotation.savedRevision = submission.revision;
    if (!annotation.unsaved) annotation.sent = [];
    await this._write();
    this.restored = false;
    toast(t("submitted", { version }), "success");
    call("DELETE", "/activelearning/lease", { query: { user_name: asName(this.rater) || "unknown" } }).catch(() => {});
  }

  /** @param {"mine" | "theirs" | "both"} choice @param {string} [otherTag] */
  async resolve(choice, otherTag = "") {
    const { conflict, annotation } = this;
    if (!conflict) return;
    if (choice === "mine") {
      this.conflict = null;
      annotation.basedOn = conflict.version;
      await this._write();
      await this.submit();
      return;
    }
    if (choice === "both") {
      await this.submit(otherTag);
      if (this.conflict) return; // it could not be saved
    } else {
      await archive(this, "replaced");
    }
    annotation.replaceAll(conflict.frames, conflict.version, true);
    annotation.sent = [];
    this.conflict = null;
    this.restored = false;
    await this._write();
    this.changed();
  }
}
