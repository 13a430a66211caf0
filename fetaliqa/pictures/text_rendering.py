"""Text in figures, in any script: characters without an installed font are escaped."""

from __future__ import annotations

import functools
from typing import Any

from matplotlib import font_manager

from fetaliqa.case_names import printable

# fonts of desktops with Chinese, Japanese or Korean; matplotlib's own font lacks these characters
FAMILIES = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans",
    "Arial Unicode MS",
)


@functools.cache
def _letters(family: str) -> frozenset[int]:
    """Code points that a font family covers."""
    path = font_manager.findfont(font_manager.FontProperties(family=[family]), fallback_to_default=True)
    return frozenset(font_manager.get_font(path).get_charmap())


@functools.cache
def _families() -> tuple[str, ...]:
    """matplotlib's own font, then those of ``FAMILIES`` that are installed."""
    installed = set(font_manager.get_font_names())
    return ("DejaVu Sans", *(family for family in FAMILIES if family in installed))


def lettering(text: str) -> dict[str, Any]:
    """Arguments of matplotlib's ``text`` for text from a file or a user.

    ``$`` is not parsed as a formula. A character that no installed font covers is escaped, such as ``\\u5b55``.
    """
    needed = {ord(letter) for letter in text}
    used = [family for number, family in enumerate(_families()) if number == 0 or needed - _letters("DejaVu Sans")]
    drawn = frozenset[int]().union(*map(_letters, used))
    rendered = "".join(
        letter if ord(letter) in drawn else letter.encode("unicode_escape").decode("ascii")
        for letter in printable(text)
    )
    return {"s": rendered, "family": used, "parse_math": False}
