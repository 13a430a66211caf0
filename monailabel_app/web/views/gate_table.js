// The gate's figures by group: published, candidate, difference with its 95 % interval.
import { number, t } from "../app/strings.js";
import { html } from "../app/ui.js";

const [WIDTH, HEIGHT] = [150, 18];

/** @param {{gate: any}} properties */
export function GateTable({ gate }) {
  const groups = Object.entries(gate.groups ?? gate).filter(([, group]) => group && typeof group === "object" && group.figures);
  const rows = groups.flatMap(([name, group]) => {
    const defined = Object.entries(group.figures).filter(([, values]) => values); // null: not defined on these frames
    return defined.map(([figure, values], index) => ({ name, group, figure, values, first: index === 0, count: defined.length }));
  });
  const most = Math.max(0.01, ...rows.flatMap(({ values }) => [values.difference, ...(values.interval ?? [])]).filter((value) => typeof value === "number").map(Math.abs));
  if (!rows.length) return null;
  return html`
    <div class="scroll-x"><table class="gate">
      <thead><tr><th>${t("group")}</th><th>${t("figure")}</th><th>${t("publishedModel")}</th><th>${t("candidate")}</th><th>${t("difference")}</th><th>${t("interval")}</th></tr></thead>
      <tbody>${rows.map(({ name, group, figure, values, first, count }) => html`
        <tr class=${values.sure ?? ""}>
          ${first && html`<th rowspan=${count} scope="rowgroup">${name}<small>${t("groupSize", { cases: group.cases ?? "–", frames: group.frames ?? "–" })}</small></th>`}
          <td>${figure}</td><td>${shown(values.published)}</td><td>${shown(values.candidate)}</td>
          <td>${signed(values.difference)} ${values.sure && html`<span class=${`tag ${values.sure === "better" ? "good" : "bad"}`}>${t(`sure_${values.sure}`)}</span>`}</td>
          <td><${Interval} values=${values} most=${most} /></td>
        </tr>`)}</tbody>
    </table></div>`;
}

function Interval({ values, most }) {
  const { interval, difference } = values;
  if (!interval) return html`<span class="faint">–</span>`;
  const x = (value) => WIDTH / 2 + (value / most) * (WIDTH / 2 - 4);
  const text = `${signed(interval[0])} … ${signed(interval[1])}`;
  return html`<svg class="interval" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} width=${WIDTH} height=${HEIGHT} role="img" aria-label=${text}>
    <title>${text}</title>
    <path class="axis" d=${`M${WIDTH / 2} 1V${HEIGHT - 1}`} />
    <path class="line" d=${`M${x(interval[0])} ${HEIGHT / 2}H${x(interval[1])}`} />
    <circle cx=${x(difference)} cy=${HEIGHT / 2} r="3.5" /></svg>`;
}

const shown = (value) => (typeof value === "number" ? number(value, 3) : "–");
const signed = (value) => (typeof value === "number" ? `${value >= 0 ? "+" : "−"}${number(Math.abs(value), 3)}` : "–");
