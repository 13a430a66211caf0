"""Provenance of a run: versions, machine and git revision."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "fetaliqa",
    "torch",
    "lightning",
    "open_clip_torch",
    "peft",
    "timm",
    "albumentations",
    "numpy",
    "SimpleITK",
)


def environment() -> dict[str, Any]:
    """Versions, processor, devices and the git revision (None outside of a checkout)."""
    import torch

    from fetaliqa.inference.devices import cuda_devices

    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    cuda = [torch.cuda.get_device_name(index) for index in range(cuda_devices())]
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "cuda_devices": cuda,
        "packages": versions,
        **git_revision(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({len(names)} cores)" if names else platform.processor()


def git_revision() -> dict[str, Any]:
    """``git_revision`` and whether files differed from it, of the checkout that this code lies in."""
    folder = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    revision = git("rev-parse", "HEAD") if (folder / ".git").exists() else None
    changed = git("status", "--porcelain") if revision else None
    return {"git_revision": revision, "git_changed": None if changed is None else bool(changed)}
