"""Frame records for labels without one: which frames a person changed, by comparison with the served proposals.

A frame that differs from every proposal was drawn or erased by a person. One that equals a proposal stays
``proposed``, which never trains, until a reviewer confirms it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fetaliqa.labels.frame_record import FrameLabel, FrameRecord
from fetaliqa.labels.served_masks import Proposal

KEY = "compared"  # in the info of a label whose record was found by comparing


def compared_record(
    drawn: Mapping[int, str],
    frame_count: int,
    proposals: Sequence[Proposal],
    rater: str | None,
    before: tuple[Mapping[int, str], FrameRecord] | None = None,
) -> FrameRecord:
    """The frame record of a label that came without one.

    Args:
        drawn: digest of each outlined frame, see ``frame_digests``.
        frame_count: of the case.
        proposals: all that the client may have received; none when not known.
        rater: who saved it.
        before: digests and record of the previous version, when that record was made by comparison too: unchanged
            frames keep their state.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    model = proposals[-1] if proposals else Proposal({})
    shown: dict[str, Any] = {"model": model.model, "model_version": model.model_version}
    frames: dict[int, FrameLabel] = {}
    for frame in range(frame_count):
        digest = drawn.get(frame)
        if before is not None and before[0].get(frame) == digest:
            unchanged = before[1].frames.get(frame)
            if unchanged is not None:
                frames[frame] = unchanged
            elif digest is not None:
                frames[frame] = FrameLabel("proposed", **shown)
            continue
        if proposals and all(one.frames.get(frame) != digest for one in proposals):
            state = "empty" if digest is None else "annotated"
            frames[frame] = FrameLabel(state, rater=rater, time=now, **shown)
        elif digest is not None:
            frames[frame] = FrameLabel("proposed", **shown)
    return FrameRecord(frames)


def counted(record: FrameRecord) -> dict[str, int]:
    """Frames of a record by state."""
    return dict(Counter(label.state for label in record.frames.values()))


def comparison_note(case: str, tag: str, record: FrameRecord, known: bool) -> str:
    """The message to a client that sent no frame record.

    Args:
        case, tag: of the label.
        record: made by :func:`compared_record`.
        known: whether the proposals that the client received are known.
    """
    counts = counted(record)
    annotated, empty, proposed = (counts.get(state, 0) for state in ("annotated", "empty", "proposed"))
    confirm = (
        f"a reviewer confirms them with `fetaliqa labels confirm {case} --tag {tag}` or "
        "POST /datastore/label/confirm"
    )
    if not known:
        return (
            f"the label came without a frame record, and the proposals sent to its client are not known, so "
            f"no comparison is possible: {proposed} frame(s) with a mask stay proposed and do not train; {confirm}"
        )
    return (
        f"the label came without a frame record and was compared with the proposal: {annotated} changed frame(s) "
        f"count as annotated, {empty} cleared one(s) as empty, {proposed} stay proposed and do not train; "
        f"{confirm}"
    )
