// The line tool, for the femur: drag an end, or the line between them to move it; arrow keys by pixel. The mask that is
// kept is the line's band.
import { OWN } from "./colours.js";
import { hint } from "./ellipse_tool.js";
import { between, drawLine, lengthOf } from "./line.js";
import { maskOf } from "./run_lengths.js";
import { t } from "./strings.js";

const GRIP_PX = 13; // screen px around an end, and beside the line
const MIN_LENGTH = 4; // px
const TURN = Math.PI / 180;

/** A Tool of the viewer. */
export class LineTool {
  /**
   * @param {import("./case_work.js").CaseWork} work
   * @param {() => void} redraw
   */
  constructor(work, redraw) {
    this.work = work;
    this.redraw = redraw;
    this.cursor = "crosshair";
    this.hidesOwn = true;
    /** @type {import("./line.js").Line | null} */
    this.line = null;
    /** What is dragged. @type {any} */
    this._grip = null;
    this._frame = -1; // that is being changed
    this._pending = 0; // changes that are not in the journal yet
    this._scale = 1; // screen px of one pixel, when last drawn
    this.follow();
  }

  /** Begin with the line of the frame's mask or proposal. */
  follow() {
    if (this._grip || this._pending) return; // what is shown is ahead of the label
    this.line = this.work.measurement(this.work.position).line ?? null;
    this.hidesOwn = this.line !== null;
  }

  down(point, event) {
    if (event.button !== 0) return false;
    this._frame = this.work.position;
    const { line } = this;
    if (line && !event.shiftKey) {
      if (this._near(point, line.x1, line.y1)) this._grip = { kind: "end", from: line, other: [line.x2, line.y2] };
      else if (this._near(point, line.x2, line.y2)) this._grip = { kind: "end", from: line, other: [line.x1, line.y1] };
      else if (this._beside(point, line)) this._grip = { kind: "move", from: line, start: point };
    }
    if (!this._grip && (!line || event.shiftKey)) this._grip = { kind: "end", from: line, other: [point.x, point.y] };
    return this._grip !== null;
  }

  move(point) {
    const grip = this._grip;
    if (!grip) return;
    if (grip.kind === "move") {
      this.line = moved(grip.from, point.x - grip.start.x, point.y - grip.start.y);
    } else {
      const line = between(grip.other, [point.x, point.y]);
      this.line = lengthOf(line) < MIN_LENGTH ? grip.from : line;
    }
    this.hidesOwn = this.line !== null;
    this.work.changed();
    this.redraw();
  }

  up() {
    const changed = this._grip !== null && this.line !== this._grip.from;
    this._grip = null;
    if (changed) this._commit();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { line } = this;
    if (!line) return false;
    this._frame = this.work.position;
    const step = event.shiftKey ? 5 : 1;
    const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const change = arrows[event.key];
    if (change && event.ctrlKey) {
      this.line = lengthened(line, change[0] - change[1]);
    } else if (change && !event.altKey) {
      this.line = moved(line, change[0], change[1]);
    } else if ((event.key === "," || event.key === ".") && !event.ctrlKey) {
      this.line = turned(line, event.key === "." ? TURN : -TURN);
    } else return false;
    this._commit(true);
    return true;
  }

  _commit(joined = false) {
    const { line, work } = this;
    if (!line) return;
    const { rows, columns } = work.info;
    const mask = maskOf(drawLine(line, rows, columns), rows, columns);
    if (!mask) return;
    const frame = this._frame;
    this._pending += 1;
    work.apply((annotation) => annotation.correct(frame, mask, { action: "line", line, joined }) || undefined)
      .finally(() => {
        this._pending -= 1;
        this.follow();
        this.redraw();
      });
  }

  _near(point, x, y) {
    return Math.hypot(point.x - x, point.y - y) * this._scale < GRIP_PX;
  }

  _beside(point, { x1, y1, x2, y2 }) {
    const length = Math.hypot(x2 - x1, y2 - y1) || 1;
    const along = ((point.x - x1) * (x2 - x1) + (point.y - y1) * (y2 - y1)) / length;
    const across = ((point.y - y1) * (x2 - x1) - (point.x - x1) * (y2 - y1)) / length;
    return along > 0 && along < length && Math.abs(across) * this._scale < GRIP_PX;
  }

  /** @param {CanvasRenderingContext2D} context @param {import("./viewer.js").Viewer} viewer */
  draw(context, viewer) {
    const { line } = this;
    this._scale = viewer.transform.scale;
    if (!line) {
      hint(context, viewer, t("lineHint"));
      return;
    }
    viewer.stroke(context, linePath(line), OWN, 2);
    for (const [x, y] of [[line.x1, line.y1], [line.x2, line.y2]]) {
      const { x: left, y: top } = viewer.matrix.transformPoint({ x, y });
      context.beginPath();
      context.arc(left, top, 6.5, 0, 2 * Math.PI);
      context.fillStyle = "#fff";
      context.fill();
      context.lineWidth = 2;
      context.strokeStyle = OWN;
      context.stroke();
    }
  }
}

/** @param {import("./line.js").Line} line */
export function linePath({ x1, y1, x2, y2 }) {
  const path = new Path2D();
  path.moveTo(x1, y1);
  path.lineTo(x2, y2);
  return path;
}

const moved = ({ x1, y1, x2, y2 }, right, down) => ({ x1: x1 + right, y1: y1 + down, x2: x2 + right, y2: y2 + down });

function lengthened(line, by) {
  const length = lengthOf(line);
  const share = Math.max(MIN_LENGTH, length + by) / length / 2;
  return about(line, share * (line.x2 - line.x1), share * (line.y2 - line.y1));
}

function turned(line, angle) {
  const [x, y] = [(line.x2 - line.x1) / 2, (line.y2 - line.y1) / 2];
  return about(line, x * Math.cos(angle) - y * Math.sin(angle), x * Math.sin(angle) + y * Math.cos(angle));
}

/** The line about the same middle with half of it as given. */
function about({ x1, y1, x2, y2 }, x, y) {
  const [right, down] = [(x1 + x2) / 2, (y1 + y2) / 2];
  return between([right - x, down - y], [right + x, down + y]);
}
