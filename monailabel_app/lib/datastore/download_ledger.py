"""Notes which masks clients were given, so that what they send back unchanged is not taken for an annotation."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from fetaliqa.active.frame_profiles import source_of
from fetaliqa.inference.case_result import AssessmentResult
from fetaliqa.labels.label_version import pixels_sha256
from fetaliqa.labels.served_masks import Ledger, Proposal, frame_digests
from monailabel_app.lib.tasks.inference_request import InferenceRequest

logger = logging.getLogger(__name__)
MAX_CACHED = 10_000  # entries of 200 bytes


class DownloadLedger:
    """Writes to the ledger of one studies folder; a ledger that cannot be written is logged and costs no answer.

    Args:
        ledger: to write to.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._written: set[tuple[Any, ...]] = set()

    def note_label(self, image_id: str, image: Path, tag: str, version: int) -> None:
        """Note that a client downloads a version of a label."""
        try:
            self.ledger.label_received(image_id, (source_of(image),), tag, version)
        except OSError as problem:
            logger.warning("%s: the download of a label cannot be noted: %s", image_id, problem)

    def note_proposal(self, request: InferenceRequest, result: AssessmentResult) -> None:
        """Note that a client is given a model's masks, of an image here or of a file that it sent along."""
        image_id, path = request.image_id, request.path
        try:
            identity = (source_of(path),)
            key = (image_id, identity, result.key, request.client)
            if key in self._written:
                return
            model = result.assessment["model"]
            digests = frame_digests(result.mask_frames())
            proposal = Proposal(digests, str(model["name"]), str(model["version"]), (key[3],))
            if image_id is None:
                self.ledger.pixels_received(pixels_sha256(result.sweep.frames), proposal)
            else:
                self.ledger.image_received(image_id, identity, proposal)
        except OSError as problem:
            logger.warning("%s: the proposal cannot be noted: %s", image_id or path.name, problem)
            return
        if len(self._written) >= MAX_CACHED:
            self._written.clear()
        self._written.add(key)
