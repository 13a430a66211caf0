"""Sending a label: what is sent is fixed when the key is pressed; a lost answer is no lost or doubled label."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from FetalIQALib.casework import CaseWork
from FetalIQALib.client import CLIENT, Client
from FetalIQALib.decisions import Frame, frames_of
from FetalIQALib.failures import Conflict
from FetalIQALib.http import Cancel
from FetalIQALib.images import Grid, read_masks, write_masks
from FetalIQALib.journal import Journals
from FetalIQALib.masks import Mask
from FetalIQALib.texts import _


@dataclass(frozen=True)
class Conflicting:
    """What somebody else saved meanwhile.

    Attributes:
        sentence: the server's, or ours.
        version: the number of theirs.
        frames: their decisions.
        who: who saved it, as far as the server knows.
    """

    sentence: str
    version: int
    frames: Mapping[int, Frame]
    who: str


Outcome = Union[int, Conflicting]


@dataclass(frozen=True)
class Submission:
    """A label on its way to the server.

    Attributes:
        token: tells this save from all others.
        earlier: tokens of saves of this work whose answers may have been lost.
        revision: of the work, when it was fixed.
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

    @classmethod
    def of(cls, work: CaseWork, tag: str, based_on: int) -> Submission:
        """What was decided up to now; ``work`` remembers that it was sent."""
        token, earlier = uuid.uuid4().hex, tuple(work.sent)
        work.sent.append(token)
        return cls(
            case=work.sweep.case,
            tag=tag,
            masks=work.masks(),
            record=work.record(),
            grid=work.sweep.stack.grid,
            count=work.sweep.count,
            based_on=based_on,
            rater=work.rater,
            revision=work.revision,
            token=token,
            earlier=earlier,
        )

    def params(self) -> dict[str, Any]:
        """What goes with the masks."""
        return {
            "frame_record": self.record,
            "based_on": self.based_on,
            "rater": self.rater,
            "submission": self.token,
            "client": CLIENT,
        }

    def send(self, client: Client, cancel: Cancel) -> Outcome:
        """Send it; the number of the version, or what stands in the way. For a task's thread."""
        with tempfile.TemporaryDirectory(prefix="fetaliqa-") as name:
            folder = Path(name)
            file = folder / "masks.mha"
            write_masks(file, self.masks, self.grid)
            try:
                return client.save_label(self.case, self.tag, file, self.params(), cancel)
            except Conflict as problem:
                sentence = str(problem)
            found = client.label(self.case, self.tag, folder, cancel)
            if found is None:
                return Conflicting(sentence, 0, {}, "")
            theirs, saved = found
            token = str(saved.info.get("submission") or "")
            if token == self.token:
                return saved.version  # this very label: only the answer was lost
            if token in self.earlier:  # an earlier state of this work: nobody else's
                again = {**self.params(), "based_on": saved.version}
                return client.save_label(self.case, self.tag, file, again, cancel)
            rows, columns = self.grid.size[1], self.grid.size[0]
            frames = frames_of(saved.record, read_masks(theirs, (self.count, rows, columns)), self.count)
            who = str(saved.info.get("rater") or saved.info.get("user") or _("somebody"))
            return Conflicting(sentence, saved.version, frames, who)


@dataclass(frozen=True)
class Sent:
    """A label that was sent: of which work; label and journals are those of when it was sent."""

    work: CaseWork
    submission: Submission
    kept_under: str
    journals: Journals | None
