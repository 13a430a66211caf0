import { html } from "../app/ui.js";
export const ExportView = () => html`<p>…</p>`;
