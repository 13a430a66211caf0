"""Changes of labels: each is checked, and saved as a new version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.active.frame_profiles import source_of
from fetaliqa.errors import LabelConflict, LabelDamaged, LabelError
from fetaliqa.labels import FrameRecord, LabelStore, LabelVersion
from fetaliqa.labels.changed_frames import KEY as COMPARED
from fetaliqa.labels.confirmation import confirm
from fetaliqa.labels.frame_record import KEY
from fetaliqa.labels.label_version import pixels_sha256
from fetaliqa.labels.served_masks import Ledger
from fetaliqa.measure.anatomy import ABDOMEN, Anatomy
from fetaliqa.sweep import MASK_SUFFIXES, read_masks, read_sweep, write_masks
from monailabel_app.lib.datastore.image_index import ImageIndex
from monailabel_app.lib.datastore.label_attribution import attributed_info, attributed_record
from monailabel_app.lib.datastore.label_info import (
    LEFT_OUT,
    check_record,
    named_classes,
    plain,
    pop_based_on,
    record_of,
    without_server_keys,
)
from monailabel_app.lib.datastore.label_projection import PROPOSALS, LabelProjection, tag_of
from monailabel_app.lib.datastore.proposal_comparison import ProposalComparison
from monailabel_app.lib.datastore.uploaded_label import read_label
from monailabel_app.lib.files.scratch import scratch
from monailabel_app.lib.files.uploaded_files import suffix_of
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.refusal import Refused, as_refusal


@dataclass(frozen=True)
class _CheckedLabel:
    """A label that is about to be saved.

    Attributes:
        file: mask file on the image's grid.
        masks: uint8 [T, H, W], its content.
        record: frame record that came with it, if any.
        pixels: hash of the image's pixels.
    """

    file: Path
    masks: np.ndarray
    record: FrameRecord | None
    pixels: str


class LabelWriter:
    """Saves, restores, confirms and removes labels.

    All methods check first that the folder may be written, and raise Refused (403) otherwise; they raise 404 for
    an unknown image, and 507 when the change cannot be written.

    Args:
        index: of the folder.
        versions: of the labels.
        projection: that MONAI Label's clients see.
        ledger: of what clients downloaded.

    Attributes:
        anatomy: what labels outline; called at each save.
        rater: who is signed in, whatever a client says; None where nobody has to be; called at each save.
        check_owner: refuses a tag that is another person's; called at each save.
        on_change: called after a version was saved or reviewed.
    """

    def __init__(
        self, index: ImageIndex, versions: LabelStore, projection: LabelProjection, ledger: Ledger
    ) -> None:
        self._index, self._versions, self._projection, self._ledger = index, versions, projection, ledger
        self.anatomy: Callable[[], Anatomy] = lambda: ABDOMEN
        self.rater: Callable[[], str | None] = lambda: None
        self.check_owner: Callable[[str], object] = lambda tag: None
        self.on_change: Callable[[], None] = lambda: None

    def save(self, image_id: str, file: Path, tag: str, info: Mapping[str, Any]) -> LabelVersion:
        """Save a mask file as the next version of a label.

        A model's proposal (tag ``original``) is no annotation: only the newest is kept, as version 0.

        Args:
            image_id: of the image.
            file: that a client sent.
            tag: rater, or ``final``.
            info: stored with the label. ``frame_record`` is the state of each frame (docs/server.md); ``based_on``
                is the version that the annotator started from, 0 for none.

        Raises:
            Refused: 400 for a bad record, or a file that is no mask on the grid, 409 when the label was changed
                since the version that it is based on, or has a frame record where this one has none.
        """
        self._index.check_not_read_only()
        image = self._index.image_path(image_id)
        source = source_of(image)
        rater = None if tag == PROPOSALS else self.rater()
        if rater is not None:
            self.check_owner(tag)
            info = attributed_info(info, rater)
        with scratch.folder() as folder:
            with as_refusal():
                info = without_server_keys(plain(dict(info)))
                based_on = pop_based_on(info)
                label = self._read(image_id, image, file, info, folder)
                record = label.record
                if record is not None and rater is not None:
                    record = self._attributed(image_id, tag, image, label.masks, record, rater)
                comparison = None
                if label.record is None and tag != PROPOSALS:
                    comparison = self._comparison(image_id, tag, label, source, info)
            with self._index.locked(), as_refusal():
                self._check_unchanged(image_id, image, source)
                if tag == PROPOSALS:
                    now = datetime.now(UTC).isoformat(timespec="seconds")
                    version = LabelVersion(image_id, tag, 0, now, label.file, None, label.record, info)
                    self._projection.write_label(version)
                    self._index.write()
                    return version
                self._projection.adopt(image_id, tag)
                if comparison is not None:
                    if based_on in (None, self._versions.latest(image_id, tag)):  # else it is a conflict
                        self._check_no_record(image_id, tag)
                    record, info = comparison.record(), comparison.info()
                version = self._versions.save(
                    image_id, tag, label.file, record, info, image=label.pixels, based_on=based_on
                )
                self._projection.publish(version)
        self.on_change()
        return version

    def _read(self, image_id: str, image: Path, file: Path, info: dict[str, Any], folder: Path) -> _CheckedLabel:
        """A client's label; where it is not on the image's own grid it is rewritten, into ``folder``."""
        sweep = read_sweep(image)
        label = read_label(file, f"label of {image_id}", sweep, self.anatomy(), named_classes(info))
        if not label.as_sent:
            file = folder / f"label{suffix_of(file.name, MASK_SUFFIXES) or '.nii.gz'}"
            write_masks(file, label.masks, sweep)
        if label.left_out:
            info[LEFT_OUT] = list(label.left_out)
        record = record_of(image_id, info, len(label.masks))
        check_record(image_id, record, label.masks)
        return _CheckedLabel(file, label.masks, record, pixels_sha256(sweep.frames))

    def _attributed(
        self, image_id: str, tag: str, image: Path, masks: np.ndarray, record: FrameRecord, rater: str
    ) -> FrameRecord:
        """The record with the rater who is signed in; frames that nobody changed keep theirs."""
        try:
            previous = self._versions.current(image_id, tag)
        except LabelDamaged:
            previous = None

        def masks_of(version: LabelVersion) -> np.ndarray:
            return np.zeros_like(masks) if version.mask is None else self._masks(image, version.mask)[0]

        return attributed_record(record, rater, masks, previous, masks_of)

    def _comparison(
        self, image_id: str, tag: str, label: _CheckedLabel, source: str, info: dict[str, Any]
    ) -> ProposalComparison:
        proposal = self._index.get_label_uri(image_id, PROPOSALS)
        return ProposalComparison(
            self._versions,
            self._ledger,
            image_id,
            tag,
            masks=label.masks,
            identity=(source,),
            pixels=label.pixels,
            info=info,
            proposal_file=Path(proposal) if proposal else None,
        )

    def _masks(self, image: Path, file: Path) -> tuple[np.ndarray, str]:
        """Masks of a stored label, and the hash of its image's pixels."""
        sweep = read_sweep(image)
        return read_masks(file, sweep, by_size=True), pixels_sha256(sweep.frames)

    def _check_unchanged(self, image_id: str, image: Path, source: str) -> None:
        """Refuse to label an image that was replaced since it was read."""
        exists = self._index.entry(image_id) is not None and image.exists()
        if not exists or source_of(image) != source:
            raise Refused(404, f"image {image_id}: it was removed or replaced meanwhile; load it again")

    def _check_no_record(self, image_id: str, tag: str) -> None:
        """Refuse to replace a label with a frame record by one without.

        Otherwise nothing of the new one could be used for training, and what was confirmed before no more.
        """
        try:
            label = self._versions.current(image_id, tag)
        except LabelDamaged:
            return
        if label is not None and label.record is not None and COMPARED not in label.info:
            raise LabelConflict(
                f"label {tag} of {image_id}: version {label.version} has a frame record, and this save has none; "
                "send a frame_record, or save under another tag"
            )

    def restore(self, image_id: str, tag: str, version: int, info: dict[str, Any]) -> LabelVersion:
        """Make an earlier version of a label the label again, as a new version.

        Raises:
            Refused: 404 when there is no such version, 400 when that version removed the label or is of other
                pixels.
        """
        tag = tag_of(tag)
        image, source = self._check_version(image_id, tag, version)
        with self._index.locked(), as_refusal():
            self._check_unchanged(image_id, image, source)
            self._projection.adopt(image_id, tag)
            restored = self._versions.restore(image_id, tag, version, plain(info))
            self._projection.publish(restored)
        self.on_change()
        return restored

    def pick(self, image_id: str, tag: str, version: int, final: str, user: str) -> LabelVersion:
        """Accept one rater's version, and make it the next version of tag ``final``.

        Raises:
            Refused: as ``restore``.
        """
        tag, final = tag_of(tag), tag_of(final)
        image, source = self._check_version(image_id, tag, version)
        with self._index.locked(), as_refusal():
            self._check_unchanged(image_id, image, source)
            self._projection.adopt(image_id, final)
            picked = self._versions.pick(image_id, tag, version, final, user)
            self._projection.publish(picked)
        self.on_change()
        return picked

    def _check_version(self, image_id: str, tag: str, number: int) -> tuple[Path, str]:
        """Path and identity of the image, after checking that a version of its label is of the same pixels."""
        self._index.check_not_read_only()
        image = self._index.image_path(image_id)
        source = source_of(image)
        with as_refusal():
            version = self._versions.version(image_id, tag, number)
            if version.mask is not None:
                pixels = self._masks(image, version.mask)[1]
                if version.image not in (None, pixels):
                    raise LabelError(
                        f"{image_id}, {tag}: version {number} was made for other pixels than the image has"
                    )
        return image, source

    def confirm(
        self, image_id: str, tag: str, version: int | None, reviewer: str, frames: list[int] | None = None
    ) -> LabelVersion:
        """Confirm proposed frames of a label as a new version, see ``fetaliqa.labels.confirmation``.

        Raises:
            Refused: 404 when there is no such version, 409 when another was saved meanwhile, 400 when there is
                nothing to confirm.
        """
        self._index.check_not_read_only()
        self._index.image_path(image_id)
        tag = tag_of(tag)
        with self._index.locked(), as_refusal():
            self._projection.adopt(image_id, tag)
            number = self._versions.latest(image_id, tag) if version is None else version
            confirmed = confirm(self._versions, image_id, tag, number, reviewer, frames)
            self._projection.publish(confirmed)
        self.on_change()
        return confirmed

    def review(
        self, image_id: str, tag: str, version: int, state: str, reviewer: str, comment: str
    ) -> LabelVersion:
        """Review a version: ``accepted``, or ``returned`` (changes requested) with a comment.

        Raises:
            Refused: 404 when there is no such version, 400 for another state or a missing comment.
        """
        self._index.check_not_read_only()
        self._index.image_path(image_id)
        with as_refusal():
            reviewed = self._versions.review(image_id, tag_of(tag), version, state, reviewer, comment)
        self.on_change()
        return reviewed

    def remove(self, image_id: str, tag: str, info: dict[str, Any]) -> None:
        """Remove a label; its versions are kept.

        Raises:
            Refused: 404 when there is none.
        """
        self._index.check_not_read_only()
        tag = self._existing(image_id, tag)
        with self._index.locked(), as_refusal():
            self._projection.adopt(image_id, tag)
            if self._versions.latest(image_id, tag) == 0:  # a proposal, or its file was removed by hand
                self._index.remove_label(image_id, tag)
                self._index.refresh()
            else:
                self._projection.publish(self._versions.remove(image_id, tag, plain(info)))

    def update_info(self, image_id: str, tag: str, info: dict[str, Any]) -> None:
        """Add to the information on a label, as a new version.

        Raises:
            Refused: as ``save``.
        """
        self._index.check_not_read_only()
        tag = self._existing(image_id, tag)
        image = self._index.image_path(image_id)
        rater = self.rater()
        if rater is not None:
            info = attributed_info(info, rater)
        with self._index.locked(), as_refusal():
            self._projection.adopt(image_id, tag)
            added = without_server_keys(plain(info))
            label = self._versions.current(image_id, tag)
            if label is None:
                self._index.update_label_info(image_id, tag, added)
                return
            based_on = pop_based_on(added)
            merged = {**label.info, **added}
            record: FrameRecord | None = label.record
            if KEY in added and label.mask is not None:
                masks = self._masks(image, label.mask)[0]
                record = record_of(image_id, merged, len(masks))
                check_record(image_id, record, masks)
                if record is not None and rater is not None:
                    record = self._attributed(image_id, tag, image, masks, record, rater)
                merged.pop(COMPARED, None)  # the record is the client's own now
            saved = self._versions.save(
                image_id, tag, label.mask, record, merged, image=label.image, based_on=based_on
            )
            self._projection.publish(saved)

    def _existing(self, image_id: str, tag: str) -> str:
        """The checked tag of a label that exists."""
        check_id("label", image_id)
        tag = tag_of(tag)
        self._projection.update(image_id, tag)
        if self._index.label(image_id, tag) is None:
            raise Refused(404, f"image {image_id} has no label with tag {tag!r}")
        return tag
