// What the server offers: click prompts and carry-along, where an interactive model is installed.
import { get } from "./api.js";
import { Observable } from "./observable.js";

class Interactive extends Observable {
  constructor() {
    super();
    this.available = false;
    this._read = false;
  }

  async read() {
    if (this._read) return;
    try {
      const info = await get("/info/");
      this._read = true;
      this.available = Boolean(info.interactive);
      this.changed();
    } catch {
      // asked again with the next case
    }
  }
}

export const interactive = new Interactive();
