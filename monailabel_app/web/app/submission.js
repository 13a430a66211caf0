// Submission of a label: a lost answer leads neither to a lost nor to a second label.
import { ApiError, V1, call, get } from "./api.js";
import { framesOf, frameRecord, masksOf } from "./annotation.js";

export const CLIENT = "FetalIQA in the browser";

/**
 * What somebody else saved in the meantime.
 * @typedef {object} Conflict
 * @property {string} message of the server
 * @property {number} version
 * @property {string} who
 * @property {Map<number, import("./annotation.js").FrameLabel>} frames
 */

/**
 * A snapshot of the labels, as the Slicer module sends it.
 * @param {string} id of the case
 * @param {string} tag
 * @param {import("./annotation.js").Annotation} annotation its `sent` gets the token of this submission
 */
export function snapshot(id, tag, annotation) {
  const token = [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");
  const earlier = [...annotation.sent];
  annotation.sent.push(token);
  return {
    id,
    tag,
    token,
    earlier,
    revision: annotation.revision,
    frames: new Map(annotation.frames),
    body: {
      masks: masksOf(annotation.frames),
      frame_record: frameRecord(annotation.frames),
      based_on: annotation.basedOn,
      rater: annotation.rater,
      submission: token,
      client: CLIENT,
    },
  };
}

/**
 * @param {ReturnType<typeof snapshot>} submission
 * @returns {Promise<{version: number} | {conflict: Conflict}>}
 * @throws {ApiError} when it is not known whether it was saved, or it was refused
 */
export async function submit(submission) {
  const { id, tag, body, token, earlier } = submission;
  const query = { image: id, tag };
  try {
    return { version: (await call("POST", `${V1}/label`, { query, json: body })).version };
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 409) throw error;
    const saved = await get(`${V1}/label`, query);
    if (saved.submission === token) return { version: saved.version }; // only the answer was lost
    if (earlier.includes(saved.submission)) {
      // an earlier state of this work
      const retried = { ...body, based_on: saved.version };
      return { version: (await call("POST", `${V1}/label`, { query, json: retried })).version };
    }
    const who = saved.rater || saved.user || "";
    return { conflict: { message: error.message, version: saved.version, who, frames: framesOf(saved) } };
  }
}
