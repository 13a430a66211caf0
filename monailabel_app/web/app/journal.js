// Unsubmitted work in the browser's own database (IndexedDB), by label name, rater and case. Masks and names, no images.

const DATABASE = "fetaliqa";
const STORE = "work";

/**
 * @typedef {object} Work
 * @property {string} case
 * @property {string} tag
 * @property {string} rater
 * @property {number} basedOn version on the server that it is based on
 * @property {string[]} sent tokens of submissions whose answer may have been lost
 * @property {number} revision
 * @property {{frames: number, rows: number, columns: number}} size of the image
 * @property {Record<string, any>} frames labels by frame number
 * @property {string} saved time, ISO 8601
 */

/** @type {Promise<IDBDatabase> | null} */
let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => {
      request.result.onclose = () => { opened = null; };
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  }).catch((error) => {
    opened = null;
    throw error;
  });
  return opened;
}

/**
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest} act
 */
async function transact(mode, act) {
  const database = await open();
  return new Promise((resolve, reject) => {
    // strict: on the disk before the next decision
    const transaction = database.transaction(STORE, mode, { durability: "strict" });
    const request = act(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = () => reject(transaction.error ?? request.error);
    transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
  });
}

/** @param {string} tag @param {string} rater @param {string} id of the case */
const keyOf = (tag, rater, id) => [tag, rater, id];

/** @param {Work} work */
export const writeWork = (work) => transact("readwrite", (store) => store.put(work, keyOf(work.tag, work.rater, work.case)));

/** @returns {Promise<Work | undefined>} */
export const readWork = (tag, rater, id) => transact("readonly", (store) => store.get(keyOf(tag, rater, id)));

export const removeWork = (tag, rater, id) => transact("readwrite", (store) => store.delete(keyOf(tag, rater, id)));

/** All unsubmitted work in this browser. @returns {Promise<Work[]>} */
export const allWork = () => transact("readonly", (store) => store.getAll());
