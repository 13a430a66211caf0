// Somebody else saved the label in the meantime: whose labels go on?
import { sentence } from "../app/api.js";
import { asName, isLabelName } from "../app/settings.js";
import { t } from "../app/strings.js";
import { toast } from "../app/toasts.js";
import { html, useState } from "../app/ui.js";
import { ANNOTATED, UNTOUCHED } from "../app/annotation.js";
import { dice, sameMask } from "../app/run_lengths.js";
import { Dialog } from "./dialog.js";

/** @param {{work: import("../app/case_work.js").CaseWork}} properties */
export function ConflictDialog({ work }) {
  const conflict = /** @type {import("../app/submission.js").Conflict} */ (work.conflict);
  const [tag, setTag] = useState(asName(`${work.tag}-${work.rater}`) || "mine");
  const [busy, setBusy] = useState(false);
  const choose = async (choice) => {
    setBusy(true);
    try {
      await work.resolve(choice, tag);
    } catch (error) {
      toast(sentence(error), "error");
    }
    setBusy(false);
  };
  const differences = differing(work.annotation.frames, conflict.frames);
  return html`
    <${Dialog} title=${t("conflictTitle", { who: conflict.who || t("somebody"), version: conflict.version })} onClose=${() => { work.conflict = null; work.changed(); }}>
      <p>${t("conflictText", { mine: work.annotation.labelled.length, theirs: conflict.frames.size })}</p>
      ${differences.length > 0 && html`
        <ul class="differences">${differences.slice(0, 8).map(([frame, text]) => html`<li><b>${t("frame", { frame })}</b> ${text}</li>`)}
          ${differences.length > 8 && html`<li>${t("andMore", { count: differences.length - 8 })}</li>`}</ul>`}
      <div class="choices">
        <button disabled=${busy} onClick=${() => choose("mine")}><b>${t("saveMine")}</b><span>${t("saveMineText")}</span></button>
        <button disabled=${busy} onClick=${() => choose("theirs")}><b>${t("useTheirs")}</b><span>${t("useTheirsText")}</span></button>
        <div class="choice">
          <button disabled=${busy || !isLabelName(tag) || tag === work.tag} onClick=${() => choose("both")}><b>${t("keepBoth")}</b><span>${t("keepBothText")}</span></button>
          <label><span class="hidden">${t("labelName")}</span><input value=${tag} maxlength="100" onInput=${(event) => setTag(event.currentTarget.value)} /></label>
        </div>
      </div>
      <div class="buttons"><button onClick=${() => { work.conflict = null; work.changed(); }}>${t("later")}</button></div>
    <//>`;
}

/** Frames on which the two differ, with what differs. @returns {[number, string][]} */
function differing(mine, theirs) {
  const numbers = [...new Set([...mine.keys(), ...theirs.keys()])].sort((one, two) => one - two);
  const state = (label) => t(`state_of_frame_${label?.state ?? UNTOUCHED}`);
  return numbers.flatMap((frame) => {
    const one = mine.get(frame);
    const two = theirs.get(frame);
    if ((one?.state ?? UNTOUCHED) !== (two?.state ?? UNTOUCHED)) return [[frame, t("mineAndTheirs", { mine: state(one), theirs: state(two) })]];
    if (one?.state !== ANNOTATED || sameMask(one.mask, two.mask)) return [];
    return [[frame, t("diceOf", { dice: dice(one.mask, two.mask).toFixed(2) })]];
  });
}
