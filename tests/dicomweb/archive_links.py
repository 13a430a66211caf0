"""What tests of a link to an archive are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from stub_archive import StubArchive

from fetaliqa.sweep import read_sweep
from monailabel_app.lib.datastore.studies_datastore import StudiesDatastore
from monailabel_app.lib.dicomweb.archive_sync import ArchiveSync

SHARED = "1.2.826.0.1.3680043.8.498.99.7"
MEBIBYTE = 1024**2


def copies(link: ArchiveSync) -> set[str]:
    return {path.name[:-4] for path in link.folder.iterdir() if path.suffix == ".dcm"}


def a_store(link: ArchiveSync) -> StudiesDatastore:
    return StudiesDatastore(str(link.folder), max_file_bytes=MEBIBYTE, auto_reload=False, archive=link)


def a_mask(link: ArchiveSync, image_id: str, row: int = 3) -> Path:
    sweep = read_sweep(link.folder / f"{image_id}.dcm")
    masks = np.zeros(sweep.shape, np.uint8)
    masks[2, row : row + 9, 4:20] = 1
    image = sitk.GetImageFromArray(masks)
    image.SetSpacing(sweep.grid.spacing)
    path = link.folder.parent / "mask.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


def record(state: str = "annotated") -> dict[str, Any]:
    return {"frame_record": {"schema": 1, "frames": {"2": {"state": state, "rater": "anna"}}}}


def segmentations(stub: StubArchive) -> list[pydicom.Dataset]:
    return [one for one in stub.instances if one.Modality == "SEG"]


def reports(stub: StubArchive) -> list[pydicom.Dataset]:
    return [one for one in stub.instances if one.Modality == "SR"]
