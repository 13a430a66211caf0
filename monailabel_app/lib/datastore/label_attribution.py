"""Who is named as the rater of a label: who is signed in, whatever the client says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fetaliqa.labels import FrameRecord, LabelVersion
from fetaliqa.labels.frame_record import FrameLabel

NAMES = ("user", "rater")  # keys of a label's information that name a person


def attributed_info(info: Mapping[str, Any], rater: str) -> dict[str, Any]:
    """Information of a client, with the person who is signed in wherever it names one."""
    named = {**info, **{key: rater for key in NAMES if key in info}, "user": rater}
    parameters = named.get("params")
    if isinstance(parameters, dict):
        named["params"] = {**parameters, **{key: rater for key in NAMES if key in parameters}}
    return named


def attributed_record(
    record: FrameRecord,
    rater: str,
    masks: np.ndarray,
    previous: LabelVersion | None,
    masks_of: Callable[[LabelVersion], np.ndarray],
) -> FrameRecord:
    """A frame record in which each frame is of the rater who is signed in, or unchanged.

    Args:
        record: that the client sent.
        rater: who is signed in.
        masks: uint8 [T, H, W], that came with it.
        previous: version that it replaces, if any.
        masks_of: reads the masks of that version, uint8 [T, H, W].
    """
    before = {} if previous is None or previous.record is None else previous.record.frames
    others = {frame for frame, label in record.frames.items() if label.rater not in (None, rater)}
    kept = {frame for frame in others if _same(before.get(frame), record.frames[frame])}
    if kept:
        assert previous is not None
        earlier = masks_of(previous)
        kept = {
            frame
            for frame in kept
            if frame < len(earlier) and np.array_equal(earlier[frame] > 0, masks[frame] > 0)
        }
    frames = {}
    for frame, label in record.frames.items():
        reviewed = label.known and label.rater is None and not _same(before.get(frame), label)
        frames[frame] = replace(label, rater=rater) if frame in others - kept or reviewed else label
    return FrameRecord(frames)


def _same(before: FrameLabel | None, now: FrameLabel) -> bool:
    """Whether a frame was judged the same, by the same person at the same time."""
    return before is not None and (before.state, before.plane, before.rater, before.time) == (
        now.state,
        now.plane,
        now.rater,
        now.time,
    )
