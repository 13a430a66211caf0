// Export on the server: what it would hold, start, progress, download.
import { SEGMENTATION, V1, address, call, get, isAbort, sentence } from "./api.js";
import { Observable } from "./observable.js";

const POLL_MS = 800;
export const FORMATS = ["png", "tiff", "mha", "nifti", "nnunet", "coco", "yolo", "imagefolder", "acouslic", "challenge", "dicom", "dicom-cine"];
export const STATES = ["annotated", "empty", "proposed"];
export const PLANES = ["optimal", "suboptimal", "ungraded"];

export class Exporting extends Observable {
  constructor() {
    super();
    this.format = "png";
    this.states = ["annotated", "empty"];
    /** @type {string[]} */
    this.planes = [];
    this.bestOnly = false;
    this.blank = false;
    this.report = false;
    this.card = null; // of the preview, or of the finished export
    this.job = null;
    this.busy = false;
    this.error = "";
    this._abort = new AbortController();
    this._closed = false;
  }

  close() {
    this._closed = true;
    this._abort.abort();
  }

  /** @param {Partial<Exporting>} values */
  set(values) {
    Object.assign(this, values);
    this.card = null;
    this.error = "";
    this.changed();
  }

  /** The body of the requests. */
  get body() {
    const proposals = this.states.includes("proposed") || this.bestOnly;
    return {
      format: this.format,
      selection: {
        states: this.states,
        ...(this.planes.length ? { planes: this.planes } : {}),
        ...(this.bestOnly ? { top: 1 } : {}),
      },
      blank_outside: this.blank,
      report: this.report,
      ...(proposals ? { model: SEGMENTATION } : {}),
    };
  }

  async preview() {
    await this._do(async () => {
      this.card = await call("POST", `${V1}/export/preview`, { json: this.body, signal: this._abort.signal });
    });
  }

  async start() {
    await this._do(async () => {
      this.job = await call("POST", "/export/", { json: this.body });
      while (this.job.status === "RUNNING" && !this._closed) {
        this.changed();
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        this.job = await get(`/export/${this.job.id}`);
      }
      if (this.job.status === "ERROR") this.error = this.job.message;
      if (this.job.status === "DONE") this.card = this.job.card;
    });
  }

  async cancel() {
    if (this.job) await call("DELETE", `/export/${this.job.id}`).catch(() => {});
  }

  get download() {
    return this.job?.status === "DONE" ? address(`/export/${this.job.id}/zip`) : null;
  }

  async _do(request) {
    this.busy = true;
    this.error = "";
    this.changed();
    try {
      await request();
    } catch (error) {
      if (!isAbort(error)) this.error = sentence(error);
    }
    this.busy = false;
    this.changed();
  }
}
