// The ellipse tool: drag an end of an axis, the inside to move, the knob to turn; arrow keys by pixel.
import { OWN } from "./colours.js";
import { axisEnds, drawEllipse, isInside, ordered } from "./ellipse.js";
import { maskOf } from "./run_lengths.js";
import { t } from "./strings.js";

const GRIP_PX = 13; // screen px around a handle
const KNOB_PX = 26; // screen px of the knob beyond the end of the longer axis
const MIN_AXIS = 3; // px
const FIRST_RATIO = 0.85; // of the axes of a new ellipse
const TURN = Math.PI / 180;

/** A Tool of the viewer. */
export class EllipseTool {
  /**
   * @param {import("./case_work.js").CaseWork} work
   * @param {() => void} redraw
   */
  constructor(work, redraw) {
    this.work = work;
    this.redraw = redraw;
    this.cursor = "crosshair";
    this.hidesOwn = true;
    /** @type {import("./ellipse.js").Ellipse | null} */
    this.ellipse = null;
    /** What is dragged. @type {any} */
    this._grip = null;
    this._frame = -1; // that is being changed
    this._pending = 0; // changes that are not in the journal yet
    this._scale = 1; // screen px of one pixel, when last drawn
    this.follow();
  }

  /** Begin with the ellipse of the frame's mask or proposal. */
  follow() {
    if (this._grip || this._pending) return; // what is shown is ahead of the label
    this.ellipse = this.work.measurement(this.work.position).ellipse;
    this.hidesOwn = this.ellipse !== null;
  }

  down(point, event) {
    if (event.button !== 0) return false;
    this._frame = this.work.position;
    const { ellipse } = this;
    if (ellipse) {
      const ends = axisEnds(ellipse);
      const near = ends.findIndex(([x, y]) => this._near(point, x, y));
      const [knobX, knobY] = this._knob();
      if (this._near(point, knobX, knobY)) this._grip = { kind: "turn", from: ellipse };
      else if (near >= 0) this._grip = { kind: "axis", index: near, from: ellipse, opposite: ends[near ^ 1] };
      else if (isInside(ellipse, point.x, point.y)) this._grip = { kind: "move", from: ellipse, start: point };
    }
    if (!this._grip && (!ellipse || event.shiftKey)) this._grip = { kind: "new", start: point };
    return this._grip !== null;
  }

  move(point, event) {
    const grip = this._grip;
    if (!grip) return;
    if (grip.kind === "move") {
      this.ellipse = { ...grip.from, x: grip.from.x + point.x - grip.start.x, y: grip.from.y + point.y - grip.start.y };
    } else if (grip.kind === "turn") {
      const angle = Math.atan2(point.y - grip.from.y, point.x - grip.from.x);
      this.ellipse = { ...grip.from, angle };
    } else if (grip.kind === "new") {
      this.ellipse = this._between([grip.start.x, grip.start.y], point, null);
    } else {
      this.ellipse = event.altKey ? this._aboutCentre(grip, point) : this._between(grip.opposite, point, grip);
    }
    this.hidesOwn = this.ellipse !== null;
    this.work.changed();
    this.redraw();
  }

  up() {
    const moved = this._grip !== null && this.ellipse !== this._grip.from;
    this._grip = null;
    if (this.ellipse) this.ellipse = ordered(this.ellipse);
    if (moved) this._commit();
  }

  /** The dragged end follows the pointer, the opposite end stays: the axis turns with it. */
  _between([x, y], point, grip) {
    const length = Math.hypot(point.x - x, point.y - y) / 2;
    if (length < MIN_AXIS) return grip?.from ?? null;
    const along = Math.atan2(point.y - y, point.x - x);
    const centre = { x: (point.x + x) / 2, y: (point.y + y) / 2 };
    if (!grip) return { ...centre, a: length, b: length * FIRST_RATIO, angle: along };
    if (grip.index < 2) return { ...centre, a: length, b: grip.from.b, angle: along };
    return { ...centre, a: grip.from.a, b: length, angle: along - Math.PI / 2 };
  }

  _aboutCentre(grip, point) {
    const length = Math.max(MIN_AXIS, Math.hypot(point.x - grip.from.x, point.y - grip.from.y));
    return grip.index < 2 ? { ...grip.from, a: length } : { ...grip.from, b: length };
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { ellipse } = this;
    this._frame = this.work.position;
    const step = event.shiftKey ? 5 : 1;
    const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const change = arrows[event.key];
    if (!ellipse) return false;
    if (change && event.ctrlKey) {
      const a = Math.max(MIN_AXIS, ellipse.a + change[0] / 2);
      const b = Math.max(MIN_AXIS, ellipse.b - change[1] / 2);
      this.ellipse = ordered({ ...ellipse, a, b });
    } else if (change && !event.altKey) {
      this.ellipse = { ...ellipse, x: ellipse.x + change[0], y: ellipse.y + change[1] };
    } else if ((event.key === "," || event.key === ".") && !event.ctrlKey) {
      this.ellipse = ordered({ ...ellipse, angle: ellipse.angle + (event.key === "." ? TURN : -TURN) });
    } else return false;
    this._commit(true);
    return true;
  }

  _commit(joined = false) {
    const { ellipse, work } = this;
    if (!ellipse) return;
    const { rows, columns } = work.info;
    const mask = maskOf(drawEllipse(ellipse, rows, columns), rows, columns);
    if (!mask) return;
    const frame = this._frame;
    this._pending += 1;
    work.apply((annotation) => annotation.correct(frame, mask, { action: "ellipse", ellipse, joined }) || undefined)
      .finally(() => {
        this._pending -= 1;
        this.follow();
        this.redraw();
      });
  }

  _knob() {
    const { x, y, a, angle } = /** @type {import("./ellipse.js").Ellipse} */ (this.ellipse);
    const reach = a + KNOB_PX / this._scale;
    return [x + reach * Math.cos(angle), y + reach * Math.sin(angle)];
  }

  _near(point, x, y) {
    return Math.hypot(point.x - x, point.y - y) * this._scale < GRIP_PX;
  }

  /** @param {CanvasRenderingContext2D} context @param {import("./viewer.js").Viewer} viewer */
  draw(context, viewer) {
    const { ellipse } = this;
    this._scale = viewer.transform.scale;
    if (!ellipse) {
      hint(context, viewer, t("ellipseHint"));
      return;
    }
    viewer.strokeEllipse(context, ellipse, OWN, 2);
    const matrix = viewer.matrix;
    const ends = axisEnds(ellipse);
    const [knobX, knobY] = this._knob();
    const line = new Path2D();
    line.moveTo(...ends[0]);
    line.lineTo(knobX, knobY);
    viewer.stroke(context, line, OWN, 1);
    [...ends, [knobX, knobY]].forEach(([x, y], index) => {
      const { x: left, y: top } = matrix.transformPoint({ x, y });
      context.beginPath();
      context.arc(left, top, index === 4 ? 5 : 6.5, 0, 2 * Math.PI);
      context.fillStyle = index === 4 ? OWN : "#fff";
      context.fill();
      context.lineWidth = 2;
      context.strokeStyle = index === 4 ? "#000" : OWN;
      context.stroke();
    });
  }
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
