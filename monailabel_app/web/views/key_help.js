// The table of keys, the same as the Slicer module's.
import { table } from "../app/keys.js";
import { t } from "../app/strings.js";
import { html } from "../app/ui.js";
import { Dialog } from "./dialog.js";

const GROUPS = ["view", "label", "case"];
const MOUSE = ["mouseWheel", "mouseZoom", "mouseLevel", "mousePan", "stripScrub", "stripZoom", "stripLoop"];

/** @param {{onClose: () => void}} properties */
export function KeyHelp({ onClose }) {
  return html`
    <${Dialog} title=${t("keys")} onClose=${onClose} wide>
      <button class="quiet close" autofocus onClick=${onClose} aria-label=${t("close")}>×</button>
      <div class="key-groups">
        ${GROUPS.map((group) => html`
          <section>
            <h3>${t(`keys_${group}`)}</h3>
            <dl>${table.filter((one) => one.group === group).map((one) => html`<div><dt><kbd>${one.key}</kbd></dt><dd>${t(`key_${one.name}`)}</dd></div>`)}</dl>
          </section>`)}
        <section>
          <h3>${t("mouse")}</h3>
          <dl>${MOUSE.map((name) => html`<div><dt><kbd>${t(`${name}_what`)}</kbd></dt><dd>${t(name)}</dd></div>`)}</dl>
        </section>
      </div>
    <//>`;
}
