// Which frame is shown next.
import { UNTOUCHED } from "./annotation.js";

/** @typedef {import("./case_work.js").CaseWork} CaseWork */

/**
 * The frame `by` frames ahead, not counting black ones, at most the last one.
 * @param {CaseWork} work @param {number} by @returns {number | null} null at the end
 */
export function frameAhead(work, by) {
  const step = Math.sign(by);
  let left = Math.abs(by);
  let last = null;
  for (let number = work.position + step; number >= 0 && number < work.count && left; number += step) {
    if (work.isPadding(number)) continue;
    last = number;
    left -= 1;
  }
  return last;
}

/**
 * The next or previous suggested frame, unlabelled ones first. Frames with a pending proposal are suggested too.
 * @param {CaseWork} work @param {1 | -1} direction @returns {number | null}
 */
export function suggestedAhead(work, direction) {
  const { annotation, position } = work;
  const pending = [...annotation.frames].filter(([, one]) => one.pending && one.state === UNTOUCHED).map(([number]) => number);
  const suggested = [...new Set([...work.suggestions, ...pending])];
  const open = suggested.filter((number) => annotation.frame(number).state === UNTOUCHED);
  for (const candidates of [open, suggested]) {
    const sorted = candidates.filter((number) => number !== position).sort((one, two) => one - two);
    const ahead = sorted.filter((number) => (number - position) * direction > 0);
    if (ahead.length) return direction > 0 ? ahead[0] : ahead[ahead.length - 1];
    if (sorted.length && candidates === open) return direction > 0 ? sorted[0] : sorted[sorted.length - 1];
  }
  return null;
}
