// Objects that tell others when they change.

export class Observable {
  constructor() {
    /** @type {Set<() => void>} */
    this._listeners = new Set();
  }

  /**
   * @param {() => void} listener
   * @returns {() => void} ends the subscription
   */
  subscribe(listener) {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  }

  /** Tell all listeners. */
  changed() {
    for (const listener of [...this._listeners]) listener();
  }
}
