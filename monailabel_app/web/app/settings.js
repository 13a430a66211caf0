// What this browser remembers: name, label name, theme. With a login the name is the user's.
import { V1, call, ApiError } from "./api.js";
import { Observable } from "./observable.js";
import { t } from "./strings.js";

const KEY = "fetaliqa";
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/; // of a label, and of a rater for leases
const FINAL = "final";
const dark = window.matchMedia("(prefers-color-scheme: dark)"); // the system's wish

class Settings extends Observable {
  constructor() {
    super();
    const stored = read();
    this.name = String(stored.name ?? "");
    this.tag = NAME.test(stored.tag ?? "") ? stored.tag : FINAL;
    this.theme = ["light", "dark"].includes(stored.theme) ? stored.theme : "auto";
    /** @type {{user: string | null, role: string | null, required: boolean}} */
    this.session = { user: null, role: null, required: false };
    this.signingIn = false;
    /** @type {{resolve: (value?: unknown) => void, reject: (error: Error) => void}[]} */
    this._waiting = [];
    this.applyTheme();
    dark.addEventListener("change", () => this.applyTheme());
  }

  /** Who labels. */
  get rater() {
    return this.session.user || this.name;
  }

  /** Whether who works here has a role; on a server without a login everybody has all. @param {string} role */
  may(role) {
    const roles = ["annotator", "reviewer", "admin"];
    return !this.session.required || roles.indexOf(this.session.role ?? "") >= roles.indexOf(role);
  }

  /** @param {Partial<{name: string, tag: string, theme: string}>} values */
  set(values) {
    Object.assign(this, values);
    try {
      localStorage.setItem(KEY, JSON.stringify({ name: this.name, tag: this.tag, theme: this.theme }));
    } catch {
      // of a private window: for this page only
    }
    this.applyTheme();
    this.changed();
  }

  applyTheme() {
    document.documentElement.dataset.theme = this.theme !== "auto" ? this.theme : dark.matches ? "dark" : "light";
  }

  /** Who is logged in; servers without a login do not know the call. */
  async readSession() {
    try {
      const { user = null, role = null, required = false } = await call("GET", `${V1}/session`, { quiet: true });
      this.session = { user, role, required };
    } catch (error) {
      this.session = { user: null, role: null, required: error instanceof ApiError && error.status === 401 };
    }
    this.signingIn = this.session.required && !this.session.user;
    this.changed();
  }

  /** Ask for a login; resolves once somebody has signed in. Calls that wait for it go on then, if it is the same person. */
  askToSignIn() {
    this.signingIn = true;
    this.changed();
    return new Promise((resolve, reject) => this._waiting.push({ resolve, reject }));
  }

  /** @param {string} user @param {string} password */
  async signIn(user, password) {
    const before = this.session.user;
    await call("POST", `${V1}/session`, { json: { user, password }, quiet: true });
    await this.readSession();
    this.signingIn = false;
    const now = this.session.user;
    for (const { resolve, reject } of this._waiting.splice(0)) {
      if (!before || before === now) resolve();
      else reject(new ApiError(401, t("otherUser", { user: now ?? "" }))); // not under the name of somebody else
    }
    this.changed();
  }

  async signOut() {
    await call("DELETE", `${V1}/session`, { quiet: true });
    await this.readSession();
  }
}

/** A name as it may be used for leases and labels. @param {string} text */
export const asName = (text) => text.normalize("NFKD").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+|-+$/g, "").replace(/\.\.+/g, ".").slice(0, 100);

export const isLabelName = (text) => NAME.test(text) && !text.includes("..");

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}") ?? {};
  } catch {
    return {};
  }
}

export const settings = new Settings();
