// Carry a mask along to the frames around it: the server proposes, nothing is labelled until it is accepted.
import { V1, call, sentence } from "./api.js";
import { isMask } from "./run_lengths.js";
import { t } from "./strings.js";
import { toast } from "./toasts.js";

const LIMIT = 60; // frames in each direction

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
    const [model, version = ""] = String(answer.model ?? "propagated").split("@");
    /** @type {import("./annotation.js").Origin} */
    const origin = { origin: "propagated", source_frame: frame };
    const found = answer.frames.filter((one) => isMask(one.mask));
    const proposals = new Map(found.map((one) => [one.frame, { mask: one.mask, model, version, origin }]));
    await work.apply((current) => {
      const count = current.propose(proposals);
      const ends = ["backward", "forward"].map((way) => answer.stopped?.[way]).filter(Boolean);
      const stops = ends.map((end) => t("carriedEnd", { frame: end.frame, reason: end.reason })).join("; ");
      return count ? t("carried", { count, stops }) : t("carriedNone", { stops });
    });
  } catch (error) {
    toast(sentence(error), "error");
  }
}
