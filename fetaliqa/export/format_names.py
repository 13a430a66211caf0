"""Names of the formats, without anything that takes time to import."""

from __future__ import annotations

FORMATS = {
    "png": ("pictures:PngWriter", "frames and masks as PNG pictures"),
    "tiff": ("pictures:TiffWriter", "frames and masks as TIFF pictures that know the size of a pixel"),
    "mha": ("volumes:MhaWriter", "a .mha stack of the selected frames of each case, and one of masks"),
    "nifti": ("volumes:NiftiWriter", "the same as NIfTI"),
    "nnunet": ("nnunet:NnUnetWriter", "nnU-Net v2 raw data set of 2D pictures"),
    "coco": ("coco:CocoWriter", "COCO, run lengths and polygons"),
    "yolo": ("yolo:YoloWriter", "YOLO segmentation"),
    "imagefolder": ("imagefolder:ImageFolderWriter", "Hugging Face imagefolder with metadata"),
    "dicom": ("dicom:DicomStillWriter", "DICOM Secondary Capture of each frame, with a DICOM segmentation"),
    "dicom-cine": ("dicom:DicomCineWriter", "DICOM Ultrasound Multi-frame of each case, with a segmentation"),
    "acouslic": ("acouslic:AcouslicWriter", "the layout of ACOUSLIC-AI, which fetaliqa train reads"),
    "challenge": ("acouslic:ChallengeWriter", "answers for the ACOUSLIC-AI challenge, one frame for each case"),
}
"""Writer in ``fetaliqa.export.formats`` and what it writes, by name."""
