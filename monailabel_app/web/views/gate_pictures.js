// Of the gate's report: the confirmed frames on which the two models differ most, as each of them outlines them.
import { SEGMENTATION, V1, address } from "../app/api.js";
import { router } from "../app/router.js";
import { number, t } from "../app/strings.js";
import { html } from "../app/ui.js";

const SIDES = ["published", "candidate"];
const VISIBLE = 0.005; // change of the agreement

/** @param {{report: any}} properties */
export function GatePictures({ report }) {
  const pictures = report.gate.pictures ?? [];
  if (!pictures.length) return null;
  return html`
    <h3>${t("gatePictures")}</h3>
    <p class="legend faint"><i class="line-of model"></i> ${t("outlineOfModel")} <i class="line-of rater"></i> ${t("outlineOfRater")}</p>
    <div class="gate-pictures">${pictures.map((one, index) => html`<${Compared} key=${`${report.version} ${index}`} one=${one} index=${index} version=${report.version} />`)}</div>`;
}

function Compared({ one, index, version }) {
  const change = one.candidate - one.published;
  const verdict = Math.abs(change) < VISIBLE ? "" : change > 0 ? "better" : "worse";
  return html`
    <figure class="compared">
      <figcaption><a href=${router.href("case", one.case)}>${one.case}</a> <span>${t("frame", { frame: one.frame })}</span>
        ${verdict && html`<span class=${`tag ${verdict === "better" ? "good" : "bad"}`}>${t(`sure_${verdict}`)}</span>`}</figcaption>
      ${SIDES.map((side) => html`
        <div><img src=${address(`${V1}/models/report/picture`, { version, number: index, side, model: SEGMENTATION })} loading="lazy" width="400" height="300"
            alt=${t("gatePictureOf", { side: t(`side_${side}`), case: one.case, frame: one.frame, result: resultOf(one, side) })} />
          <p><b>${t(`side_${side}`)}</b> <span>${resultOf(one, side)}</span></p></div>`)}
    </figure>`;
}

const resultOf = (one, side) => (one.outlined ? `Dice ${number(one[side], 2)}` : t(one[side] ? "calledEmpty" : "calledPositive"));
