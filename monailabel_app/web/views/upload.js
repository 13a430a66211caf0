// Sweeps in: files are dropped on the worklist, or chosen; the server checks each one.
import { call, sentence } from "../app/api.js";
import { t } from "../app/strings.js";
import { html, useRef, useState } from "../app/ui.js";
import { worklist } from "../app/worklist.js";
import { Icon } from "./icons.js";

/** @typedef {{name: string, state: "waiting" | "sending" | "done" | "failed", text: string}} Sent */

/** @param {{children?: any}} properties a function that is given what opens the choice of files */
export function Upload({ children }) {
  const [over, setOver] = useState(false);
  const [files, setFiles] = useState(/** @type {Sent[]} */ ([]));
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const send = async (/** @type {File[]} */ chosen) => {
    const list = chosen.map((file) => ({ name: file.name, state: "waiting", text: "" }));
    setFiles(/** @type {Sent[]} */ (list));
    for (const [index, file] of chosen.entries()) {
      const note = (state, text = "") => setFiles((before) => before.map((one, at) => (at === index ? { ...one, state, text } : one)));
      note("sending");
      const form = new FormData();
      form.append("file", file);
      try {
        await call("PUT", "/datastore/image", { form });
        note("done");
      } catch (error) {
        note("failed", sentence(error));
      }
    }
    worklist.refresh();
  };
  const onDrop = (event) => {
    event.preventDefault();
    setOver(false);
    const dropped = [...(event.dataTransfer?.files ?? [])];
    if (dropped.length) send(dropped);
  };
  const onDrag = (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    if (event.type === "dragleave" && event.currentTarget.contains(event.relatedTarget)) return;
    setOver(event.type !== "dragleave");
  };
  const busy = files.some((one) => one.state === "waiting" || one.state === "sending");
  return html`
    <div class=${`upload ${over ? "over" : ""}`} onDragOver=${onDrag} onDragEnter=${onDrag} onDragLeave=${onDrag} onDrop=${onDrop}>
      ${children(() => input.current?.click())}
      ${over && html`<p class="drop-here"><${Icon} name="upload" /> ${t("dropHere")}</p>`}
      ${files.length > 0 && html`
        <section class="uploads" aria-live="polite" aria-label=${t("uploads")}>
          <ul>${files.map((one) => html`<li class=${one.state}><b>${one.name}</b> <span>${one.text || t(`upload_${one.state}`)}</span></li>`)}</ul>
          ${!busy && html`<button class="quiet" onClick=${() => setFiles([])}>${t("close")}</button>`}
        </section>`}
      <input ref=${input} type="file" multiple hidden aria-label=${t("addCases")} onChange=${(event) => { send([...event.currentTarget.files]); event.currentTarget.value = ""; }} />
    </div>`;
}
