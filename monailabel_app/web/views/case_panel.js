// What is known of the frame, and what is decided about it.
import { ANNOTATED, EMPTY, MAX_COMMENT, OPTIMAL, SUBOPTIMAL, UNTOUCHED, originText } from "../app/annotation.js";
import { INTERPOLATION, gapAround } from "../app/interpolation.js";
import { keyFor } from "../app/keys.js";
import { sameMask } from "../app/run_lengths.js";
import { number, t } from "../app/strings.js";
import { html } from "../app/ui.js";
import { Icon } from "./icons.js";
import { GrowthSection } from "./growth_section.js";
import { ReviewPanel } from "./review_panel.js";

/** @param {{work: import("../app/case_work.js").CaseWork, actions: Record<string, () => void>, viewer: any}} properties */
export function CasePanel({ work, actions }) {
  return html`
    <aside class="case-panel" aria-label=${t("frameAndLabel")}>
      <${FrameFacts} work=${work} />
      <${Measured} work=${work} />
      <${Decisions} work=${work} actions=${actions} />
      <${Suggested} work=${work} actions=${actions} />
      <${GrowthSection} work=${work} />
      <${ReviewPanel} work=${work} />
      <${Notes} work=${work} />
    </aside>`;
}

function FrameFacts({ work }) {
  const { position, count, sweeps, assessment } = work;
  const quality = work.quality(position);
  const found = assessment?.frames[position];
  const parts = [
    sweeps.length > 1 && t("sweepOf", { sweep: work.sweepOf(position), last: sweeps.length - 1 }),
    t("frameOf", { last: Math.max(0, count - 1) }),
  ];
  return html`
    <section class="facts">
      <p class="where"><b>${t("frame", { frame: position })}</b> <small>${parts.filter(Boolean).join(" · ")}</small>
        ${assessment?.best.frame === position && html`<b class="tag best">${t("bestFrame")}</b>`}</p>
      <dl>
        <div><dt>${t("quality")}</dt><dd>${quality === null ? (work.isPadding(position) ? t("padding") : "–")
    : html`${number(quality, 2)}${assessment.estimatedSet.has(position) ? html` <small>${t("estimated")}</small>` : ""}`}</dd></div>
        ${found?.expected_dice !== undefined && html`<div><dt title=${t("expectedDiceHelp")}>${t("expectedDice")}</dt><dd>${number(found.expected_dice, 2)}</dd></div>`}
      </dl>
      ${assessment?.unlikeSet.has(position) && html`<p class="warned"><${Icon} name="warning" /> ${t("unlike")}</p>`}
    </section>`;
}

function Measured({ work }) {
  const { position, annotation, assessment } = work;
  const { mm, absent, warning, own, interval } = work.measurement(position);
  const labelled = annotation.frame(position).state !== UNTOUCHED;
  const name = assessment?.model.measurement ?? "AC";
  const coverage = assessment?.measurement?.coverage ?? 0.9;
  return html`
    <section class="measured">
      <p class="ac" aria-live="off"><span>${name}</span>
        ${mm === null ? html`<b class="faint">–</b> <small>${labelled && !own ? t("labelEmpty") : absent}</small>`
    : html`<b class=${own ? "own" : "model"}>${number(mm, 1)}</b> <small>mm</small> <em>${t(own ? "acOwn" : annotation.frame(position).pending ? "acProposed" : "acModel")}</em>`}</p>
      ${interval && !own && html`<p class="faint age">${t("frameInterval", { percent: number(100 * coverage), low: number(interval[0], 0), high: number(interval[1], 0) })}</p>`}
      ${warning && html`<p class="warned"><${Icon} name="warning" /> ${warning}</p>`}
    </section>`;
}

function Decisions({ work, actions }) {
  const { position, annotation, ready } = work;
  const label = annotation.frame(position);
  const proposal = annotation.proposal(position);
  const button = (name, icon, text, { pressed = false, disabled = false, kind = "" } = {}) => html`
    <button class=${`decide ${kind}`} aria-pressed=${pressed} disabled=${!ready || disabled} onClick=${actions[name]}>
      ${icon && html`<${Icon} name=${icon} />`}<span>${text}</span><kbd>${keyFor(name)}</kbd></button>`;
  const annotated = label.state === ANNOTATED;
  const gap = gapAround(work);
  const accepted = annotated && proposal !== null && label.rater === work.rater && sameMask(label.mask, proposal.mask);
  return html`
    <section class="decisions" aria-label=${t("label")}>
      <p class="status"><i class=${`swatch ${swatchOf(label, proposal)}`}></i>${statusOf(work, label, proposal)}</p>
      ${button("accept", "check", t(accepted ? "isAccepted" : label.pending ? "acceptPending" : "accept"), { disabled: !proposal, pressed: accepted, kind: annotated ? "" : "accept" })}
      ${button("empty", "none", t("noAbdomen"), { pressed: label.state === EMPTY, disabled: work.isPadding(position) })}
      <div class="pair">
        ${button("optimal", "", t("optimal"), { pressed: label.plane === OPTIMAL, disabled: !annotated })}
        ${button("suboptimal", "", t("suboptimal"), { pressed: label.plane === SUBOPTIMAL, disabled: !annotated })}
      </div>
      ${gap && button("interpolate", "between", t("interpolateBetween", { first: gap[0], last: gap[1] }))}
      ${label.state !== UNTOUCHED && html`
        <label class="comment-field"><span class="hidden">${t("frameComment")}</span>
          <input key=${position} value=${label.comment ?? ""} maxlength=${MAX_COMMENT} placeholder=${t("frameComment")} disabled=${!ready}
            onKeyDown=${(event) => { if (event.key === "Enter" || event.key === "Escape") event.currentTarget.blur(); }}
            onChange=${(event) => { const text = event.currentTarget.value; work.apply((current) => current.comment(position, text) || undefined); }} /></label>`}
      <button class="link" disabled=${!ready || (label.state === UNTOUCHED && !label.pending)} onClick=${actions.clear}>${t("clear")} <kbd>Del</kbd></button>
    </section>`;
}

function swatchOf(label, proposal) {
  if (label.state === ANNOTATED) return "own";
  if (label.state === EMPTY) return "empty";
  return proposal ? (label.pending ? "carried" : "model") : "none";
}

function statusOf(work, label, proposal) {
  if (label.state === ANNOTATED) {
    const plane = t(`plane_${label.plane ?? "none"}`);
    return label.rater && label.rater !== work.rater ? t("statusOther", { rater: label.rater, plane }) : t("statusOwn", { plane });
  }
  if (label.state === EMPTY) return t("statusEmpty");
  if (!proposal) {
    if (!work.assessment) return work.assessmentError || t("assessing");
    return work.assessment.estimatedSet.has(work.position) && !work.complete ? t("statusEstimated") : t("statusNone");
  }
  if (label.pending?.origin) return t("statusCarried", { origin: originText(label.pending.origin) });
  if (label.pending?.model === INTERPOLATION) return t("statusInterpolated");
  return t(label.pending ? "statusPending" : "statusProposed", { model: proposal.model });
}

function Suggested({ work, actions }) {
  const { suggestions, position } = work;
  if (!suggestions.length) return null;
  const left = suggestions.filter((frame) => work.annotation.frame(frame).state === UNTOUCHED).length;
  return html`
    <section class="suggested" aria-label=${t("suggestedFrames")}>
      <h2>${t("suggestedFrames")} <small>${t("leftOf", { left, total: suggestions.length })}</small>
        <button onClick=${actions.nextSuggestion}>${t("nextSuggested")} <kbd>N</kbd></button></h2>
      <div class="chips">${suggestions.map((frame) => {
    const { state } = work.annotation.frame(frame);
    return html`<button aria-pressed=${frame === position} class=${state} onClick=${() => work.goTo(frame)} title=${work.reasonFor(frame)}>${frame}${state === UNTOUCHED ? "" : " ✓"}</button>`;
  })}</div>
      ${work.reasonFor(position) && html`<p class="faint">${work.reasonFor(position)}</p>`}
    </section>`;
}

function Notes({ work }) {
  const { assessment, layout, assessmentError } = work;
  const notes = [...new Set([...(assessment?.notes ?? []), ...(layout?.notes ?? [])])];
  if (assessment && assessment.best.frame === null) notes.unshift(assessment.best.reason);
  return html`
    <section class="notes">
      ${assessmentError && html`<p class="problem" role="alert">${assessmentError} <button onClick=${() => work.retry()}>${t("retry")}</button></p>`}
      ${!work.complete && !assessmentError && work.info && html`<p class="faint loading">${assessment ? t("assessingRest") : t("assessing")}</p>`}
      ${notes.filter(Boolean).map((note) => html`<p class="faint">${note}</p>`)}
    </section>`;
}
