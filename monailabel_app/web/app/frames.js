// Frames of a case as pictures: fetched ahead of need, kept compressed, and a bounded number of them decoded.
import { V1, call, isAbort } from "./api.js";
import { Observable } from "./observable.js";

const BATCH = 16; // frames of one request
const MAX_COMPRESSED = 96 * 1024 * 1024; // bytes
const MAX_DECODED = 160 * 1024 * 1024; // bytes
const AHEAD = 12; // frames decoded ahead of the shown one
const LOADERS = 2; // requests at a time

export class Frames extends Observable {
  /**
   * @param {string} id of the case
   * @param {{version: string, frames: number, rows: number, columns: number}} info
   */
  constructor(id, info) {
    super();
    this.id = id;
    this.version = info.version;
    this.count = info.frames;
    /** @type {Map<number, Blob>} */
    this._blobs = new Map();
    this._bytes = 0;
    /** @type {Map<number, ImageBitmap>} */
    this._bitmaps = new Map();
    /** @type {Map<number, Promise<ImageBitmap>>} */
    this._decoding = new Map();
    /** @type {Map<number, Promise<void>>} by batch */
    this._fetching = new Map();
    this._maxBitmaps = Math.max(8, Math.floor(MAX_DECODED / (info.rows * info.columns * 4)));
    this._abort = new AbortController();
    this._position = 0;
    this._direction = 1;
    this._running = 0;
    this.failure = "";
  }

  /** @param {number} number @returns {ImageBitmap | undefined} when it is decoded */
  bitmap(number) {
    return this._bitmaps.get(number);
  }

  /** Numbers of the frames that are here. */
  get loaded() {
    return this._blobs;
  }

  /**
   * The frame as a picture, as soon as it is here; others near it are fetched and decoded ahead.
   * @param {number} number
   * @returns {Promise<ImageBitmap>}
   */
  async show(number) {
    this._direction = number >= this._position ? 1 : -1;
    this._position = number;
    this._fill();
    const bitmap = this._bitmaps.get(number) ?? (await this._decode(number));
    this._ahead();
    return bitmap;
  }

  close() {
    this._abort.abort();
    for (const bitmap of this._bitmaps.values()) bitmap.close();
    this._bitmaps.clear();
    this._blobs.clear();
  }

  /** Try again after a failure. */
  retry() {
    this.failure = "";
    this._fill();
  }

  /** @param {number} number */
  async _decode(number) {
    let decoding = this._decoding.get(number);
    if (!decoding) {
      decoding = this._decoded(number).finally(() => this._decoding.delete(number));
      this._decoding.set(number, decoding);
    }
    return decoding;
  }

  async _decoded(number) {
    if (!this._blobs.has(number)) {
      // alone: the first frame is there before a whole batch is
      if (this._blobs.size) await this._fetchBatch(Math.floor(number / BATCH));
      if (!this._blobs.has(number)) await this._fetchOne(number);
    }
    const bitmap = await createImageBitmap(/** @type {Blob} */ (this._blobs.get(number)));
    if (this._abort.signal.aborted) return bitmap;
    this._bitmaps.set(number, bitmap);
    while (this._bitmaps.size > this._maxBitmaps) {
      const far = this._farthest(this._bitmaps.keys());
      this._bitmaps.get(far)?.close();
      this._bitmaps.delete(far);
    }
    return bitmap;
  }

  async _fetchOne(number) {
    const query = { image: this.id, frame: number, version: this.version };
    this._keep(number, await call("GET", `${V1}/case/frame`, { query, as: "blob", signal: this._abort.signal }));
  }

  /** @param {number} batch */
  _fetchBatch(batch) {
    let fetching = this._fetching.get(batch);
    if (!fetching) {
      fetching = this._fetched(batch).finally(() => this._fetching.delete(batch));
      this._fetching.set(batch, fetching);
    }
    return fetching;
  }

  async _fetched(batch) {
    const query = { image: this.id, first: batch * BATCH, count: BATCH, version: this.version };
    const buffer = await call("GET", `${V1}/case/frames`, { query, as: "buffer", signal: this._abort.signal });
    const view = new DataView(buffer);
    let offset = 0;
    for (let number = batch * BATCH; offset < buffer.byteLength; number += 1) {
      const size = view.getUint32(offset, true);
      this._keep(number, new Blob([new Uint8Array(buffer, offset + 4, size)], { type: "image/jpeg" }));
      offset += 4 + size;
    }
    this.failure = "";
    this.changed();
  }

  _keep(number, blob) {
    if (this._abort.signal.aborted || this._blobs.has(number)) return;
    this._blobs.set(number, blob);
    this._bytes += blob.size;
    while (this._bytes > MAX_COMPRESSED && this._blobs.size > 2 * BATCH) {
      const far = this._farthest(this._blobs.keys());
      this._bytes -= this._blobs.get(far)?.size ?? 0;
      this._blobs.delete(far);
    }
  }

  _farthest(numbers) {
    let far = -1;
    for (const number of numbers) {
      if (far < 0 || Math.abs(number - this._position) > Math.abs(far - this._position)) far = number;
    }
    return far;
  }

  /** Fetch the nearest missing batches, those ahead first, until all are here or the memory is used. */
  async _fill() {
    while (this._running < LOADERS && !this.failure && !this._abort.signal.aborted) {
      const batch = this._nextBatch();
      if (batch === null) return;
      this._running += 1;
      this._fetchBatch(batch)
        .catch((error) => {
          if (!isAbort(error)) this.failure = error.message;
          this.changed();
        })
        .finally(() => {
          this._running -= 1;
          this._fill();
        });
    }
  }

  _nextBatch() {
    const batches = Math.ceil(this.count / BATCH);
    const here = Math.floor(this._position / BATCH);
    const room = Math.floor((MAX_COMPRESSED / Math.max(1, this._bytes / Math.max(1, this._blobs.size)) - BATCH) / BATCH / 2);
    for (let distance = 0; distance < Math.min(batches, Math.max(2, room)); distance += 1) {
      for (const batch of [here + distance * this._direction, here - distance * this._direction]) {
        if (batch < 0 || batch >= batches || this._fetching.has(batch)) continue;
        const last = Math.min(this.count, (batch + 1) * BATCH);
        for (let number = batch * BATCH; number < last; number += 1) {
          if (!this._blobs.has(number)) return batch;
        }
      }
    }
    return null;
  }

  _ahead() {
    const ahead = Math.min(AHEAD, this._maxBitmaps / 2);
    for (let step = 1; step <= ahead; step += 1) {
      const number = this._position + step * this._direction;
      if (this._blobs.has(number) && !this._bitmaps.has(number) && !this._decoding.has(number)) {
        this._decode(number).catch(() => {});
      }
    }
  }
}
