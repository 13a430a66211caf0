"""Loading of a case and its label from the server, in a task's thread."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from FetalIQALib.ellipse_measurement import BORDER_PX
from FetalIQALib.field_of_view import erode_field, field_of_view
from FetalIQALib.frame_annotations import FrameAnnotation, parse_frames
from FetalIQALib.http_client import Cancel, Progress
from FetalIQALib.image_files import FrameStack, read_masks, read_stack
from FetalIQALib.server_client import ServerClient
from FetalIQALib.server_responses import LabelVersion
from FetalIQALib.sweep_data import Assessment, Sweep, find_padding, parse_assessment


@dataclass(frozen=True)
class LoadedCase:
    """A case from the server, with its label if it has one."""

    sweep: Sweep
    label: LabelVersion | None
    frames: Mapping[int, FrameAnnotation]


def open_case(
    client: ServerClient, case: str, suffix: str, tag: str, cancel: Cancel, progress: Progress | None = None
) -> LoadedCase:
    """Load a case and its label; ``progress`` is called with the downloaded and the total bytes.

    Raises:
        FetalIQAError: with a message to show.
    """
    with tempfile.TemporaryDirectory(prefix="fetaliqa-") as name:
        folder = Path(name)
        stack = read_stack(*client.download_image(case, suffix, folder, cancel, progress))
        label, frames = load_label(client, case, tag, stack, folder, cancel)
    measurable = erode_field(field_of_view(stack.frames), BORDER_PX)
    return LoadedCase(Sweep(case, stack, find_padding(stack.frames), measurable), label, frames)


def load_label(
    client: ServerClient, case: str, tag: str, stack: FrameStack, folder: Path, cancel: Cancel
) -> tuple[LabelVersion | None, dict[int, FrameAnnotation]]:
    """The current label of a case and its frames; None and no frames if it has none."""
    result = client.label(case, tag, folder, cancel)
    if result is None:
        return None, {}
    file, label = result
    return label, parse_frames(label.record, read_masks(file, stack_shape(stack)), len(stack.frames))


def assess_case(
    client: ServerClient, case: str, stack: FrameStack, cancel: Cancel, search: bool = False
) -> Assessment:
    """The model's assessment of a case with its masks; with ``search`` only what is needed for the best frame."""
    with tempfile.TemporaryDirectory(prefix="fetaliqa-") as folder:
        record, file = client.assess(case, Path(folder), cancel, search=search)
        return parse_assessment(record, read_masks(file, stack_shape(stack)), len(stack.frames))


def stack_shape(stack: FrameStack) -> tuple[int, int, int]:
    """Number of frames, rows and columns."""
    frames, rows, columns = stack.frames.shape
    return (frames, rows, columns)
