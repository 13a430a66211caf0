"""What a person who has just started the server wants to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

HINT_VARIABLE = "FETALIQA_SERVER_ADDRESS"

OPEN = (
    "OPEN TO THE NETWORK: this server listens on %s. Without a login (MONAI_LABEL_AUTH_ENABLE) everybody who "
    "reaches it can read and change all studies and labels; without a TLS proxy in front of it, others on the "
    "network can read what is sent"
)


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
        f"  In 3D Slicer: extension MONAI Label, module MONAI Label, server address {address}",
    ]
    if images and names:
        lines += [
            "  Try:",
            f"    curl -X POST '{address}/infer/{names[-1]}?image={sorted(images)[0]}&output=json'",
        ]
    if not images:
        lines.append("  The studies folder holds no sweep yet: put .mha, .nii.gz, .nrrd or .dcm files into it")
    return "\n".join([*lines, f"  All calls: {address}/    Stop: Ctrl+C", ""])
