"""A label of a client that sends no frame record, compared with what that client was given."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fetaliqa.errors import FetalIQAError
from fetaliqa.labels import FrameRecord, LabelStore, LabelVersion
from fetaliqa.labels.changed_frames import KEY, compared_record, told_of
from fetaliqa.labels.served_masks import Ledger, Proposal, frame_digests
from fetaliqa.sweep.sweep_reader import open_image
from monailabel_app.lib.shown_labels import PROPOSALS

logger = logging.getLogger(__name__)
MAX_NAME = 200  # characters of a rater's name in a frame record


class Labels(Protocol):
    """What a comparison needs to know of a folder of labels."""

    labels: LabelStore
    handed_out: Ledger

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """The mask file of a label; empty when there is none."""
        ...


class Comparison:
    """What is found in one label; the version before is read only once, when it is asked for under the lock.

    Args:
        store: the labels.
        image_id, tag: which label.
        masks: that were sent, uint8 [T, H, W].
        identity: of the image file on the disk.
        pixels: hash of the image's pixels.
        told: information that came with the label.
    """

    def __init__(
        self,
        store: Labels,
        image_id: str,
        tag: str,
        masks: np.ndarray,
        identity: Iterable[str],
        pixels: str,
        told: Mapping[str, Any],
    ) -> None:
        self._store, self._image_id, self._tag = store, image_id, tag
        self._drawn, self._frame_count, self._told = frame_digests(masks), len(masks), told
        self._identity, self._pixels = tuple(identity), pixels
        self._proposals  # noqa: B018 - found now, before anybody waits for a lock

    @cached_property
    def _proposals(self) -> tuple[Proposal, ...]:
        """What the client may have been given; empty when that is not known for sure."""
        client = self._told.get("client_id")
        client = client if isinstance(client, str) else None
        there = self._store.handed_out.of_image(self._image_id, self._identity)
        sent = self._store.handed_out.of_pixels(self._pixels)
        if not (there.complete and sent.complete):
            return ()
        found = [*there.to(client), *sent.to(client)]
        original = self._store.get_label_uri(self._image_id, PROPOSALS)
        if original and Path(original).is_file():
            found.append(Proposal(digests_of(Path(original))))
        if not found:
            return ()
        for tag, version in there.labels:
            try:
                found.append(_given(self._store.labels.version(self._image_id, tag, version)))
            except FetalIQAError as problem:  # it was given, and what it was cannot be told
                logger.error("%s", problem)
                return ()
        return tuple(found)

    @cached_property
    def _record(self) -> FrameRecord:
        before = self._version_before()
        return compared_record(self._drawn, self._frame_count, self._proposals, self._rater(), before)

    def record(self) -> FrameRecord:
        """The frame record. The lock of the folder is held, so that no version comes in between."""
        return self._record

    def info(self) -> dict[str, Any]:
        """What is kept with the label: what came with it, and that its record was found in this way."""
        known = bool(self._proposals)
        note = told_of(self._image_id, self._tag, self._record, known)
        return {**self._told, KEY: {"proposal_known": known, "note": note}}

    def _rater(self) -> str | None:
        for key in ("rater", "client_id", "user"):
            name = self._told.get(key)
            if isinstance(name, str) and name.strip():
                return name[:MAX_NAME]
        return None

    def _version_before(self) -> tuple[Mapping[int, str], FrameRecord] | None:
        try:
            held = self._store.labels.current(self._image_id, self._tag)
            if held is None or held.record is None or held.image not in (None, self._pixels):
                return None
            return _given(held).frames, held.record
        except FetalIQAError as problem:
            logger.error("%s", problem)
            return None


def digests_of(file: Path) -> dict[int, str]:
    """Digest of each outlined frame of a mask file."""
    return frame_digests(frame for slab in open_image(file).pixels.slabs() for frame in slab)


def _given(version: LabelVersion) -> Proposal:
    return Proposal({} if version.mask is None else digests_of(version.mask))
