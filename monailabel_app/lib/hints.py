"""What a person who has just started the server wants to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

HINT_VARIABLE = "FETALIQA_SERVER_ADDRESS"
LOG_VARIABLE = "FETALIQA_LOG_SETTINGS"  # the file of log settings that the front removes


def hints(address: str, images: Sequence[str], models: Iterable[str]) -> str:
    """Lines that say what to open, and one command to try.

    Args:
        address: address of the server.
        images: image ids in the studies folder.
        models: hosted models.
    """
    names = sorted(models)
    lines = [
        "",
        f"  FetalIQA is serving {len(images)} image(s) with {', '.join(names) or 'no model'} at {address}",
        f"  In 3D Slicer: module FetalIQA (docs/slicer.md), server address {address}",
        "    MONAI Label's own module works too: frames changed there count as annotated, others stay proposed",
        "    until a reviewer confirms them (fetaliqa labels confirm)",
    ]
    if images and names:
        lines += [
            "  Try:",
            f"    curl -X POST '{address}/infer/{names[-1]}?image={sorted(images)[0]}&output=json'",
        ]
    if not images:
        lines.append("  The studies folder holds no sweep yet: put .mha, .nii.gz, .nrrd or .dcm files into it")
    return "\n".join([*lines, f"  All calls: {address}/    Stop: Ctrl+C", ""])
