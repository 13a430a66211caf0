// Brush and eraser. A frame without a mask of its own begins with the proposed one.
import { OWN } from "./colours.js";
import { UNTOUCHED } from "./annotation.js";
import { outlinePath } from "./outline_path.js";
import { maskOf, pixelsOf } from "./run_lengths.js";

export const RADII = [2, 60]; // px
let radius = 14; // kept from tool to tool

/** A Tool of the viewer. */
export class BrushTool {
  /**
   * @param {import("./case_work.js").CaseWork} work
   * @param {() => void} redraw
   * @param {boolean} erases
   */
  constructor(work, redraw, erases) {
    this.work = work;
    this.redraw = redraw;
    this.erases = erases;
    this.cursor = "none";
    this.hidesOwn = false;
    /** @type {Uint8Array | null} */
    this._pixels = null;
    /** @type {import("./viewer.js").Point | null} */
    this._at = null;
    this._erasing = erases;
    this._frame = -1; // of the stroke
  }

  get radius() {
    return radius;
  }

  set radius(value) {
    radius = Math.min(RADII[1], Math.max(RADII[0], value));
    this.redraw();
    this.work.changed();
  }

  follow() {}

  down(point, event) {
    if (event.button !== 0 && event.button !== 2) return false;
    const { annotation, position, info } = this.work;
    const label = annotation.frame(position);
    const mask = label.mask ?? (label.state === UNTOUCHED ? annotation.proposal(position)?.mask : null);
    this._frame = position;
    this._pixels = mask ? pixelsOf(mask) : new Uint8Array(info.rows * info.columns);
    this._erasing = this.erases !== (event.button === 2 || event.altKey);
    this._at = point;
    this.hidesOwn = true;
    this._dab(point, point);
    return true;
  }

  move(point) {
    if (!this._pixels || !this._at) return;
    this._dab(this._at, point);
    this._at = point;
  }

  up() {
    const { work, _pixels: pixels } = this;
    this._pixels = null;
    this.hidesOwn = false;
    if (!pixels) return;
    const action = this._erasing ? "erase" : "draw";
    const frame = this._frame;
    work.apply((annotation) => annotation.draw(frame, pixels, work.info.rows, work.info.columns, { action }));
  }

  hover(point) {
    this._at = point;
    this.redraw();
  }

  wheel(delta) {
    this.radius = radius + (delta > 0 ? -1 : 1);
    return true;
  }

  key(event) {
    if (event.ctrlKey || (event.key !== "," && event.key !== ".")) return false;
    this.radius = radius + (event.key === "." ? 2 : -2);
    return true;
  }

  /** Paint a disc along a line. */
  _dab(from, to) {
    const { rows, columns } = this.work.info;
    const pixels = /** @type {Uint8Array} */ (this._pixels);
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, radius / 3)));
    for (let step = 0; step <= steps; step += 1) {
      const x = from.x + ((to.x - from.x) * step) / steps;
      const y = from.y + ((to.y - from.y) * step) / steps;
      for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(rows - 1, y + radius); row += 1) {
        const half = Math.sqrt(Math.max(0, radius * radius - (row - y) * (row - y)));
        const first = Math.max(0, Math.ceil(x - half));
        const last = Math.min(columns - 1, Math.floor(x + half));
        if (last >= first) pixels.fill(this._erasing ? 0 : 1, row * columns + first, row * columns + last + 1);
      }
    }
    this.redraw();
  }

  /** @param {CanvasRenderingContext2D} context @param {import("./viewer.js").Viewer} viewer */
  draw(context, viewer) {
    if (this._pixels) {
      const mask = maskOf(this._pixels, this.work.info.rows, this.work.info.columns);
      if (mask) viewer.stroke(context, outlinePath(mask), OWN, 2.25, [], "rgb(230 159 0 / 22%)");
    }
    if (!this._at) return;
    const path = new Path2D();
    path.arc(this._at.x, this._at.y, radius, 0, 2 * Math.PI);
    viewer.stroke(context, path, this._erasing ? "#fff" : OWN, 1.5, this._erasing ? [3, 3] : []);
  }
}
