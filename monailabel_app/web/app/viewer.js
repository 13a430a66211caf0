// The image: a canvas for the frame, one for what is drawn over it; zoom, pan, window/level, and the active tool.
import { CARRIED, ELLIPSE, EMPTY, OTHER, OWN, PROPOSAL } from "./colours.js";
import { UNTOUCHED } from "./annotation.js";
import { axisEnds } from "./ellipse.js";
import { linePath } from "./line_tool.js";
import { outlinePath } from "./outline_path.js";
import { t } from "./strings.js";
import { ViewerPointer } from "./viewer_pointer.js";

/** Window/level presets: grey levels shown as black and as white, 0 to 1. */
export const PRESETS = [[0, 1], [0, 0.7], [0, 0.5], [0.05, 0.6], [0.12, 0.85]];
const MAX_ZOOM = 12;
const FIT_MARGIN = 8; // px
const BLANK_MS = 250; // for which a frame may be late

/**
 * What a tool may handle; points are in pixels of the file.
 * @typedef {object} Tool
 * @property {string} cursor
 * @property {(point: Point, event: PointerEvent) => boolean} [down] whether it takes the pointer
 * @property {(point: Point, event: PointerEvent) => void} [move]
 * @property {(point: Point, event: PointerEvent) => void} [up]
 * @property {(point: Point | null) => void} [hover]
 * @property {(context: CanvasRenderingContext2D, viewer: Viewer) => void} [draw]
 * @property {(event: KeyboardEvent) => boolean} [key] whether it takes the key
 * @property {(delta: number) => boolean} [wheel] whether it takes the turn of the wheel
 * @property {boolean} [hidesOwn] whether it draws the annotator's mask itself
 */

/** @typedef {{x: number, y: number}} Point */
/** @typedef {{colour: string, labelOf: (position: number) => import("./annotation.js").FrameLabel | undefined}} Side */

export class Viewer {
  /**
   * @param {HTMLElement} element
   * @param {import("./case_work.js").CaseWork} work
   */
  constructor(element, work) {
    /** Another label that is shown instead of one's own. @type {Side | null} */
    this.side = null;
    /** That moves, zooms and sets its grey levels with this one. @type {Viewer | null} */
    this.partner = null;
    this.element = element;
    this.work = work;
    this.image = /** @type {HTMLCanvasElement} */ (element.querySelector("canvas.frame"));
    this.overlay = /** @type {HTMLCanvasElement} */ (element.querySelector("canvas.overlay"));
    this.zoom = 1; // relative to fitting
    this.pan = { x: 0, y: 0 }; // screen px
    this.level = [...PRESETS[0]];
    this.preset = 0;
    this.proposals = true; // whether the model's outline is shown
    this.ellipses = true;
    /** @type {Tool | null} */
    this.tool = null;
    this._bitmap = null;
    this._shown = -1;
    this._resize = new ResizeObserver(() => this.redraw());
    this._resize.observe(element);
    this._pointer = new ViewerPointer(this);
    this.onShown = () => {};
  }

  close() {
    this.unlink();
    this._resize.disconnect();
    this._pointer.close();
  }

  // -- geometry -----------------------------------------------------------------------------------

  get size() {
    const { rows = 1, columns = 1 } = this.work.info ?? {};
    return { rows, columns };
  }

  /** Height of a pixel relative to its width. */
  get aspect() {
    const spacing = this.work.spacing;
    return spacing ? spacing[0] / spacing[1] : 1;
  }

  get fitScale() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const { rows, columns } = this.size;
    return Math.min((width - FIT_MARGIN) / columns, (height - FIT_MARGIN) / (rows * this.aspect));
  }

  /** Screen px of one pixel, and of the corner of the first one. */
  get transform() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const { rows, columns } = this.size;
    const scale = Math.max(0.01, this.fitScale * this.zoom);
    return {
      scale,
      down: scale * this.aspect,
      left: (width - columns * scale) / 2 + this.pan.x,
      top: (height - rows * scale * this.aspect) / 2 + this.pan.y,
    };
  }

  /** @param {{clientX: number, clientY: number}} event @returns {Point} */
  pointOf(event) {
    const box = this.element.getBoundingClientRect();
    const { scale, down, left, top } = this.transform;
    return { x: (event.clientX - box.left - left) / scale - 0.5, y: (event.clientY - box.top - top) / down - 0.5 };
  }

  /** From pixels of the file to screen px. @returns {DOMMatrix} */
  get matrix() {
    const { scale, down, left, top } = this.transform;
    return new DOMMatrix([scale, 0, 0, down, left + scale / 2, top + down / 2]);
  }

  /** @param {number} factor @param {{clientX: number, clientY: number}} [about] */
  zoomBy(factor, about) {
    const box = this.element.getBoundingClientRect();
    const centre = about ?? { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 };
    const before = this.pointOf(centre);
    this.zoom = Math.min(MAX_ZOOM, Math.max(1, this.zoom * factor));
    const after = this.pointOf(centre);
    const { scale, down } = this.transform;
    this.pan = { x: this.pan.x + (after.x - before.x) * scale, y: this.pan.y + (after.y - before.y) * down };
    this._bound();
    this._moved();
  }

  /** @param {Point} pan screen px */
  move(pan) {
    this.pan = pan;
    this._bound();
    this._moved();
  }

  /** Move, zoom and set grey levels together with another viewer. @param {Viewer} other */
  link(other) {
    this.partner = other;
    other.partner = this;
    this._moved();
    this.applyLevel();
  }

  unlink() {
    if (this.partner) this.partner.partner = null;
    this.partner = null;
  }

  _moved() {
    this.redraw();
    const { partner } = this;
    if (!partner) return;
    partner.zoom = this.zoom;
    partner.pan = { ...this.pan };
    partner.redraw();
  }

  fit() {
    this.zoom = 1;
    this.pan = { x: 0, y: 0 };
    this._moved();
  }

  _bound() {
    const { rows, columns } = this.size;
    const { scale, down } = this.transform;
    const most = (length, room) => Math.max(0, (length - room) / 2 + room / 3);
    const across = this.zoom === 1 ? 0 : most(columns * scale, this.element.clientWidth);
    const along = this.zoom === 1 ? 0 : most(rows * down, this.element.clientHeight);
    this.pan.x = Math.min(across, Math.max(-across, this.pan.x));
    this.pan.y = Math.min(along, Math.max(-along, this.pan.y));
  }

  nextPreset() {
    this.preset = (this.preset + 1) % PRESETS.length;
    this.level = [...PRESETS[this.preset]];
    this.applyLevel();
  }

  /** Grey levels from `low` to `high` become black to white: out = in × slope − low × slope. */
  applyLevel() {
    const [low, high] = this.level;
    const slope = 1 / Math.max(0.02, high - low);
    const contrast = 1 + 2 * low * slope;
    this.image.style.filter = slope === 1 && low === 0 ? "" : `brightness(${slope / contrast}) contrast(${contrast})`;
    if (!this.partner) return;
    Object.assign(this.partner, { level: this.level, preset: this.preset });
    this.partner.image.style.filter = this.image.style.filter;
  }

  // -- drawing ------------------------------------------------------------------------------------

  /** Show the work's frame: at once when it is decoded, else as soon as it is. */
  async show() {
    const { frames, position } = this.work;
    if (!frames) return;
    const known = frames.bitmap(position);
    if (known && this._shown === position && this._bitmap) this.drawOverlay();
    else if (known) this._display(known, position);
    else this.drawOverlay();
    // another frame's image must not stay under this frame's number
    const late = setTimeout(() => this._blank(position), BLANK_MS);
    try {
      const bitmap = await frames.show(position);
      if (!known && this.work.position === position) this._display(bitmap, position);
    } catch {
      this._blank(position);
    }
    clearTimeout(late);
  }

  _blank(position) {
    if (this.work.position !== position || this._shown === position) return;
    this._bitmap = null;
    this._shown = -1;
    delete this.element.dataset.frame;
    this.redraw();
  }

  _display(bitmap, number) {
    this._bitmap = bitmap;
    this._shown = number;
    this.redraw();
    this.element.dataset.frame = String(number);
    this.onShown();
  }

  redraw() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.element.clientWidth * ratio);
    const height = Math.round(this.element.clientHeight * ratio);
    if (this.image.width !== width || this.image.height !== height) {
      for (const canvas of [this.image, this.overlay]) Object.assign(canvas, { width, height });
    }
    const context = /** @type {CanvasRenderingContext2D} */ (this.image.getContext("2d"));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    if (this._bitmap) {
      const { scale, down, left, top } = this.transform;
      const { rows, columns } = this.size;
      context.imageSmoothingEnabled = scale * ratio < 6;
      context.imageSmoothingQuality = "high";
      try {
        context.drawImage(this._bitmap, left * ratio, top * ratio, columns * scale * ratio, rows * down * ratio);
      } catch {
        this._bitmap = null; // released meanwhile; the next frame comes
      }
    }
    this.drawOverlay();
  }

  drawOverlay() {
    const ratio = window.devicePixelRatio || 1;
    const context = /** @type {CanvasRenderingContext2D} */ (this.overlay.getContext("2d"));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.overlay.width, this.overlay.height);
    if (!this.work.info) return;
    if (!this._bitmap) {
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      this._note(context, t("frameLoading", { frame: this.work.position }), "#fff");
      return;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.side) {
      this._drawSide(context, this.side);
      return;
    }
    const { annotation, position, review } = this.work;
    const label = annotation.frame(position);
    const proposal = annotation.proposal(position);
    if (proposal && this.proposals) {
      const dashes = label.state === UNTOUCHED ? [] : [5, 4];
      this.stroke(context, outlinePath(proposal.mask), label.pending ? CARRIED : PROPOSAL, label.state === UNTOUCHED ? 2 : 1.25, dashes);
    }
    const other = review?.beside ? null : review?.frames.get(position)?.mask;
    if (other) this.stroke(context, outlinePath(other), OTHER, 2);
    if (label.mask && !this.tool?.hidesOwn) this.stroke(context, outlinePath(label.mask), OWN, 2.25);
    if (label.state === "empty") this._note(context, t("labelEmpty"), EMPTY);
    if (this.ellipses && !this.tool?.hidesOwn) this._ellipse(context);
    this.tool?.draw?.(context, this);
  }

  /** @param {CanvasRenderingContext2D} context @param {Side} side */
  _drawSide(context, { labelOf, colour }) {
    const { position } = this.work;
    const label = labelOf(position);
    if (label?.mask) this.stroke(context, outlinePath(label.mask), colour, 2.25);
    if (label?.state === "empty") this._note(context, t("labelEmpty"), EMPTY);
    const ellipse = label?.mask && this.ellipses ? this.work.measurementOfLabel(position, label).ellipse : null;
    if (ellipse) this.strokeEllipse(context, ellipse, ELLIPSE, 1, [4, 4]);
  }

  /** @param {CanvasRenderingContext2D} context @param {Path2D} path in pixels of the file */
  stroke(context, path, colour, width, dashes = [], fill = "") {
    const placed = new Path2D();
    placed.addPath(path, this.matrix);
    context.setLineDash(dashes);
    if (fill) {
      context.fillStyle = fill;
      context.fill(placed);
    }
    context.lineWidth = width + 1.5;
    context.strokeStyle = "rgb(0 0 0 / 45%)"; // a rim, so that it shows on bright tissue
    context.stroke(placed);
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke(placed);
    context.setLineDash([]);
  }

  _ellipse(context) {
    const { annotation, position } = this.work;
    const labelled = annotation.frame(position).state !== UNTOUCHED;
    if (!labelled && !this.proposals) return;
    const { ellipse, line } = this.work.measurement(position);
    if (line) this.stroke(context, linePath(line), ELLIPSE, 1.5, [4, 4]);
    if (ellipse) this.strokeEllipse(context, ellipse, ELLIPSE, 1, [4, 4]);
  }

  /** The ellipse and its axes. @param {import("./ellipse.js").Ellipse} ellipse */
  strokeEllipse(context, ellipse, colour, width, dashes = [], fill = "") {
    const path = new Path2D();
    path.ellipse(ellipse.x, ellipse.y, ellipse.a, ellipse.b, ellipse.angle, 0, 2 * Math.PI);
    const [one, two, three, four] = axisEnds(ellipse);
    path.moveTo(...one);
    path.lineTo(...two);
    path.moveTo(...three);
    path.lineTo(...four);
    this.stroke(context, path, colour, width, dashes, fill);
  }

  _note(context, text, colour) {
    context.font = "600 15px system-ui, sans-serif";
    context.fillStyle = "rgb(0 0 0 / 60%)";
    const width = context.measureText(text).width;
    context.fillRect(12, 12, width + 20, 30);
    context.fillStyle = colour;
    context.fillText(text, 22, 32);
  }
}
