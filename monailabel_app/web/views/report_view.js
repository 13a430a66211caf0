// One case as a page to print: best frames, quality, measurements, labels, who and when.
import { ANNOTATED, originText } from "../app/annotation.js";
import { CaseWork } from "../app/case_work.js";
import { ELLIPSE, OWN, PROPOSAL, qualityColour } from "../app/colours.js";
import { linePath } from "../app/line_tool.js";
import { outlinePath } from "../app/outline_path.js";
import { router } from "../app/router.js";
import { settings } from "../app/settings.js";
import { number, t, when } from "../app/strings.js";
import { html, useEffect, useMemo, useObserved, useRef } from "../app/ui.js";
import { GrowthReport, measurementText } from "./growth_section.js";
import { Icon } from "./icons.js";

const SHOWN = 6; // pictures
const PICTURE = 320; // px

/** @param {{id: string}} properties */
export function ReportView({ id }) {
  const work = useMemo(() => new CaseWork(id, { rater: settings.rater, tag: settings.tag, readOnly: true }), [id]);
  useObserved(work);
  useEffect(() => {
    work.open();
    return () => work.close();
  }, [work]);
  const { info, assessment, layout, error, assessmentError } = work;
  const pictures = picturesOf(work);
  const problem = error || assessmentError;
  return html`
    <article class="report">
      <p class="row no-print"><a class="button" href=${router.href("case", id)}><${Icon} name="back" /> ${t("backToCase")}</a>
        <button class="primary" disabled=${!work.complete || !layout} onClick=${() => window.print()}><${Icon} name="print" /> ${t("print")}</button></p>
      <header><h1>${id}</h1><p class="notice">${t("notForClinicalUse")}</p></header>
      ${problem && html`<p class="problem no-print" role="alert">${problem} <button onClick=${() => work.retry()}>${t("retry")}</button></p>`}
      ${!work.complete && !problem && html`<p class="faint loading no-print">${t(assessment ? "assessingRest" : "assessing")}</p>`}
      ${info && html`<${Facts} work=${work} />`}
      ${assessment && html`
        ${assessment.best.frame === null && html`<p>${assessment.best.reason}</p>`}
        ${assessment.warning && html`<p class="warned"><${Icon} name="warning" /> ${assessment.warning}</p>`}
        <section class="pictures">${pictures.map((frame) => html`<${Picture} key=${frame} work=${work} frame=${frame} />`)}</section>
        <${GrowthReport} work=${work} />
        <h2>${t("qualityOfFrames")}</h2>
        <${Quality} work=${work} />`}
      ${layout && work.annotation.labelled.length > 0 && html`<h2>${t("labels")}</h2><${Labels} work=${work} />`}
      ${assessment && html`<section class="notes">${assessment.notes.map((note) => html`<p class="faint">${note}</p>`)}</section>`}
      <footer>${t("reportFooter", { when: new Date().toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) })}</footer>
    </article>`;
}

/** Labelled frames first, then the model's best ones. */
function picturesOf(work) {
  const best = work.assessment?.best.frame;
  const frames = [...(best === null || best === undefined ? [] : [best]), ...work.annotation.outlined, ...(work.assessment?.ranking ?? [])];
  return [...new Set(frames)].slice(0, SHOWN);
}

function Facts({ work }) {
  const { info, assessment, sweeps, label } = work;
  const { best } = assessment ?? {};
  const rows = [
    [t("frames"), `${info.frames} (${info.rows} × ${info.columns}), ${t("sweepCount", { count: sweeps.length })}`],
    [t("spacing"), info.spacing_mm ? `${number(info.spacing_mm[0], 3)} × ${number(info.spacing_mm[1], 3)} mm` : t("noSpacing")],
    [t("model"), assessment ? `${assessment.model.name} ${assessment.model.version}` : "…"],
    [t("bestFrameTitle"), best && best.frame !== null ? `${t("frame", { frame: best.frame })}, ${t("quality").toLowerCase()} ${number(best.quality, 2)}` : "–"],
    [t("acOfModel", { name: assessment?.model.measurement ?? "AC" }), measured(assessment)],
    [t("label"), label?.version ? t("labelLine", { tag: work.tag, version: label.version, who: label.rater || label.user || "–", when: when(label.saved) }) : t("notSubmitted")],
  ];
  return html`<dl class="facts-table">${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** The case's measurement with its interval, or why there is none; of records without one, the best frame's. */
function measured(assessment) {
  const { measurement, best } = assessment ?? {};
  const size = best?.length_mm ?? best?.circumference_mm;
  if (!measurement) return size ? `${number(size, 1)} mm` : best?.length_absent || best?.circumference_absent || "–";
  const { frames, interval_absent: absent } = measurement;
  return html`${measurementText(measurement)}<small class="faint">, ${t("fromFrames", { count: frames.length, frames: frames.join(", ") })}${absent ? `; ${t("noInterval", { reason: absent })}` : ""}</small>`;
}

function Picture({ work, frame }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const { rows, columns } = work.info;
  const aspect = work.spacing ? work.spacing[0] / work.spacing[1] : 1;
  const height = Math.round((PICTURE * rows * aspect) / columns);
  const label = work.annotation.frame(frame);
  const proposal = work.annotation.proposal(frame);
  const measured = work.measurement(frame);
  useEffect(() => {
    let live = true;
    work.frames.show(frame).then((bitmap) => live && canvas.current && draw(canvas.current, bitmap)).catch(() => {});
    return () => { live = false; };
  }, [frame, label, proposal, work.layout]);
  const draw = (/** @type {HTMLCanvasElement} */ target, bitmap) => {
    const context = /** @type {CanvasRenderingContext2D} */ (target.getContext("2d"));
    const scale = (2 * PICTURE) / columns;
    context.drawImage(bitmap, 0, 0, target.width, target.height);
    const matrix = new DOMMatrix([scale, 0, 0, scale * aspect, scale / 2, (scale * aspect) / 2]);
    const stroke = (path, colour, width, dashes = []) => {
      const placed = new Path2D();
      placed.addPath(path, matrix);
      Object.assign(context, { strokeStyle: colour, lineWidth: width });
      context.setLineDash(dashes);
      context.stroke(placed);
    };
    const mask = label.mask ?? proposal?.mask;
    if (mask) stroke(outlinePath(mask), label.mask ? OWN : PROPOSAL, 4);
    if (measured.line) stroke(linePath(measured.line), ELLIPSE, 3, [8, 8]);
    if (measured.ellipse) {
      const path = new Path2D();
      path.ellipse(measured.ellipse.x, measured.ellipse.y, measured.ellipse.a, measured.ellipse.b, measured.ellipse.angle, 0, 2 * Math.PI);
      stroke(path, ELLIPSE, 2, [8, 8]);
    }
  };
  const parts = [
    `${t("frame", { frame })}, ${t("sweepNumber", { sweep: work.sweepOf(frame) })}`,
    measured.mm === null ? measured.absent : `${work.assessment?.model.measurement ?? t("ac")} ${number(measured.mm, 1)} mm`,
    label.state === ANNOTATED ? t("acOwn") : t("acModel"),
  ];
  return html`
    <figure><canvas ref=${canvas} width=${2 * PICTURE} height=${2 * height} style=${{ aspectRatio: `${PICTURE} / ${height}` }} role="img" aria-label=${parts.join(", ")}></canvas>
      <figcaption>${parts.filter(Boolean).join(" · ")}${measured.warning && html`<br /><span class="warned">${measured.warning}</span>`}</figcaption></figure>`;
}

const [WIDTH, HEIGHT] = [960, 90];

function Quality({ work }) {
  const step = WIDTH / work.count;
  const best = work.assessment.best.frame;
  return html`
    <svg class="quality" viewBox=${`0 0 ${WIDTH} ${HEIGHT + 18}`} role="img" aria-label=${t("qualityOfFrames")}>
      ${work.assessment.quality.map((quality, frame) => quality !== null && html`
        <rect x=${frame * step} y=${HEIGHT - 2 - quality * (HEIGHT - 12)} width=${Math.max(step * 0.9, 0.8)} height=${2 + quality * (HEIGHT - 12)} fill=${qualityColour(quality)} />`)}
      ${work.sweeps.map(([start], sweep) => html`<path class="axis" d=${`M${start * step} 0V${HEIGHT}`} /><text x=${start * step + 4} y=${HEIGHT + 14}>${t("sweepNumber", { sweep })}</text>`)}
      ${best !== null && html`<path class="best" d=${`M${(best + 0.5) * step} 0l5 5-5 5-5-5Z`} />`}
      <path class="axis" d=${`M0 ${HEIGHT}H${WIDTH}`} />
    </svg>`;
}

function Labels({ work }) {
  return html`
    <table>
      <thead><tr>${["frameHead", "sweepHead", "label", "plane", "ac", "rater", "time", "source"].map((key) => html`<th>${t(key)}</th>`)}</tr></thead>
      <tbody>${work.annotation.labelled.map((frame) => {
    const label = work.annotation.frame(frame);
    const { mm, absent } = work.measurement(frame);
    const outlined = label.state === ANNOTATED;
    return html`<tr><td>${frame}</td><td>${work.sweepOf(frame)}</td><td>${t(`state_of_frame_${label.state}`)}</td>
      <td>${outlined ? t(`plane_${label.plane ?? "none"}`) : ""}</td><td>${!outlined ? "" : mm === null ? absent : `${number(mm, 1)} mm`}</td>
      <td>${label.rater}</td><td>${when(label.time)}</td><td>${[label.model, label.version, originText(label.origin), label.comment && `“${label.comment}”`].filter(Boolean).join(" ")}</td></tr>`;
  })}</tbody>
    </table>`;
}
