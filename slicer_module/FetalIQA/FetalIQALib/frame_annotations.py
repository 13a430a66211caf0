"""Labels of single frames, and the frame record of a label (docs/server.md, "Labels")."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from FetalIQALib.client_errors import InvalidResponse
from FetalIQALib.frame_masks import Mask
from FetalIQALib.translation import _

UNTOUCHED, ANNOTATED, EMPTY = "untouched", "annotated", "empty"
OPTIMAL, SUBOPTIMAL = "optimal", "suboptimal"
PLANES = (OPTIMAL, SUBOPTIMAL)
RECORD_SCHEMA = 1
SUBOPTIMAL_VALUE = 2  # pixel value of masks of suboptimal planes
INTERPOLATION = "interpolation"  # "model" of a proposal interpolated between two masks
UNCONFIRMED = "label"  # "model" of an unconfirmed mask of a label
PROPOSED = "proposed"  # state in a record of a frame that is not labelled
INTERACTIVE, PROPAGATED = "interactive", "propagated"  # origins of masks
ORIGINS = (INTERACTIVE, PROPAGATED)
MAX_TEXT = 200  # characters of a name in a record
MAX_COMMENT = 500  # characters of a comment, as on the server


@dataclass(frozen=True)
class Origin:
    """How a mask came about.

    Attributes:
        kind: ``interactive`` (clicks or a box), ``propagated`` (carried from another frame), or empty (drawn, or
            accepted from a model).
        clicks: number of clicks and boxes; 0 for none.
        source: frame that it was carried from.
    """

    kind: str = ""
    clicks: int = 0
    source: int | None = None

    def fields(self) -> dict[str, Any]:
        """Fields of a frame record; only those that say something."""
        values = {"origin": self.kind or None, "clicks": self.clicks or None, "source_frame": self.source}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def of(cls, entry: Mapping[str, Any], count: int) -> Origin:
        """The origin in an entry of a frame record of ``count`` frames; unknown values are left out."""
        kind, clicks, source = (entry.get(name) for name in ("origin", "clicks", "source_frame"))
        return cls(
            kind if isinstance(kind, str) and kind in ORIGINS else "",
            clicks if isinstance(clicks, int) and clicks > 0 else 0,
            source if isinstance(source, int) and not isinstance(source, bool) and 0 <= source < count else None,
        )


@dataclass(frozen=True)
class Proposal:
    """A proposed mask: of a model, interpolated between two annotated frames, or carried from a frame.

    Attributes:
        mask: the mask.
        model, version: that made it.
        origin: how it came about.
        expected_dice: of a carried mask; None if it is not known, as after work was resumed.
    """

    mask: Mask
    model: str
    version: str = ""
    origin: Origin = Origin()
    expected_dice: float | None = field(default=None, compare=False)

    @property
    def carried_from(self) -> int | None:
        """Frame that the mask was carried from; None for other proposals."""
        return self.origin.source if self.origin.kind == PROPAGATED else None

    @property
    def between_frames(self) -> bool:
        """Whether the mask comes from those of other frames: interpolated, or carried."""
        return self.model == INTERPOLATION or self.carried_from is not None


@dataclass(frozen=True)
class FrameAnnotation:
    """Label of one frame; immutable.

    Attributes:
        state: ``untouched`` (not labelled; the default), ``annotated`` or ``empty`` (nothing to outline).
        mask: set if and only if annotated.
        plane: grade of an annotated frame, ``optimal``, ``suboptimal`` or None.
        rater, time: of the label; ISO 8601.
        model, version: of the accepted or corrected proposal; empty for none.
        seconds: time spent on the frame.
        comment: of the rater; empty for none.
        pending: proposal to be accepted: interpolated, carried, or an unconfirmed mask of a label.
        origin: how the mask came about.
    """

    state: str = UNTOUCHED
    mask: Mask | None = None
    plane: str | None = None
    rater: str = ""
    time: str = ""
    model: str = ""
    version: str = ""
    seconds: float | None = None
    pending: Proposal | None = None
    comment: str = ""
    origin: Origin = Origin()

    def __post_init__(self) -> None:
        if (self.mask is not None) != (self.state == ANNOTATED):
            raise ValueError(f"a frame that is {self.state} with mask {self.mask}")
        if self.plane is not None and self.state != ANNOTATED:
            raise ValueError(f"a plane grade on a frame that is {self.state}")

    @property
    def labelled(self) -> bool:
        """Whether the frame is annotated or empty."""
        return self.state != UNTOUCHED

    def entry(self) -> dict[str, Any]:
        """Entry in a frame record. A frame with only a comment is not confirmed."""
        entry = {
            "state": self.state if self.labelled else PROPOSED,
            "plane": self.plane,
            "rater": self.rater[:MAX_TEXT] or None,
            "time": self.time or None,
            "model": self.model[:MAX_TEXT] or None,
            "model_version": self.version[:MAX_TEXT] or None,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            **self.origin.fields(),
        }
        return {**entry, "comment": self.comment[:MAX_COMMENT]} if self.comment else entry


def frame_record(frames: Mapping[int, FrameAnnotation]) -> dict[str, Any]:
    """Frame record of the frames with a label or a comment; other frames are left out."""
    entries = {
        str(number): frames[number].entry()
        for number in sorted(frames)
        if frames[number].labelled or frames[number].comment
    }
    return {"schema": RECORD_SCHEMA, "frames": entries}


def parse_frames(record: Mapping[str, Any], masks: Mapping[int, Mask], count: int) -> dict[int, FrameAnnotation]:
    """Frames of a label.

    Args:
        record: frame record; if empty (a label of another program), frames with a mask count as annotated.
        masks: by frame number.
        count: number of frames of the case.

    Raises:
        InvalidResponse: if record and masks are inconsistent.
    """
    entries = record.get("frames")
    if not isinstance(entries, dict):
        return {number: FrameAnnotation(ANNOTATED, mask, _plane_of_value(mask)) for number, mask in masks.items()}
    frames = {}
    for key, entry in entries.items():
        if not key.isdecimal() or not isinstance(entry, dict) or int(key) >= count:
            raise InvalidResponse(
                _("The label's record contains frame {key!r}, which does not exist.").format(key=key[:20])
            )
        number, state = int(key), entry.get("state")
        mask, comment = masks.get(number), _text(entry.get("comment"))
        if state not in (ANNOTATED, EMPTY):
            if mask is not None:  # unconfirmed: shown as a proposal
                model, version = _text(entry.get("model")), _text(entry.get("model_version"))
                pending = Proposal(mask, model or UNCONFIRMED, version, Origin.of(entry, count))
                frames[number] = FrameAnnotation(pending=pending, comment=comment)
            elif comment:
                frames[number] = FrameAnnotation(comment=comment)
            continue
        if (mask is not None) != (state == ANNOTATED):
            raise InvalidResponse(
                _(
                    "The label's record and masks disagree on frame {number} ({state}); contact the administrator."
                ).format(number=number, state=state)
            )
        plane, seconds = entry.get("plane"), entry.get("seconds")
        frames[number] = FrameAnnotation(
            state,
            mask,
            (plane if plane in PLANES else _plane_of_value(mask)) if state == ANNOTATED else None,
            rater=_text(entry.get("rater")),
            time=_time(entry.get("time")),
            model=_text(entry.get("model")),
            version=_text(entry.get("model_version")),
            seconds=float(seconds) if isinstance(seconds, (int, float)) and math.isfinite(seconds) else None,
            comment=comment,
            origin=Origin.of(entry, count),
        )
    return frames


def _plane_of_value(mask: Mask | None) -> str | None:
    """Plane grade from the pixel value of a mask: 2 is suboptimal, 1 is not graded."""
    return SUBOPTIMAL if mask is not None and mask.value == SUBOPTIMAL_VALUE else None


def _time(value: Any) -> str:
    """ISO 8601 text of a time, which may also be in seconds since 1970."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return _text(value)
    try:
        return datetime.fromtimestamp(value, timezone.utc).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def counts(frames: Mapping[int, FrameAnnotation]) -> tuple[int, int]:
    """Number of annotated and of empty frames."""
    states: list[str] = [frame.state for frame in frames.values()]
    return states.count(ANNOTATED), states.count(EMPTY)
