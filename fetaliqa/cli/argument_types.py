"""Argument types that are checked while the command line is parsed, before torch is loaded."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from fetaliqa.errors import NotFoundError, OptionError


def existing(text: str) -> Path:
    """The path of a file or folder that must be there.

    Raises:
        NotFoundError: when it is not.
        OptionError: when the text is empty or cannot be a path.
    """
    path = _path(text)
    if not path.exists():
        raise NotFoundError(f"{path}: no such file or folder; check the path")
    return path


def existing_folder(text: str) -> Path:
    """The path of a folder that must be there.

    Raises:
        NotFoundError: when there is no such folder, or it is a file.
        OptionError: when the text is empty or cannot be a path.
    """
    path = _path(text)
    if not path.is_dir():
        what = "a file; name the folder it is in" if path.exists() else "no such folder; check the path"
        raise NotFoundError(f"{path}: {what}")
    return path


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise OptionError(f"{text!r} is not a path; name a file or folder")
    return Path(text)


def device(text: str) -> str:
    """The name of a device; whether this machine has it is known only once torch is loaded.

    Raises:
        OptionError: when it is no such name.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise OptionError(f"unknown device {text!r}; use auto, cpu, cuda or cuda:N")
    return text


def add_memory_options(group: argparse._ActionsContainer) -> None:
    """Options of a training that has little memory."""
    group.add_argument(
        "--micro-batch",
        type=int,
        metavar="N",
        help="frames of a batch that are computed at a time, with the same result (default: the whole batch, "
        "halved when memory runs out)",
    )
    group.add_argument(
        "--recompute",
        action="store_true",
        help="compute encoder blocks again in the backward pass: less memory, more time (begun by itself where no "
        "fewer frames help)",
    )


def micro_batch(given: int | None) -> int | None:
    """The value of ``--micro-batch``.

    Raises:
        OptionError: when it is less than 1.
    """
    if given is not None and given < 1:
        raise OptionError(f"--micro-batch is {given}; 1 or more is needed")
    return given
