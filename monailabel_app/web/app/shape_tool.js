// What the tools for an ellipse and for a line share: a shape with handles to drag, moved and turned by keys; its mask is
// the frame's label.
import { OWN } from "./colours.js";
import { maskOf } from "./run_lengths.js";

const GRIP_PX = 13; // screen px around a handle
const TURN = Math.PI / 180;

/**
 * A Tool of the viewer.
 * @template {object} Shape
 */
export class ShapeTool {
  /**
   * @param {import("./case_work.js").CaseWork} work
   * @param {() => void} redraw
   * @param {"ellipse" | "line"} kind
   */
  constructor(work, redraw, kind) {
    this.work = work;
    this.redraw = redraw;
    this.kind = kind;
    this.cursor = "crosshair";
    this.hidesOwn = true;
    /** @type {Shape | null} */
    this.shape = null;
    /** What is dragged. @type {any} */
    this._grip = null;
    this._frame = -1; // that is being changed
    this._pending = 0; // changes that are not in the journal yet
    this._scale = 1; // screen px of one pixel, when last drawn
    this.follow();
  }

  /** Begin with the shape of the frame's mask or proposal. */
  follow() {
    if (this._grip || this._pending) return; // what is shown is ahead of the label
    this.shape = /** @type {any} */ (this.work.measurement(this.work.position)[this.kind] ?? null);
    this.hidesOwn = this.shape !== null;
  }

  /** @param {import("./viewer.js").Point} point @param {PointerEvent} event */
  down(point, event) {
    if (event.button !== 0) return false;
    this._frame = this.work.position;
    this._grip = this._gripAt(point, event) ?? this._grip;
    return this._grip !== null;
  }

  /** @param {import("./viewer.js").Point} point @param {PointerEvent} event */
  move(point, event) {
    if (!this._grip) return;
    this.shape = this._dragged(this._grip, point, event);
    this.hidesOwn = this.shape !== null;
    this.work.changed();
    this.redraw();
  }

  up() {
    const changed = this._grip !== null && this.shape !== this._grip.from;
    this._grip = null;
    if (this.shape) this.shape = this._atRest(this.shape);
    if (changed) this._commit();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { shape } = this;
    if (!shape) return false;
    this._frame = this.work.position;
    const step = event.shiftKey ? 5 : 1;
    const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const change = arrows[event.key];
    if (change && event.ctrlKey) {
      this.shape = this._sized(shape, change[0], change[1]);
    } else if (change && !event.altKey) {
      this.shape = this._moved(shape, change[0], change[1]);
    } else if ((event.key === "," || event.key === ".") && !event.ctrlKey) {
      this.shape = this._turned(shape, event.key === "." ? TURN : -TURN);
    } else return false;
    this._commit(true);
    return true;
  }

  _commit(joined = false) {
    const { shape, work, kind } = this;
    if (!shape) return;
    const { rows, columns } = work.info;
    const mask = maskOf(this._pixels(shape, rows, columns), rows, columns);
    if (!mask) return;
    const frame = this._frame;
    this._pending += 1;
    work.apply((annotation) => annotation.correct(frame, mask, { action: kind, [kind]: shape, joined }) || undefined)
      .finally(() => {
        this._pending -= 1;
        this.follow();
        this.redraw();
      });
  }

  _near(point, x, y) {
    return this._close(Math.hypot(point.x - x, point.y - y));
  }

  /** Whether a distance in pixels is within reach of the pointer. */
  _close(distance) {
    return distance * this._scale < GRIP_PX;
  }

  // Of each shape:

  /** What a pointer takes: its `kind`, and `from`, the shape; null for nothing. @param {...any} _of point, event @returns {any} */
  _gripAt(..._of) { throw new Error("abstract"); }

  /** The shape while a grip is dragged. @param {...any} _of grip, point, event @returns {Shape | null} */
  _dragged(..._of) { throw new Error("abstract"); }

  /** The shape as it is kept. @param {Shape} shape @returns {Shape} */
  _atRest(shape) { return shape; }

  /** @param {...any} _of shape, pixels to the right, pixels down @returns {Shape} */
  _sized(..._of) { throw new Error("abstract"); }

  /** @param {...any} _of shape, pixels to the right, pixels down @returns {Shape} */
  _moved(..._of) { throw new Error("abstract"); }

  /** @param {...any} _of shape, angle @returns {Shape} */
  _turned(..._of) { throw new Error("abstract"); }

  /** The mask's pixels. @param {...any} _of shape, rows, columns @returns {Uint8Array} */
  _pixels(..._of) { throw new Error("abstract"); }
}

/**
 * A handle as a disc.
 * @param {CanvasRenderingContext2D} context @param {import("./viewer.js").Viewer} viewer
 * @param {number} x @param {number} y in pixels of the frame
 * @param {{radius?: number, fill?: string, border?: string}} [look]
 */
export function handle(context, viewer, x, y, { radius = 6.5, fill = "#fff", border = OWN } = {}) {
  const { x: left, y: top } = viewer.matrix.transformPoint({ x, y });
  context.beginPath();
  context.arc(left, top, radius, 0, 2 * Math.PI);
  context.fillStyle = fill;
  context.fill();
  context.lineWidth = 2;
  context.strokeStyle = border;
  context.stroke();
}

/** @param {CanvasRenderingContext2D} context @param {import("./viewer.js").Viewer} viewer @param {string} text */
export function hint(context, viewer, text) {
  context.font = "14px system-ui, sans-serif";
  const width = context.measureText(text).width + 24;
  const left = (viewer.element.clientWidth - width) / 2;
  context.fillStyle = "rgb(0 0 0 / 65%)";
  context.beginPath();
  context.roundRect(left, viewer.element.clientHeight - 46, width, 32, 8);
  context.fill();
  context.fillStyle = "#fff";
  context.fillText(text, left + 12, viewer.element.clientHeight - 25);
}
