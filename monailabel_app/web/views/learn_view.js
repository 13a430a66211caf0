// Training: start, progress with its curves, the gate's decision, publish and roll back.
import { settings } from "../app/settings.js";
import { number, t, when } from "../app/strings.js";
import { Training } from "../app/training.js";
import { html, useEffect, useMemo, useObserved, useState } from "../app/ui.js";
import { Curve } from "./curve.js";
import { Dialog } from "./dialog.js";
import { GatePictures } from "./gate_pictures.js";
import { GateTable } from "./gate_table.js";

export function LearnView() {
  const training = useMemo(() => new Training(), []);
  useObserved(training);
  useEffect(() => {
    training.open();
    return () => training.close();
  }, [training]);
  const { error, stats, models } = training;
  return html`
    <div class="column">
      <h1>${t("nav_learn")}</h1>
      ${error && html`<p class="problem" role="alert">${error} <button onClick=${() => training.refresh()}>${t("retry")}</button></p>`}
      ${!stats && !error && html`<p class="faint loading">${t("loading")}</p>`}
      ${stats && html`
        <div class="cards">
          ${settings.may("admin") && html`<${Start} training=${training} />`}
          <${Progress} training=${training} />
        </div>
        <${Gate} training=${training} />
        ${models && html`<${Versions} training=${training} />`}`}
    </div>`;
}

function Start({ training }) {
  const [mode, setMode] = useState(/** @type {"quick" | "full"} */ ("quick"));
  const [publish, setPublish] = useState(true);
  const { stats, running, busy } = training;
  const since = stats.frames_since;
  const resumable = stats.state === "interrupted" || stats.state === "stopped";
  return html`
    <section class="card">
      <h2>${t("newLabels")}</h2>
      <p class="huge">${since ?? "–"} <small>${t("framesSince")}</small></p>
      <fieldset disabled=${running || busy}>
        <legend class="hidden">${t("mode")}</legend>
        ${["quick", "full"].map((one) => html`
          <label class="option"><input type="radio" name="mode" checked=${mode === one} onChange=${() => setMode(/** @type {any} */ (one))} />
            <span><b>${t(`mode_${one}`)}</b><small>${t(`mode_${one}_text`)}</small></span></label>`)}
        <label class="option"><input type="checkbox" checked=${publish} onChange=${(event) => setPublish(event.currentTarget.checked)} />
          <span><b>${t("publishIfBetter")}</b><small>${t("publishIfBetterText")}</small></span></label>
      </fieldset>
      <div class="row">
        <button class="primary" disabled=${running || busy} onClick=${() => training.start(mode, publish)}>${t("startTraining")}</button>
        ${resumable && html`<button disabled=${busy} onClick=${() => training.start(mode, publish, true)}>${t("resumeTraining")}</button>`}
      </div>
    </section>`;
}

function Progress({ training }) {
  const { stats, running, busy, log, losses, validation } = training;
  const part = stats.steps ? stats.step / stats.steps : 0;
  const points = [...losses].sort(([one], [two]) => one - two);
  const names = [...new Set([...validation.values()].flatMap((one) => Object.keys(one)))];
  return html`
    <section class="card">
      <h2>${t("lastTraining")} <span class=${`tag run-${stats.state}`}>${t(`run_${stats.state}`)}</span></h2>
      ${running && html`
        <p>${[stats.stage, stats.epochs && t("epochOf", { epoch: stats.epoch, epochs: stats.epochs }), left(stats.eta_seconds)].filter(Boolean).join(" · ")}</p>
        <progress max="1" value=${stats.stage === "train" ? part : undefined} aria-label=${t("lastTraining")}></progress>`}
      ${stats.error && html`<p class="problem">${stats.error}</p>`}
      ${points.length > 1 && html`<${Curve} title=${t("loss")} points=${points} />`}
      ${names.length > 0 && html`<dl class="figures">${names.map((name) => html`<div><dt>${name}</dt><dd>${number([...validation.values()].at(-1)?.[name] ?? NaN, 3)}</dd></div>`)}</dl>`}
      ${running && settings.may("admin") && html`<div class="row"><button disabled=${busy} onClick=${() => training.stop()}>${t("stopTraining")}</button></div>`}
      ${log.length > 0 && html`<details><summary>${t("log")}</summary><pre>${log.join("\n")}</pre></details>`}
    </section>`;
}

function left(seconds) {
  if (seconds === null || seconds === undefined) return "";
  return seconds < 90 ? t("secondsLeft", { seconds: Math.round(seconds) }) : t("minutesLeft", { minutes: Math.round(seconds / 60) });
}

function Gate({ training }) {
  const { report } = training;
  if (!report) return null;
  return html`
    <section class="card">
      <h2>${t("gateOf", { version: report.version })}
        <span class=${`tag ${report.gate.passed ? "good" : "bad"}`}>${t(report.gate.passed ? "gatePassed" : "gateRefused")}</span></h2>
      <p>${report.sentence ?? report.gate.reason}</p>
      ${report.gate.advice && html`<p class="faint">${report.gate.advice}</p>`}
      <${GateTable} gate=${report.gate} />
      <${GatePictures} report=${report} />
    </section>`;
}

function Versions({ training }) {
  const { models, history, busy } = training;
  const [forcing, setForcing] = useState("");
  const { served, current, follows, versions } = models;
  return html`
    <section class="card">
      <h2>${t("versions")}</h2>
      <p>${t("servedNow", { name: served.name, version: served.version })}${follows ? "" : ` · ${t("fixedModel")}`}</p>
      ${versions.length > 0 && html`
        <table>
          <thead><tr><th>${t("version")}</th><th>${t("verdict")}</th><th><span class="hidden">${t("actions")}</span></th></tr></thead>
          <tbody>${[...versions].reverse().map((one) => html`
            <tr><td>${one.version} ${one.version === current && html`<span class="tag good">${t("current")}</span>`}</td>
              <td>${one.sentence ?? ""} ${one.refused !== null && html`<button class="link" onClick=${() => training.readReport(one.version)}>${t("figures")}</button>`}</td>
              <td>${settings.may("admin") && one.version !== current && html`<button disabled=${busy} onClick=${() => (one.refused && !one.published ? setForcing(one.version) : training.publish(one.version))}>${t("publish")}</button>`}</td></tr>`)}</tbody>
        </table>`}
      ${settings.may("admin") && current !== null && html`<div class="row"><button disabled=${busy} onClick=${() => training.rollback()}>${t("rollBack")}</button></div>`}
      ${history.length > 0 && html`
        <details><summary>${t("historyOfModel")}</summary>
          <ol class="history">${history.map((one) => html`<li>${when(one.time)} · ${[one.event ?? one.action, one.version, one.reason].filter(Boolean).join(" · ")}</li>`)}</ol></details>`}
      ${forcing && html`<${Force} version=${forcing} onClose=${() => setForcing("")} training=${training} />`}
    </section>`;
}

function Force({ version, onClose, training }) {
  const [reason, setReason] = useState("");
  return html`
    <${Dialog} title=${t("overrideGate", { version })} onClose=${onClose}>
      <form onSubmit=${async (event) => {
    event.preventDefault();
    if (await training.publish(version, reason.trim())) onClose();
  }}>
        <p>${t("overrideText")}</p>
        <label>${t("reason")} <textarea value=${reason} maxlength="500" required onInput=${(event) => setReason(event.currentTarget.value)}></textarea></label>
        <div class="buttons"><button type="button" onClick=${onClose}>${t("cancel")}</button>
          <button class="danger" disabled=${!reason.trim()}>${t("publishAnyway")}</button></div>
      </form>
    <//>`;
}
