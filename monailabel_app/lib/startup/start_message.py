"""The message that the server logs once it is ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from fetaliqa.model.bundle_names import INTERACTIVE

SHOWN = 10  # of the files that are not offered
ADDRESS_VARIABLE = "FETALIQA_SERVER_ADDRESS"

OPEN = (
    "OPEN TO THE NETWORK: this server listens on %s. Without a login (--conf login true) everybody who "
    "reaches it can read and change all studies and labels; without a TLS proxy in front of it, others on the "
    "network can read what is sent"
)
WITHOUT_TLS = (
    "this server listens on %s, and users sign in. Without a proxy with TLS in front of it, others on the network "
    "can read what is sent, passwords included"
)


def start_message(
    address: str,
    images: Sequence[str],
    models: Iterable[str],
    not_offered: Sequence[Mapping[str, str]] = (),
    *,
    login: bool = False,
) -> str:
    """What is served where, how to open it in 3D Slicer, and one command to try.

    Args:
        address: address of the server.
        images: image ids in the studies folder.
        models: hosted models.
        not_offered: files that are not offered as images, with the reason.
        login: whether users sign in.
    """
    names = sorted(models, key=lambda name: (name == INTERACTIVE, name))
    tried = [name for name in names if name != INTERACTIVE][-1:]  # that one needs clicks
    lines = [
        "",
        f"  FetalIQA is serving {len(images)} image(s) with {', '.join(names) or 'no model'} at {address}",
        f"  In a browser: {address}/",
        f"  In 3D Slicer: module FetalIQA (docs/slicer.md), server address {address}",
        "    MONAI Label's own module works too: frames changed there are annotated, others stay proposed",
        "    until a reviewer confirms them (fetaliqa labels confirm)",
    ]
    if login:
        lines.append("  Users sign in; 3D Slicer and scripts need a token (fetaliqa users token, docs/access.md)")
    if images and tried:
        first = quote(min(images), safe="")
        token = "-H 'Authorization: Bearer TOKEN' " if login else ""
        lines += ["  Try:", f"    curl -X POST {token}'{address}/infer/{tried[0]}?image={first}&output=json'"]
    if not images:
        lines.append("  The studies folder holds no sweep yet: put .mha, .nii.gz, .nrrd or .dcm files into it")
    lines += [f"  Not offered: {one['file']}: {one['reason']}" for one in not_offered[:SHOWN]]
    if len(not_offered) > SHOWN:
        lines.append(f"  Not offered: {len(not_offered) - SHOWN} more files; {address}/info/ lists them all")
    return "\n".join([*lines, f"  All calls: {address}/docs    Stop: Ctrl+C", ""])
