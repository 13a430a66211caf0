"""A student on disk: a folder with its card and one file of weights, beside the bundle that it screens for."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from fetaliqa.atomic import atomic_directory, write_json
from fetaliqa.errors import BundleError
from fetaliqa.file_hash import file_sha256
from fetaliqa.geometry import SquareGrid
from fetaliqa.models.bundle import Bundle
from fetaliqa.models.hashing import short
from fetaliqa.models.naming import CARD_FILE
from fetaliqa.models.store import STUDENT_FOLDER
from fetaliqa.student import AUTO, NONE
from fetaliqa.student.card import StudentCard, read_student_card
from fetaliqa.student.network import BATCH, StudentNet, as_images

logger = logging.getLogger(__name__)
WEIGHTS_FILE = "student.safetensors"


class Student:
    """A student whose card and weights have been read and checked.

    Attributes:
        card: what ``card.json`` says.
        fingerprint: SHA-256 of the card's bytes, which hold the hash of the weights.
    """

    def __init__(self, net: StudentNet, card: StudentCard, fingerprint: str) -> None:
        self.card = card
        self.fingerprint = fingerprint
        self._net = net.for_inference()

    @classmethod
    def open(cls, folder: str | Path, bundle: Bundle) -> Student:
        """Read the student of a bundle.

        Raises:
            BundleError: when it is damaged or incomplete, or learnt from another model.
        """
        folder = Path(folder).expanduser()
        card = read_student_card(folder)
        if card.teacher.fingerprint != bundle.fingerprint:
            raise BundleError(
                f"{folder}: this student learnt from {card.teacher.name} {card.teacher.version} "
                f"({short(card.teacher.fingerprint)}), not from {bundle.card.name} {bundle.card.version} "
                f"({short(bundle.fingerprint)}); make one for it with `fetaliqa distill --student`"
            )
        net = StudentNet(card.widths)
        _load(net, folder / WEIGHTS_FILE, card.sha256)
        return cls(net, card, hashlib.sha256((folder / CARD_FILE).read_bytes()).hexdigest())

    @torch.inference_mode()
    def guess(self, frames: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Guessed quality of chosen frames, float [N], 0 to 1.

        Args:
            frames: uint8 [T, H, W].
            indices: frame numbers, int [N].
        """
        grid = SquareGrid(int(frames.shape[1]), int(frames.shape[2]), self.card.grid)
        found: list[float] = []
        for start in range(0, len(indices), BATCH):
            squares = grid.to_square(frames[indices[start : start + BATCH]])
            found += torch.sigmoid(self._net(as_images(squares))).tolist()
        return np.array(found)


def open_student(which: str | Path, bundle: Bundle) -> Student | None:
    """The student that is meant for a bundle.

    Args:
        which: ``auto``, the bundle's own, or none where it has none; ``none``; or a folder.
        bundle: that it screens frames for.

    Returns:
        The student, or None: of none at all, and of the bundle's own when it cannot be used. A search is slower
        without, and no reason to stop a server; the log says so.

    Raises:
        BundleError: when the one that was named is damaged or incomplete, or learnt from another model.
    """
    if which == NONE:
        return None
    if which != AUTO:
        return Student.open(which, bundle)
    own = bundle.directory / STUDENT_FOLDER
    if not own.is_dir():
        return None
    try:
        return Student.open(own, bundle)
    except BundleError as problem:
        logger.warning("%s; this model does without it", problem)
        return None


def check_free(folder: Path) -> None:
    """Check that a student can be written as ``folder``.

    Raises:
        BundleError: when it exists.
    """
    if folder.exists():
        raise BundleError(f"{folder} exists already; a student is never overwritten, move it away first")


def save_student(net: StudentNet, card: StudentCard, folder: Path) -> StudentCard:
    """Write a student as a new folder: complete, or not at all.

    Args:
        net: trained, its batch norms not folded.
        card: its ``created`` and ``sha256`` are set here.
        folder: to make; must not exist.

    Returns:
        The card as it was written.

    Raises:
        BundleError: when it exists, or a tensor is not finite.
    """
    check_free(folder)
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in net.state_dict().items()}
    for name, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise BundleError(f"{name!r} of the student holds values that are not finite; training has diverged")
    with atomic_directory(folder) as temporary:
        (temporary / WEIGHTS_FILE).write_bytes(save(state))
        written = replace(
            card,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            sha256=file_sha256(temporary / WEIGHTS_FILE),
        )
        write_json(temporary / CARD_FILE, written.to_json())
    return written


def _load(net: StudentNet, file: Path, expected: str) -> None:
    try:
        content = file.read_bytes()
    except OSError as problem:
        raise BundleError(f"{file}: not readable ({problem.strerror}); copy the student again") from None
    if hashlib.sha256(content).hexdigest() != expected:
        raise BundleError(f"{file} is damaged or was changed: its hash is not the card's; copy the student again")
    try:
        net.load_state_dict(load(content))
    except (SafetensorError, RuntimeError):
        raise BundleError(f"{file}: not the weights of a student of the card's widths; make it again") from None
