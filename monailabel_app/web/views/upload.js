// Sweeps in: files are dropped on the worklist, or chosen; the server checks each one.
import { serverInfo } from "../app/server_info.js";
import { t } from "../app/strings.js";
import { html, useEffect, useObserved, useRef, useState } from "../app/ui.js";
import { mebibytes, uploads } from "../app/uploads.js";
import { Icon } from "./icons.js";

/** @param {{children?: any}} properties a function that is given what opens the choice of files */
export function Upload({ children }) {
  const [over, setOver] = useState(false);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => { serverInfo.read(); }, []);
  const onDrop = (event) => {
    event.preventDefault();
    setOver(false);
    const dropped = [...(event.dataTransfer?.files ?? [])];
    if (dropped.length) uploads.add(dropped);
  };
  const onDrag = (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    if (event.type === "dragleave" && event.currentTarget.contains(event.relatedTarget)) return;
    setOver(event.type !== "dragleave");
  };
  return html`
    <div class=${`upload ${over ? "over" : ""}`} onDragOver=${onDrag} onDragEnter=${onDrag} onDragLeave=${onDrag} onDrop=${onDrop}>
      ${children(() => input.current?.click())}
      ${over && html`<p class="drop-here"><${Icon} name="upload" /> ${t("dropHere")}</p>`}
      <${Uploaded} />
      <input ref=${input} type="file" multiple hidden aria-label=${t("addCases")} onChange=${(event) => { uploads.add([...event.currentTarget.files]); event.currentTarget.value = ""; }} />
    </div>`;
}

function Uploaded() {
  useObserved(uploads);
  const { list, busy } = uploads;
  if (!list.length) return null;
  const open = list.filter((one) => one.state === "waiting" || one.state === "sending");
  const ended = list.filter((one) => ["done", "failed", "cancelled"].includes(one.state));
  return html`
    <section class="uploads" aria-label=${t("uploads")}>
      <h2>${t("uploads")} <small>${t("uploadsEnded", { ended: ended.length, total: list.length })}</small>
        ${open.length > 1 && html`<button class="quiet" onClick=${() => uploads.cancelAll()}>${t("cancelAll")}</button>`}
        ${!busy && html`<button class="quiet" onClick=${() => uploads.clear()}>${t("close")}</button>`}</h2>
      <ul>${list.map((one) => html`<${One} key=${one.id} one=${one} />`)}</ul>
      <p class="hidden" role="status">${ended.map((one) => `${one.name}: ${one.text || t(`upload_${one.state}`)}`).pop() ?? ""}</p>
    </section>`;
}

function One({ one }) {
  const { id, name, size, state, sent, text } = one;
  const part = size ? Math.floor((100 * sent) / size) : 100;
  const values = { percent: part, size: mebibytes(size) };
  return html`
    <li class=${state}>
      <p><b>${name}</b> <span>${text || t(`upload_${state}`, values)}</span></p>
      ${(state === "waiting" || state === "sending") && html`
        <button class="quiet" onClick=${() => uploads.cancel(id)} aria-label=${t("cancelUpload", { name })} title=${t("cancelUpload", { name })}>×</button>`}
      ${state === "sending" && html`<progress max="100" value=${part} aria-label=${name}></progress>`}
      ${state === "checking" && html`<progress aria-label=${name}></progress>`}
    </li>`;
}
