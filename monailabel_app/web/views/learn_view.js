import { html } from "../app/ui.js";
export const LearnView = () => html`<p>…</p>`;
