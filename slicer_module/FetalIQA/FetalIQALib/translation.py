"""Translation of texts, independent of Slicer's translator.

Qt's translator is called on the main thread only. A text of a worker thread is translated when it is shown.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Callable

_translator: Callable[[str], str] = str


class DeferredText(str):
    """A text of a worker thread, in the language of the source, that is translated later.

    Args:
        template: text to translate.
        values: inserted into it; None before ``format``.
    """

    template: str
    values: Mapping[str, Any] | None

    def __new__(cls, template: str, values: Mapping[str, Any] | None = None) -> DeferredText:
        text = super().__new__(cls, template if values is None else template.format(**values))
        text.template, text.values = template, values
        return text

    def format(self, *_positional: Any, **values: Any) -> DeferredText:
        """The text with values inserted."""
        return DeferredText(self.template, values)


def set_translator(translate: Callable[[str], str]) -> None:
    """Set the function that translates every text (in Slicer: ``slicer.i18n.tr``)."""
    global _translator
    _translator = translate


def _(text: str) -> str:
    """Translate a text into the user's language; in a worker thread, defer it until it is shown."""
    return _translator(text) if _on_main_thread() else DeferredText(text)


def translated(text: str) -> str:
    """The translation of a deferred text. Other texts, and texts in a worker thread, are returned unchanged."""
    if not isinstance(text, DeferredText) or not _on_main_thread():
        return text
    template = _translator(text.template)
    return template if text.values is None else template.format(**_translated_values(text.values))


def _translated_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: translated(value) if isinstance(value, str) else value for name, value in values.items()}


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
