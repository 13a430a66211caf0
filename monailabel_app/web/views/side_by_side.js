// Two labels of a frame side by side: one's own, or another, on the left; the compared one on the right.
import { ANNOTATED, UNTOUCHED } from "../app/annotation.js";
import { OTHER, SECOND } from "../app/colours.js";
import { number, t } from "../app/strings.js";
import { html, useEffect, useLayoutEffect, useRef } from "../app/ui.js";
import { Viewer } from "../app/viewer.js";

/** @typedef {import("../app/case_work.js").CaseWork} CaseWork */

/** Which label the left view shows; null: one's own. @param {CaseWork} work @returns {import("../app/viewer.js").Side | null} */
export function leftSide(work) {
  return work.review?.others ? { colour: SECOND, labelOf: (position) => work.review?.leftFrames.get(position) } : null;
}

/** The right view; it moves with the left one. @param {{work: CaseWork, viewer: Viewer | null}} properties */
export function RightPane({ work, viewer }) {
  const stage = useRef(/** @type {HTMLDivElement | null} */ (null));
  const own = useRef(/** @type {Viewer | null} */ (null));
  useLayoutEffect(() => {
    const right = new Viewer(/** @type {HTMLDivElement} */ (stage.current), work);
    right.side = { colour: OTHER, labelOf: (position) => work.review?.frames.get(position) };
    own.current = right;
    viewer?.link(right);
    return () => right.close();
  }, [work, viewer]);
  useEffect(() => { own.current?.show(); });
  const { review, position } = work;
  if (!review) return null;
  return html`
    <div class="pane">
      <${PaneTitle} work=${work} label=${review.frames.get(position)} who=${whoOf(review.entry, review.tag)} kind="other" />
      <div class="stage right" ref=${stage} role="img" aria-label=${t("imageOfLabel", { frame: position, label: review.tag })}>
        <canvas class="frame"></canvas><canvas class="overlay"></canvas>
      </div>
    </div>`;
}

/** Above the left view. @param {{work: CaseWork}} properties */
export function LeftTitle({ work }) {
  const { review, annotation, position } = work;
  if (!review?.split) return null;
  if (!review.others) return html`<${PaneTitle} work=${work} label=${annotation.frame(position)} who=${t("yourLabel")} kind="own" />`;
  const entry = review.labels[review.left]?.find((one) => one.version === review.leftVersion);
  return html`<${PaneTitle} work=${work} label=${review.leftFrames.get(position)} who=${whoOf(entry, review.left)} kind="second" />`;
}

/** Rater, label name and version, each once. */
const whoOf = (entry, tag) => [...new Set([entry?.rater || entry?.user, tag, entry && t("atVersion", { version: entry.version })])].filter(Boolean).join(" · ");

function PaneTitle({ work, label, who, kind }) {
  const { mm, absent } = label?.mask ? work.measurementOfLabel(work.position, label) : { mm: null, absent: "" };
  const name = work.assessment?.model.measurement ?? "AC";
  const what = !label || label.state === UNTOUCHED ? t("notLabelledThere")
    : label.state !== ANNOTATED ? t("labelEmpty") : mm === null ? absent : `${name} ${number(mm, 1)} mm`;
  return html`
    <p class="pane-title"><i class=${`swatch ${kind}`}></i><b>${who}</b>
      <span>${[what, label?.state === ANNOTATED && t(`plane_${label.plane ?? "none"}`)].filter(Boolean).join(" · ")}</span></p>`;
}
