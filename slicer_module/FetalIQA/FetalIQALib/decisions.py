"""What a person decided on one frame, and the record of it that goes with a label (docs/server.md, "Labels")."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from FetalIQALib.failures import BadReply
from FetalIQALib.masks import Mask
from FetalIQALib.texts import _

UNTOUCHED, ANNOTATED, EMPTY = "untouched", "annotated", "empty"
OPTIMAL, SUBOPTIMAL = "optimal", "suboptimal"
PLANES = (OPTIMAL, SUBOPTIMAL)
RECORD_SCHEMA = 1
SUBOPTIMAL_VALUE = 2  # of a mask's pixels
INTERPOLATION = "interpolation"  # the "model" of a proposal made from two masks of a person
UNCONFIRMED = "label"  # the "model" of a mask of a label that nobody confirmed
MAX_TEXT = 200  # characters of a name in a record


@dataclass(frozen=True)
class Proposal:
    """A mask that nobody confirmed: of a model, or interpolated between two masks of a person."""

    mask: Mask
    model: str
    version: str = ""


@dataclass(frozen=True)
class Frame:
    """Everything that is known of one frame; a change makes another one.

    Attributes:
        state: ``untouched`` (nobody decided; the default), ``annotated`` or ``empty``.
        mask: of a person; there exactly when annotated.
        plane: grade of an annotated frame, ``optimal``, ``suboptimal`` or None.
        rater, time: who decided, and when (ISO 8601).
        model, version: whose proposal was accepted or corrected; empty when none was shown.
        seconds: spent on it.
        between: mask interpolated for it, or of a label, not confirmed.
    """

    state: str = UNTOUCHED
    mask: Mask | None = None
    plane: str | None = None
    rater: str = ""
    time: str = ""
    model: str = ""
    version: str = ""
    seconds: float | None = None
    between: Proposal | None = None

    def __post_init__(self) -> None:
        if (self.mask is not None) != (self.state == ANNOTATED):
            raise ValueError(f"a frame that is {self.state} with mask {self.mask}")
        if self.plane is not None and self.state != ANNOTATED:
            raise ValueError(f"a plane grade on a frame that is {self.state}")

    @property
    def decided(self) -> bool:
        """Whether a person said something about it."""
        return self.state != UNTOUCHED

    def entry(self) -> dict[str, Any]:
        """Its entry in a frame record; a person's decision is needed."""
        return {
            "state": self.state,
            "plane": self.plane,
            "rater": self.rater[:MAX_TEXT] or None,
            "time": self.time or None,
            "model": self.model[:MAX_TEXT] or None,
            "model_version": self.version[:MAX_TEXT] or None,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
        }


def record_of(frames: Mapping[int, Frame]) -> dict[str, Any]:
    """The frame record of what was decided; frames that nobody decided on are not in it."""
    decided = {str(number): frames[number].entry() for number in sorted(frames) if frames[number].decided}
    return {"schema": RECORD_SCHEMA, "frames": decided}


def frames_of(record: Mapping[str, Any], masks: Mapping[int, Mask], count: int) -> dict[int, Frame]:
    """The frames of a label.

    Args:
        record: its frame record; empty when its writer, another program, sent none: then frames with a mask count
            as annotated.
        masks: by frame number.
        count: frames of the case.

    Raises:
        BadReply: when record and masks contradict each other.
    """
    entries = record.get("frames")
    if not isinstance(entries, dict):
        return {number: Frame(ANNOTATED, mask, _drawn_plane(mask)) for number, mask in masks.items()}
    frames = {}
    for key, entry in entries.items():
        if not key.isdecimal() or not isinstance(entry, dict) or int(key) >= count:
            raise BadReply(_("The label's record names a frame {key!r} that is not there.").format(key=key[:20]))
        number, state = int(key), entry.get("state")
        mask = masks.get(number)
        if state not in (ANNOTATED, EMPTY):
            if mask is not None:  # nobody confirmed it: it is shown as a proposal
                model, version = _text(entry.get("model")), _text(entry.get("model_version"))
                frames[number] = Frame(between=Proposal(mask, model or UNCONFIRMED, version))
            continue
        if (mask is not None) != (state == ANNOTATED):
            raise BadReply(
                _(
                    "The label's record calls frame {number} {state}, its mask says otherwise; ask for a repair."
                ).format(number=number, state=state)
            )
        plane, seconds = entry.get("plane"), entry.get("seconds")
        frames[number] = Frame(
            state,
            mask,
            (plane if plane in PLANES else _drawn_plane(mask)) if state == ANNOTATED else None,
            rater=_text(entry.get("rater")),
            time=_time(entry.get("time")),
            model=_text(entry.get("model")),
            version=_text(entry.get("model_version")),
            seconds=float(seconds) if isinstance(seconds, (int, float)) and math.isfinite(seconds) else None,
        )
    return frames


def _drawn_plane(mask: Mask | None) -> str | None:
    """The grade that a mask's own value tells where the record gives none: 2 is suboptimal, 1 says nothing."""
    return SUBOPTIMAL if mask is not None and mask.value == SUBOPTIMAL_VALUE else None


def _time(value: Any) -> str:
    """ISO 8601; servers accept seconds since 1970 too, and would not take those back as text."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return _text(value)
    try:
        return datetime.fromtimestamp(value, timezone.utc).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def counts(frames: Mapping[int, Frame]) -> tuple[int, int]:
    """Frames that are annotated, and confirmed empty."""
    states: list[str] = [frame.state for frame in frames.values()]
    return states.count(ANNOTATED), states.count(EMPTY)
