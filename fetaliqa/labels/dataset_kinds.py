"""Opens a labelled data set of any kind: ACOUSLIC-AI, HC18 or a studies folder."""

from __future__ import annotations

from pathlib import Path

from fetaliqa.datasets.acouslic import Acouslic
from fetaliqa.datasets.acouslic_layout import CIRCUMFERENCES
from fetaliqa.datasets.hc18 import HC18, hc18_table
from fetaliqa.datasets.labelled_data import LabelledData
from fetaliqa.errors import NotFoundError, OptionError
from fetaliqa.labels.studies import Studies
from fetaliqa.labels.studies_folder import is_studies

KINDS = ("auto", "acouslic", "hc18", "studies")
"""Kinds of data sets; phantoms are of kind ``acouslic``."""


def open_labelled(path: Path, kind: str = "auto", anatomy: str | None = None) -> LabelledData:
    """Open a labelled data set.

    Args:
        path: its folder.
        kind: one of ``KINDS``. ``auto`` goes by what is in the folder, first by the tables of HC18 and
            ACOUSLIC-AI: an ACOUSLIC-AI folder that a server used as studies folder gives the data set's own
            labels, and with kind ``studies`` those that were made there.
        anatomy: name of what is outlined; needed for studies of anything but the abdomen.

    Raises:
        NotFoundError: when there is no such folder, or no known data set in it.
        OptionError: for another kind or anatomy, or an anatomy that the data set does not show.
        SweepError: when the data set's table or index cannot be used.
    """
    path = Path(path)
    if kind not in KINDS:
        raise OptionError(f"data set kind {kind!r}; it must be one of {', '.join(KINDS)}")
    if not path.is_dir():
        what = "a file; name the folder it is in" if path.exists() else "no such folder; check the path"
        raise NotFoundError(f"{path}: {what}")
    kind = _detected(path) if kind == "auto" else kind
    if kind == "studies":
        return Studies(path, anatomy or "abdomen")
    data: LabelledData = HC18(path) if kind == "hc18" else Acouslic(path)
    if anatomy not in (None, data.anatomy.name):
        raise OptionError(f"{path}: {data.name} shows the {data.anatomy.name}, not the {anatomy}")
    return data


def _detected(path: Path) -> str:
    if hc18_table(path) is not None:
        return "hc18"
    if (path / CIRCUMFERENCES).is_file():
        return "acouslic"
    if is_studies(path):
        return "studies"
    inner = next((child for child in sorted(path.iterdir()) if (child / CIRCUMFERENCES).is_file()), None)
    if inner is not None:
        raise NotFoundError(f"{path}: the data set is one folder deeper; name {inner}")
    raise NotFoundError(
        f"{path}: no labelled data set; known are HC18 (its table), ACOUSLIC-AI ({CIRCUMFERENCES.as_posix()}), "
        "and studies (datastore_v2.json, or images/ beside labels/)"
    )
