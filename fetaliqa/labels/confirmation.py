"""Confirmation: a reviewer accepts proposed frames of a label, in a new version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from fetaliqa.errors import LabelError, OptionError
from fetaliqa.labels.frame_record import FrameLabel, FrameRecord
from fetaliqa.labels.label_store import LabelStore
from fetaliqa.labels.label_version import LabelVersion
from fetaliqa.sweep.sweep_reader import open_image

KEY = "confirmed_from"  # in the info of a label: who confirmed how many frames of which version


def confirm(
    store: LabelStore, case: str, tag: str, version: int, reviewer: str, frames: Sequence[int] | None = None
) -> LabelVersion:
    """Confirm proposed frames of a label; the result is its next version, accepted.

    Args:
        store: of the labels.
        case, tag: which label.
        version: that was reviewed; it must still be the last.
        reviewer: their name.
        frames: numbers of the frames, from 0; a frame without a mask among them is confirmed as empty. None: all
            proposed frames that have a mask.

    Raises:
        NotFoundError: when there is no such version.
        LabelConflict: when another version was saved meanwhile.
        LabelError: when there is nothing to confirm, or no such frame.
    """
    if not reviewer.strip():
        raise LabelError("confirming frames needs the reviewer's name")
    reviewed = store.version(case, tag, version)
    if reviewed.removed:
        raise LabelError(f"{case}, {tag}: version {version} removed the label; there is nothing to confirm")
    drawn = _drawn(reviewed)
    labels = {} if reviewed.record is None else dict(reviewed.record.frames)
    open_frames = [int(frame) for frame in np.flatnonzero(drawn) if not labels.get(int(frame), _UNKNOWN).known]
    wanted = open_frames if frames is None else sorted(set(frames))
    beyond = [frame for frame in wanted if not 0 <= frame < len(drawn)]
    if beyond:
        raise LabelError(f"{case}, {tag}: there is no frame {beyond[0]}; its frames are 0 to {len(drawn) - 1}")
    wanted = [frame for frame in wanted if not labels.get(frame, _UNKNOWN).known]
    if not wanted:
        raise LabelError(f"{case}, {tag}: version {version} has no proposed frame to confirm")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for frame in wanted:
        state = "annotated" if drawn[frame] else "empty"
        labels[frame] = replace(labels.get(frame, _UNKNOWN), state=state, rater=reviewer, time=now)
    info = {**reviewed.info, KEY: {"version": version, "reviewer": reviewer, "frames": len(wanted)}}
    saved = store.save(case, tag, reviewed.mask, FrameRecord(labels), info, image=reviewed.image, based_on=version)
    store.review(case, tag, saved.version, "accepted", reviewer)
    return store.version(case, tag, saved.version)


def parse_frames(text: str) -> list[int]:
    """Frame numbers, from 0, of a text such as ``3,7-9``.

    Raises:
        OptionError: when it is no such text.
    """
    selected: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})(?:\s*-\s*(\d{1,6}))?\s*", part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise OptionError(f"frames {text[:60]!r}; numbers from 0 and ranges of them are needed, such as 3,7-9")
        selected |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(selected)


_UNKNOWN = FrameLabel("proposed")


def _drawn(version: LabelVersion) -> np.ndarray:
    """Which frames have a mask: bool [T]; of a label without a mask file as many as its record names."""
    if version.mask is None:
        frames = version.record.frames if version.record is not None else {}
        return np.zeros(max(frames, default=-1) + 1, bool)
    slabs = open_image(version.mask).pixels.slabs()
    return np.concatenate([slab.reshape(len(slab), -1).any(axis=1) for slab in slabs])
