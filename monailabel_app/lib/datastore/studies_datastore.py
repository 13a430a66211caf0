"""The studies folder as MONAI Label's datastore: safe ids, real sweeps as images, real masks as labels.

MONAI Label's LocalDatastore writes wherever an id or tag leads, and stores any bytes. Everything a client can
reach passes through this class, on FetalIQA's server and on MONAI Label's plain server. It is composed of

- ``index``: the images, and MONAI Label's index file (``image_index``), changed by ``image_writer``;
- ``labels``: versions of the labels (``fetaliqa.labels.LabelStore``), changed by ``label_writer``;
- the label files and index entries that MONAI Label's clients read, derived from the versions
  (``label_projection``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from monailabel.interfaces.datastore import Datastore

from fetaliqa.errors import FetalIQAError
from fetaliqa.inference.case_result import AssessmentResult
from fetaliqa.labels import LabelStore, LabelVersion
from fetaliqa.labels.frame_record import KEY
from fetaliqa.labels.given_ages import GivenAges
from fetaliqa.labels.label_store import FOLDER
from fetaliqa.labels.served_masks import Ledger
from fetaliqa.sweep.case_paths import images_below
from monailabel_app.lib.datastore.dataset_zip import write_dataset_zip
from monailabel_app.lib.datastore.download_ledger import DownloadLedger
from monailabel_app.lib.datastore.image_downloads import Downloads
from monailabel_app.lib.datastore.image_index import ImageIndex
from monailabel_app.lib.datastore.image_writer import ImageWriter
from monailabel_app.lib.datastore.label_projection import LabelProjection, tag_of
from monailabel_app.lib.datastore.label_writer import LabelWriter
from monailabel_app.lib.files.uploaded_files import LABEL_SUFFIXES, suffix_of
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.refusal import Refused, as_refusal
from monailabel_app.lib.tasks.inference_request import InferenceRequest

logger = logging.getLogger(__name__)


class Archive(Protocol):
    """What a datastore tells a DICOM archive, see ``dicomweb.archive_sync``."""

    on_copied: Callable[[], None]

    @property
    def address(self) -> str: ...

    def label_changed(self) -> None: ...

    def image_removed(self, image_id: str) -> None: ...

    def instance_of(self, image_id: str, tag: str, version: int | None) -> dict[str, str] | None: ...


class StudiesDatastore(Datastore):
    """A folder of sweeps, the root of an ACOUSLIC-AI data set, or the copies of a DICOM archive's cines.

    Of an ACOUSLIC-AI root, ``images/stacked_fetal_ultrasound`` holds the images; the index and ``labels/`` are
    kept in the root, beside ``images/``.

    Args:
        studies: the folder.
        max_file_bytes: largest file stored on a client's behalf.
        auto_reload: follow changes of the folder.
        read_only: refuse to change anything (worker processes).
        archive: that the images are copied from, and final labels are sent to.

    Attributes:
        index: images, and what MONAI Label's clients see.
        labels: versions of the labels.
        writer: of labels.
        downloads: how images are sent to clients.
    """

    def __init__(
        self,
        studies: str,
        *,
        max_file_bytes: int,
        auto_reload: bool = True,
        read_only: bool = False,
        archive: Archive | None = None,
    ) -> None:
        images = str(images_below(Path(studies)))
        self._archive = archive
        self.index = ImageIndex(studies, images, auto_reload=auto_reload, read_only=read_only)
        self.labels = LabelStore(Path(studies) / FOLDER)
        self._ages = GivenAges(Path(studies))
        self._images = ImageWriter(self.index, self.labels, max_file_bytes)
        self.downloads, self._ledger = Downloads(), DownloadLedger(Ledger(self.labels.folder))
        self._projection = LabelProjection(self.index, self.labels)
        self.writer = LabelWriter(self.index, self.labels, self._projection, self._ledger.ledger)
        self.index.follow = self._projection.update_all
        if not read_only:
            with self.index.locked():
                self._projection.update_all()  # what a killed server saved and did not show
            self._images.remove_partial_uploads()
        if archive is not None:
            archive.on_copied, self.writer.on_change = self.refresh, archive.label_changed

    def close(self) -> None:
        """Stop following changes of the folder."""
        self.index.close()

    def name(self) -> str:
        """The archive's address, or MONAI Label's name of the folder."""
        return self.index.name() if self._archive is None else self._archive.address

    def set_name(self, name: str) -> None:
        self.index.set_name(name)

    def description(self) -> str:
        return self.index.description()

    def set_description(self, description: str) -> None:
        self.index.set_description(description)

    def status(self) -> dict[str, Any]:
        with self.index.guard:
            return {**self.index.status(), "not_offered": self.not_offered()}

    def json(self) -> Any:
        with self.index.guard:
            return self.index.json()

    def refresh(self) -> None:
        self.index.refresh()

    # -- images -------------------------------------------------------------------------------------

    def list_images(self) -> list[str]:
        with self.index.guard:
            return self.index.list_images()

    def not_offered(self) -> list[dict[str, str]]:
        """Files of the folder that are not offered as images, each with a sentence."""
        return self.index.not_offered()

    def sources(self) -> dict[str, str]:
        """Identity of each image file, see ``ImageIndex.sources``."""
        return self.index.sources()

    def image_path(self, image_id: str) -> Path:
        """Path of an image file.

        Raises:
            Refused: 400 for an id outside the grammar, 404 for an unknown one.
        """
        return self.index.image_path(image_id)

    def get_image(self, image_id: str, params: Any = None) -> Any:
        return self.index.get_image(image_id, params)

    def get_image_uri(self, image_id: str) -> str:
        return self.index.get_image_uri(image_id)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What is recorded about an image, and the ``grid`` and ``name`` of the file that clients are sent."""
        with self.index.guard:
            info = dict(self.index.get_image_info(check_id("image", image_id)))
            path = Path(self.index.get_image_uri(image_id))
        if path.is_file():
            download = self.downloads.info(path)
            # clients save the image under this name, and recognise its format by the suffix; no folder is
            # disclosed
            info["name"] = download.name(path)
            if "path" in info:
                info["path"] = info["name"]
            if download.grid is not None:
                info["grid"] = download.grid
        return info

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """See ``ImageWriter.update_info``."""
        self._images.update_info(image_id, info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any] | None) -> str:
        """See ``ImageWriter.add``."""
        return self._images.add(image_id, Path(image_filename), image_info or {})

    def remove_image(self, image_id: str) -> None:
        """See ``ImageWriter.remove``. A DICOM archive keeps what it has."""
        self.index.check_not_read_only()
        self.index.image_path(image_id)
        with as_refusal():
            self._ages.forget(image_id)  # otherwise an image of the same id would inherit its age
        self._images.remove(image_id)
        if self._archive is not None:
            self._archive.image_removed(image_id)

    # -- labels -------------------------------------------------------------------------------------

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        with self.index.guard:
            return self.index.get_labels_by_image_id(check_id("image", image_id))

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        return self.get_labels_by_image_id(image_id).get(tag, "")

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        with self.index.guard:
            return self.index.get_labeled_images(label_tag, labels)

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        with self.index.guard:
            return self.index.get_unlabeled_images(label_tag, labels)

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> Any:
        uri = self.get_label_uri(label_id, label_tag)
        return Path(uri).read_bytes() if uri else None

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Path of a label's mask file; empty when there is none."""
        image_id, tag = check_id("label", label_id), tag_of(label_tag)
        with self.index.guard:
            self._projection.update(image_id, tag)
            return self.index.get_label_uri(image_id, tag)

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What is recorded about a label, with its frame record.

        ``archive`` says where in the DICOM archive this version is, for a final label that was sent.
        """
        image_id, tag = check_id("label", label_id), tag_of(label_tag)
        with self.index.guard:
            self._projection.update(image_id, tag)
            info = dict(self.index.get_label_info(image_id, tag))
        number = info.get("version")
        try:
            version = self.labels.version(image_id, tag, number) if number else None
        except FetalIQAError as problem:
            logger.error("%s", problem)
            version = None
        if version is not None and version.record is not None:
            info[KEY] = version.record.to_json()
        instance = None if self._archive is None else self._archive.instance_of(image_id, tag, number)
        return info if instance is None else {**info, "archive": instance}

    def has_label(self, label_id: str, label_tag: str) -> bool:
        """True when the index holds this label."""
        return bool(self.get_label_uri(label_id, label_tag))

    def current_label(self, image_id: str, tag: str) -> tuple[Path, int]:
        """The mask file of a label and its version (0: a proposal), consistent with each other.

        Raises:
            Refused: 404 when there is none.
        """
        uri, tag = self.get_label_uri(image_id, tag), tag_of(tag)
        with as_refusal():
            version = self.labels.current(image_id, tag) if uri else None
        if version is not None and version.mask is not None:
            return version.mask, version.version
        if not uri or not Path(uri).is_file():
            raise Refused(404, f"image {image_id!r} has no label with tag {tag!r}")
        return Path(uri), 0

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any] | None
    ) -> str:
        """As ``save_version``; returns the label's id, as MONAI Label expects."""
        self.save_version(image_id, label_filename, label_tag, label_info)
        return image_id

    def save_version(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any] | None
    ) -> LabelVersion:
        """Save a mask stack on the image's own grid, see ``LabelWriter.save``.

        Raises:
            Refused: 400 for a bad id, tag or file, 413 when too large, and as ``LabelWriter.save``.
        """
        tag, file = tag_of(label_tag), Path(label_filename)
        if suffix_of(file.name, LABEL_SUFFIXES) is None:
            raise Refused(400, f"label of {image_id}: the suffix must be one of {', '.join(LABEL_SUFFIXES)}")
        self._images.check_storable(file)
        return self.writer.save(image_id, file, tag, label_info or {})

    def remove_label(self, label_id: str, label_tag: str, info: dict[str, Any] | None = None) -> None:
        """See ``LabelWriter.remove``."""
        self.writer.remove(label_id, label_tag, info or {})

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """See ``LabelWriter.update_info``."""
        self.writer.update_info(label_id, label_tag, info)

    def note_label_sent(self, image_id: str, tag: str, version: int) -> None:
        """Note that a client downloads a version of a label, see ``DownloadLedger``."""
        if version and not self.index.read_only:
            self._ledger.note_label(image_id, self.image_path(image_id), tag, version)

    def note_proposal(self, request: InferenceRequest, result: AssessmentResult) -> None:
        """Note that a client is given a model's masks, see ``DownloadLedger``."""
        if not self.index.read_only:
            self._ledger.note_proposal(request, result)

    # -- images with their labels -------------------------------------------------------------------

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        with self.index.guard:
            return self.index.datalist(full_path)

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """A temporary ZIP of finally labelled images with their labels, see ``write_dataset_zip``."""
        pairs = self.datalist()[:limit_cases]
        with self.index.guard:
            index = self.index.to_json_text()
        return str(write_dataset_zip(pairs, index, self.downloads))
