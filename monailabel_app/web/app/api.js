// Calls to the server. An error is one sentence; a server that does not answer is told apart from one that refuses.
import { t } from "./strings.js";
import { Observable } from "./observable.js";

const BASE = document.documentElement.dataset.api || "";
const PING_MS = 3000;
export const V1 = "/fetaliqa/v1";
export const SEGMENTATION = "fetalclip_seg";

export class ApiError extends Error {
  /**
   * @param {number} status of HTTP; 0 when the server did not answer
   * @param {string} detail one sentence
   */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }

  get offline() {
    return this.status === 0;
  }
}

/** Whether the server answers; asks again until it does. */
class Connection extends Observable {
  constructor() {
    super();
    this.online = true;
    this._timer = 0;
  }

  /** @param {boolean} online */
  set(online) {
    if (online === this.online) return;
    this.online = online;
    this.changed();
    clearInterval(this._timer);
    if (!online) this._timer = setInterval(() => this.ping(), PING_MS);
  }

  async ping() {
    try {
      const response = await fetch(`${BASE}${V1}/session`, { cache: "no-store" });
      this.set(response.status < 502);
    } catch {
      this.set(false);
    }
  }
}

export const connection = new Connection();

// Called when the server asks for a login; resolves once somebody has signed in.
/** @type {() => Promise<unknown>} */
let signIn = () => Promise.reject(new ApiError(401, t("signInNeeded")));

/** @param {() => Promise<unknown>} ask */
export function onUnauthorised(ask) {
  signIn = ask;
}

/**
 * @param {string} path
 * @param {Record<string, string | number | boolean | null | undefined>} [query] without null and undefined values
 */
export function address(path, query = {}) {
  const values = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const text = new URLSearchParams(values.map(([key, value]) => [key, String(value)])).toString();
  return `${BASE}${path}${text ? `?${text}` : ""}`;
}

/**
 * @typedef {object} CallOptions
 * @property {Record<string, any>} [query]
 * @property {any} [json] body
 * @property {FormData} [form] body
 * @property {AbortSignal} [signal]
 * @property {"json" | "blob" | "buffer" | "response"} [as] what is returned
 * @property {boolean} [quiet] do not ask for a login
 */

/**
 * @param {string} method
 * @param {string} path
 * @param {CallOptions} [options]
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
export async function call(method, path, options = {}) {
  const { query, json, form, signal, as = "json", quiet = false } = options;
  const init = /** @type {RequestInit} */ ({ method, signal, credentials: "same-origin" });
  if (json !== undefined) {
    init.body = JSON.stringify(json);
    init.headers = { "Content-Type": "application/json" };
  } else if (form) {
    init.body = form;
  }
  let response;
  try {
    response = await fetch(address(path, query), init);
  } catch (error) {
    if (signal?.aborted) throw error;
    connection.set(false);
    throw new ApiError(0, t("offline"));
  }
  connection.set(true);
  if (response.status === 401 && !quiet) {
    await signIn();
    return call(method, path, { ...options, quiet: true });
  }
  if (!response.ok) throw new ApiError(response.status, await detailOf(response));
  if (as === "response") return response;
  try {
    if (as === "blob") return await response.blob();
    if (as === "buffer") return await response.arrayBuffer();
    return await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, t("cutOff"));
  }
}

/** @param {Response} response */
const detailOf = async (response) => detailFrom(await response.text().catch(() => ""), response.status);

/** @param {string} body of an error @param {number} status */
function detailFrom(body, status) {
  try {
    const { detail } = JSON.parse(body);
    // a first word, unlike a file's name, begins with a capital letter
    if (typeof detail === "string" && detail) return detail.replace(/^[a-z]+(?=[ ,:])/, (word) => word[0].toUpperCase() + word.slice(1));
  } catch {
    // no JSON: of a proxy
  }
  return t("refused", { status });
}

/**
 * Send a file; `fetch` does not say how far it is.
 * @param {string} path
 * @param {File} file
 * @param {{signal: AbortSignal, onProgress: (bytes: number, total: number) => void, quiet?: boolean}} options
 * @returns {Promise<void>}
 * @throws {ApiError}
 */
export async function upload(path, file, { signal, onProgress, quiet = false }) {
  const form = new FormData();
  form.append("file", file);
  const { status, body } = await sent("PUT", address(path), form, signal, onProgress);
  connection.set(true);
  if (status === 401 && !quiet) {
    await signIn();
    await upload(path, file, { signal, onProgress, quiet: true });
  } else if (status < 200 || status > 299) {
    throw new ApiError(status, detailFrom(body, status));
  }
}

/** @returns {Promise<{status: number, body: string}>} */
function sent(method, url, form, signal, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    request.onload = () => resolve({ status: request.status, body: request.responseText });
    request.onerror = () => reject(new ApiError(0, t("uploadBroken")));
    request.onabort = () => reject(new DOMException("", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    if (signal.aborted) request.abort();
    else request.send(form);
  });
}

/** @param {string} path @param {Record<string, any>} [query] @param {CallOptions} [options] */
export const get = (path, query, options = {}) => call("GET", path, { ...options, query });

/** @param {unknown} error @returns {string} one sentence to show */
export function sentence(error) {
  return error instanceof Error && error.message ? error.message : t("unexpected");
}

/** @param {unknown} error */
export const isAbort = (error) => error instanceof DOMException && error.name === "AbortError";
