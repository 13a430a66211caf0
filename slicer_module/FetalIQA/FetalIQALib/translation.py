"""Translation of texts, independent of Slicer's translator."""

from __future__ import annotations

from typing import Callable

_translator: Callable[[str], str] = str


def set_translator(translate: Callable[[str], str]) -> None:
    """Set the function that translates every text (in Slicer: ``slicer.i18n.tr``)."""
    global _translator
    _translator = translate


def _(text: str) -> str:
    """Translate a text into the user's language."""
    return _translator(text)
