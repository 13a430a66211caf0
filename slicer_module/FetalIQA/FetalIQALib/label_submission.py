"""Submission of a label; a lost response leads neither to a lost nor to a duplicate label."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.client_errors import VersionConflict
from FetalIQALib.frame_annotations import FrameAnnotation, parse_frames
from FetalIQALib.frame_masks import Mask
from FetalIQALib.http_client import Cancel
from FetalIQALib.image_files import Grid, read_masks, write_masks
from FetalIQALib.journal import Journals
from FetalIQALib.server_client import CLIENT, ServerClient
from FetalIQALib.translation import _


@dataclass(frozen=True)
class ConflictingVersion:
    """The version that another rater saved in the meantime.

    Attributes:
        message: of the server.
        version: its number.
        frames: its labels.
        who: the rater, as known to the server.
        comment: on the case.
    """

    message: str
    version: int
    frames: Mapping[int, FrameAnnotation]
    who: str
    comment: str = ""


Outcome = Union[int, ConflictingVersion]


@dataclass(frozen=True)
class Submission:
    """A snapshot of the labels for the server.

    Attributes:
        token: identifies this submission.
        earlier: tokens of submissions of this work whose responses may have been lost.
        revision: of the labels at the time of the snapshot.
        comment: on the case.
        skipped: why the case is skipped; empty if it is not.
        seconds: of work on the case.
    """

    case: str
    tag: str
    masks: Mapping[int, Mask]
    record: Mapping[str, Any]
    grid: Grid
    count: int
    based_on: int
    rater: str
    revision: int
    token: str
    earlier: tuple[str, ...] = ()
    comment: str = ""
    skipped: str = ""
    seconds: float = 0.0

    @classmethod
    def of(cls, annotation: CaseAnnotation, tag: str, based_on: int, skipped: str = "") -> Submission:
        """Snapshot of the current labels; adds the token to ``annotation.sent``."""
        token, earlier = uuid.uuid4().hex, tuple(annotation.sent)
        annotation.sent.append(token)
        return cls(
            case=annotation.sweep.case,
            tag=tag,
            masks=annotation.masks(),
            record=annotation.record(),
            grid=annotation.sweep.stack.grid,
            count=annotation.sweep.count,
            based_on=based_on,
            rater=annotation.rater,
            revision=annotation.revision,
            token=token,
            earlier=earlier,
            comment=annotation.comment,
            skipped=skipped,
            seconds=annotation.seconds,
        )

    def params(self) -> dict[str, Any]:
        """Parameters sent with the masks."""
        return {
            "frame_record": self.record,
            "based_on": self.based_on,
            "rater": self.rater,
            "submission": self.token,
            "client": CLIENT,
            "seconds": round(self.seconds, 1),
            **({"comment": self.comment} if self.comment else {}),
            **({"skipped": self.skipped} if self.skipped else {}),
        }

    def send(self, client: ServerClient, cancel: Cancel) -> Outcome:
        """Send the label; returns the version number, or the conflicting version. Runs in a task's thread."""
        with tempfile.TemporaryDirectory(prefix="fetaliqa-") as name:
            folder = Path(name)
            file = folder / "masks.mha"
            write_masks(file, self.masks, self.grid)
            try:
                return client.save_label(self.case, self.tag, file, self.params(), cancel)
            except VersionConflict as problem:
                message = str(problem)
            current = client.label(self.case, self.tag, folder, cancel)
            if current is None:
                return ConflictingVersion(message, 0, {}, "")
            masks_file, saved = current
            token = str(saved.info.get("submission") or "")
            if token == self.token:
                return saved.version  # this submission: only the response was lost
            if token in self.earlier:  # an earlier state of this work
                retry_params = {**self.params(), "based_on": saved.version}
                return client.save_label(self.case, self.tag, file, retry_params, cancel)
            rows, columns = self.grid.size[1], self.grid.size[0]
            frames = parse_frames(saved.record, read_masks(masks_file, (self.count, rows, columns)), self.count)
            who = str(saved.info.get("rater") or saved.info.get("user") or _("Another rater"))
            return ConflictingVersion(message, saved.version, frames, who, str(saved.info.get("comment") or ""))


@dataclass(frozen=True)
class Sent:
    """A submission with the work, label and journals at the time it was sent."""

    annotation: CaseAnnotation
    submission: Submission
    journal_tag: str
    journals: Journals | None
