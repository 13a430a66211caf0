"""Argument types of the command line, checked while parsing, before torch is imported."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from fetaliqa.errors import NotFoundError, OptionError


def existing(text: str) -> Path:
    """The path of an existing file or folder.

    Raises:
        NotFoundError: when it is not.
        OptionError: when the text is empty or cannot be a path.
    """
    path = _path(text)
    if not path.exists():
        raise NotFoundError(f"{path}: no such file or folder; check the path")
    return path


def existing_folder(text: str) -> Path:
    """The path of an existing folder.

    Raises:
        NotFoundError: when there is no such folder, or it is a file.
        OptionError: when the text is empty or cannot be a path.
    """
    path = _path(text)
    if not path.is_dir():
        what = "a file; give the folder it is in" if path.exists() else "no such folder; check the path"
        raise NotFoundError(f"{path}: {what}")
    return path


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise OptionError(f"{text!r} is not a path; give a file or folder")
    return Path(text)


def device(text: str) -> str:
    """The name of a device; its availability is checked later, when torch is imported.

    Raises:
        OptionError: when the name is invalid.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise OptionError(f"unknown device {text!r}; use auto, cpu, cuda or cuda:N")
    return text


def add_memory_options(group: argparse._ActionsContainer) -> None:
    """Add the options for training with little memory."""
    group.add_argument(
        "--micro-batch",
        type=int,
        metavar="N",
        help="frames per forward and backward pass (gradient accumulation, same result; default: the full batch, "
        "halved when memory runs out)",
    )
    group.add_argument(
        "--recompute",
        action="store_true",
        help="activation checkpointing of encoder blocks: less memory, more time (automatic when a smaller "
        "micro-batch is not enough)",
    )


def micro_batch(value: int | None) -> int | None:
    """The value of ``--micro-batch``.

    Raises:
        OptionError: when it is less than 1.
    """
    if value is not None and value < 1:
        raise OptionError(f"--micro-batch is {value}; 1 or more is needed")
    return value
