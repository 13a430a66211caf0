// The line tool, for the femur: drag an end, or the line between them to move it; arrow keys by pixel. The mask that is
// kept is the line's band.
import { OWN } from "./colours.js";
import { between, drawLine, lengthOf } from "./line.js";
import { ShapeTool, handle, hint } from "./shape_tool.js";
import { t } from "./strings.js";

const MIN_LENGTH = 4; // px

/** @extends {ShapeTool<import("./line.js").Line>} */
export class LineTool extends ShapeTool {
  /** @param {import("./case_work.js").CaseWork} work @param {() => void} redraw */
  constructor(work, redraw) {
    super(work, redraw, "line");
  }

  _gripAt(point, event) {
    const line = this.shape;
    if (line && !event.shiftKey) {
      if (this._near(point, line.x1, line.y1)) return { kind: "end", from: line, other: [line.x2, line.y2] };
      if (this._near(point, line.x2, line.y2)) return { kind: "end", from: line, other: [line.x1, line.y1] };
      return this._beside(point, line) ? { kind: "move", from: line, start: point } : null;
    }
    return { kind: "end", from: line, other: [point.x, point.y] };
  }

  _dragged(grip, point) {
    if (grip.kind === "move") return this._moved(grip.from, point.x - grip.start.x, point.y - grip.start.y);
    const line = between(grip.other, [point.x, point.y]);
    return lengthOf(line) < MIN_LENGTH ? grip.from : line;
  }

  /** Longer by the arrows to the right and up. */
  _sized(line, right, down) {
    const length = lengthOf(line);
    const share = Math.max(MIN_LENGTH, length + right - down) / length / 2;
    return about(line, share * (line.x2 - line.x1), share * (line.y2 - line.y1));
  }

  _moved({ x1, y1, x2, y2 }, right, down) {
    return { x1: x1 + right, y1: y1 + down, x2: x2 + right, y2: y2 + down };
  }

  _turned(line, angle) {
    const [x, y] = [(line.x2 - line.x1) / 2, (line.y2 - line.y1) / 2];
    return about(line, x * Math.cos(angle) - y * Math.sin(angle), x * Math.sin(angle) + y * Math.cos(angle));
  }

  _pixels(line, rows, columns) {
    return drawLine(line, rows, columns);
  }

  _beside(point, { x1, y1, x2, y2 }) {
    const length = Math.hypot(x2 - x1, y2 - y1) || 1;
    const along = ((point.x - x1) * (x2 - x1) + (point.y - y1) * (y2 - y1)) / length;
    const across = ((point.y - y1) * (x2 - x1) - (point.x - x1) * (y2 - y1)) / length;
    return along > 0 && along < length && this._close(Math.abs(across));
  }

  /** @param {CanvasRenderingContext2D} context @param {import("./viewer.js").Viewer} viewer */
  draw(context, viewer) {
    const line = this.shape;
    this._scale = viewer.transform.scale;
    if (!line) {
      hint(context, viewer, t("lineHint"));
      return;
    }
    viewer.stroke(context, linePath(line), OWN, 2);
    handle(context, viewer, line.x1, line.y1);
    handle(context, viewer, line.x2, line.y2);
  }
}

/** @param {import("./line.js").Line} line */
export function linePath({ x1, y1, x2, y2 }) {
  const path = new Path2D();
  path.moveTo(x1, y1);
  path.lineTo(x2, y2);
  return path;
}

/** The line about the same middle with half of it as given. */
function about({ x1, y1, x2, y2 }, x, y) {
  const [right, down] = [(x1 + x2) / 2, (y1 + y2) / 2];
  return between([right - x, down - y], [right + x, down + y]);
}
