import { html } from "../app/ui.js";
export const ReportView = () => html`<p>…</p>`;
