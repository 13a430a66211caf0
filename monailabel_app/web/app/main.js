// Entry: reads the keys and the session, and shows the page.
import { onUnauthorised } from "./api.js";
import { loadKeys } from "./keys.js";
import { settings } from "./settings.js";
import { html, render } from "./ui.js";
import { Page } from "../views/page.js";

onUnauthorised(() => settings.askToSignIn());
await Promise.all([loadKeys(), settings.readSession()]);
const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.replaceChildren();
render(html`<${Page} />`, root);
