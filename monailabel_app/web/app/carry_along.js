// Carry a mask along to the frames around it: the server proposes, nothing is labelled until a person confirms it.
import { InvalidAction, UNTOUCHED } from "./annotation.js";
import { V1, call, sentence } from "./api.js";
import { isMask } from "./run_lengths.js";
import { t } from "./strings.js";
import { toast } from "./toasts.js";

const LIMIT = 60; // frames in each direction

/** @typedef {import("./annotation.js").Annotation} Annotation */

/** @param {import("./case_work.js").CaseWork} work */
export async function carryAlong(work) {
  const { position: frame, annotation } = work;
  const mask = annotation.frame(frame).mask;
  if (!mask) {
    toast(t("nothingToCopy"));
    return;
  }
  toast(t("carrying"));
  try {
    const json = { frame, mask, direction: "both", limit: LIMIT };
    const answer = await call("POST", `${V1}/interactive/propagate`, { query: { image: work.id }, json });
    await work.apply((current) => {
      if (current.frame(frame).mask !== mask) throw new InvalidAction(t("carriedChanged", { frame }));
      return propose(current, frame, answer, (number) => work.isPadding(number));
    });
  } catch (error) {
    toast(sentence(error), "error");
  }
}

/**
 * Propose the carried masks on frames without a label; those carried from the same frame before are withdrawn.
 * @param {Annotation} annotation
 * @param {number} source
 * @param {any} answer
 * @param {(number: number) => boolean} isPadding
 */
function propose(annotation, source, answer, isPadding) {
  const [model, version = ""] = String(answer.model ?? "propagated").split("@");
  /** @type {import("./annotation.js").Origin} */
  const origin = { origin: "propagated", source_frame: source };
  const free = (number) => annotation.frame(number).state === UNTOUCHED && !isPadding(number);
  const carried = answer.frames.filter((one) => isMask(one.mask) && free(one.frame));
  const ends = ["backward", "forward"].map((way) => answer.stopped?.[way]).filter(Boolean);
  const where = ends.map((end) => t("carriedEnd", { frame: end.frame, reason: end.reason })).join(", ");
  const stops = where && t("carriedEnds", { ends: where });
  if (!carried.length) throw new InvalidAction(t("carriedNone", { stops }));
  /** @type {Map<number, import("./annotation.js").Proposal | null>} */
  const proposals = new Map((carriedFrames(annotation).get(source) ?? []).map((number) => [number, null]));
  for (const one of carried) proposals.set(one.frame, { mask: one.mask, model, version, origin });
  annotation.propose(proposals);
  return t("carried", { count: carried.length, stops });
}

/** Frames with a carried mask that is not confirmed, by the frame that it was carried from. @param {Annotation} annotation */
export function carriedFrames(annotation) {
  /** @type {Map<number, number[]>} */
  const runs = new Map();
  for (const [number, { state, pending }] of [...annotation.frames].sort(([one], [two]) => one - two)) {
    if (state !== UNTOUCHED || pending?.origin?.origin !== "propagated") continue;
    const source = pending.origin.source_frame;
    runs.set(source, [...(runs.get(source) ?? []), number]);
  }
  return runs;
}

/**
 * Confirm carried masks between their start frame and the one shown, one action; at the start frame all of them.
 * Frames that are labelled stay as they are.
 * @param {Annotation} annotation
 * @param {number} position
 */
export function confirmCarried(annotation, position) {
  const runs = carriedFrames(annotation);
  const here = [...runs].find(([, numbers]) => numbers.includes(position))?.[0];
  const near = [...runs.keys()].sort((one, two) => Math.abs(one - position) - Math.abs(two - position));
  for (const source of here === undefined ? near : [here]) {
    const [low, high] = [Math.min(source, position), Math.max(source, position)];
    const numbers = (runs.get(source) ?? []).filter((number) => source === position || (number >= low && number <= high));
    if (!numbers.length) continue;
    annotation.confirm(numbers);
    return t("confirmed", { count: numbers.length, source, first: numbers[0], last: numbers[numbers.length - 1] });
  }
  throw new InvalidAction(t("nothingToConfirm"));
}
