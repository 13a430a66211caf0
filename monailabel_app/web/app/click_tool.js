// Click prompts: the server outlines the anatomy from clicks inside (left) and outside (right, or with Alt).
import { OWN } from "./colours.js";
import { ApiError, V1, call, isAbort, sentence } from "./api.js";
import { isMask } from "./run_lengths.js";
import { hint } from "./shape_tool.js";
import { t } from "./strings.js";
import { toast } from "./toasts.js";

const BOX_PX = 12; // screen px of a drag that is a box, not a click

/** A Tool of the viewer. */
export class ClickTool {
  /**
   * @param {import("./case_work.js").CaseWork} work
   * @param {() => void} redraw
   */
  constructor(work, redraw) {
    this.work = work;
    this.redraw = redraw;
    this.cursor = "crosshair";
    this.busy = false;
    this._abort = new AbortController();
    this._scale = 1; // screen px of one pixel, when last drawn
    /** @type {[number, number][]} */
    this.foreground = [];
    /** @type {[number, number][]} */
    this.background = [];
    this._frame = -1;
    this._start();
  }

  _start() {
    this._frame = this.work.position;
    /** Own mask that the clicks led to; after another change of it they begin anew. */
    this._mask = this.work.annotation.frame(this._frame).mask;
    this.foreground = [];
    this.background = [];
    /** @type {number[] | null} */
    this.box = null;
    /** @type {{point: import("./viewer.js").Point, background: boolean} | null} */
    this._from = null;
    /** @type {number[] | null} */
    this._dragged = null;
  }

  follow() {
    if (this.work.position !== this._frame) this._start();
  }

  down(point, event) {
    if (event.button !== 0 && event.button !== 2) return false;
    this._from = { point, background: event.button === 2 || event.altKey };
    return true;
  }

  move(point) {
    if (!this._from || this._from.background) return;
    const { point: from } = this._from;
    const far = Math.hypot(point.x - from.x, point.y - from.y) * this._scale > BOX_PX;
    this._dragged = far ? [Math.min(from.x, point.x), Math.min(from.y, point.y), Math.max(from.x, point.x), Math.max(from.y, point.y)] : null;
    this.redraw();
  }

  up(point) {
    if (!this._from) return;
    const { _from: from, _dragged: dragged } = this;
    if (this.work.annotation.frame(this._frame).mask !== this._mask) this._start();
    this._from = this._dragged = null;
    const { rows, columns } = this.work.info;
    const inside = (value, last) => Math.min(last, Math.max(0, Math.round(value * 10) / 10));
    if (dragged) {
      const [left, top, right, bottom] = dragged;
      this.box = [inside(left, columns - 1), inside(top, rows - 1), inside(right, columns - 1), inside(bottom, rows - 1)];
    } else if (point.x > -0.5 && point.y > -0.5 && point.x < columns - 0.5 && point.y < rows - 0.5) {
      const list = from.background ? this.background : this.foreground;
      list.push([inside(point.x, columns - 1), inside(point.y, rows - 1)]);
    } else return;
    this._ask();
  }

  async _ask() {
    const { work, _frame: frame } = this;
    this._abort.abort();
    this._abort = new AbortController();
    const previous = work.annotation.frame(frame).mask ?? work.annotation.proposal(frame)?.mask ?? null;
    const json = { frame, foreground: this.foreground, background: this.background, roi: this.box, mask: previous };
    this.busy = true;
    work.changed();
    this.redraw();
    try {
      const answer = await call("POST", `${V1}/interactive/segment`, { query: { image: work.id }, json, signal: this._abort.signal });
      if (!isMask(answer.mask)) throw new ApiError(0, t("nothingFound"));
      const [model, version = ""] = String(answer.model ?? "interactive").split("@");
      const clicks = this.foreground.length + this.background.length + (this.box ? 1 : 0);
      /** @type {import("./annotation.js").Origin} */
      const origin = { origin: "interactive", clicks };
      const proposal = { mask: answer.mask, model, version, origin };
      await work.apply((annotation) => annotation.correct(frame, answer.mask, { action: "clicks", proposal }) || undefined);
      if (frame === this._frame) this._mask = work.annotation.frame(frame).mask;
    } catch (error) {
      if (!isAbort(error)) toast(sentence(error), "error");
    } finally {
      this.busy = false;
      work.changed();
      this.redraw();
    }
  }

  key(event) {
    if (event.key !== "Backspace") return false;
    this._start();
    this.redraw();
    return true;
  }

  /** @param {CanvasRenderingContext2D} context @param {import("./viewer.js").Viewer} viewer */
  draw(context, viewer) {
    this._scale = viewer.transform.scale;
    const matrix = viewer.matrix;
    for (const [points, colour] of /** @type {const} */ ([[this.foreground, OWN], [this.background, "#d55e00"]])) {
      for (const [x, y] of points) {
        const at = matrix.transformPoint({ x, y });
        context.beginPath();
        context.arc(at.x, at.y, 5, 0, 2 * Math.PI);
        context.fillStyle = colour;
        context.fill();
        context.lineWidth = 2;
        context.strokeStyle = "#fff";
        context.stroke();
      }
    }
    const box = this._dragged ?? this.box;
    if (box) {
      const path = new Path2D();
      path.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
      viewer.stroke(context, path, OWN, 1.25, [5, 4]);
    }
    if (this.busy) hint(context, viewer, t("outlining"));
    else if (!this.foreground.length && !this.box) hint(context, viewer, t("clickHint"));
  }
}
