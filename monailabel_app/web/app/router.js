// Addresses within the page: #/ worklist, #/case/ID, #/report/ID, #/learn, #/export.
import { Observable } from "./observable.js";

const VIEWS = ["case", "report", "learn", "export"];

class Router extends Observable {
  constructor() {
    super();
    this.view = "worklist";
    this.id = "";
    window.addEventListener("hashchange", () => this._read());
    this._read();
  }

  _read() {
    const [view = "", id = ""] = location.hash.replace(/^#\/?/, "").split("/");
    this.view = VIEWS.includes(view) ? view : "worklist";
    try {
      this.id = decodeURIComponent(id);
    } catch {
      this.id = "";
    }
    if ((this.view === "case" || this.view === "report") && !this.id) this.view = "worklist";
    this.changed();
  }

  /** @param {string} view @param {string} [id] */
  go(view, id = "") {
    location.hash = this.href(view, id);
  }

  href(view, id = "") {
    return view === "worklist" ? "#/" : `#/${view}${id ? `/${encodeURIComponent(id)}` : ""}`;
  }
}

export const router = new Router();
