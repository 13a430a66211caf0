// Below the image: play, speed, loop, and the quality strip.
import { SPEEDS } from "../app/playback.js";
import { Strip } from "../app/strip.js";
import { keyFor } from "../app/keys.js";
import { number, t } from "../app/strings.js";
import { html, useEffect, useLayoutEffect, useRef } from "../app/ui.js";
import { Icon } from "./icons.js";

/** @param {{work: import("../app/case_work.js").CaseWork, playback: import("../app/playback.js").Playback,
  strip: {current: Strip | null}, actions: any}} properties `strip` is set here */
export function StripBar({ work, playback, strip, actions }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  useLayoutEffect(() => {
    strip.current = new Strip(/** @type {HTMLCanvasElement} */ (canvas.current), work, playback);
    return () => strip.current?.close();
  }, [work]);
  useEffect(() => {
    strip.current?.follow();
    strip.current?.draw();
  });
  const onKey = (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 };
    if (event.key === "Home") work.goTo(0);
    else if (event.key === "End") work.goTo(work.count - 1);
    else if (event.key === "+" || event.key === "-") strip.current?.zoomBy(event.key === "+" ? 1.5 : 1 / 1.5);
    else if (steps[event.key]) work.goTo(work.next(steps[event.key]));
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const quality = work.quality(work.position);
  const value = [t("frame", { frame: work.position }), quality === null ? "" : `${t("quality")} ${number(quality, 2)}`];
  return html`
    <div class="strip-bar">
      <div class="transport">
        <button onClick=${actions.previous} aria-label=${t("key_previous")} title=${`${t("key_previous")} (PgUp, ←)`}><${Icon} name="back" /></button>
        <button class="play" onClick=${actions.play} aria-label=${t("key_play")} title=${`${t("key_play")} (K)`}><${Icon} name=${playback.playing ? "pause" : "play"} /></button>
        <button onClick=${actions.next} aria-label=${t("key_next")} title=${`${t("key_next")} (PgDown, →)`}><${Icon} name="next" /></button>
        <button aria-pressed=${playback.loop !== null} onClick=${actions.loop} aria-label=${t("key_loop")} title=${`${t("key_loop")} (${keyFor("loop")})`}><${Icon} name="loop" /></button>
        <label><span class="hidden">${t("speed")}</span>
          <select value=${playback.speed} onChange=${(event) => { playback.speed = Number(event.currentTarget.value); playback.changed(); }}>
            ${SPEEDS.map((speed) => html`<option value=${speed}>${t("perSecond", { speed })}</option>`)}
          </select></label>
        <button onClick=${actions.best} title=${`${t("key_best")} (Home)`}>${t("best")}</button>
      </div>
      <div class="strip">
        <canvas ref=${canvas} role="slider" tabindex="0" aria-label=${t("stripLabel")} aria-valuemin="0" aria-valuemax=${Math.max(0, work.count - 1)}
          aria-valuenow=${work.position} aria-valuetext=${value.filter(Boolean).join(", ")} onKeyDown=${onKey}></canvas>
        <div class="zoom">
          <button class="quiet" onClick=${() => strip.current?.zoomBy(1.6)} aria-label=${t("stripZoomIn")} title=${t("stripZoomIn")}>+</button>
          <button class="quiet" onClick=${() => strip.current?.zoomBy(1 / 1.6)} aria-label=${t("stripZoomOut")} title=${t("stripZoomOut")}>−</button>
        </div>
      </div>
    </div>`;
}
