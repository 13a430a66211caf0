// Mouse, touch and keys over the image: a tool's, or to move, zoom, window and step.

const WHEEL_STEP = 60; // px of a wheel's delta for one frame

export class ViewerPointer {
  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this._wheel = 0;
    this._pointers = new Map();
    /** What is dragged. @type {any} */
    this._drag = null;
    /** @type {(event: KeyboardEvent) => void} */
    this._key = () => {};
    this._listen();
  }

  close() {
    window.removeEventListener("keydown", this._key, true);
  }

  _listen() {
    const { element } = this.viewer;
    element.addEventListener("pointerdown", (event) => this._down(event));
    element.addEventListener("pointermove", (event) => this._move(event));
    element.addEventListener("pointerup", (event) => this._up(event));
    element.addEventListener("pointercancel", (event) => this._up(event));
    element.addEventListener("pointerleave", () => this.viewer.tool?.hover?.(null));
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("dblclick", () => !this.viewer.tool && this.viewer.fit());
    element.addEventListener("wheel", (event) => this._turn(event), { passive: false });
    this._key = (event) => {
      const typing = event.target instanceof HTMLElement && event.target.matches("input:not([type=range]), select, textarea");
      if (typing || document.querySelector("dialog[open]") || !this.viewer.tool?.key?.(event)) return;
      event.preventDefault();
      event.stopPropagation();
    };
    window.addEventListener("keydown", this._key, true);
  }

  _down(event) {
    this._pointers.set(event.pointerId, event);
    this.viewer.element.setPointerCapture(event.pointerId);
    if (this._pointers.size === 2) {
      this._drag = { kind: "pinch", ...this._pinch() };
      return;
    }
    if (event.button !== 1 && this.viewer.tool?.down?.(this.viewer.pointOf(event), event)) this._drag = { kind: "tool" };
    else if (event.button === 2) this._drag = { kind: "level", x: event.clientX, y: event.clientY, level: [...this.viewer.level] };
    else this._drag = { kind: "pan", x: event.clientX, y: event.clientY, pan: { ...this.viewer.pan } };
  }

  _move(event) {
    if (this._pointers.has(event.pointerId)) this._pointers.set(event.pointerId, event);
    const drag = this._drag;
    if (!drag) {
      this.viewer.tool?.hover?.(this.viewer.pointOf(event));
      return;
    }
    if (drag.kind === "tool") this.viewer.tool?.move?.(this.viewer.pointOf(event), event);
    else if (drag.kind === "pinch" && this._pointers.size === 2) {
      const now = this._pinch();
      this.viewer.zoomBy(now.distance / drag.distance, { clientX: now.x, clientY: now.y });
      this.viewer.pan.x += now.x - drag.x;
      this.viewer.pan.y += now.y - drag.y;
      this._drag = { kind: "pinch", ...now };
    } else if (drag.kind === "level") {
      const width = Math.min(1, Math.max(0.05, drag.level[1] - drag.level[0] + (event.clientX - drag.x) / 400));
      const middle = Math.min(0.9, Math.max(0.05, (drag.level[0] + drag.level[1]) / 2 + (event.clientY - drag.y) / 400));
      this.viewer.level = [Math.max(0, middle - width / 2), Math.max(0, middle - width / 2) + width];
      this.viewer.applyLevel();
      return;
    } else if (drag.kind === "pan") {
      this.viewer.pan = { x: drag.pan.x + event.clientX - drag.x, y: drag.pan.y + event.clientY - drag.y };
    }
    if (drag.kind === "tool") return;
    this.viewer.move(this.viewer.pan);
  }

  _up(event) {
    if (this._drag?.kind === "tool") this.viewer.tool?.up?.(this.viewer.pointOf(event), event);
    this._pointers.delete(event.pointerId);
    this._drag = null;
  }

  _pinch() {
    const [one, two] = [...this._pointers.values()];
    return {
      x: (one.clientX + two.clientX) / 2,
      y: (one.clientY + two.clientY) / 2,
      distance: Math.max(1, Math.hypot(one.clientX - two.clientX, one.clientY - two.clientY)),
    };
  }

  _turn(event) {
    event.preventDefault();
    if (this._drag?.kind === "tool") return;
    if (event.ctrlKey || event.metaKey) {
      this.viewer.zoomBy(Math.exp(-event.deltaY / 300), event);
      return;
    }
    if (event.altKey && this.viewer.tool?.wheel?.(event.deltaY)) return;
    const lines = event.deltaMode === 1 ? 30 : 1;
    this._wheel += event.deltaY * lines;
    const steps = Math.trunc(this._wheel / WHEEL_STEP);
    if (!steps) return;
    this._wheel -= steps * WHEEL_STEP;
    this.viewer.work.goTo(this.viewer.work.next(steps));
  }
}
