// One case: the image with its tools, the quality strip, the frame's label and measurement.
import { OPTIMAL, SUBOPTIMAL } from "../app/annotation.js";
import { connection } from "../app/api.js";
import { BrushTool } from "../app/brush_tool.js";
import { carriedFrames, carryAlong, confirmCarried } from "../app/carry_along.js";
import { CaseWork } from "../app/case_work.js";
import { ClickTool } from "../app/click_tool.js";
import { EllipseTool } from "../app/ellipse_tool.js";
import { LineTool } from "../app/line_tool.js";
import { keyFor, listen } from "../app/keys.js";
import { interpolate } from "../app/interpolation.js";
import { Playback } from "../app/playback.js";
import { router } from "../app/router.js";
import { serverInfo } from "../app/server_info.js";
import { settings } from "../app/settings.js";
import { t } from "../app/strings.js";
import { Viewer } from "../app/viewer.js";
import { html, useEffect, useLayoutEffect, useMemo, useObserved, useRef, useState } from "../app/ui.js";
import { worklist } from "../app/worklist.js";
import { CasePanel } from "./case_panel.js";
import { ConflictDialog } from "./conflict_dialog.js";
import { Icon } from "./icons.js";
import { LeftTitle, RightPane, leftSide } from "./side_by_side.js";
import { StripBar } from "./strip_bar.js";
import { openNext } from "./worklist_view.js";

const TOOLS = ["ellipse", "brush", "eraser", "click"];
const JUMP = 10; // frames

/** @param {{id: string}} properties */
export function CaseView({ id }) {
  const work = useMemo(() => new CaseWork(id, { rater: settings.rater, tag: settings.tag }, worklist.suggested.get(id)), [id]);
  const playback = useMemo(() => new Playback(work), [work]);
  const viewer = useRef(/** @type {Viewer | null} */ (null));
  const strip = useRef(/** @type {import("../app/strip.js").Strip | null} */ (null));
  const stage = useRef(/** @type {HTMLDivElement | null} */ (null));
  const [tool, setTool] = useState("");
  useObserved(work, playback, serverInfo);
  useEffect(() => {
    if (settings.rater) work.open();
    serverInfo.read();
    return () => {
      playback.stop();
      work.close();
    };
  }, [work]);
  useLayoutEffect(() => {
    viewer.current = new Viewer(/** @type {HTMLDivElement} */ (stage.current), work);
    return () => viewer.current?.close();
  }, [work]);
  useEffect(() => connection.subscribe(() => connection.online && work.info && work.retry()), [work]);
  useEffect(() => {
    if (work.review?.others && tool) choose("");
    if (viewer.current) viewer.current.side = leftSide(work);
    viewer.current?.tool?.follow?.();
    viewer.current?.show();
  });
  const choose = (name) => {
    const next = name === tool ? "" : name;
    setTool(next);
    if (viewer.current) {
      viewer.current.tool = work.info ? makeTool(next, work, () => viewer.current?.drawOverlay()) : null;
      viewer.current.drawOverlay();
    }
  };
  const actions = useMemo(() => actionsOf(work, playback, viewer, strip), [work]);
  const all = { ...actions, ...Object.fromEntries(TOOLS.map((name) => [name, () => (name === "click" && !serverInfo.interactive ? undefined : choose(name))])) };
  useEffect(() => listen(all), [tool, work]);
  useEffect(() => {
    const onKey = (event) => {
      if (document.querySelector("dialog[open]") || event.target instanceof HTMLInputElement) return;
      if (event.key === "Escape" && tool) choose("");
      else if (event.key === "ArrowRight" && !event.defaultPrevented && !isSlider(event)) actions.next();
      else if (event.key === "ArrowLeft" && !event.defaultPrevented && !isSlider(event)) actions.previous();
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [tool, work]);
  useEffect(() => {
    const onLeave = (event) => { if (work.actions.busy || (work.journalError && work.annotation.unsaved)) event.preventDefault(); };
    window.addEventListener("beforeunload", onLeave);
    return () => window.removeEventListener("beforeunload", onLeave);
  }, [work]);
  const cursor = tool ? viewer.current?.tool?.cursor ?? "crosshair" : "grab";
  return html`
    <div class="case-layout">
      <${CaseHead} work=${work} actions=${all} />
      <div class="stage-area">
        <${ToolBar} tool=${tool} choose=${choose} work=${work} viewer=${viewer.current} actions=${all} />
        <div class="panes">
          <div class="pane">
            <${LeftTitle} work=${work} />
            <div class="stage" ref=${stage} style=${{ cursor }} role="img" aria-label=${t("imageOf", { frame: work.position, id })}>
              <canvas class="frame"></canvas><canvas class="overlay"></canvas>
              <${StageNotes} work=${work} />
            </div>
          </div>
          ${work.review?.split && html`<${RightPane} work=${work} viewer=${viewer.current} />`}
        </div>
      </div>
      <${CasePanel} work=${work} actions=${all} viewer=${viewer} />
      <${StripBar} work=${work} playback=${playback} strip=${strip} actions=${all} />
      ${work.conflict && html`<${ConflictDialog} work=${work} />`}
    </div>`;
}

const isSlider = (event) => event.target instanceof HTMLElement && event.target.getAttribute("role") === "slider";

/** @returns {import("../app/viewer.js").Tool | null} */
function makeTool(name, work, redraw) {
  if (name === "ellipse") return work.isLine ? new LineTool(work, redraw) : new EllipseTool(work, redraw);
  if (name === "brush" || name === "eraser") return new BrushTool(work, redraw, name === "eraser");
  if (name === "click") return new ClickTool(work, redraw);
  return null;
}

/** Functions of keys and buttons by name. */
function actionsOf(work, playback, viewer, strip) {
  const label = (action) => () => {
    const frame = work.position; // of this moment, whatever is shown when the action is done
    work.apply((annotation) => action(annotation, frame) || undefined);
  };
  return {
    next: () => work.goTo(work.next(1)),
    previous: () => work.goTo(work.next(-1)),
    forward: () => work.goTo(work.next(JUMP)),
    back: () => work.goTo(work.next(-JUMP)),
    play: () => playback.toggle(),
    loop: () => playback.setLoop(),
    nextSuggestion: () => work.goTo(work.nextSuggested(1)),
    previousSuggestion: () => work.goTo(work.nextSuggested(-1)),
    best: () => work.goTo(work.assessment?.best.frame ?? work.info?.best?.frame ?? null),
    proposals: () => {
      viewer.current.proposals = !viewer.current.proposals;
      work.changed();
    },
    window: () => {
      viewer.current.nextPreset();
      work.changed();
    },
    zoom: () => strip.current?.toggle(),
    fit: () => viewer.current.fit(),
    accept: label((annotation, frame) => annotation.accept(frame)),
    empty: label((annotation, frame) => annotation.markEmpty(frame)),
    optimal: label((annotation, frame) => annotation.grade(frame, OPTIMAL)),
    suboptimal: label((annotation, frame) => annotation.grade(frame, SUBOPTIMAL)),
    clear: label((annotation, frame) => annotation.clear(frame)),
    undo: () => work.undoOrRedo("undo"),
    redo: () => work.undoOrRedo("redo"),
    copyNext: () => work.copy(1),
    copyPrevious: () => work.copy(-1),
    interpolate: label((annotation, frame) => interpolate(work, annotation, frame)),
    carry: () => serverInfo.interactive && carryAlong(work),
    confirmCarried: label((annotation, frame) => confirmCarried(annotation, frame)),
    submit: () => work.submit(),
    nextCase: () => openNext(work.id),
    reviewAccept: () => work.review?.accept(),
    requestChanges: () => document.getElementById("review-comment")?.focus(),
  };
}

function CaseHead({ work, actions }) {
  const { annotation, submitting, ready } = work;
  const { annotated, empty } = annotation.counts();
  const state = annotation.unsaved ? t("unsubmitted") : annotation.basedOn ? t("atVersion", { version: annotation.basedOn }) : t("notSubmitted");
  return html`
    <div class="case-head" data-saving=${work.actions.busy}>
      <a class="button quiet" href="#/" aria-label=${t("backToCases")} title=${t("backToCases")}><${Icon} name="back" /></a>
      <h1 title=${work.id}>${work.id}</h1>
      <span class="counts">${ready && `${t("labelCounts", { annotated, empty })} · ${state}`}</span>
      <span class="grow"></span>
      <a class="button" href=${router.href("report", work.id)}><${Icon} name="print" /> ${t("report")}</a>
      <button class=${annotation.unsaved ? "primary" : ""} disabled=${!ready || submitting || !annotation.unsaved} onClick=${actions.submit} title="Ctrl+Return">
        <${Icon} name="send" /> ${submitting ? t("submitting") : t("submit")}</button>
      <button onClick=${actions.nextCase} title="Ctrl+Shift+Return">${t("nextCase")} <${Icon} name="next" /></button>
    </div>`;
}

function StageNotes({ work }) {
  const { error, heldElsewhere, journalError, restored, frames } = work;
  const notes = [];
  if (error) notes.push(html`<p class="problem" role="alert">${error} <button onClick=${() => work.retry()}>${t("retry")}</button></p>`);
  else if (frames?.failure) notes.push(html`<p class="problem" role="alert">${frames.failure} <button onClick=${() => work.retry()}>${t("retry")}</button></p>`);
  if (heldElsewhere) notes.push(html`<p class="problem" role="alert">${t("heldElsewhere")}</p>`);
  if (journalError) notes.push(html`<p class="problem" role="alert">${journalError}</p>`);
  if (restored) notes.push(html`<p class="restored" role="status">${t("restored")} <button class="quiet" aria-label=${t("dismiss")} onClick=${() => { work.restored = false; work.changed(); }}>×</button></p>`);
  return html`<div class="stage-notes">${notes}</div>`;
}

function ToolBar({ tool, choose, work, viewer, actions }) {
  const { annotation, info } = work;
  const available = TOOLS.filter((name) => name !== "click" || serverInfo.interactive);
  const active = viewer?.tool;
  const shown = (name) => (name === "ellipse" && work.isLine ? "line" : name); // the same key
  const { mask } = annotation.frame(work.position);
  const carried = carriedFrames(annotation).size > 0;
  const carry = mask || !carried ? "carry" : "confirmCarried";
  return html`
    <div class="tools" role="toolbar" aria-label=${t("tools")} aria-orientation="vertical">
      ${available.map((name) => html`
        <button class="tool" aria-pressed=${tool === name} disabled=${!info || !work.ready || work.review?.others} onClick=${() => choose(name)} title=${`${t(`key_${shown(name)}`)} (${keyFor(name)})`}>
          <${Icon} name=${shown(name)} /><span>${t(`tool_${shown(name)}`)}</span></button>`)}
      ${(tool === "brush" || tool === "eraser") && active && html`
        <label class="radius" title=${t("radiusKeys")}>${t("radius")} <input type="range" min="2" max="60" value=${active.radius} onInput=${(event) => { active.radius = Number(event.currentTarget.value); }} /></label>`}
      ${serverInfo.interactive && html`
        <button class="tool" disabled=${!work.ready || (!mask && !carried)} onClick=${actions[carry]} title=${`${t(`key_${carry}`)} (${keyFor(carry)})`}>
          <${Icon} name=${mask || !carried ? "carry" : "check"} /><span>${t(`tool_${carry}`)}</span></button>`}
      <hr />
      <button class="tool" disabled=${!annotation.canUndo} onClick=${actions.undo} title=${`${t("key_undo")} (U)`}><${Icon} name="undo" /><span>${t("tool_undo")}</span></button>
      <button class="tool" disabled=${!annotation.canRedo} onClick=${actions.redo} title=${`${t("key_redo")} (Shift+U)`}><${Icon} name="redo" /><span>${t("tool_redo")}</span></button>
      <hr />
      <button class="tool" aria-pressed=${viewer?.proposals ?? true} onClick=${actions.proposals} title=${`${t("key_proposals")} (H)`}><${Icon} name="eye" /><span>${t("tool_proposals")}</span></button>
      <button class="tool" onClick=${actions.window} title=${`${t("key_window")} (P)`}><${Icon} name="contrast" /><span>${t("tool_window")}</span></button>
      <div class="zoom-buttons">
        <button class="tool" onClick=${() => viewer?.zoomBy(1 / 1.4)} aria-label=${t("zoomOut")} title=${t("zoomOut")}><${Icon} name="zoomOut" /></button>
        <button class="tool" onClick=${() => viewer?.zoomBy(1.4)} aria-label=${t("zoomIn")} title=${t("zoomIn")}><${Icon} name="zoomIn" /></button>
      </div>
    </div>`;
}
