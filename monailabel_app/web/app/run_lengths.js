// Masks as run lengths: row-major, alternating, beginning with zeros; the same as the server's.

/**
 * @typedef {object} Mask of one frame; never empty, never changed
 * @property {number} rows
 * @property {number} columns
 * @property {number[]} runs
 */

/**
 * @param {Uint8Array} pixels row by row, foreground not 0
 * @param {number} rows
 * @param {number} columns
 * @returns {Mask | null} null without foreground
 */
export function maskOf(pixels, rows, columns) {
  const runs = [];
  let start = 0;
  let value = 0;
  for (let index = 0; index < pixels.length; index += 1) {
    const here = pixels[index] ? 1 : 0;
    if (here !== value) {
      runs.push(index - start);
      start = index;
      value = here;
    }
  }
  if (!runs.length) return null;
  runs.push(pixels.length - start);
  return { rows, columns, runs };
}

/** @param {Mask} mask @returns {Uint8Array} 0 and 1, row by row */
export function pixelsOf(mask) {
  const pixels = new Uint8Array(mask.rows * mask.columns);
  let index = 0;
  mask.runs.forEach((run, number) => {
    if (number % 2) pixels.fill(1, index, index + run);
    index += run;
  });
  return pixels;
}

/** @param {any} value @returns {boolean} whether it is a mask with foreground */
export function isMask(value) {
  if (!value || !Array.isArray(value.runs) || value.runs.length < 2) return false;
  return value.runs.reduce((sum, run) => sum + run, 0) === value.rows * value.columns;
}

/** @param {Mask | null | undefined} first @param {Mask | null | undefined} second */
export function sameMask(first, second) {
  if (!first || !second) return !first && !second;
  return first === second
    || (first.runs.length === second.runs.length && first.runs.every((run, index) => run === second.runs[index]));
}

/** @param {Mask} mask */
export const areaOf = (mask) => mask.runs.reduce((sum, run, index) => sum + (index % 2 ? run : 0), 0);

/** Dice coefficient of two masks of one frame. @param {Mask} first @param {Mask} second */
export function dice(first, second) {
  const one = pixelsOf(first);
  const two = pixelsOf(second);
  let both = 0;
  for (let index = 0; index < one.length; index += 1) both += one[index] & two[index];
  return (2 * both) / (areaOf(first) + areaOf(second));
}
