"""Registry of the format writers by name, imported on demand."""

from __future__ import annotations

import importlib

from fetaliqa.errors import OptionError
from fetaliqa.export.format_names import FORMATS
from fetaliqa.export.formats.format_writer import Writer


def writer_named(name: str) -> type[Writer]:
    """The writer of a format.

    Raises:
        OptionError: when there is none of this name.
    """
    if name not in FORMATS:
        raise OptionError(f"unknown format {name!r}; known are {', '.join(FORMATS)}")
    module, _, attribute = FORMATS[name][0].partition(":")
    writer: type[Writer] = getattr(importlib.import_module(f"fetaliqa.export.formats.{module}"), attribute)
    return writer
