"""HTML reports as single files, rendered from ``templates/``."""

from __future__ import annotations

from typing import Any

from fetaliqa.pictures import colours as palette


def render(template: str, **view: Any) -> str:
    """Render a report.

    Args:
        template: file name in ``templates/``; undefined variables are errors.
        view: variables of the template; ``colours``, the palette by name, is added.
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
