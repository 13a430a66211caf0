// Cine: frames in turn at a chosen speed, within a range.
import { Observable } from "./observable.js";

export const SPEEDS = [5, 10, 20, 30, 60]; // frames a second

export class Playback extends Observable {
  /** @param {import("./case_work.js").CaseWork} work */
  constructor(work) {
    super();
    this.work = work;
    this.speed = 20;
    this.playing = false;
    /** @type {[number, number] | null} first and last frame */
    this.loop = null;
    this._last = 0;
    this._request = 0;
  }

  toggle() {
    this.playing = !this.playing;
    this._last = performance.now();
    if (this.playing) this._request = requestAnimationFrame((now) => this._tick(now));
    else cancelAnimationFrame(this._request);
    this.changed();
  }

  stop() {
    if (this.playing) this.toggle();
  }

  /** Loop a range, or the sweep of the shown frame; again: no loop. @param {[number, number] | null} [range] */
  setLoop(range) {
    if (range !== undefined) this.loop = range;
    else if (this.loop) this.loop = null;
    else {
      const [start, stop] = this.work.sweeps[this.work.sweepOf(this.work.position)];
      let last = stop - 1;
      while (last > start && this.work.isPadding(last)) last -= 1;
      this.loop = [start, last];
    }
    this.changed();
  }

  _tick(now) {
    if (!this.playing) return;
    const steps = Math.floor(((now - this._last) * this.speed) / 1000);
    if (steps > 0) {
      this._last = steps > 5 ? now : this._last + (steps * 1000) / this.speed;
      const { work } = this;
      // a frame that is not here yet is waited for, instead of playing over it
      if (work.frames?.bitmap(work.position)) work.goTo(this._after(Math.min(steps, 5)));
    }
    this._request = requestAnimationFrame((later) => this._tick(later));
  }

  _after(steps) {
    const { work, loop } = this;
    const next = work.next(steps);
    if (loop && (next === null || next > loop[1] || work.position < loop[0])) return loop[0];
    return next ?? 0;
  }
}
