// Masks between two outlined frames, as in the Slicer module (a test compares them): proposals, to be accepted frame by frame.
import { ANNOTATED, EMPTY, InvalidAction, UNTOUCHED } from "./annotation.js";
import { measureMask, outlinePoints, mainPart } from "./mask_measurement.js";
import { maskOf, pixelsOf } from "./run_lengths.js";
import { t } from "./strings.js";

export const INTERPOLATION = "interpolation"; // the "model" of these proposals
const MAX_GAP = 40; // frames; farther apart, a hand-held probe has left the plane
const QUALITY_GONE = 0.1; // threshold of the assessment between frames with and without abdomen
const ANGLES = 180; // directions in which the radius of an outline is sampled
const GONE_RUN = 2; // consecutive frames without abdomen; a single one may be a model error
const ROUND = 1.1; // ratio of axes below which the orientation is not defined

/** @typedef {import("./annotation.js").Annotation} Annotation */
/** @typedef {import("./case_work.js").CaseWork} CaseWork */
/** @typedef {import("./ellipse.js").Ellipse} Ellipse */

/**
 * The nearest outlined frames before and after a frame of its sweep; the frame may be one of them.
 * @param {Annotation} annotation
 * @param {number} frame
 * @param {[number, number]} limits first frame of the sweep, and the one after its last
 * @returns {[number, number] | null}
 */
export function outlinedNeighbours(annotation, frame, [start, stop]) {
  const outlined = [...annotation.frames].filter(([number, one]) => one.state === ANNOTATED && number >= start && number < stop);
  const numbers = outlined.map(([number]) => number).sort((one, two) => one - two);
  const before = numbers.filter((number) => number <= frame);
  const after = numbers.filter((number) => number > frame);
  if (before.length && after.length) return [before[before.length - 1], after[0]];
  return before.length > 1 ? [before[before.length - 2], before[before.length - 1]] : null;
}

/** Whether masks can be proposed for a frame and its neighbours. @param {CaseWork} work @returns {[number, number] | null} */
export function gapAround(work) {
  const { annotation, position } = work;
  if (annotation.frame(position).state !== UNTOUCHED || annotation.frame(position).pending) return null;
  const found = outlinedNeighbours(annotation, position, work.sweeps[work.sweepOf(position)]);
  return found && found[0] < position && position < found[1] && found[1] - found[0] <= MAX_GAP ? found : null;
}

/**
 * Propose masks for the frames between the outlined ones around a frame. From each side they go on only while the abdomen
 * is visible: up to a frame labelled empty, or to the first of GONE_RUN consecutive ones without abdomen. Labels stay.
 * @param {CaseWork} work
 * @param {Annotation} annotation
 * @param {number} frame
 * @returns {string} message
 */
export function interpolate(work, annotation, frame) {
  const found = outlinedNeighbours(annotation, frame, work.sweeps[work.sweepOf(frame)]);
  if (!found) throw new InvalidAction(t("interpolateNeeds"));
  const [first, last] = found;
  if (last - first < 2) throw new InvalidAction(t("interpolateNone", { first, last }));
  if (last - first > MAX_GAP) throw new InvalidAction(t("interpolateFar", { first, last, gap: last - first, limit: MAX_GAP }));
  const between = Array.from({ length: last - first - 1 }, (_, index) => first + 1 + index);
  const fromLeft = between.find((number) => isGone(work, annotation, number, 1)) ?? last;
  const fromRight = between.filter((number) => isGone(work, annotation, number, -1)).pop() ?? first;
  const targets = between.filter((number) => (number < fromLeft || number > fromRight) && !work.isPadding(number)
    && annotation.frame(number).state === UNTOUCHED);
  const sides = [first, last].map((number) => sampled(/** @type {any} */ (annotation.frame(number).mask)));
  /** @type {Map<number, import("./annotation.js").Proposal>} */
  const proposals = new Map();
  for (const number of targets) {
    const mask = blend(sides[0], sides[1], (number - first) / (last - first));
    if (mask) proposals.set(number, { mask, model: INTERPOLATION, version: "" });
  }
  const stopped = fromLeft < last ? t("interpolateStopped", { first: fromLeft, last: fromRight }) : "";
  if (!proposals.size) throw new InvalidAction(stopped || t("interpolateLabelled"));
  annotation.propose(proposals, "interpolate");
  return `${t("interpolated", { count: proposals.size, first, last })} ${stopped}`.trim();
}

/** Whether a frame has no abdomen: labelled empty, or not found by the model in it and the next one. */
function isGone(work, annotation, frame, step) {
  if (annotation.frame(frame).state === EMPTY || work.isPadding(frame)) return true;
  const { assessment } = work;
  if (!assessment) return false;
  const notFound = (number) => !assessment.frames[number] && !assessment.estimatedSet.has(number)
    && assessment.quality[number] !== null && assessment.quality[number] < QUALITY_GONE;
  const run = Array.from({ length: GONE_RUN }, (_, index) => frame + step * index);
  return run.every((number) => number >= 0 && number < work.count && notFound(number) && annotation.frame(number).state !== ANNOTATED);
}

/** A mask as its ellipse, and the radius of its outline in every direction relative to it. @param {import("./run_lengths.js").Mask} mask */
function sampled(mask) {
  const { rows, columns } = mask;
  const pixels = pixelsOf(mask);
  const { ellipse } = measureMask(pixels, rows, columns, null, null, null);
  if (!ellipse) throw new InvalidAction(t("interpolateShape"));
  const { free } = outlinePoints(mainPart(pixels, rows, columns, null) ?? pixels, rows, columns, null);
  const total = new Float64Array(ANGLES);
  const count = new Uint32Array(ANGLES);
  const relative = relativeTo(ellipse);
  for (let index = 0; index < free.length; index += 2) {
    const [along, across] = relative(free[index], free[index + 1]);
    const bin = modulo(Math.trunc(turnOf(along, across)), ANGLES);
    total[bin] += Math.hypot(along, across);
    count[bin] += 1;
  }
  return { rows, columns, ellipse, radii: filled(total, count) };
}

/** Mean radius by direction; between directions without a point, on the line. */
function filled(total, count) {
  const known = [...count.keys()].filter((bin) => count[bin]);
  const radii = new Float64Array(ANGLES);
  for (let bin = 0; bin < ANGLES; bin += 1) {
    const after = known.findIndex((one) => one >= bin);
    const right = after < 0 ? known[0] + ANGLES : known[after];
    const left = right === bin ? bin : after <= 0 ? known[known.length - 1] - (after < 0 ? 0 : ANGLES) : known[after - 1];
    const value = (one) => total[modulo(one, ANGLES)] / count[modulo(one, ANGLES)];
    radii[bin] = right === left ? value(right) : value(left) + ((value(right) - value(left)) * (bin - left)) / (right - left);
  }
  return radii;
}

/**
 * The mask at `fraction` (0 to 1) of the way: ellipse and radii are interpolated, so a mask that moves across the image
 * moves, instead of fading from one place to the other.
 */
function blend(start, stop, fraction) {
  const { rows, columns } = start;
  const ellipse = moving(start.ellipse, stop.ellipse, fraction);
  const radii = start.radii.map((radius, bin) => radius * (1 - fraction) + stop.radii[bin] * fraction);
  const relative = relativeTo(ellipse);
  const reach = Math.max(...radii) * ellipse.a + 1;
  const pixels = new Uint8Array(rows * columns);
  for (let row = Math.max(0, Math.floor(ellipse.y - reach)); row <= Math.min(rows - 1, ellipse.y + reach); row += 1) {
    for (let column = Math.max(0, Math.floor(ellipse.x - reach)); column <= Math.min(columns - 1, ellipse.x + reach); column += 1) {
      const [along, across] = relative(column, row);
      const place = modulo(turnOf(along, across) - 0.5, ANGLES); // radii are those of the middle of each direction
      const bin = Math.floor(place) % ANGLES;
      const part = place - Math.floor(place);
      const limit = radii[bin] + (radii[(bin + 1) % ANGLES] - radii[bin]) * part;
      if (Math.hypot(along, across) <= limit) pixels[row * columns + column] = 1;
    }
  }
  return maskOf(pixels, rows, columns);
}

/** @param {Ellipse} first @param {Ellipse} second @param {number} fraction @returns {Ellipse} */
function moving(first, second, fraction) {
  const round = Math.min(first.a / first.b, second.a / second.b) < ROUND;
  const turn = round ? 0 : modulo(second.angle - first.angle + Math.PI / 2, Math.PI) - Math.PI / 2; // the smaller rotation
  const mix = (name) => first[name] + fraction * (second[name] - first[name]);
  return { x: mix("x"), y: mix("y"), a: mix("a"), b: mix("b"), angle: modulo(first.angle + fraction * turn, Math.PI) };
}

/** Coordinates along the axes, in semi-axes. @param {Ellipse} ellipse @returns {(x: number, y: number) => [number, number]} */
function relativeTo({ x: middleX, y: middleY, a, b, angle }) {
  const cosine = Math.cos(angle);
  const sine = Math.sin(angle);
  return (x, y) => [((x - middleX) * cosine + (y - middleY) * sine) / a, ((y - middleY) * cosine - (x - middleX) * sine) / b];
}

const turnOf = (along, across) => (Math.atan2(across, along) / (2 * Math.PI)) * ANGLES;
const modulo = (value, by) => ((value % by) + by) % by;
