// The quality strip: a column for each frame of all sweeps; zoom, scrub, and marks for what is suggested and labelled.
import { CARRIED, EMPTY, OTHER, OWN, PADDING, PROPOSAL, qualityColour } from "./colours.js";
import { ANNOTATED, OPTIMAL, SUBOPTIMAL, UNTOUCHED } from "./annotation.js";

const MARKS = 14; // px above the columns
const LABELS = 12; // px below
const OVERVIEW = 5; // px, when zoomed
const MIN_FRAMES = 12; // shown at the highest zoom

export class Strip {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./case_work.js").CaseWork} work
   * @param {import("./playback.js").Playback} playback
   */
  constructor(canvas, work, playback) {
    this.canvas = canvas;
    this.work = work;
    this.playback = playback;
    this.from = 0; // first frame that is shown, fractional
    this.shown = 0; // number of frames shown; 0: all
    /** What is dragged. @type {any} */
    this._drag = null;
    this._resize = new ResizeObserver(() => this.draw());
    this._resize.observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this._down(event));
    canvas.addEventListener("pointermove", (event) => this._move(event));
    canvas.addEventListener("pointerup", () => this._up());
    canvas.addEventListener("pointercancel", () => this._up());
    canvas.addEventListener("wheel", (event) => this._turn(event), { passive: false });
    canvas.addEventListener("dblclick", () => this.toggle());
  }

  close() {
    this._resize.disconnect();
  }

  get _visible() {
    const { count } = this.work;
    const shown = Math.min(count, Math.max(MIN_FRAMES, this.shown || count));
    const from = Math.min(count - shown, Math.max(0, this.from));
    return { from, shown };
  }

  _xOf(frame) {
    const { from, shown } = this._visible;
    return ((frame - from) / shown) * this.canvas.clientWidth;
  }

  /** @param {{clientX: number}} event */
  _frameAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const { from, shown } = this._visible;
    const frame = Math.floor(from + ((event.clientX - box.left) / box.width) * shown);
    return Math.min(this.work.count - 1, Math.max(0, frame));
  }

  /** @param {number} factor @param {number} [about] frame that stays where it is */
  zoomBy(factor, about = this.work.position) {
    const { from, shown } = this._visible;
    const next = Math.min(this.work.count, Math.max(MIN_FRAMES, shown / factor));
    this.from = about - ((about - from) * next) / shown;
    this.shown = next >= this.work.count ? 0 : next;
    this.draw();
  }

  /** The sweep of the shown frame alone, or all. */
  toggle() {
    if (this.shown) this.shown = 0;
    else {
      const [start, stop] = this.work.sweeps[this.work.sweepOf(this.work.position)];
      this.from = start;
      this.shown = stop - start >= this.work.count ? 0 : stop - start;
    }
    this.draw();
  }

  /** Keep the shown frame in sight. */
  follow() {
    const { from, shown } = this._visible;
    const { position } = this.work;
    if (position < from) this.from = position - shown * 0.1;
    else if (position >= from + shown) this.from = position - shown * 0.9;
  }

  // -- drawing ------------------------------------------------------------------------------------

  draw() {
    const { canvas, work } = this;
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    }
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#0a0c0e";
    context.fillRect(0, 0, width, height);
    if (!work.count) return;
    const { from, shown } = this._visible;
    const zoomed = shown < work.count;
    const area = { top: MARKS, bottom: height - LABELS - (zoomed ? OVERVIEW + 3 : 0) };
    const first = Math.floor(from);
    const last = Math.min(work.count, Math.ceil(from + shown));
    const step = width / shown;
    for (let frame = first; frame < last; frame += 1) this._column(context, frame, step, area);
    this._loop(context, area);
    context.fillStyle = "rgb(255 255 255 / 55%)";
    for (const [start] of work.sweeps.slice(1)) context.fillRect(this._xOf(start) - 0.5, area.top - 4, 1, area.bottom - area.top + 8);
    for (let frame = first; frame < last; frame += 1) this._label(context, frame, step, area);
    this._suggestions(context, step, area);
    this._cursor(context, step, area);
    if (zoomed) this._overview(context, width, height);
  }

  _column(context, frame, step, { top, bottom }) {
    const { work } = this;
    const x = this._xOf(frame);
    const wide = Math.max(step - (step > 4 ? 1 : 0), 0.75);
    if (work.isPadding(frame)) {
      context.fillStyle = PADDING;
      context.fillRect(x, top, wide + 0.5, bottom - top);
      return;
    }
    const quality = work.quality(frame);
    if (quality === null) {
      context.fillStyle = "#3a4048";
      context.fillRect(x, bottom - 3, wide, 3);
      return;
    }
    const high = 4 + quality * (bottom - top - 4);
    context.fillStyle = qualityColour(quality);
    if (work.assessment.estimatedSet.has(frame)) context.fillRect(x, bottom - high, wide, 2);
    else context.fillRect(x, bottom - high, wide, high);
  }

  _label(context, frame, step, { bottom }) {
    const { annotation, review } = this.work;
    const label = annotation.frame(frame);
    const x = this._xOf(frame);
    const wide = Math.max(step, 4);
    const left = x + (step - wide) / 2;
    const top = bottom + 2;
    if (label.state === ANNOTATED) {
      context.fillStyle = OWN;
      context.fillRect(left, top, wide, 8);
      context.fillStyle = "#fff";
      if (label.plane === OPTIMAL) context.fillRect(left, top, wide, 2.5);
      if (label.plane === SUBOPTIMAL) context.fillRect(left, top + 5.5, wide, 2.5);
    } else if (label.state !== UNTOUCHED) {
      context.fillStyle = EMPTY;
      context.fillRect(left, top + 3, wide, 2.5);
    } else if (label.pending) {
      context.strokeStyle = CARRIED;
      context.lineWidth = 1.25;
      context.strokeRect(left + 0.6, top + 0.6, wide - 1.2, 6.8);
    }
    if (review?.frames.get(frame)) {
      context.fillStyle = OTHER;
      context.fillRect(left, top + 8.5, wide, 2);
    }
  }

  _suggestions(context, step, { top }) {
    const { work } = this;
    const best = work.assessment?.best.frame ?? null;
    const middle = (frame) => this._xOf(frame) + step / 2;
    const { from, shown } = this._visible;
    for (const frame of work.suggestions) {
      if (frame === best || frame < from || frame >= from + shown) continue;
      const x = middle(frame);
      context.fillStyle = PROPOSAL;
      context.beginPath();
      context.moveTo(x - 4.5, top - 10);
      context.lineTo(x + 4.5, top - 10);
      context.lineTo(x, top - 3);
      context.fill();
    }
    if (best === null || best < from || best >= from + shown) return;
    const x = middle(best);
    context.fillStyle = "#fff";
    context.beginPath();
    context.moveTo(x, top - 12.5);
    context.lineTo(x + 5, top - 7);
    context.lineTo(x, top - 1.5);
    context.lineTo(x - 5, top - 7);
    context.fill();
  }

  _cursor(context, step, { top, bottom }) {
    const x = this._xOf(this.work.position);
    const wide = Math.max(step, 2);
    context.strokeStyle = "#fff";
    context.lineWidth = 1.5;
    context.strokeRect(x + (step - wide) / 2, top - 1, wide, bottom - top + 2);
  }

  _loop(context, { top, bottom }) {
    const { loop } = this.playback;
    if (!loop) return;
    const left = this._xOf(loop[0]);
    const right = this._xOf(loop[1] + 1);
    context.fillStyle = "rgb(20 23 27 / 60%)";
    context.fillRect(0, top, left, bottom - top);
    context.fillRect(right, top, this.canvas.clientWidth - right, bottom - top);
    context.fillStyle = "#fff";
    context.fillRect(left, top, 1.5, bottom - top);
    context.fillRect(right - 1.5, top, 1.5, bottom - top);
  }

  _overview(context, width, height) {
    const { from, shown } = this._visible;
    const { count, position } = this.work;
    context.fillStyle = "#30363d";
    context.fillRect(0, height - OVERVIEW, width, OVERVIEW);
    context.fillStyle = "#9aa4af";
    context.fillRect((from / count) * width, height - OVERVIEW, (shown / count) * width, OVERVIEW);
    context.fillStyle = "#fff";
    context.fillRect((position / count) * width - 1, height - OVERVIEW, 2, OVERVIEW);
  }

  // -- pointer ------------------------------------------------------------------------------------

  _down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    const box = this.canvas.getBoundingClientRect();
    const frame = this._frameAt(event);
    if (this.shown && event.clientY > box.bottom - OVERVIEW - 3) this._drag = { kind: "overview" };
    else if (event.shiftKey) this._drag = { kind: "loop", start: frame };
    else this._drag = { kind: "scrub" };
    this._move(event);
  }

  _move(event) {
    const frame = this._frameAt(event);
    this.canvas.dataset.hover = String(frame);
    if (!this._drag) return;
    if (this._drag.kind === "scrub") this.work.goTo(frame);
    else if (this._drag.kind === "overview") {
      const box = this.canvas.getBoundingClientRect();
      this.from = ((event.clientX - box.left) / box.width) * this.work.count - this.shown / 2;
    } else {
      const { start } = this._drag;
      this.playback.setLoop(frame === start ? null : [Math.min(start, frame), Math.max(start, frame)]);
    }
    this.draw();
  }

  _up() {
    this._drag = null;
  }

  _turn(event) {
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const { from, shown } = this._visible;
      this.from = from + ((event.deltaX || event.deltaY) * shown) / 800;
      this.draw();
    } else this.zoomBy(Math.exp(-event.deltaY / 250), this._frameAt(event));
  }
}
