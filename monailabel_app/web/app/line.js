// Lines in pixels of the file, the band that stands for a line in a mask, and the line of a mask: the server's method
// (fetaliqa.measure.line), so that an annotator reads the figure that is stored. A test compares the two.
import { mainPart } from "./mask_measurement.js";
import { t } from "./strings.js";

const BAND_SHARE = 0.035; // of the image's longer side
const MIN_BAND_PX = 3;
const MIN_ELONGATION = 1.8;
const TOLERANCE = 1e-6;

/**
 * @typedef {object} Line
 * @property {number} x1 column of the left end
 * @property {number} y1
 * @property {number} x2
 * @property {number} y2
 */

/** @param {number} rows @param {number} columns */
export const bandThickness = (rows, columns) => Math.max(MIN_BAND_PX, BAND_SHARE * Math.max(rows, columns));

/** @param {Line} line */
export const lengthOf = ({ x1, y1, x2, y2 }) => Math.hypot(x2 - x1, y2 - y1);

/** @param {Line} line @param {import("./ellipse.js").Spacing} spacing @returns {number} mm */
export const lengthMm = ({ x1, y1, x2, y2 }, [row, column]) => Math.hypot((x2 - x1) * column, (y2 - y1) * row);

/** The left end first; of a vertical line the upper one. @returns {Line} */
export function between([x1, y1], [x2, y2]) {
  return x1 < x2 || (x1 === x2 && y1 <= y2) ? { x1, y1, x2, y2 } : { x1: x2, y1: y2, x2: x1, y2: y1 };
}

/**
 * The band: 1 where the centre of a pixel lies inside.
 * @param {Line} line
 * @param {number} rows
 * @param {number} columns
 */
export function drawLine(line, rows, columns) {
  const target = new Uint8Array(rows * columns);
  const half = bandThickness(rows, columns) / 2;
  const length = lengthOf(line);
  if (!length) return target;
  const [across, down] = [(line.x2 - line.x1) / length, (line.y2 - line.y1) / length];
  const first = Math.max(0, Math.floor(Math.min(line.x1, line.x2) - half));
  const last = Math.min(columns - 1, Math.ceil(Math.max(line.x1, line.x2) + half));
  const top = Math.max(0, Math.floor(Math.min(line.y1, line.y2) - half));
  const bottom = Math.min(rows - 1, Math.ceil(Math.max(line.y1, line.y2) + half));
  for (let row = top; row <= bottom; row += 1) {
    for (let column = first; column <= last; column += 1) {
      const [x, y] = [column - line.x1, row - line.y1];
      const along = x * across + y * down;
      const beside = Math.abs(y * across - x * down);
      const inside = along >= -TOLERANCE && along <= length + TOLERANCE && beside <= half + TOLERANCE;
      if (inside) target[row * columns + column] = 1;
    }
  }
  return target;
}

/**
 * The line of a mask.
 * @param {Uint8Array} pixels of the mask, row by row
 * @param {number} rows
 * @param {number} columns
 * @param {import("./ellipse.js").Spacing | null} spacing
 * @param {Uint8Array | null} field of view; null: everywhere
 * @returns {{line: Line | null, mm: number | null, absent: string}}
 */
export function measureLine(pixels, rows, columns, spacing, field) {
  const part = mainPart(pixels, rows, columns, field);
  if (!part) return { line: null, mm: null, absent: t("noMask") };
  const [row, column] = spacing ?? [1, 1];
  /** @type {[number, number][]} */
  const points = [];
  part.forEach((inside, place) => {
    if (inside) points.push([(place % columns) * column, Math.floor(place / columns) * row]);
  });
  /** @returns {[number, number]} */
  const inPixels = ([x, y]) => [x / column, y / row];
  const ends = endsOf(points, row * column, Math.sqrt(row * column));
  if (!ends) return { line: null, mm: null, absent: t("noLine") };
  const line = between(inPixels(ends[0]), inPixels(ends[1]));
  if (!spacing) return { line, mm: null, absent: t("noSpacing") };
  return { line, mm: lengthMm(line, spacing), absent: "" };
}

/** Where the width across the principal axis falls to half of its usual width. @returns {[number, number][] | null} */
function endsOf(points, area, pixel) {
  const count = points.length;
  const middle = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / count);
  let [xx, xy, yy] = [0, 0, 0];
  for (const [x, y] of points) {
    const [right, down] = [x - middle[0], y - middle[1]];
    xx += right * right;
    xy += right * down;
    yy += down * down;
  }
  if (xx + yy <= 0) return null;
  const angle = Math.atan2(2 * xy, xx - yy) / 2;
  const axis = [Math.cos(angle), Math.sin(angle)];
  const along = points.map(([x, y]) => (x - middle[0]) * axis[0] + (y - middle[1]) * axis[1]);
  const across = points.map(([x, y]) => (y - middle[1]) * axis[0] - (x - middle[0]) * axis[1]);
  const first = along.reduce((least, value) => Math.min(least, value), Infinity) - 2 * pixel;
  const last = along.reduce((most, value) => Math.max(most, value), -Infinity);
  const places = Math.floor((last - first) / pixel) + 4;
  // each pixel counts in part at both places next to it, so that a slanted band has a smooth profile
  const profile = new Float64Array(places);
  for (const value of along) {
    const place = (value - first) / pixel;
    const below = Math.floor(place);
    profile[below] += (1 - (place - below)) * (area / pixel);
    profile[below + 1] += (place - below) * (area / pixel);
  }
  const quarter = Math.floor(places / 4);
  const width = median(profile.slice(quarter, places - quarter));
  if (width <= 0) return null;
  const wide = [...profile.keys()].filter((index) => profile[index] >= width / 2);
  const [start, stop] = [wide[0], wide[wide.length - 1]];
  const centre = (index) => first + index * pixel;
  const crossing = (index, step) => {
    const outer = profile[index + step];
    if (outer === undefined || outer >= profile[index]) return centre(index);
    return centre(index) + ((profile[index] - width / 2) / (profile[index] - outer)) * step * pixel;
  };
  const bounds = [crossing(start, -1), crossing(stop, 1)];
  if (bounds[1] - bounds[0] < MIN_ELONGATION * width) return null;
  return bounds.map((at, end) => {
    const near = across.filter((_, index) => {
      const distance = (along[index] - at) * (end ? -1 : 1);
      return distance >= 0 && distance <= width;
    });
    const beside = near.length ? near.reduce((sum, value) => sum + value, 0) / near.length : 0;
    return [middle[0] + at * axis[0] - beside * axis[1], middle[1] + at * axis[1] + beside * axis[0]];
  });
}

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
