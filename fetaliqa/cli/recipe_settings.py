"""``--set FIELD=VALUE``, for the verbs that take a recipe."""

from __future__ import annotations

from typing import Any


def parse_settings(texts: list[str]) -> dict[str, Any]:
    """Fields and values; a value is JSON where it can be read as that, else text.

    Raises:
        OptionError: when a setting has no ``=``.
    """
    import json

    from fetaliqa.errors import OptionError

    found: dict[str, Any] = {}
    for setting in texts:
        field, separator, text = setting.partition("=")
        if not separator:
            raise OptionError(f"--set {setting!r}: write FIELD=VALUE, for example --set epochs=10")
        try:
            found[field] = json.loads(text)
        except ValueError:
            found[field] = text
    return found
