"""Texts that a translation may replace, without knowing Slicer's translator."""

from __future__ import annotations

from typing import Callable

_translator: Callable[[str], str] = str


def set_translator(translate: Callable[[str], str]) -> None:
    """Let every text go through ``translate`` from now on (in Slicer: ``slicer.i18n.tr``)."""
    global _translator
    _translator = translate


def _(text: str) -> str:
    """The text in the user's language."""
    return _translator(text)
