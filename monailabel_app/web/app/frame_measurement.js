// The circumference of a frame's label, else of its proposal.
import { UNTOUCHED } from "./annotation.js";
import { circumferenceMm, ellipseOfRecord } from "./ellipse.js";
import { PLAUSIBLE_MM, measureMask } from "./mask_measurement.js";
import { pixelsOf } from "./run_lengths.js";
import { t } from "./strings.js";

/** @typedef {import("./mask_measurement.js").Measurement & {warning: string, own: boolean, interval?: [number, number] | null}} FrameMeasurement */

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
    return { ellipse: label.ellipse, mm, absent: "", warning: implausible(mm), own };
  }
  let measurement = measured.get(mask);
  if (!measurement) {
    const { fieldPixels = null, measurablePixels = null } = work.layout ?? {};
    measurement = measureMask(pixelsOf(mask), mask.rows, mask.columns, work.spacing, fieldPixels, measurablePixels);
    measured.set(mask, measurement);
  }
  return { ...measurement, warning: measurement.mm === null ? "" : implausible(measurement.mm), own };
}

function measuredByServer(found) {
  return {
    ellipse: ellipseOfRecord(found.ellipse),
    mm: found.circumference_mm ?? null,
    absent: found.circumference_absent ?? "",
    warning: found.warning ?? "",
    interval: found.circumference_interval_mm ?? null,
  };
}

/** @param {number} mm */
function implausible(mm) {
  const [low, high] = PLAUSIBLE_MM;
  return mm < low || mm > high ? t("implausible", { low, high }) : "";
}
