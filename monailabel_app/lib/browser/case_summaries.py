"""Rows of the worklist: state of the label, best frame. What was read from disk is kept until it changes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fetaliqa.errors import FetalIQAError
from fetaliqa.labels import LabelStore, LabelVersion
from fetaliqa.registry import AssessmentService

PROPOSALS = "original"  # tag of a model's proposals
NOT_STARTED, SUBMITTED, ACCEPTED, CHANGES_REQUESTED = "not started", "submitted", "accepted", "changes requested"
_STATES = {"accepted": ACCEPTED, "returned": CHANGES_REQUESTED}


class CaseSummaries:
    """Summaries of the cases of one studies folder.

    Args:
        labels: of the folder.
    """

    def __init__(self, labels: LabelStore) -> None:
        self._labels = labels
        self._lock = threading.Lock()
        self._best: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._label: dict[tuple[str, str, int, int], dict[str, Any]] = {}

    def row(self, case: str, tag: str) -> dict[str, Any]:
        """State of the label ``tag`` of a case, and all its tags."""
        tags = [one for one in self._labels.known_tags(case) if one != PROPOSALS]
        return {"tags": tags, **self._of_label(case, tag, tag in tags)}

    def _of_label(self, case: str, tag: str, there: bool) -> dict[str, Any]:
        number = self._labels.latest(case, tag) if there else 0
        if not number:
            return _unlabelled()
        reviews = self._labels.folder / case / tag / "reviews" / f"{number:06d}.json"
        key = case, tag, number, reviews.stat().st_mtime_ns if reviews.is_file() else 0
        with self._lock:
            summary = self._label.get(key)
        if summary is None:
            try:
                summary = _summary(self._labels.version(case, tag, number))
            except FetalIQAError as problem:
                return {**_unlabelled(), "state": SUBMITTED, "version": number, "comment": str(problem)}
            with self._lock:
                self._label[key] = summary
        return summary

    def best(self, case: str, path: Path, source: str, service: AssessmentService | None) -> dict[str, Any] | None:
        """The best frame of a case with its measurement; None where it was not assessed yet."""
        if service is None:
            return None
        key = case, source, service.fingerprint
        with self._lock:
            known = self._best.get(key)
        if known is not None:
            return known
        try:
            result = service.cached(path)
        except (FetalIQAError, OSError):
            return None
        if result is None:
            return None
        record = result.assessment
        best = best_frame(record)
        with self._lock:
            self._best[key] = best
        return best


def best_frame(record: Mapping[str, Any]) -> dict[str, Any]:
    """The best frame of an assessment: number, quality, circumference, warning; ``frame`` None without one."""
    number = record["best"]
    frame = {} if number is None else record["frames"][number]
    keys = (
        "quality",
        "circumference_mm",
        "circumference_absent",
        "length_mm",
        "length_absent",
        "warning",
        "expected_dice",
        "unlike_training_data",
    )
    return {"frame": number, "reason": record["reason"], **{key: frame.get(key) for key in keys}}


def _unlabelled() -> dict[str, Any]:
    return {
        "state": NOT_STARTED,
        "version": 0,
        "annotated": 0,
        "empty": 0,
        "proposed": 0,
        "rater": None,
        "saved": None,
        "comment": None,
        "reviewer": None,
    }


def _summary(version: LabelVersion) -> dict[str, Any]:
    if version.removed:
        return {**_unlabelled(), "version": version.version}
    counts = version.summary()["frames"] or {}
    review = version.review
    raters = {frame.rater for frame in version.record.frames.values() if frame.rater} if version.record else set()
    return {
        "state": SUBMITTED if review is None else _STATES.get(review.state, SUBMITTED),
        "version": version.version,
        "annotated": counts.get("annotated", 0),
        "empty": counts.get("empty", 0),
        "proposed": counts.get("proposed", 0),
        "rater": version.info.get("rater") or ", ".join(sorted(raters)) or version.info.get("user") or None,
        "saved": version.saved,
        "comment": None if review is None else review.comment or None,
        "reviewer": None if review is None else review.reviewer,
    }
