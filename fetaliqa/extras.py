"""Check for optional dependencies before any computation starts."""

from __future__ import annotations

from importlib.util import find_spec

# modules of the extra `torch`: training, serving and all models need them, scoring by ONNX Runtime does not
TORCH_MODULES = ("torch", "open_clip", "timm", "segmentation_models_pytorch", "peft")


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


def extra_of(module: str | None) -> str | None:
    """The extra of this package that installs a missing module, such as ``torch.nn``; None for other modules."""
    return "torch" if module is not None and module.partition(".")[0] in TORCH_MODULES else None
