// The journal of one case: what is not submitted yet, in this browser.
import { readWork, removeWork, writeWork } from "./journal.js";
import { t } from "./strings.js";
import { toast } from "./toasts.js";

/** @typedef {import("./case_work.js").CaseWork} CaseWork */

/** What the case's journal holds now. @param {CaseWork} work @param {string} [tag] @returns {import("./journal.js").Work} */
function entryOf({ id, rater, tag: own, annotation, info: { frames, rows, columns } }, tag = own) {
  return {
    case: id,
    tag,
    rater,
    basedOn: annotation.basedOn,
    sent: annotation.sent,
    revision: annotation.revision,
    size: { frames, rows, columns },
    frames: Object.fromEntries(annotation.frames),
    saved: new Date().toISOString(),
  };
}

/** Keep what is not submitted; nothing where everything is. @param {CaseWork} work */
export function keepInJournal(work) {
  return work.annotation.unsaved ? writeWork(entryOf(work)) : removeWork(work.tag, work.rater, work.id);
}

/** Keep the labels under a name that is not offered. @param {CaseWork} work @param {string} why */
export const archive = (work, why) => writeWork(entryOf(work, `${work.tag}, ${why} ${new Date().toISOString()}`));

/**
 * Unsubmitted work on this image; that on another one of the same name, of other studies, is archived.
 * @param {CaseWork} work
 * @returns {Promise<import("./journal.js").Work | undefined>}
 */
export async function journaledWork({ tag, rater, id, info }) {
  const found = await readWork(tag, rater, id);
  if (!found || ["frames", "rows", "columns"].every((key) => found.size?.[key] === info[key])) return found;
  await writeWork({ ...found, tag: `${found.tag}, other image ${found.saved}` });
  await removeWork(tag, rater, id);
  toast(t("otherImage"), "error");
  return undefined;
}
