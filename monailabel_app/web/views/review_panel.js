import { html } from "../app/ui.js";
export const ReviewPanel = () => html``;
