"""Names and descriptions of the export formats, in a module that imports quickly."""

from __future__ import annotations

FORMATS = {
    "png": ("picture_files:PngWriter", "frames and masks as PNG pictures"),
    "tiff": ("picture_files:TiffWriter", "frames and masks as TIFF pictures that know the size of a pixel"),
    "mha": ("volume_files:MhaWriter", "a .mha stack of the selected frames of each case, and one of masks"),
    "nifti": ("volume_files:NiftiWriter", "the same as NIfTI"),
    "nnunet": ("nnunet_format:NnUnetWriter", "nnU-Net v2 raw data set of 2D pictures"),
    "coco": ("coco_format:CocoWriter", "COCO, run lengths and polygons"),
    "yolo": ("yolo_format:YoloWriter", "YOLO segmentation"),
    "imagefolder": ("imagefolder_format:ImageFolderWriter", "Hugging Face imagefolder with metadata"),
    "dicom": ("dicom_format:DicomStillWriter", "DICOM Secondary Capture of each frame, with a DICOM segmentation"),
    "dicom-cine": (
        "dicom_format:DicomCineWriter",
        "DICOM Ultrasound Multi-frame of each case, with a segmentation",
    ),
    "sr": (
        "report_format:DicomReportWriter",
        "dicom-cine, and a DICOM measurement report (SR) of each case",
    ),
    "acouslic": ("acouslic_format:AcouslicWriter", "the layout of ACOUSLIC-AI, which fetaliqa train reads"),
    "challenge": (
        "acouslic_format:ChallengeWriter",
        "answers for the ACOUSLIC-AI challenge, one frame for each case",
    ),
}
"""Writer in ``fetaliqa.export.formats`` and what it writes, by name."""
