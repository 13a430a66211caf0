// The page around all views: header, messages, who is working, keys.
import { connection } from "../app/api.js";
import { router } from "../app/router.js";
import { settings } from "../app/settings.js";
import { t } from "../app/strings.js";
import { toasts } from "../app/toasts.js";
import { html, useEffect, useObserved, useState } from "../app/ui.js";
import { CaseView } from "./case_view.js";
import { ExportView } from "./export_view.js";
import { Icon } from "./icons.js";
import { KeyHelp } from "./key_help.js";
import { LearnView } from "./learn_view.js";
import { NameDialog, SignIn } from "./person.js";
import { ReportView } from "./report_view.js";
import { WorklistView } from "./worklist_view.js";

const VIEWS = { worklist: WorklistView, case: CaseView, report: ReportView, learn: LearnView, export: ExportView };
const THEMES = { auto: "dark", dark: "light", light: "auto" };

export function Page() {
  useObserved(router, settings, connection);
  const [help, setHelp] = useState(false);
  const [naming, setNaming] = useState(false);
  useEffect(() => {
    const onKey = (event) => {
      if (event.key !== "F1" || !event.shiftKey) return;
      event.preventDefault();
      setHelp((shown) => !shown);
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
  useEffect(() => {
    const parts = router.view === "worklist" ? [] : [router.id || t(`nav_${router.view}`)];
    document.title = [...parts, "FetalIQA"].join(" · ");
  });
  const View = VIEWS[router.view];
  const nobody = !settings.rater && !settings.session.required;
  return html`
    <${Header} onHelp=${() => setHelp(true)} onName=${() => setNaming(true)} />
    ${!connection.online && html`<p class="banner" role="alert"><${Icon} name="warning" /> ${t("offlineBanner")}
      <button onClick=${() => connection.ping()}>${t("retry")}</button></p>`}
    <main class=${`view-${router.view}`}><${View} key=${`${router.view} ${router.id} ${settings.rater} ${settings.tag}`} id=${router.id} /></main>
    <${Toasts} />
    ${settings.signingIn ? html`<${SignIn} />` : (nobody || naming) && html`<${NameDialog} first=${nobody} onClose=${() => setNaming(false)} />`}
    ${help && html`<${KeyHelp} onClose=${() => setHelp(false)} />`}`;
}

function Header({ onHelp, onName }) {
  const { theme, session, rater, tag } = settings;
  const views = ["worklist", "learn", ...(settings.may("admin") ? ["export"] : [])];
  const here = (view) => (router.view === view || (view === "worklist" && ["case", "report"].includes(router.view)) ? "page" : undefined);
  return html`
    <header class="top">
      <a class="brand" href="#/"><img src="web/icon.svg" alt="" width="24" height="24" />FetalIQA</a>
      <nav aria-label=${t("navigation")}>
        ${views.map((view) => html`<a href=${router.href(view)} aria-current=${here(view)}>${t(`nav_${view}`)}</a>`)}
      </nav>
      <span class="notice">${t("notForClinicalUse")}</span>
      <button class="quiet person" onClick=${onName} title=${t("changeName")}>
        <${Icon} name="person" /><span>${rater || t("noName")}${tag === "final" ? "" : ` · ${tag}`}</span>
      </button>
      <button class="quiet" onClick=${() => settings.set({ theme: THEMES[theme] })} aria-label=${t(`theme_${theme}`)} title=${t(`theme_${theme}`)}>
        <${Icon} name=${theme === "auto" ? "contrast" : theme === "dark" ? "moon" : "sun"} />
      </button>
      <button class="quiet" onClick=${onHelp} aria-label=${t("keys")} title=${`${t("keys")} (Shift+F1)`}><${Icon} name="help" /></button>
      ${session.user && html`<button class="quiet" onClick=${() => settings.signOut()}>${t("signOut")}</button>`}
    </header>`;
}

function Toasts() {
  useObserved(toasts);
  return html`
    <div class="toasts" role="status" aria-live="polite">
      ${toasts.list.map((one) => html`
        <p key=${one.id} class=${`toast ${one.kind}`}>${one.text}
          <button class="quiet" aria-label=${t("dismiss")} onClick=${() => toasts.remove(one.id)}>×</button></p>`)}
    </div>`;
}
