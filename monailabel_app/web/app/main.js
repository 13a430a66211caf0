// Entry: reads the keys and the session, and shows the page.
import { onUnauthorised } from "./api.js";
import { loadKeys } from "./keys.js";
import { settings } from "./settings.js";
import { html, render } from "./ui.js";
import { Page } from "../views/page.js";

onUnauthorised(() => settings.askToSignIn());
await Promise.all([loadKeys(), settings.readSession()]);
render(html`<${Page} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
