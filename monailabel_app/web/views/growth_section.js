// Gestational age, centile and weight by the frame's circumference, each with its formula.
import { ageText, parseAge } from "../app/growth.js";
import { settings } from "../app/settings.js";
import { number, t } from "../app/strings.js";
import { html, useEffect, useState } from "../app/ui.js";

let shownOpen = true; // also in the next case

/** @param {{work: import("../app/case_work.js").CaseWork}} properties */
export function GrowthSection({ work }) {
  const { growth, assessment, position } = work;
  if (!assessment || growth.error) return growth.error && html`<section class="growth"><p class="problem" role="alert">${growth.error}</p></section>`;
  const { measurement, growth: record } = assessment;
  const name = assessment.model.measurement;
  const { mm } = work.measurement(position);
  const { figures, old } = mm === null ? { figures: null, old: false } : growth.of(name, mm);
  const ofHeader = (record?.notes ?? []).filter((note) => note.includes("DICOM"));
  return html`
    <details class="growth" aria-label=${t("growth")} open=${shownOpen} onToggle=${(event) => { shownOpen = event.currentTarget.open; }}>
      <summary><h2>${t("growth")} <small>${t("notForClinicalUse")}</small></h2></summary>
      ${measurement && html`<p>${t("caseMeasurement")} <b>${measurementText(measurement)}</b>${" "}
        <small class="faint">${t("fromFrames", { count: measurement.frames.length, frames: measurement.frames.join(", ") })}${measurement.interval_absent ? `; ${t("noInterval", { reason: measurement.interval_absent })}` : ""}</small></p>`}
      <${AgeField} work=${work} />
      ${figures && html`
        <p class="faint">${t("growthOf", { name, mm: number(/** @type {number} */ (mm), 1), frame: position })}</p>
        <${GrowthList} figures=${figures} age=${growth.age} old=${old} name=${name} />`}
      ${ofHeader.map((note) => html`<p class="faint">${note}</p>`)}
    </details>`;
}

/** On the report: of the case's measurement, else of the best frame. @param {{work: import("../app/case_work.js").CaseWork}} properties */
export function GrowthReport({ work }) {
  const { growth, assessment } = work;
  const { measurement, best, model } = assessment;
  const mm = measurement?.mm ?? best.length_mm ?? best.circumference_mm ?? null;
  const name = measurement?.name ?? model.measurement;
  const { figures } = mm === null ? { figures: null } : growth.of(name, mm);
  const { age } = growth;
  if (!figures && !age) return null;
  const rows = [[t("gestationalAge"), age ? ageText(age.days) : t("ageNotGiven"), age?.source ?? t("ageHelp")], ...(figures ? growthRows(figures, age, name) : [])];
  return html`
    <h2>${t("growth")}</h2>
    ${mm !== null && html`<p class="faint">${t(measurement ? "growthOfCase" : "growthOfBest", { name, mm: number(mm, 1) })}</p>`}
    <dl class="facts-table">${rows.map(([term, value, formula]) => html`<div><dt>${term}</dt><dd>${value} <small class="faint">${formula}</small></dd></div>`)}</dl>
    ${(figures?.notes ?? []).map((note) => html`<p class="faint">${note}</p>`)}`;
}

/** @param {{figures: import("../app/growth.js").Figures, age: {days: number} | null, name: string, old?: boolean}} properties */
export function GrowthList({ figures, age, name, old = false }) {
  const rows = growthRows(figures, age, name);
  return html`
    <dl class=${old ? "old" : ""}>${rows.map(([term, value, formula]) => html`<div><dt>${term}</dt><dd>${value}<small>${formula}</small></dd></div>`)}</dl>
    ${figures.notes.map((note) => html`<p class="faint">${note}</p>`)}`;
}

/** Term, value and formula of each figure; no centile without a given age. @returns {[string, string, string][]} */
export function growthRows(figures, age, name) {
  /** @type {[string, string, string][]} */
  const rows = [];
  if (figures.centile && age) rows.push([t("centileAt", { name, age: ageText(age.days) }), t("centileValue", { percent: number(figures.centile.percent, 0), z: signed(figures.centile.z) }), figures.centile.formula]);
  if (figures.weight) rows.push([t("weight"), t("grams", { grams: number(figures.weight.grams) }), figures.weight.formula]);
  if (figures.age) rows.push([t("ageBy", { name }), ageText(figures.age.days), figures.age.formula]);
  return rows;
}

/** "AC 279 mm (90 % interval 268 to 290)". @param {any} measurement of the record */
export function measurementText({ name, mm, interval_mm: interval, coverage }) {
  const value = `${name} ${number(mm, 0)} mm`;
  return interval ? `${value} ${t("interval_mm", { percent: number(100 * (coverage ?? 0.9)), low: number(interval[0], 0), high: number(interval[1], 0) })}` : value;
}

const signed = (value) => `${value < 0 ? "−" : "+"}${number(Math.abs(value), 1)}`;

function AgeField({ work }) {
  const { growth } = work;
  const { age, given, busy, known } = growth;
  const [typed, setTyped] = useState({ weeks: "", days: "" });
  const [wrong, setWrong] = useState("");
  const shown = () => ({ weeks: given.days === null ? "" : String(Math.floor(given.days / 7)), days: given.days === null ? "" : String(given.days % 7) });
  useEffect(() => { setTyped(shown()); setWrong(""); }, [given.days]);
  const changed = typed.weeks !== shown().weeks || typed.days !== shown().days;
  const onSubmit = (event) => {
    event.preventDefault();
    const parsed = parseAge(typed.weeks, typed.days);
    setWrong("wrong" in parsed ? parsed.wrong : "");
    if ("days" in parsed && changed) growth.give(parsed.days);
  };
  const header = age && given.days === null;
  const field = (name, text, most) => html`
    <label><input inputmode="numeric" maxlength="2" size="2" value=${typed[name]} placeholder=${header ? String(name === "weeks" ? Math.floor(age.days / 7) : age.days % 7) : ""}
      disabled=${!known || busy || !settings.may("annotator")} aria-label=${t(`age_${name}`, { most })} aria-describedby="age-note"
      onInput=${(event) => setTyped({ ...typed, [name]: event.currentTarget.value })} /> ${text}</label>`;
  return html`
    <form class="age-field" onSubmit=${onSubmit}>
      <span>${t("gestationalAge")}</span>
      ${field("weeks", t("weeksShort"), 45)} ${field("days", t("daysShort"), 6)}
      ${changed && html`<button disabled=${busy}>${t("save")}</button>`}
      <p id="age-note" class=${wrong ? "wrong" : "faint"} role=${wrong ? "alert" : undefined}>${wrong || (age ? age.source : t("ageHelp"))}</p>
    </form>`;
}
