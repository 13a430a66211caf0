"""Check for optional dependencies before any computation starts."""

from __future__ import annotations

from importlib.util import find_spec


def require_extra(extra: str, doing: str, modules: dict[str, str]) -> None:
    """Check that the packages of an optional extra are installed.

    Args:
        extra: the extra of this package that installs them.
        doing: what needs them, for the message.
        modules: package name by the module that it provides.

    Raises:
        OptionError: naming the missing packages.
    """
    from fetaliqa.errors import OptionError

    missing = [package for module, package in modules.items() if find_spec(module) is None]
    if missing:
        raise OptionError(f"{' and '.join(missing)} not installed; {doing} needs `pip install fetaliqa[{extra}]`")
