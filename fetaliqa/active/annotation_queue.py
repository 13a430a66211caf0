"""The annotation queue: which case and frames of a studies folder are offered for labelling next.

Profiles, labels and leases are cached in memory, so that an answer takes milliseconds.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.active.frame_pool import Pool, make_pool
from fetaliqa.active.frame_profiles import FOLDER, CaseProfile, ProfileFolder
from fetaliqa.active.labelled_frames import LabelledFrames
from fetaliqa.active.leases import MINUTES, Lease, Leases
from fetaliqa.active.selection_rules import QuerySettings
from fetaliqa.active.strategies import STRATEGIES, Query, next_query
from fetaliqa.errors import NotFoundError
from fetaliqa.file_provenance import FileProvenance
from fetaliqa.labels import LabelStore
from fetaliqa.labels.label_store import FOLDER as LABELS

Cases = Sequence[str] | Mapping[str, str]
NOT_SCORED = "not scored yet: nothing is known of its frames"


@dataclass(frozen=True)
class Offer:
    """A case offered to a rater.

    Attributes:
        case: its id.
        frames: suggested frames: number, sweep, reason, score, and the model's quality score.
        lease: who has it until when.
        note: remark on the whole offer; None without one.
    """

    case: str
    frames: tuple[dict[str, Any], ...]
    lease: Lease
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The offer as JSON values."""
        return {
            "id": self.case,
            "frames": list(self.frames),
            "lease": {"rater": self.lease.rater, "until": round(self.lease.until, 3)},
            "note": self.note,
        }


class LabelQueue:
    """The cases of a studies folder, the most informative one first.

    Args:
        studies: the folder.
    """

    def __init__(self, studies: Path) -> None:
        self._studies = Path(studies)
        self._leases = Leases(self._studies)
        self._labelled_frames = LabelledFrames(LabelStore(self._studies / LABELS))
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._pooled: list[tuple[str, str, FileProvenance]] = []
        self._profiles: dict[tuple[str, str], tuple[FileProvenance, CaseProfile | None]] = {}

    def refresh(self, cases: Cases, fingerprint: str) -> None:
        """Read what changed since the last call, so that the next :meth:`offer` is quick.

        Args:
            cases: as for :meth:`offer`.
            fingerprint: of the model's bundle.
        """
        with self._lock:
            self._refresh(cases, fingerprint)
            self._labelled_frames.by_case()

    def offer(
        self,
        cases: Cases,
        strategy: str,
        rater: str,
        fingerprint: str,
        settings: QuerySettings | None = None,
        *,
        skip: Collection[str] = (),
        minutes: float = MINUTES,
    ) -> Offer | None:
        """Offer the next case to a rater and lease it to them; None when no case is left.

        The same rater asking again without having labelled anything gets the same case again: name it in ``skip``
        to get another.

        Args:
            cases: ids of all cases; a mapping gives the identity of each file (``source_of``), so that the profile
                of an earlier file of the same name is not used.
            strategy: name, see ``STRATEGIES``.
            rater: who asks.
            fingerprint: of the model's bundle.
            settings: the rules.
            skip: cases not to offer.
            minutes: duration of the lease.

        Raises:
            NotFoundError: when there is no such strategy.
        """
        if strategy not in STRATEGIES:
            raise NotFoundError(f"there is no strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
        with self._lock:
            pool = self._refresh(cases, fingerprint)
            labelled_frames = self._labelled_frames.by_case()
            while True:  # again when another process takes the case meanwhile
                barred = self._leases.of_others(rater) | set(skip)
                choice = self._choose(
                    pool, labelled_frames, [case for case in cases if case not in barred], strategy, settings
                )
                if choice is None:
                    return None
                case, frames, note = choice
                lease = self._leases.take(case, rater, minutes)
                if lease is not None:
                    return Offer(case, frames, lease, note)

    def release(self, rater: str) -> None:
        """Free the case that a rater has."""
        self._leases.release(rater)

    def counts(self, cases: Cases, fingerprint: str) -> dict[str, int]:
        """Counts of cases: all, scored, labelled and leased; and of labelled frames."""
        with self._lock:
            pool = self._refresh(cases, fingerprint)
            by_case = self._labelled_frames.by_case()
        there = set(cases)
        return {
            "cases": len(cases),
            "scored": 0 if pool is None else len(there.intersection(pool.cases)),
            "labelled": len(there & set(by_case)),
            "labelled_frames": sum(len(frames) for case, frames in by_case.items() if case in there),
            "leased": len(there & set(self._leases.active())),
        }

    def _choose(
        self,
        pool: Pool | None,
        labelled_frames: dict[str, frozenset[int]] | Any,
        free: Sequence[str],
        strategy: str,
        settings: QuerySettings | None,
    ) -> tuple[str, tuple[dict[str, Any], ...], str | None] | None:
        if pool is not None:
            labelled = pool.mark(labelled_frames)
            query = next_query(pool.with_labels(labelled, pool.of_cases(free) & ~labelled), strategy, settings)
            if query is not None:
                return query.case, _frames(pool, query), None
        scored = set() if pool is None else set(pool.cases)
        for case in free:
            if case not in scored and not labelled_frames.get(case):
                return case, (), NOT_SCORED
        return None

    def _refresh(self, cases: Cases, fingerprint: str) -> Pool | None:
        """The pool of the cases that have a profile: the model's own, else the newest of another.

        A newly published model has scored nothing yet; the profiles of its predecessor serve meanwhile.
        """
        chosen: dict[str, tuple[str, str, FileProvenance]] = {}
        entries: dict[tuple[str, str], tuple[FileProvenance, CaseProfile | None]] = {}
        missing = set(cases)
        for folder in self._folders(fingerprint):
            if not missing:
                break
            files = folder.files()
            for case in sorted(missing & set(files)):
                place = folder.folder.name, case
                held = self._profiles.get(place)
                if held is None or held[0] != files[case]:
                    held = files[case], folder.read(case)
                entries[place] = held
                if held[1] is not None and (not isinstance(cases, Mapping) or held[1].source == cases[case]):
                    chosen[case] = (*place, files[case])
                    missing.discard(case)
        pooled = sorted(chosen.values())
        self._profiles = entries
        if pooled != self._pooled:
            profiles = (entries[folder, case][1] for folder, case, _ in pooled)
            self._pool = make_pool(profile for profile in profiles if profile is not None) if pooled else None
            self._pooled = pooled
        return self._pool

    def _folders(self, fingerprint: str) -> Iterator[ProfileFolder]:
        """Profiles of this model, then those of other models, the newest first."""
        own = ProfileFolder(self._studies, fingerprint)
        yield own
        there = self._studies / FOLDER
        others = [path for path in there.iterdir() if path.is_dir()] if there.is_dir() else []
        for path in sorted(others, key=lambda path: -path.stat().st_mtime):
            if path.name != own.folder.name:
                yield ProfileFolder(self._studies, path.name)


def _frames(pool: Pool, query: Query) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "frame": int(pool.frame[pick.index]),
            "sweep": int(pool.sweep[pick.index]),
            "reason": pick.reason,
            "score": round(float(np.clip(pick.score, -1e6, 1e6)), 4),
            "quality": round(float(pool.quality[pick.index]), 4),
        }
        for pick in query.picks
    )
