// A dialog of the browser's own: it keeps the focus, and Escape closes it.
import { html, useEffect, useRef } from "../app/ui.js";

/** @param {{title: string, onClose?: () => void, children?: any, wide?: boolean}} properties without `onClose` it stays */
export function Dialog({ title, onClose, children, wide = false }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    const dialog = element.current;
    if (dialog && !dialog.open) dialog.showModal();
    return () => dialog?.close();
  }, []);
  const onCancel = (event) => {
    event.preventDefault();
    onClose?.();
  };
  return html`
    <dialog ref=${element} class=${wide ? "wide" : ""} aria-labelledby="dialog-title" onCancel=${onCancel}>
      <h2 id="dialog-title">${title}</h2>
      ${children}
    </dialog>`;
}
