"""HTML reports: one file each, of a template in ``templates/``."""

from __future__ import annotations

from typing import Any

from fetaliqa.pictures import colours as palette


def render(template: str, **view: Any) -> str:
    """The text of a report.

    Args:
        template: file name in ``templates/``; a name it uses that is not in ``view`` is an error.
        view: what it shows; ``colours``, the palette by name, is there already.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fetaliqa.pictures"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    colours = {
        name.lower(): value
        for name, value in vars(palette).items()
        if name.isupper() and isinstance(value, str) and value.startswith("#")
    }
    return environment.get_template(template).render(colours=colours, **view)
