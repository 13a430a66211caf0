"""Names and descriptions of the importable label formats, in a module that imports quickly."""

from __future__ import annotations

FORMATS = {
    "acouslic": "mask stacks of ACOUSLIC-AI",
    "nnunet": "nnU-Net's raw data set, 2D and 3D",
    "coco": "COCO (also CVAT's and Label Studio's)",
    "cvat": "CVAT's `Segmentation mask` and `CVAT for images`, unpacked",
    "slicer": "3D Slicer's CASE.seg.nrrd",
    "dicom": "DICOM segmentations",
    "yolo": "YOLO segmentation",
    "labelstudio": "Label Studio's `JSON`",
    "masks": "pictures of masks",
    "stacks": "a mask stack of each case (.nii.gz, .mha, .nrrd)",
}
"""What each is, by its name on the command line."""

POLYGONS = ("coco", "cvat", "yolo", "labelstudio")
"""Those whose polygons the extra ``export`` draws."""
