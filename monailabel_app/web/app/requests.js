// Changes on the server, one at a time: busy meanwhile, with a message afterwards.
import { sentence } from "./api.js";
import { Observable } from "./observable.js";
import { toast } from "./toasts.js";

export class Requests extends Observable {
  constructor() {
    super();
    this.busy = false;
  }

  /** Read again what the change may have changed. @returns {Promise<void>} */
  async _reread() {}

  /** @param {() => Promise<unknown>} request @param {string} done message @returns {Promise<boolean>} whether it was done */
  async _do(request, done) {
    this.busy = true;
    this.changed();
    try {
      await request();
      toast(done, "success");
      await this._reread();
      return true;
    } catch (error) {
      toast(sentence(error), "error");
      return false;
    } finally {
      this.busy = false;
      this.changed();
    }
  }
}
