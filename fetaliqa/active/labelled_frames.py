"""Which frames have been reviewed, over all raters and cases."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from fetaliqa.errors import FetalIQAError
from fetaliqa.labels import LabelStore, LabelVersion
from fetaliqa.sweep.sweep_reader import open_image

logger = logging.getLogger(__name__)


class LabelledFrames:
    """Cache of the reviewed frames of each case; reads again only labels that changed.

    Args:
        labels: of the studies folder.
    """

    def __init__(self, labels: LabelStore) -> None:
        self._labels = labels
        self._seen: dict[str, tuple[tuple[str, int], ...]] = {}
        self._known: dict[str, frozenset[int]] = {}

    def by_case(self) -> Mapping[str, frozenset[int]]:
        """Frame numbers by case; cases without a label are left out."""
        cases = self._labels.cases()
        for gone in set(self._known) - set(cases):
            del self._known[gone], self._seen[gone]
        for case in cases:
            tags = self._labels.known_tags(case)
            now = tuple((tag, self._labels.latest(case, tag)) for tag in tags)
            if self._seen.get(case) != now:
                self._known[case] = frozenset().union(*(self._frames(case, tag) for tag in tags))
                self._seen[case] = now
        return {case: frames for case, frames in self._known.items() if frames}

    def _frames(self, case: str, tag: str) -> Iterable[int]:
        try:
            version = self._labels.current(case, tag)
        except FetalIQAError as problem:
            logger.error("%s", problem)
            return ()
        if version is None:
            return ()
        if version.record is not None:
            return version.record.known()
        return _drawn(version)


def _drawn(version: LabelVersion) -> list[int]:
    """Frames with a mask, for a label without a frame record."""
    if version.mask is None:
        return []
    try:
        slabs = open_image(Path(version.mask)).pixels.slabs()
        drawn = [slab.reshape(len(slab), -1).any(axis=1) for slab in slabs]
    except FetalIQAError as problem:
        logger.error("%s", problem)
        return []
    return [int(frame) for frame in np.flatnonzero(np.concatenate(drawn))]
