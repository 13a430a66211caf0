"""The folder of an archive's copies as studies: what happens there is told to the archive."""

from __future__ import annotations

from typing import Any

from monailabel_app.lib.datastore import GuardedDatastore
from monailabel_app.lib.dicomweb.link import ArchiveLink
from monailabel_app.lib.dicomweb.sending import FINAL
from monailabel_app.lib.shown_labels import tag_of


class ArchiveDatastore(GuardedDatastore):
    """A folder of copies.

    Args:
        link: to the archive.
        max_file_bytes, auto_reload: see ``GuardedDatastore``.
    """

    def __init__(self, link: ArchiveLink, *, max_file_bytes: int, auto_reload: bool) -> None:
        self._link, self._catalog = link, link.catalog
        super().__init__(str(link.folder), max_file_bytes=max_file_bytes, auto_reload=auto_reload)
        link.on_copied = self.refresh

    def name(self) -> str:
        return self._link.archive.address

    def save_version(self, *arguments: Any, **named: Any) -> Any:
        version = super().save_version(*arguments, **named)
        self._link.label_saved()
        return version

    def _renewed(self, *arguments: Any, **named: Any) -> Any:
        version = super()._renewed(*arguments, **named)
        self._link.label_saved()
        return version

    def confirm_label(self, *arguments: Any, **named: Any) -> Any:
        version = super().confirm_label(*arguments, **named)
        self._link.label_saved()
        return version

    def review_label(self, *arguments: Any, **named: Any) -> Any:
        version = super().review_label(*arguments, **named)
        self._link.label_saved()  # what was sent back does not go, and once it is accepted it does
        return version

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """As of any label; of a final one ``archive`` says where in the archive this version is, once it is."""
        info = super().get_label_info(label_id, label_tag)
        there = self._catalog.read().sent.get(label_id)
        if tag_of(label_tag) == FINAL and there and there["version"] == info.get("version") and there["instance"]:
            info["archive"] = {"SeriesInstanceUID": there["series"], "SOPInstanceUID": there["instance"]}
        return info

    def remove_image(self, image_id: str) -> None:
        """Remove a copy and its labels from here for good; the archive keeps what it has."""
        super().remove_image(image_id)
        with self._catalog.changing() as known:
            cine = known.cines.pop(image_id, None)
            if cine is not None:
                known.removed.append(cine.instance)
                known.counts.pop(cine.series, None)
                known.sent.pop(image_id, None)
