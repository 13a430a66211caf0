// The ellipse tool: drag an end of an axis, the inside to move, the knob to turn; arrow keys by pixel.
import { OWN } from "./colours.js";
import { axisEnds, drawEllipse, isInside, ordered } from "./ellipse.js";
import { ShapeTool, handle, hint } from "./shape_tool.js";
import { t } from "./strings.js";

const KNOB_PX = 26; // screen px of the knob beyond the end of the longer axis
const MIN_AXIS = 3; // px
const FIRST_RATIO = 0.85; // of the axes of a new ellipse

/** @extends {ShapeTool<import("./ellipse.js").Ellipse>} */
export class EllipseTool extends ShapeTool {
  /** @param {import("./case_work.js").CaseWork} work @param {() => void} redraw */
  constructor(work, redraw) {
    super(work, redraw, "ellipse");
  }

  _gripAt(point, event) {
    const ellipse = this.shape;
    if (ellipse) {
      const ends = axisEnds(ellipse);
      const near = ends.findIndex(([x, y]) => this._near(point, x, y));
      const [knobX, knobY] = this._knob();
      if (this._near(point, knobX, knobY)) return { kind: "turn", from: ellipse };
      if (near >= 0) return { kind: "axis", index: near, from: ellipse, opposite: ends[near ^ 1] };
      if (isInside(ellipse, point.x, point.y)) return { kind: "move", from: ellipse, start: point };
    }
    return !ellipse || event.shiftKey ? { kind: "new", start: point } : null;
  }

  _dragged(grip, point, event) {
    if (grip.kind === "move") return this._moved(grip.from, point.x - grip.start.x, point.y - grip.start.y);
    if (grip.kind === "turn") {
      const angle = Math.atan2(point.y - grip.from.y, point.x - grip.from.x);
      return { ...grip.from, angle };
    }
    if (grip.kind === "new") return this._between([grip.start.x, grip.start.y], point, null);
    return event.altKey ? this._aboutCentre(grip, point) : this._between(grip.opposite, point, grip);
  }

  _atRest(ellipse) {
    return ordered(ellipse);
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

  _sized(ellipse, right, down) {
    const a = Math.max(MIN_AXIS, ellipse.a + right / 2);
    const b = Math.max(MIN_AXIS, ellipse.b - down / 2);
    return ordered({ ...ellipse, a, b });
  }

  _moved(ellipse, right, down) {
    return { ...ellipse, x: ellipse.x + right, y: ellipse.y + down };
  }

  _turned(ellipse, angle) {
    return ordered({ ...ellipse, angle: ellipse.angle + angle });
  }

  _pixels(ellipse, rows, columns) {
    return drawEllipse(ellipse, rows, columns);
  }

  _knob() {
    const { x, y, a, angle } = /** @type {import("./ellipse.js").Ellipse} */ (this.shape);
    const reach = a + KNOB_PX / this._scale;
    return [x + reach * Math.cos(angle), y + reach * Math.sin(angle)];
  }

  /** @param {CanvasRenderingContext2D} context @param {import("./viewer.js").Viewer} viewer */
  draw(context, viewer) {
    const ellipse = this.shape;
    this._scale = viewer.transform.scale;
    if (!ellipse) {
      hint(context, viewer, t("ellipseHint"));
      return;
    }
    viewer.strokeEllipse(context, ellipse, OWN, 2);
    const ends = axisEnds(ellipse);
    const [knobX, knobY] = this._knob();
    const line = new Path2D();
    line.moveTo(...ends[0]);
    line.lineTo(knobX, knobY);
    viewer.stroke(context, line, OWN, 1);
    for (const [x, y] of ends) handle(context, viewer, x, y);
    handle(context, viewer, knobX, knobY, { radius: 5, fill: OWN, border: "#000" });
  }
}
