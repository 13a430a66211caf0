"""Ultrasound DICOM files as scanners write them, made with pydicom."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

PATIENT = "DOE^JANE"


def a_dataset(
    pixels: np.ndarray, interpretation: str = "MONOCHROME2", syntax: str = ExplicitVRLittleEndian
) -> FileDataset:
    """pixels: [T, H, W] or [T, H, W, 3]."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.is_little_endian = syntax != ExplicitVRBigEndian
    dataset.is_implicit_VR = syntax == ImplicitVRLittleEndian
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = "1.2.3.4"
    dataset.PatientName = PATIENT
    dataset.PatientID = "4711"
    dataset.Modality = "US"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape[:3]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
    if pixels.ndim == 4:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = interpretation
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.astype(pixels.dtype.newbyteorder(">")) if syntax == ExplicitVRBigEndian else pixels
    dataset.PixelData = data.tobytes() + b"\0" * (data.nbytes % 2)
    dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    return dataset


def a_region(delta_x: float, delta_y: float, units: int = 3, size: int = 100, kind: int = 1) -> Dataset:
    region = Dataset()
    region.RegionSpatialFormat = kind
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = size, size
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = units
    region.PhysicalDeltaX, region.PhysicalDeltaY = delta_x, delta_y
    return region


def saved(dataset: FileDataset, path: Path) -> Path:
    dataset.save_as(path, write_like_original=False)
    return path


def encapsulated(dataset: FileDataset, frames: list[bytes], syntax: str) -> FileDataset:
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    return dataset


def smooth(frames: np.ndarray) -> np.ndarray:
    """Frames a JPEG codec can follow."""
    return np.stack([cv2.resize(frame[:6, :8], (48, 32), interpolation=cv2.INTER_CUBIC) for frame in frames])


def lossless_jpeg(frame: np.ndarray) -> bytes:
    """Encode uint8 [H, W] as JPEG Lossless, first-order prediction (ITU-T T.81 annex H, predictor 1).

    Difference categories 0 to 8 get the 4-bit Huffman codes 0 to 8.
    """
    height, width = frame.shape
    grey = frame.astype(int)
    predicted = np.concatenate([np.full((height, 1), 128), grey[:, :-1]], axis=1)
    predicted[1:, 0] = grey[:-1, 0]
    bits = []
    for difference in (grey - predicted).ravel().tolist():
        size = abs(difference).bit_length()
        bits.append(f"{size:04b}")
        if size:
            bits.append(f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    start = b"\xff\xc3" + struct.pack(">HBHHBBBB", 11, 8, height, width, 1, 1, 0x11, 0)
    huffman = b"\xff\xc4" + struct.pack(">HB", 2 + 1 + 16 + 9, 0) + bytes([0, 0, 0, 9, *[0] * 12, *range(9)])
    scan_header = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8" + start + huffman + scan_header + scan + b"\xff\xd9"
