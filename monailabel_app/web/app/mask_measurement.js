// Ellipse and circumference of a mask: the server's method (fetaliqa.measure.outline), so that an annotator reads the
// figure that is stored. A test compares the two.
import { circumference, drawEllipse, scaled } from "./ellipse.js";
import { fitEllipse } from "./ellipse_fit.js";
import { t } from "./strings.js";

const MIN_FITTED_SHARE = 0.4; // of the outline that must be visible
const MAX_GAP_DEG = 160; // longest missing arc
const MIN_OVERLAP = 0.6; // least Jaccard index of mask and ellipse
const MAX_POINTS = 720;
export const PLAUSIBLE_MM = [100, 450]; // of an abdominal circumference, where the server names no model

/**
 * @typedef {object} Measurement
 * @property {import("./ellipse.js").Ellipse | null} ellipse
 * @property {number | null} mm circumference
 * @property {string} absent why there is none
 */

/**
 * @param {Uint8Array} pixels of the mask, row by row
 * @param {number} rows
 * @param {number} columns
 * @param {import("./ellipse.js").Spacing | null} spacing
 * @param {Uint8Array | null} field of view; null: everywhere
 * @param {Uint8Array | null} measurable where outline points belong to the anatomy
 * @returns {Measurement}
 */
export function measureMask(pixels, rows, columns, spacing, field, measurable) {
  const part = mainPart(pixels, rows, columns, field);
  if (!part) return { ellipse: null, mm: null, absent: t("noMask") };
  const { points, free } = outlinePoints(part, rows, columns, measurable);
  if (free.length / 2 < MIN_FITTED_SHARE * points) {
    return { ellipse: null, mm: null, absent: t("outlineCut") };
  }
  const [row, column] = spacing ?? [1, 1];
  const step = Math.max(1, Math.ceil(free.length / 2 / MAX_POINTS));
  const chosen = [];
  for (let index = 0; index < free.length / 2; index += step) {
    chosen.push(free[2 * index] * column, free[2 * index + 1] * row);
  }
  const points64 = Float64Array.from(chosen);
  const fitted = fitEllipse(points64);
  if (!fitted) return { ellipse: null, mm: null, absent: t("noEllipse") };
  if (largestGap(points64, fitted) > MAX_GAP_DEG) return { ellipse: null, mm: null, absent: t("outlineCut") };
  const ellipse = scaled(fitted, 1 / column, 1 / row);
  if (overlap(part, drawEllipse(ellipse, rows, columns), field) < MIN_OVERLAP) {
    return { ellipse: null, mm: null, absent: t("noEllipse") };
  }
  if (!spacing) return { ellipse, mm: null, absent: t("noSpacing") };
  return { ellipse, mm: circumference(fitted.a, fitted.b), absent: "" };
}

/**
 * Points half-way between neighbouring inside and outside pixels.
 * @returns {{points: number, free: number[]}} how many there are; x, y of those in `measurable`
 */
export function outlinePoints(part, rows, columns, measurable) {
  let points = 0;
  /** @type {number[]} */
  const free = [];
  const at = (row, column) => (row < 0 || column < 0 || row >= rows || column >= columns ? 0 : part[row * columns + column]);
  const visit = (row, column, nextRow, nextColumn) => {
    const here = at(row, column);
    if (here === at(nextRow, nextColumn)) return;
    points += 1;
    const inside = here ? row * columns + column : nextRow * columns + nextColumn;
    if (!measurable || measurable[inside]) free.push((column + nextColumn) / 2, (row + nextRow) / 2);
  };
  for (let row = -1; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) visit(row, column, row + 1, column);
  }
  for (let row = 0; row < rows; row += 1) {
    for (let column = -1; column < columns; column += 1) visit(row, column, row, column + 1);
  }
  return { points, free };
}

function largestGap(points, { x, y, a, b, angle }) {
  const cosine = Math.cos(angle);
  const sine = Math.sin(angle);
  const turns = new Float64Array(points.length / 2);
  for (let index = 0; index < turns.length; index += 1) {
    const right = points[2 * index] - x;
    const down = points[2 * index + 1] - y;
    turns[index] = (Math.atan2((down * cosine - right * sine) / b, (right * cosine + down * sine) / a) * 180) / Math.PI;
  }
  turns.sort();
  let gap = turns[0] + 360 - turns[turns.length - 1];
  for (let index = 1; index < turns.length; index += 1) gap = Math.max(gap, turns[index] - turns[index - 1]);
  return gap;
}

function overlap(part, drawn, field) {
  let both = 0;
  let either = 0;
  for (let index = 0; index < part.length; index += 1) {
    const second = drawn[index] && (!field || field[index]);
    both += part[index] && second ? 1 : 0;
    either += part[index] || second ? 1 : 0;
  }
  return either ? both / either : 0;
}

/**
 * The largest 8-connected part within the field of view, its holes filled.
 * @returns {Uint8Array | null} null when it is empty
 */
export function mainPart(pixels, rows, columns, field) {
  const inside = new Uint8Array(pixels.length);
  for (let index = 0; index < pixels.length; index += 1) inside[index] = pixels[index] && (!field || field[index]) ? 1 : 0;
  const largest = largestRegion(inside, rows, columns);
  if (!largest) return null;
  // what cannot be reached from outside without crossing the part is a hole of it
  const wide = columns + 2;
  const outside = new Uint8Array((rows + 2) * wide);
  const stack = [0];
  outside[0] = 1;
  while (stack.length) {
    const place = /** @type {number} */ (stack.pop());
    for (const next of [place - 1, place + 1, place - wide, place + wide]) {
      if (next < 0 || next >= outside.length || outside[next]) continue;
      const row = Math.floor(next / wide) - 1;
      const column = (next % wide) - 1;
      const within = row >= 0 && column >= 0 && row < rows && column < columns;
      if (within && largest[row * columns + column]) continue;
      if (Math.abs((next % wide) - (place % wide)) > 1) continue; // no step around the edge
      outside[next] = 1;
      stack.push(next);
    }
  }
  const filled = new Uint8Array(pixels.length);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      filled[row * columns + column] = outside[(row + 1) * wide + column + 1] ? 0 : 1;
    }
  }
  return filled;
}

/** @returns {Uint8Array | null} */
function largestRegion(inside, rows, columns) {
  const labels = new Int32Array(inside.length);
  let best = 0;
  let most = 0;
  let label = 0;
  for (let seed = 0; seed < inside.length; seed += 1) {
    if (!inside[seed] || labels[seed]) continue;
    label += 1;
    let count = 0;
    const stack = [seed];
    labels[seed] = label;
    while (stack.length) {
      const place = /** @type {number} */ (stack.pop());
      count += 1;
      const row = Math.floor(place / columns);
      const column = place % columns;
      for (let down = Math.max(0, row - 1); down <= Math.min(rows - 1, row + 1); down += 1) {
        for (let across = Math.max(0, column - 1); across <= Math.min(columns - 1, column + 1); across += 1) {
          const next = down * columns + across;
          if (inside[next] && !labels[next]) {
            labels[next] = label;
            stack.push(next);
          }
        }
      }
    }
    if (count > most) [best, most] = [label, count];
  }
  if (!best) return null;
  return Uint8Array.from(labels, (one) => (one === best ? 1 : 0));
}
