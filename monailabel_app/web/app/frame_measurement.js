// The circumference, or the length of a line, of a frame's label, else of its proposal.
import { UNTOUCHED } from "./annotation.js";
import { circumferenceMm, ellipseOfRecord } from "./ellipse.js";
import { lengthMm, measureLine } from "./line.js";
import { PLAUSIBLE_MM, measureMask } from "./mask_measurement.js";
import { pixelsOf } from "./run_lengths.js";
import { t } from "./strings.js";

/**
 * @typedef {import("./mask_measurement.js").Measurement & {
 *   line?: import("./line.js").Line | null, warning: string, own: boolean, interval?: [number, number] | null,
 * }} FrameMeasurement
 */

/**
 * The model's own mask has the server's figures; an ellipse its exact circumference; any other mask that of the
 * ellipse that fits it.
 * @param {import("./case_work.js").CaseWork} work
 * @param {number} number
 * @param {WeakMap<object, import("./mask_measurement.js").Measurement>} measured masks, each once
 * @returns {FrameMeasurement}
 */
export function measurementOf(work, number, measured) {
  const label = work.annotation.frame(number);
  const proposal = label.state === UNTOUCHED ? work.annotation.proposal(number) : null;
  return measurementOfLabel(work, number, label, measured, proposal);
}

/**
 * The same of a label, whoever's it is.
 * @param {import("./case_work.js").CaseWork} work
 * @param {number} number
 * @param {import("./annotation.js").FrameLabel} label
 * @param {WeakMap<object, import("./mask_measurement.js").Measurement>} measured
 * @param {import("./annotation.js").Proposal | null} [proposal] measured where the label has no mask
 * @returns {FrameMeasurement}
 */
export function measurementOfLabel(work, number, label, measured, proposal = null) {
  const mask = label.mask ?? proposal?.mask;
  const own = label.mask !== null;
  if (!mask) return { ellipse: null, mm: null, absent: t("noMask"), warning: "", own };
  const found = work.assessment?.frames[number];
  if (found && mask === found.mask) return { ...measuredByServer(found), own };
  if (label.ellipse && work.spacing) {
    const mm = circumferenceMm(label.ellipse, work.spacing);
    return { ellipse: label.ellipse, mm, absent: "", warning: implausible(mm, work), own };
  }
  if (label.line && work.spacing) {
    const mm = lengthMm(label.line, work.spacing);
    return { ellipse: null, line: label.line, mm, absent: "", warning: implausible(mm, work), own };
  }
  let measurement = measured.get(mask);
  if (!measurement) {
    const { fieldPixels = null, measurablePixels = null } = work.layout ?? {};
    measurement = work.isLine
      ? { ellipse: null, ...measureLine(pixelsOf(mask), mask.rows, mask.columns, work.spacing, fieldPixels) }
      : measureMask(pixelsOf(mask), mask.rows, mask.columns, work.spacing, fieldPixels, measurablePixels);
    measured.set(mask, measurement);
  }
  return { ...measurement, warning: measurement.mm === null ? "" : implausible(measurement.mm, work), own };
}

function measuredByServer(found) {
  return {
    ellipse: ellipseOfRecord(found.ellipse),
    line: found.line ?? null,
    mm: found.length_mm ?? found.circumference_mm ?? null,
    absent: found.length_absent ?? found.circumference_absent ?? "",
    warning: found.warning ?? "",
    interval: found.circumference_interval_mm ?? null,
  };
}

/** @param {number} mm @param {import("./case_work.js").CaseWork} work */
function implausible(mm, work) {
  const [low, high] = work.info?.model?.plausible_mm ?? PLAUSIBLE_MM;
  return mm < low || mm > high ? t("implausible", { low, high }) : "";
}
