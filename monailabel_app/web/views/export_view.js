// Export: choose, see what it would hold, download.
import { Exporting, FORMATS, PLANES, STATES } from "../app/exporting.js";
import { number, t } from "../app/strings.js";
import { html, useEffect, useMemo, useObserved } from "../app/ui.js";
import { Icon } from "./icons.js";

export function ExportView() {
  const exporting = useMemo(() => new Exporting(), []);
  useObserved(exporting);
  useEffect(() => () => exporting.close(), [exporting]);
  const { busy, job, error, download } = exporting;
  const running = job?.status === "RUNNING";
  const toggle = (key, value) => (event) => {
    const list = exporting[key].filter((one) => one !== value);
    exporting.set({ [key]: event.currentTarget.checked ? [...list, value] : list });
  };
  const box = (key, value, text) => html`<label class="option"><input type="checkbox" checked=${exporting[key].includes(value)} onChange=${toggle(key, value)} /> ${text}</label>`;
  const flag = (key, text) => html`<label class="option"><input type="checkbox" checked=${exporting[key]} onChange=${(event) => exporting.set({ [key]: event.currentTarget.checked })} /> ${text}</label>`;
  return html`
    <div class="column">
      <h1>${t("nav_export")}</h1>
      <div class="cards">
        <section class="card">
          <h2>${t("whatToExport")}</h2>
          <fieldset disabled=${busy}>
            <label class="line">${t("format")}
              <select value=${exporting.format} onChange=${(event) => exporting.set({ format: event.currentTarget.value })}>
                ${FORMATS.map((one) => html`<option value=${one}>${t(`format_${one.replace("-", "_")}`)}</option>`)}
              </select></label>
            <div class="group" role="group" aria-label=${t("frames")}><h3>${t("frames")}</h3>
              ${STATES.map((one) => box("states", one, t(`export_${one}`)))}
              ${flag("bestOnly", t("bestOnly"))}</div>
            <div class="group" role="group" aria-label=${t("planes")}><h3>${t("planes")}</h3>
              ${PLANES.map((one) => box("planes", one, t(`export_${one}`)))}</div>
            <div class="group" role="group" aria-label=${t("more")}><h3>${t("more")}</h3>
              ${flag("blank", t("blankOutside"))}
              ${flag("report", t("withReport"))}</div>
          </fieldset>
          <div class="row">
            <button disabled=${busy || !exporting.states.length} onClick=${() => exporting.preview()}>${t("dryRun")}</button>
            <button class="primary" disabled=${busy || !exporting.states.length} onClick=${() => exporting.start()}>${t("startExport")}</button>
            ${running && html`<button onClick=${() => exporting.cancel()}>${t("cancel")}</button>`}
          </div>
        </section>
        <section class="card" aria-live="polite">
          <h2>${t(download ? "exported" : "wouldExport")}</h2>
          ${error && html`<p class="problem" role="alert">${error}</p>`}
          ${busy && html`<p class="faint loading">${running ? t("exportProgress", { cases: job.cases, total: job.total, frames: job.frames }) : t("counting")}</p>`}
          ${running && html`<progress max=${job.total || 1} value=${job.cases} aria-label=${t("startExport")}></progress>`}
          ${exporting.card && html`<${Card} card=${exporting.card} />`}
          ${download && html`<a class="button download" href=${download} download><${Icon} name="download" /> ${t("download", { size: number(job.bytes / 1024 ** 2, 1) })}</a>`}
          ${!exporting.card && !busy && !error && html`<p class="faint">${t("exportHelp")}</p>`}
        </section>
      </div>
    </div>`;
}

/** Counts of the data card: whatever it counts. */
function Card({ card }) {
  const counts = card.counts ?? card;
  const tables = Object.entries(counts).filter(([, value]) => value && typeof value === "object" && !Array.isArray(value) && Object.values(value).every((one) => typeof one === "number"));
  const singles = Object.entries(counts).filter(([, value]) => typeof value === "number");
  return html`
    <dl class="figures">${singles.map(([name, value]) => html`<div><dt>${name.replace(/_/g, " ")}</dt><dd>${value}</dd></div>`)}</dl>
    ${tables.filter(([, value]) => Object.keys(value).length > 0 && Object.keys(value).length <= 12).map(([name, value]) => html`
      <h3>${name.replace(/_/g, " ")}</h3>
      <dl class="figures">${Object.entries(value).map(([key, count]) => html`<div><dt>${key}</dt><dd>${count}</dd></div>`)}</dl>`)}
    ${Array.isArray(card.notes) && card.notes.map((note) => html`<p class="faint">${note}</p>`)}`;
}
