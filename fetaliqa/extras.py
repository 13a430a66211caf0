"""What to install, said before anything is computed."""

from __future__ import annotations

from importlib.util import find_spec


def require_extra(extra: str, doing: str, modules: dict[str, str]) -> None:
    """Refuse to go on without some packages.

    Args:
        extra: of this package, that brings them.
        doing: what needs them, for the sentence.
        modules: package by the module that it brings.

    Raises:
        OptionError: naming those that are missing.
    """
    from fetaliqa.errors import OptionError

    missing = [package for module, package in modules.items() if find_spec(module) is None]
    if missing:
        raise OptionError(f"{' and '.join(missing)} not installed; {doing} needs `pip install fetaliqa[{extra}]`")
