// Review: another label over one's own, agreement, accept, request changes, make final.
import { Review } from "../app/review.js";
import { dice } from "../app/run_lengths.js";
import { settings } from "../app/settings.js";
import { number, t, when } from "../app/strings.js";
import { html, useEffect, useState } from "../app/ui.js";
import { ANNOTATED } from "../app/annotation.js";

/** @param {{work: import("../app/case_work.js").CaseWork}} properties */
export function ReviewPanel({ work }) {
  const [comment, setComment] = useState("");
  useEffect(() => {
    work.review = new Review(work);
    work.review.readLabels();
  }, [work]);
  useEffect(() => { if (work.annotation.basedOn) work.review?.readLabels(); }, [work.annotation.basedOn]);
  const review = work.review;
  const tags = Object.keys(review?.labels ?? {});
  if (!review || (!tags.length && !review.error)) return null;
  const last = (tag) => review.labels[tag][review.labels[tag].length - 1];
  const { entry, agreement, error } = review;
  const busy = review.busy || !review.version; // until the label is here
  const verdict = entry?.reviews?.at(-1);
  return html`
    <section class="review" aria-label=${t("review")}>
      <h2>${t("review")}</h2>
      ${error && html`<p class="problem" role="alert">${error}</p>`}
      <label class="hidden" for="review-tag">${t("compareWith")}</label>
      <select id="review-tag" value=${review.tag} onFocus=${() => review.readLabels()} onChange=${(event) => review.compare(event.currentTarget.value)}>
        <option value="">${t("compareWith")}</option>
        ${tags.map((tag) => html`<option value=${tag}>${tag} · ${last(tag).rater || last(tag).user || ""} · ${t("atVersion", { version: last(tag).version })}</option>`)}
      </select>
      ${review.tag && html`
        ${entry && html`<p class="faint">${t("savedBy", { who: entry.rater || entry.user || t("somebody"), when: when(entry.saved) })}
          ${verdict && html` · ${t(verdict.state === "accepted" ? "verdictAccepted" : "verdictReturned", { who: verdict.reviewer })}`}</p>`}
        <div class="pair placing" role="group" aria-label=${t("placing")}>
          <button aria-pressed=${!review.beside} onClick=${() => review.place(false)}>${t("overlay")}</button>
          <button aria-pressed=${review.beside} onClick=${() => review.place(true)}>${t("sideBySide")}</button>
        </div>
        ${review.beside && html`
          <label class="line">${t("onTheLeft")}
            <select value=${review.left} onChange=${(event) => review.showLeft(event.currentTarget.value)}>
              <option value="">${t("yourLabel")}</option>
              ${tags.filter((tag) => tag !== review.tag && tag !== work.tag).map((tag) => html`<option value=${tag}>${tag} · ${last(tag).rater || last(tag).user || ""}</option>`)}
            </select></label>`}
        <${OnThisFrame} work=${work} review=${review} />
        ${agreement && html`<${Agreement} agreement=${agreement} work=${work} />`}
        ${settings.may("reviewer") && html`<div class="pair">
          <button disabled=${busy} onClick=${() => review.accept()}>${t("acceptVersion")}</button>
          ${review.tag !== "final" ? html`<button disabled=${busy} onClick=${() => review.pick()}>${t("makeFinal")}</button>` : html`<span></span>`}
        </div>`}
        ${settings.may("reviewer") && html`<form onSubmit=${async (event) => {
    event.preventDefault();
    if (await review.requestChanges(comment)) setComment("");
  }}>
          <label class="hidden" for="review-comment">${t("comment")}</label>
          <textarea id="review-comment" value=${comment} maxlength="1000" placeholder=${t("comment")} onInput=${(event) => setComment(event.currentTarget.value)}></textarea>
          <button disabled=${busy || !comment.trim()}>${t("requestChanges")}</button>
        </form>`}
        <details><summary>${t("history")}</summary>
          <ol class="history">${[...review.labels[review.tag] ?? []].reverse().map((one) => html`
            <li><button class="link" onClick=${() => review.compare(review.tag, one.version)}>${t("atVersion", { version: one.version })}</button>
              ${one.rater || one.user || ""} <small class="faint">${when(one.saved)}</small></li>`)}</ol>
        </details>`}
    </section>`;
}

function OnThisFrame({ work, review }) {
  const mine = review.others ? review.leftFrames.get(work.position) : work.annotation.frame(work.position);
  const theirs = review.frames.get(work.position);
  if (!theirs) return html`<p class="faint">${t("theyNot")}</p>`;
  const both = mine?.state === ANNOTATED && theirs.state === ANNOTATED;
  return html`<p><i class="swatch other"></i> ${theirs.state === ANNOTATED ? t(`plane_${theirs.plane ?? "none"}`) : t("labelEmpty")}
    ${both && html` · <b>Dice ${number(dice(mine.mask, theirs.mask), 2)}</b>`}</p>`;
}

function Agreement({ agreement, work }) {
  const rows = [
    [t("bothLabelled"), agreement.frames],
    [t("meanDice"), agreement.dice === null ? null : number(agreement.dice, 2)],
    [t("acDifference"), agreement.ac_difference_mm === null ? null : `${number(agreement.ac_difference_mm, 1)} mm`],
    [t("kappa"), agreement.kappa === null ? null : number(agreement.kappa, 2)],
  ];
  const worst = [...agreement.by_frame].sort((one, two) => one.dice - two.dice).slice(0, 3);
  return html`
    <dl class="agreement">${rows.filter(([, value]) => value !== null).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${worst.length > 1 && html`<p class="chips">${t("worst")} ${worst.map((one) => html`<button onClick=${() => work.goTo(one.frame)}>${one.frame}: ${number(one.dice, 2)}</button>`)}</p>`}`;
}
