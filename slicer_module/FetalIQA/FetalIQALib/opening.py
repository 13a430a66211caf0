"""Loading a case and its label from the server; for a task's thread."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from FetalIQALib.client import Client
from FetalIQALib.decisions import Frame, frames_of
from FetalIQALib.http import Cancel
from FetalIQALib.images import Stack, read_masks, read_stack
from FetalIQALib.outline import BORDER_PX
from FetalIQALib.replies import Saved
from FetalIQALib.sector import field_of_view, free_of_border
from FetalIQALib.sweep import Assessment, Sweep, assessment_of, padding_of


@dataclass(frozen=True)
class Opened:
    """What opening a case brings from the server: the case, and its label when it has one."""

    sweep: Sweep
    label: Saved | None
    frames: Mapping[int, Frame]


def open_case(client: Client, case: str, suffix: str, tag: str, cancel: Cancel) -> Opened:
    """Load a case and its label.

    Raises:
        Failure: with the sentence to show.
    """
    with tempfile.TemporaryDirectory(prefix="fetaliqa-") as name:
        folder = Path(name)
        stack = read_stack(*client.download_image(case, suffix, folder, cancel))
        label, frames = load_label(client, case, tag, stack, folder, cancel)
    free = free_of_border(field_of_view(stack.frames), BORDER_PX)
    return Opened(Sweep(case, stack, padding_of(stack.frames), free), label, frames)


def load_label(
    client: Client, case: str, tag: str, stack: Stack, folder: Path, cancel: Cancel
) -> tuple[Saved | None, dict[int, Frame]]:
    """The current label of a case and its decisions; None and nothing when it has none."""
    found = client.label(case, tag, folder, cancel)
    if found is None:
        return None, {}
    file, label = found
    return label, frames_of(label.record, read_masks(file, shape_of(stack)), len(stack.frames))


def assess_case(client: Client, case: str, stack: Stack, cancel: Cancel, search: bool = False) -> Assessment:
    """What the model says of a case, with its masks; with ``search`` at least of what may be the best frame."""
    with tempfile.TemporaryDirectory(prefix="fetaliqa-") as folder:
        told, file = client.assess(case, Path(folder), cancel, search=search)
        return assessment_of(told, read_masks(file, shape_of(stack)), len(stack.frames))


def shape_of(stack: Stack) -> tuple[int, int, int]:
    """Frames, rows and columns."""
    frames, rows, columns = stack.frames.shape
    return (frames, rows, columns)
