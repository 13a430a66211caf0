// Labels of one case: every change is one action that can be undone. The rules are those of the Slicer module.
import { maskOf, sameMask } from "./run_lengths.js";
import { t } from "./strings.js";

export const UNTOUCHED = "untouched";
export const ANNOTATED = "annotated";
export const EMPTY = "empty";
export const OPTIMAL = "optimal";
export const SUBOPTIMAL = "suboptimal";
const MAX_UNDO = 500; // actions; about an hour of work
const MAX_SECONDS = 300; // counted for one frame; longer is a break
export const MAX_COMMENT = 500; // characters
const MAX_TEXT = 200; // characters of a name in a record
const SAME_ACTION_MS = 1500; // moves by key within this time are one action

/** @typedef {import("./run_lengths.js").Mask} Mask */

/**
 * How a mask came about, as the frame record has it: by clicks, or carried from another frame.
 * @typedef {{origin: "interactive", clicks: number} | {origin: "propagated", source_frame: number}} Origin
 */

/**
 * A proposed mask: of the model, or carried along from another frame.
 * @typedef {object} Proposal
 * @property {Mask} mask
 * @property {string} model
 * @property {string} version
 * @property {Origin} [origin]
 */

/**
 * Label of one frame; never changed, only replaced.
 * @typedef {object} FrameLabel
 * @property {string} state
 * @property {Mask | null} mask set if and only if annotated
 * @property {string | null} plane
 * @property {string} rater
 * @property {string} time ISO 8601
 * @property {string} model of the accepted or corrected proposal
 * @property {string} version of that model
 * @property {Origin} [origin]
 * @property {string} [comment] of the rater
 * @property {number | null} seconds
 * @property {Proposal | null} pending
 * @property {import("./ellipse.js").Ellipse | null} [ellipse] that the mask was drawn as
 * @property {import("./line.js").Line | null} [line] that the mask was drawn as
 */

/** @type {FrameLabel} */
export const NO_LABEL = Object.freeze({
  state: UNTOUCHED, mask: null, plane: null, rater: "", time: "", model: "", version: "", seconds: null, pending: null,
});

/** An action that is not possible, with a sentence. */
export class InvalidAction extends Error {}

export class Annotation {
  /**
   * @param {string} rater
   * @param {(number: number) => Proposal | null} proposalOf of the model
   * @param {(number: number) => boolean} isPadding
   */
  constructor(rater, proposalOf, isPadding) {
    this.rater = rater;
    this._proposalOf = proposalOf;
    this._isPadding = isPadding;
    this.basedOn = 0; // version on the server that these labels are based on
    this.revision = 0; // number of changes
    this.savedRevision = 0; // last revision that the server has
    /** @type {string[]} */
    this.sent = []; // tokens of submissions
    /** @type {Map<number, FrameLabel>} */
    this.frames = new Map();
    this._undo = [];
    this._redo = [];
    this._shown = { number: -1, since: 0 };
  }

  frame(number) {
    return this.frames.get(number) ?? NO_LABEL;
  }

  /** The mask proposed for a frame: a pending one, else the model's. @returns {Proposal | null} */
  proposal(number) {
    return this.frame(number).pending ?? this._proposalOf(number);
  }

  get unsaved() {
    return this.revision !== this.savedRevision;
  }

  get canUndo() {
    return this._undo.length > 0;
  }

  get canRedo() {
    return this._redo.length > 0;
  }

  /** Start measuring the time spent on a frame. */
  startViewing(number) {
    this._shown = { number, since: performance.now() };
  }

  counts() {
    const states = [...this.frames.values()].map((one) => one.state);
    const count = (state) => states.filter((one) => one === state).length;
    return { annotated: count(ANNOTATED), empty: count(EMPTY) };
  }

  /** Numbers of the labelled frames, in order. @returns {number[]} */
  get labelled() {
    return [...this.frames].filter(([, label]) => label.state !== UNTOUCHED).map(([number]) => number).sort((one, two) => one - two);
  }

  /** Numbers of the outlined frames, in order. @returns {number[]} */
  get outlined() {
    return this.labelled.filter((number) => this.frame(number).state === ANNOTATED);
  }

  // -- actions ------------------------------------------------------------------------------------

  accept(number) {
    const proposal = this.proposal(number);
    if (!proposal) throw new InvalidAction(t("nothingProposed"));
    const frame = this.frame(number);
    if (frame.mask && sameMask(frame.mask, proposal.mask) && frame.rater === this.rater) {
      return t("alreadyAccepted", { frame: number });
    }
    this._do("accept", number, this._newLabel(number, ANNOTATED, proposal.mask));
    return t("accepted", { frame: number });
  }

  /**
   * Set the mask of a frame.
   * @param {number} number
   * @param {Mask | null} mask null: everything is erased, which removes the label
   * @param {object} [source]
   * @param {string} [source.action]
   * @param {import("./ellipse.js").Ellipse | null} [source.ellipse]
   * @param {import("./line.js").Line | null} [source.line]
   * @param {Proposal | null} [source.proposal] that was corrected, instead of the frame's
   * @param {boolean} [source.joined] with the action before, if it is the same and just done
   */
  correct(number, mask, { action = "draw", ellipse = null, line = null, proposal = null, joined = false } = {}) {
    const frame = this.frame(number);
    if (sameMask(mask, frame.mask)) return "";
    const label = mask
      ? { ...this._newLabel(number, ANNOTATED, mask, proposal), ellipse, line }
      : { ...NO_LABEL, pending: frame.pending };
    this._do(mask ? action : "erase", number, label, joined);
    return mask ? "" : t("erased", { frame: number });
  }

  /** @param {number} number @param {Uint8Array} pixels @param {number} rows @param {number} columns @param {object} [source] */
  draw(number, pixels, rows, columns, source) {
    return this.correct(number, maskOf(pixels, rows, columns), source);
  }

  markEmpty(number) {
    if (this._isPadding(number)) throw new InvalidAction(t("isPadding", { frame: number }));
    if (this.frame(number).state === EMPTY) return t("alreadyEmpty", { frame: number });
    this._do("empty", number, this._newLabel(number, EMPTY, null));
    return t("markedEmpty", { frame: number });
  }

  clear(number) {
    const frame = this.frame(number);
    if (frame.state === UNTOUCHED && !frame.pending) throw new InvalidAction(t("nothingToClear"));
    this._do("clear", number, NO_LABEL);
    return t("cleared", { frame: number });
  }

  /** @param {number} number @param {string} plane */
  grade(number, plane) {
    const frame = this.frame(number);
    if (frame.state !== ANNOTATED) throw new InvalidAction(t("gradeNeedsMask"));
    const graded = frame.plane === plane ? null : plane;
    const label = { ...this._newLabel(number, ANNOTATED, frame.mask), plane: graded, ellipse: frame.ellipse, line: frame.line };
    this._do("grade", number, { ...label, model: frame.model, version: frame.version, origin: frame.origin });
    return t(graded ? `graded_${graded}` : "gradeRemoved", { frame: number });
  }

  /** @param {number} number @param {string} text empty: none */
  comment(number, text) {
    const frame = this.frame(number);
    const comment = text.trim().slice(0, MAX_COMMENT) || undefined;
    if (frame.state === UNTOUCHED) throw new InvalidAction(t("commentNeedsLabel"));
    if (comment === frame.comment) return "";
    this._do("comment", number, { ...frame, comment });
    return "";
  }

  copy(source, target, sameSweep) {
    const from = this.frame(source);
    if (!from.mask) throw new InvalidAction(t("nothingToCopy"));
    if (target < 0 || this._isPadding(target) || !sameSweep) throw new InvalidAction(t("noFrameThere"));
    if (this.frame(target).state !== UNTOUCHED) throw new InvalidAction(t("alreadyLabelled", { frame: target }));
    this._do("copy", target, { ...this._newLabel(target, ANNOTATED, from.mask), ellipse: from.ellipse, line: from.line });
    return t("copied", { frame: target });
  }

  /** Offer masks for frames that are not labelled, one action. @param {Map<number, Proposal | null>} proposals null: none any more */
  propose(proposals, action = "propose") {
    const after = new Map();
    for (const [number, proposal] of proposals) {
      if (this.frame(number).state === UNTOUCHED) after.set(number, { ...this.frame(number), pending: proposal });
    }
    if (after.size) this._doAll(action, after);
  }

  /** Accept the pending masks of frames that are not labelled, one action. @param {number[]} numbers */
  confirm(numbers) {
    const after = new Map();
    for (const number of numbers) {
      const { state, pending } = this.frame(number);
      if (state === UNTOUCHED && pending) after.set(number, this._newLabel(number, ANNOTATED, pending.mask));
    }
    if (after.size) this._doAll("confirm", after);
  }

  // -- undo ---------------------------------------------------------------------------------------

  /** @returns {{name: string, frame: number}} */
  undo() {
    const step = this._undo.pop();
    if (!step) throw new InvalidAction(t("nothingToUndo"));
    this._put(step.before);
    this._redo.push(step);
    return { name: step.name, frame: Math.min(...step.after.keys()) };
  }

  redo() {
    const step = this._redo.pop();
    if (!step) throw new InvalidAction(t("nothingToRedo"));
    this._put(step.after);
    this._undo.push(step);
    return { name: step.name, frame: Math.min(...step.after.keys()) };
  }

  /** Replace all labels, those of the server (`saved`) or of the journal. */
  replaceAll(frames, basedOn, saved) {
    this.frames = new Map(frames);
    this.basedOn = basedOn;
    this._undo = [];
    this._redo = [];
    this.revision += 1;
    if (saved) this.savedRevision = this.revision;
  }

  // -- helpers ------------------------------------------------------------------------------------

  /** @returns {FrameLabel} */
  _newLabel(number, state, mask, proposal = this.proposal(number)) {
    const before = this.frame(number);
    const source = proposal ?? this.proposal(number);
    return {
      state,
      mask,
      plane: state === ANNOTATED ? before.plane : null,
      rater: this.rater,
      time: new Date().toISOString().replace(/\.\d+Z$/, "+00:00"),
      model: source?.model ?? "",
      version: source?.version ?? "",
      origin: source?.origin,
      comment: before.comment,
      seconds: this._spent(number, before),
      pending: before.pending,
    };
  }

  _spent(number, before) {
    if (this._shown.number !== number) return before.seconds;
    const now = performance.now();
    const spent = (before.seconds ?? 0) + (now - this._shown.since) / 1000;
    this._shown.since = now;
    return Math.min(spent, MAX_SECONDS);
  }

  _do(name, number, label, joined = false) {
    const last = this._undo[this._undo.length - 1];
    if (joined && last?.name === name && last.after.has(number) && performance.now() - last.time < SAME_ACTION_MS) {
      this._put(new Map([[number, label]]));
      last.after = new Map([[number, label]]);
      last.time = performance.now();
      this._redo = [];
      return;
    }
    this._doAll(name, new Map([[number, label]]));
  }

  _doAll(name, after) {
    const before = new Map([...after.keys()].map((number) => [number, this.frame(number)]));
    this._put(after);
    this._undo.push({ name, before, after, time: performance.now() });
    this._undo.splice(0, Math.max(0, this._undo.length - MAX_UNDO));
    this._redo = [];
  }

  _put(frames) {
    for (const [number, label] of frames) {
      if (label.state === UNTOUCHED && !label.pending) this.frames.delete(number);
      else this.frames.set(number, label);
    }
    this.revision += 1;
  }
}

/** Frame record of the labelled frames (docs/server.md, "Labels"). @param {Map<number, FrameLabel>} frames */
export function frameRecord(frames) {
  const labelled = [...frames].filter(([, label]) => label.state !== UNTOUCHED).sort(([one], [two]) => one - two);
  return { schema: 1, frames: Object.fromEntries(labelled.map(([number, label]) => [number, entryOf(label)])) };
}

/** @param {FrameLabel} label */
function entryOf(label) {
  const text = (value) => (value ? value.slice(0, MAX_TEXT) : null);
  return {
    state: label.state,
    plane: label.plane,
    rater: text(label.rater),
    time: label.time || null,
    model: text(label.model),
    model_version: text(label.version),
    seconds: label.seconds === null ? null : Math.round(label.seconds * 10) / 10,
    ...(label.comment ? { comment: label.comment } : {}),
    ...(label.origin ?? {}),
  };
}

/** Masks of the annotated frames, by number. @param {Map<number, FrameLabel>} frames */
export function masksOf(frames) {
  return Object.fromEntries([...frames].filter(([, label]) => label.mask).map(([number, label]) => [number, label.mask]));
}

/**
 * Frames of a label from the server. Without a record every mask counts as annotated; a mask of a frame that nobody
 * confirmed is a proposal.
 * @param {{frame_record: any, masks: Record<string, Mask>, values: Record<string, number>}} label
 * @returns {Map<number, FrameLabel>}
 */
export function framesOf({ frame_record: record, masks, values = {} }) {
  const planeOf = (key) => (values[key] === 2 ? SUBOPTIMAL : null);
  const frames = new Map();
  if (!record) {
    for (const [key, mask] of Object.entries(masks)) {
      frames.set(Number(key), { ...NO_LABEL, state: ANNOTATED, mask, plane: planeOf(key) });
    }
    return frames;
  }
  for (const [key, entry] of Object.entries(record.frames)) {
    const mask = masks[key] ?? null;
    const confirmed = entry.state === ANNOTATED || entry.state === EMPTY;
    if (!confirmed && mask) {
      const pending = { mask, model: entry.model || "label", version: entry.model_version || "", origin: originOf(entry) };
      frames.set(Number(key), { ...NO_LABEL, pending });
    } else if (confirmed) {
      frames.set(Number(key), {
        state: entry.state,
        mask: entry.state === ANNOTATED ? mask : null,
        plane: entry.state === ANNOTATED ? entry.plane ?? planeOf(key) : null,
        rater: entry.rater ?? "",
        time: typeof entry.time === "number" ? new Date(entry.time * 1000).toISOString() : entry.time ?? "",
        model: entry.model ?? "",
        version: entry.model_version ?? "",
        origin: originOf(entry),
        comment: entry.comment ?? undefined,
        seconds: entry.seconds ?? null,
        pending: null,
      });
    }
  }
  return frames;
}

/** @param {any} entry of a frame record @returns {Origin | undefined} */
function originOf(entry) {
  if (entry.origin === "interactive") return { origin: "interactive", clicks: entry.clicks ?? 0 };
  if (entry.origin === "propagated") return { origin: "propagated", source_frame: entry.source_frame ?? 0 };
  return undefined;
}

/** @param {Origin | undefined} origin */
export function originText(origin) {
  if (!origin) return "";
  return origin.origin === "interactive" ? t("originClicks", { count: origin.clicks }) : t("originCarried", { frame: origin.source_frame });
}
