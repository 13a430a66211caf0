// What the server offers: click prompts and carry-along, where an interactive model is installed, and its limits.
import { get } from "./api.js";
import { Observable } from "./observable.js";

class ServerInfo extends Observable {
  constructor() {
    super();
    this.interactive = false;
    this.maxUpload = Infinity; // bytes of a request
    this._read = false;
  }

  async read() {
    if (this._read) return;
    try {
      const info = await get("/info/");
      this._read = true;
      this.interactive = Boolean(info.interactive);
      this.maxUpload = info.uploads?.max_bytes ?? Infinity;
      this.changed();
    } catch {
      // asked again with the next view
    }
  }
}

export const serverInfo = new ServerInfo();
