// Who is working: a name where the server has no login, else user and password.
import { sentence } from "../app/api.js";
import { isLabelName, settings } from "../app/settings.js";
import { t } from "../app/strings.js";
import { html, useState } from "../app/ui.js";
import { Dialog } from "./dialog.js";

/** @param {{first: boolean, onClose: () => void}} properties */
export function NameDialog({ first, onClose }) {
  const { session } = settings;
  const [name, setName] = useState(settings.name);
  const [tag, setTag] = useState(settings.tag);
  const [more, setMore] = useState(settings.tag !== "final");
  const wrong = !isLabelName(tag);
  const onSubmit = (event) => {
    event.preventDefault();
    if (wrong || (!session.user && !name.trim())) return;
    settings.set({ name: name.trim().slice(0, 100), tag });
    onClose();
  };
  return html`
    <${Dialog} title=${first ? t("welcome") : t("changeName")} onClose=${first ? undefined : onClose}>
      <form onSubmit=${onSubmit}>
        ${first && html`<p>${t("welcomeText")}</p>`}
        ${!session.user && html`
          <label>${t("yourName")}
            <input value=${name} onInput=${(event) => setName(event.currentTarget.value)} autocomplete="name" maxlength="100" required autofocus />
          </label>`}
        ${more ? html`
          <label>${t("labelName")}
            <input value=${tag} onInput=${(event) => setTag(event.currentTarget.value)} maxlength="100" aria-describedby="tag-help" />
          </label>
          <p id="tag-help" class=${wrong ? "wrong" : "faint"}>${wrong ? t("labelNameWrong") : t("labelNameHelp")}</p>`
    : html`<button type="button" class="link" onClick=${() => setMore(true)}>${t("ownLabelName")}</button>`}
        <div class="buttons">
          ${!first && html`<button type="button" onClick=${onClose}>${t("cancel")}</button>`}
          <button class="primary" type="submit" disabled=${wrong || (!session.user && !name.trim())}>${first ? t("start") : t("save")}</button>
        </div>
      </form>
    <//>`;
}

/** Nothing is lost meanwhile: calls that were refused wait, and go on after the login. */
export function SignIn() {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const [error, setError] = useState("");
  const onSubmit = async (event) => {
    event.preventDefault();
    setError("");
    try {
      await settings.signIn(user, password);
    } catch (problem) {
      setError(sentence(problem));
    }
  };
  return html`
    <${Dialog} title=${t("signIn")}>
      <form onSubmit=${onSubmit}>
        <p class="faint">${t("signInText")}</p>
        <label>${t("user")} <input value=${user} onInput=${(event) => setUser(event.currentTarget.value)} autocomplete="username" required autofocus /></label>
        <label>${t("password")} <input type="password" value=${password} onInput=${(event) => setPassword(event.currentTarget.value)} autocomplete="current-password" required /></label>
        ${error && html`<p class="wrong" role="alert">${error}</p>`}
        <div class="buttons"><button class="primary" type="submit">${t("signIn")}</button></div>
      </form>
    <//>`;
}
