// The worklist: every case with its best frame, AC, quality, state and who has it.
import { V1, address } from "../app/api.js";
import { listen } from "../app/keys.js";
import { router } from "../app/router.js";
import { asName, settings } from "../app/settings.js";
import { number, t, when } from "../app/strings.js";
import { html, useEffect, useLayoutEffect, useObserved, useRef, useState } from "../app/ui.js";
import { IN_PROGRESS, ORDERS, STATES, worklist } from "../app/worklist.js";
import { Icon } from "./icons.js";
import { Upload } from "./upload.js";

const REFRESH_MS = 20000;

export const stateKey = (state) => `state_${state.replace(/ /g, "_")}`;

/** The next case of the query strategy. @param {string} [skip] */
export async function openNext(skip) {
  const id = await worklist.next(skip);
  if (id !== null) router.go("case", id);
}

export function WorklistView() {
  useObserved(worklist);
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    worklist.refresh();
    const timer = setInterval(() => !document.hidden && worklist.refresh(), REFRESH_MS);
    const ends = listen({ nextCase: () => openNext(), refresh: () => worklist.refresh() });
    return () => {
      clearInterval(timer);
      ends();
    };
  }, []);
  useLayoutEffect(() => {
    if (list.current) list.current.scrollTop = worklist.scroll;
  }, [worklist.rows === null]);
  const { rows, error, shown } = worklist;
  return html`
    <${Upload}>${(/** @type {() => void} */ chooseFiles) => html`
      <div class="worklist">
        <${Overview} rows=${rows ?? []} chooseFiles=${chooseFiles} />
        <${Filters} />
        ${error && html`<p class="problem" role="alert">${error} <button onClick=${() => worklist.refresh()}>${t("retry")}</button></p>`}
        <section class="cases" ref=${list} tabindex="0" aria-label=${t("cases")} onScroll=${(event) => { worklist.scroll = event.currentTarget.scrollTop; }}>
          ${rows === null && !error && html`<p class="faint loading">${t("loading")}</p>`}
          ${rows !== null && !rows.length && html`<${NoCases} />`}
          ${rows !== null && rows.length > 0 && !shown.length && html`<p class="faint loading">${t("nothingMatches")}</p>`}
          <ul>${shown.map((row) => html`<${Case} key=${row.id} row=${row} />`)}</ul>
          ${worklist.notOffered.length > 0 && html`
            <details class="not-offered"><summary>${t("notOffered", { count: worklist.notOffered.length })}</summary>
              <ul>${worklist.notOffered.map((one) => html`<li><b>${one.file}</b> ${one.reason}</li>`)}</ul></details>`}
        </section>
      </div>`}
    <//>`;
}

function Overview({ rows, chooseFiles }) {
  const counts = STATES.map((state) => [state, rows.filter((row) => row.state === state).length]);
  const done = rows.filter((row) => ["submitted", "accepted"].includes(row.state)).length;
  const mine = rows.filter((row) => row.rater === settings.rater && row.state !== "not started").length;
  const frames = rows.reduce((sum, row) => sum + row.annotated + row.empty, 0);
  const unassessed = rows.filter((row) => !row.best).length;
  return html`
    <section class="overview" aria-label=${t("progress")}>
      <div class="headline">
        <h1>${t("cases")}</h1>
        <p>${t("progressText", { done, total: rows.length, frames, mine })}</p>
      </div>
      <div class="bar" role="img" aria-label=${counts.map(([state, count]) => `${t(stateKey(state))}: ${count}`).join(", ")}>
        ${counts.map(([state, count]) => count > 0 && html`<span class=${`part ${stateKey(state)}`} style=${{ flexGrow: count }}></span>`)}
      </div>
      <div class="actions">
        <button onClick=${chooseFiles}><${Icon} name="upload" /> ${t("addCases")}</button>
        ${unassessed > 1 && html`<button onClick=${() => worklist.assessAll()}>${t("assessAll", { count: unassessed })}</button>`}
        <button class="primary big" onClick=${() => openNext()} title="Ctrl+Shift+Return">${t("nextCase")} <${Icon} name="next" /></button>
      </div>
    </section>`;
}

function Filters() {
  const { state, text, order, descending, rows } = worklist;
  const count = (one) => (rows ?? []).filter((row) => row.state === one).length;
  return html`
    <div class="filters">
      <label class="search"><${Icon} name="search" /><span class="hidden">${t("search")}</span>
        <input type="search" value=${text} placeholder=${t("search")} onInput=${(event) => worklist.set({ text: event.currentTarget.value })} /></label>
      <div class="chips" role="group" aria-label=${t("filter")}>
        <button aria-pressed=${state === ""} onClick=${() => worklist.set({ state: "" })}>${t("all")} <span>${(rows ?? []).length}</span></button>
        ${STATES.filter((one) => count(one) > 0 || one === state).map((one) => html`
          <button aria-pressed=${state === one} onClick=${() => worklist.set({ state: state === one ? "" : one })}>
            <i class=${`dot ${stateKey(one)}`}></i>${t(stateKey(one))} <span>${count(one)}</span></button>`)}
      </div>
      <label class="sort">${t("sortBy")}
        <select value=${order} onChange=${(event) => worklist.set({ order: event.currentTarget.value, descending: ["quality", "ac", "saved"].includes(event.currentTarget.value) })}>
          ${ORDERS.map((one) => html`<option value=${one}>${t(`order_${one}`)}</option>`)}
        </select>
      </label>
      <button class="quiet order" onClick=${() => worklist.set({ descending: !descending })} aria-label=${t(descending ? "descending" : "ascending")} title=${t(descending ? "descending" : "ascending")}>
        ${descending ? "↓" : "↑"}</button>
    </div>`;
}

function Case({ row }) {
  const { best, lease, state } = row;
  const [failed, setFailed] = useState(false);
  const held = lease && lease.rater !== asName(settings.rater) ? lease.rater : null;
  const version = `${best?.frame ?? ""}`;
  const size = best?.length_mm ?? best?.circumference_mm;
  return html`
    <li class="case">
      <a href=${router.href("case", row.id)}>
        <span class="thumb">${failed ? html`<i class="faint">${t("noPicture")}</i>`
    : html`<img src=${address(`${V1}/thumbnail`, { image: row.id, best: version })} alt="" loading="lazy" decoding="async" width="112" height="84" onError=${() => setFailed(true)} />`}</span>
        <span class="name">${row.id}
          ${row.comment && html`<em class="comment">“${row.comment}” ${row.reviewer ? `– ${row.reviewer}` : ""}</em>`}
          ${best?.warning && html`<em class="warned"><${Icon} name="warning" /> ${best.warning}</em>`}
        </span>
        <span class="figure">${size ? html`<b>${number(size, 0)}</b> mm<small>${t("acShort")}</small>` : html`<span class="faint">–</span>`}</span>
        <span class="figure">${best?.quality != null ? html`<b>${number(best.quality, 2)}</b><small>${t("quality")}</small>` : html`<span class="faint">${best ? "–" : t("notAssessed")}</span>`}</span>
        <span class="state"><i class=${`dot ${stateKey(state)}`}></i><span>${t(stateKey(state))}
          <small>${summary(row, held)}</small></span></span>
      </a>
    </li>`;
}

function summary(row, held) {
  const parts = [];
  if (row.annotated || row.empty) parts.push(t("labelCounts", { annotated: row.annotated, empty: row.empty }));
  if (row.rater) parts.push(row.rater);
  if (row.saved) parts.push(when(row.saved));
  if (held) parts.push(t("heldBy", { rater: held }));
  if (row.state === IN_PROGRESS) parts.push(t("unsubmittedHere"));
  return parts.join(" · ");
}

const NoCases = () => html`<div class="nothing"><p>${t("noCases")}</p><p class="faint">${t("noCasesHelp")}</p></div>`;
