// A curve as SVG, with its range on the axes.
import { html } from "../app/ui.js";
import { number, t } from "../app/strings.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [420, 150, 44, 20];

/** @param {{title: string, points: [number, number][]}} properties */
export function Curve({ title, points }) {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [firstX, lastX] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const x = (value) => LEFT + ((value - firstX) / (lastX - firstX || 1)) * (WIDTH - LEFT - 8);
  const y = (value) => 8 + (1 - (value - low) / (high - low || 1)) * (HEIGHT - BOTTOM - 16);
  const path = points.map(([px, py], index) => `${index ? "L" : "M"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("");
  return html`
    <figure class="curve">
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${t("curveLabel", { title, first: number(ys[0], 3), last: number(ys[ys.length - 1], 3) })}>
        <path class="axis" d=${`M${LEFT} 4V${HEIGHT - BOTTOM}H${WIDTH}`} />
        <path class="line" d=${path} />
        <text x=${LEFT - 5} y=${y(high) + 4} text-anchor="end">${number(high, 2)}</text>
        <text x=${LEFT - 5} y=${y(low) + 4} text-anchor="end">${number(low, 2)}</text>
        <text x=${LEFT} y=${HEIGHT - 5}>${firstX}</text>
        <text x=${WIDTH - 4} y=${HEIGHT - 5} text-anchor="end">${t("step", { step: lastX })}</text>
      </svg>
      <figcaption>${title}</figcaption>
    </figure>`;
}
