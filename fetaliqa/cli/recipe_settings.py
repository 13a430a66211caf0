"""Parsing of ``--set FIELD=VALUE``, for commands with a recipe."""

from __future__ import annotations

from typing import Any


def parse_settings(texts: list[str]) -> dict[str, Any]:
    """Fields and values; a value is parsed as JSON if possible, else it is text.

    Raises:
        OptionError: when a setting has no ``=``.
    """
    import json

    from fetaliqa.errors import OptionError

    settings: dict[str, Any] = {}
    for setting in texts:
        field, separator, text = setting.partition("=")
        if not separator:
            raise OptionError(f"--set {setting!r}: write FIELD=VALUE, for example --set epochs=10")
        try:
            settings[field] = json.loads(text)
        except ValueError:
            settings[field] = text
    return settings
