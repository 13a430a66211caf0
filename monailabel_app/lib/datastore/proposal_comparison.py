"""Derives the frame record of a label without one, by comparing it with the masks that its client was given."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.errors import FetalIQAError
from fetaliqa.labels import FrameRecord, LabelStore, LabelVersion
from fetaliqa.labels.changed_frames import KEY, compared_record, comparison_note
from fetaliqa.labels.served_masks import Ledger, Proposal, frame_digests
from fetaliqa.sweep.sweep_reader import open_image

logger = logging.getLogger(__name__)
MAX_NAME = 200  # characters of a rater's name in a frame record


class ProposalComparison:
    """Compares one label with proposals; the previous version is read only once, when the index is locked.

    Args:
        versions: of the labels.
        ledger: of the masks that clients were given.
        image_id, tag: which label.
        masks: of the label, uint8 [T, H, W].
        identity: of the image file on the disk.
        pixels: hash of the image's pixels.
        info: information that came with the label.
        proposal_file: mask file of the label ``original``, if any.
    """

    def __init__(
        self,
        versions: LabelStore,
        ledger: Ledger,
        image_id: str,
        tag: str,
        *,
        masks: np.ndarray,
        identity: Iterable[str],
        pixels: str,
        info: Mapping[str, Any],
        proposal_file: Path | None,
    ) -> None:
        self._versions, self._image_id, self._tag = versions, image_id, tag
        self._digests, self._frame_count, self._info = frame_digests(masks), len(masks), info
        self._pixels = pixels
        self._proposals = self._read_proposals(
            ledger, tuple(identity), proposal_file
        )  # before anybody waits for a lock

    def _read_proposals(
        self, ledger: Ledger, identity: tuple[str, ...], proposal_file: Path | None
    ) -> tuple[Proposal, ...]:
        """Everything the client may have been given; empty when that is not known for sure."""
        client = self._info.get("client_id")
        client = client if isinstance(client, str) else None
        of_image, of_pixels = ledger.of_image(self._image_id, identity), ledger.of_pixels(self._pixels)
        if not (of_image.complete and of_pixels.complete):
            return ()
        proposals = [*of_image.to(client), *of_pixels.to(client)]
        if proposal_file is not None and proposal_file.is_file():
            proposals.append(Proposal(digests_of(proposal_file)))
        if not proposals:
            return ()
        for tag, version in of_image.labels:
            try:
                proposals.append(_as_proposal(self._versions.version(self._image_id, tag, version)))
            except FetalIQAError as problem:  # its content is not known any more
                logger.error("%s", problem)
                return ()
        return tuple(proposals)

    @cached_property
    def _record(self) -> FrameRecord:
        previous = self._previous_version()
        return compared_record(self._digests, self._frame_count, self._proposals, self._rater(), previous)

    def record(self) -> FrameRecord:
        """The frame record. The index is locked, so that no version comes in between."""
        return self._record

    def info(self) -> dict[str, Any]:
        """Info to store with the label: what came with it, and how its record was derived."""
        known = bool(self._proposals)
        note = comparison_note(self._image_id, self._tag, self._record, known)
        return {**self._info, KEY: {"proposal_known": known, "note": note}}

    def _rater(self) -> str | None:
        for key in ("rater", "client_id", "user"):
            name = self._info.get(key)
            if isinstance(name, str) and name.strip():
                return name[:MAX_NAME]
        return None

    def _previous_version(self) -> tuple[Mapping[int, str], FrameRecord] | None:
        try:
            version = self._versions.current(self._image_id, self._tag)
            if version is None or version.record is None or version.image not in (None, self._pixels):
                return None
            return _as_proposal(version).frames, version.record
        except FetalIQAError as problem:
            logger.error("%s", problem)
            return None


def digests_of(file: Path) -> dict[int, str]:
    """Digest of each outlined frame of a mask file."""
    return frame_digests(frame for slab in open_image(file).pixels.slabs() for frame in slab)


def _as_proposal(version: LabelVersion) -> Proposal:
    return Proposal({} if version.mask is None else digests_of(version.mask))
