// Actions of a case, one after another: the labels of one are in the journal before the next one begins.

/** @typedef {import("./annotation.js").Annotation} Annotation */
/** @typedef {(annotation: Annotation) => string | void} Action */

export class ActionQueue {
  /**
   * @param {(action: Action) => Promise<boolean>} perform does one action and saves its labels
   * @param {() => void} changed called when the last action of the queue is done
   */
  constructor(perform, changed) {
    this._perform = perform;
    this._changed = changed;
    this._waiting = 0;
    /** Resolved when the actions added so far are done. @type {Promise<void>} */
    this.done = Promise.resolve();
  }

  /** Whether an action is not done and saved yet. */
  get busy() {
    return this._waiting > 0;
  }

  /** @param {Action} action @returns {Promise<boolean>} whether it was possible */
  add(action) {
    this._waiting += 1;
    const result = this.done.then(() => this._perform(action));
    const finish = () => {
      this._waiting -= 1;
      if (!this.busy) this._changed();
    };
    this.done = result.then(finish, finish);
    return result;
  }
}
