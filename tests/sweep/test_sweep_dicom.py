"""Ultrasound DICOM files, written here with pydicom in the encodings scanners use."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessP14,
    JPEGLosslessSV1,
    RLELossless,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

from fetaliqa.errors import SweepError
from fetaliqa.sweep import is_sweep_path, read_masks, read_sweep, write_masks

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


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_uncompressed_frames_are_read(tmp_path, frames, syntax):
    deep = syntax == ExplicitVRBigEndian
    pixels = frames.astype(np.uint16) if deep else frames
    sweep = read_sweep(saved(a_dataset(pixels, syntax=syntax), tmp_path / "case.dcm"))
    assert np.array_equal(sweep.frames, frames)
    assert sweep.spacing is None
    assert sweep.shape == frames.shape


def test_frames_of_an_odd_number_of_bytes_are_read(tmp_path, frames):
    odd = np.ascontiguousarray(frames[:3, :29, :39])
    assert np.array_equal(read_sweep(saved(a_dataset(odd), tmp_path / "case.dcm")).frames, odd)


def test_rle_frames_are_read(tmp_path, frames):
    dataset = a_dataset(frames)
    dataset.compress(RLELossless)
    assert np.array_equal(read_sweep(saved(dataset, tmp_path / "case.dcm")).frames, frames)


def test_colour_rle_frames_are_reduced_to_luma(tmp_path, frames):
    colour = np.stack([frames[:4], frames[4:8], frames[8:]], axis=-1)
    dataset = a_dataset(colour, "RGB")
    dataset.compress(RLELossless)
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.abs(sweep.frames - colour @ np.array([0.299, 0.587, 0.114])).max() <= 0.51
    assert any("luma" in note for note in sweep.notes)


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_frames_are_reduced_to_luma(tmp_path, frames, planar):
    colour = np.stack([frames[:4], frames[4:8], frames[8:]], axis=-1)
    dataset = a_dataset(colour, "RGB")
    dataset.PlanarConfiguration = planar
    if planar:
        dataset.PixelData = np.ascontiguousarray(colour.transpose(0, 3, 1, 2)).tobytes()
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.abs(sweep.frames - colour @ np.array([0.299, 0.587, 0.114])).max() <= 0.51


def test_the_luma_of_ybr_full_frames_is_taken_as_it_is(tmp_path, frames):
    ybr = np.stack([frames[:4], frames[4:8], frames[8:]], axis=-1)
    assert np.array_equal(read_sweep(saved(a_dataset(ybr, "YBR_FULL"), tmp_path / "case.dcm")).frames, frames[:4])


def test_ybr_full_422_frames_are_read(tmp_path, frames):
    luma, chroma = frames[:4], np.full((4, 30, 20, 2), 128, np.uint8)
    packed = np.concatenate([luma.reshape(4, 30, 20, 2), chroma], axis=-1)  # Y1 Y2 Cb Cr
    dataset = a_dataset(np.repeat(luma[..., None], 3, axis=-1), "YBR_FULL_422")
    dataset.PixelData = packed.tobytes()
    assert np.array_equal(read_sweep(saved(dataset, tmp_path / "case.dcm")).frames, luma)


@pytest.mark.parametrize("interpretation", ["YBR_FULL_422", "YBR_FULL"])
def test_colour_jpeg_baseline_frames_are_read_as_luma(tmp_path, frames, interpretation):
    grey = smooth(frames)
    colour = np.stack([grey, grey // 2, 255 - grey], axis=-1)
    encoded = []
    for frame in colour:
        buffer = io.BytesIO()
        subsampling = "4:2:2" if interpretation == "YBR_FULL_422" else "4:4:4"
        Image.fromarray(frame).save(buffer, "JPEG", quality=98, subsampling=subsampling)
        encoded.append(buffer.getvalue())
    dataset = encapsulated(a_dataset(colour, interpretation), encoded, JPEGBaseline8Bit)
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.abs(sweep.frames - colour @ np.array([0.299, 0.587, 0.114])).mean() < 1.5


def test_grey_jpeg_baseline_frames_are_read(tmp_path, frames):
    grey = smooth(frames)
    encoded = [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes() for frame in grey]
    dataset = encapsulated(a_dataset(grey), encoded, JPEGBaseline8Bit)
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.abs(sweep.frames.astype(int) - grey).mean() < 1.5


def test_jpeg_baseline_frames_stored_as_rgb_are_not_transformed(tmp_path, frames):
    grey = smooth(frames)
    colour = np.stack([grey, grey // 2, 255 - grey], axis=-1)
    encoded = []
    for frame in colour:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=98, keep_rgb=True)
        encoded.append(buffer.getvalue())
    dataset = encapsulated(a_dataset(colour, "RGB"), encoded, JPEGBaseline8Bit)
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.abs(sweep.frames - colour @ np.array([0.299, 0.587, 0.114])).mean() < 1.5


@pytest.mark.parametrize("colour", [False, True])
def test_jpeg_2000_frames_are_read_without_loss(tmp_path, frames, colour):
    pixels = np.stack([frames[:4], frames[4:8], frames[8:]], axis=-1) if colour else frames
    encoded = []
    for frame in pixels:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG2000", no_jp2=True, irreversible=False, mct=int(colour))
        encoded.append(buffer.getvalue())
    dataset = encapsulated(a_dataset(pixels, "YBR_RCT" if colour else "MONOCHROME2"), encoded, JPEG2000Lossless)
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    expected = pixels @ np.array([0.299, 0.587, 0.114]) if colour else pixels
    assert np.abs(sweep.frames - expected).max() <= 0.51


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


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLosslessP14])
def test_lossless_jpeg_frames_are_read_without_loss(tmp_path, frames, syntax):
    dataset = encapsulated(a_dataset(frames), [lossless_jpeg(frame) for frame in frames], syntax)
    assert np.array_equal(read_sweep(saved(dataset, tmp_path / "case.dcm")).frames, frames)


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_colours_are_looked_up(tmp_path, frames, bits):
    dataset = a_dataset(frames, "PALETTE COLOR")
    table = np.arange(256)[::-1] * (257 if bits == 16 else 1)
    for colour in ("Red", "Green", "Blue"):
        dataset.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, bits])
        dataset.add_new(f"{colour}PaletteColorLookupTableData", "OW", table.astype(f"<u{bits // 8}").tobytes())
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.array_equal(sweep.frames, 255 - frames)


def test_monochrome1_is_inverted_and_said_so(tmp_path, frames):
    sweep = read_sweep(saved(a_dataset(frames, "MONOCHROME1"), tmp_path / "case.dcm"))
    assert np.array_equal(sweep.frames, 255 - frames)
    assert any("MONOCHROME1" in note for note in sweep.notes)


def test_16_bit_frames_are_windowed(tmp_path, frames):
    deep = frames.astype(np.uint16) * 16
    sweep = read_sweep(saved(a_dataset(deep), tmp_path / "case.dcm"))
    assert np.abs(sweep.frames.astype(int) - frames).max() <= 1
    assert any("windowed" in note for note in sweep.notes)


def test_the_ultrasound_region_gives_the_spacing(tmp_path, frames):
    dataset = a_dataset(frames)
    dataset.SequenceOfUltrasoundRegions = Sequence([a_region(0.028, -0.031)])
    dataset.PixelSpacing = [9.0, 9.0]
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert sweep.spacing == pytest.approx((0.31, 0.28))
    assert sweep.grid.spacing == pytest.approx((0.28, 0.31, 1.0))


def test_the_largest_image_region_in_centimetres_counts(tmp_path, frames):
    dataset = a_dataset(frames)
    dataset.SequenceOfUltrasoundRegions = Sequence(
        [
            a_region(0.01, 0.01, size=10),
            a_region(0.02, 0.02, size=50),
            a_region(0.5, 0.5, units=4, size=900),  # seconds: a time axis
            a_region(0.7, 0.7, kind=3, size=900),  # spectral
        ]
    )
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert sweep.spacing == pytest.approx((0.2, 0.2))
    assert any("several ultrasound regions" in note for note in sweep.notes)


def test_pixel_spacing_is_used_when_no_region_is_calibrated(tmp_path, frames):
    dataset = a_dataset(frames)
    dataset.SequenceOfUltrasoundRegions = Sequence([a_region(0.02, 0.02, units=0)])
    dataset.PixelSpacing = [0.4, 0.3]
    assert read_sweep(saved(dataset, tmp_path / "case.dcm")).spacing == pytest.approx((0.4, 0.3))


@pytest.mark.parametrize("delta", [0.0, float("nan")])
def test_a_calibration_of_zero_is_refused(tmp_path, frames, delta):
    dataset = a_dataset(frames)
    dataset.SequenceOfUltrasoundRegions = Sequence([a_region(delta, 0.02)])
    with pytest.raises(SweepError, match="spacing must be positive"):
        read_sweep(saved(dataset, tmp_path / "case.dcm"))


def test_nothing_that_identifies_the_patient_is_kept(tmp_path, frames):
    sweep = read_sweep(saved(a_dataset(frames, "MONOCHROME1"), tmp_path / "case_17.dcm"))
    assert sweep.case_id == "case_17"
    assert not any(word in repr(sweep) for word in ("DOE", "JANE", "4711"))


def test_a_file_without_suffix_is_known_by_its_mark(tmp_path, frames):
    path = saved(a_dataset(frames), tmp_path / "IM0001")
    assert is_sweep_path(path)
    assert np.array_equal(read_sweep(path).frames, frames)


def test_a_folder_of_single_frames_is_sorted_by_instance_number(tmp_path, frames):
    for index, frame in enumerate(frames):
        dataset = a_dataset(frame[None])
        del dataset.NumberOfFrames
        dataset.InstanceNumber = len(frames) - index
        saved(dataset, tmp_path / f"IM{index}")
    assert is_sweep_path(tmp_path)
    assert np.array_equal(read_sweep(tmp_path).frames, frames[::-1])


def test_a_folder_of_two_series_is_refused(tmp_path, frames):
    for index in range(2):
        dataset = a_dataset(frames[index : index + 1])
        dataset.SeriesInstanceUID = f"1.2.{index}"
        saved(dataset, tmp_path / f"{index}.dcm")
    with pytest.raises(SweepError, match="2 DICOM series"):
        read_sweep(tmp_path)


def test_a_folder_with_one_multi_frame_file_is_that_file_and_with_two_is_refused(tmp_path, frames):
    saved(a_dataset(frames), tmp_path / "0.dcm")
    assert np.array_equal(read_sweep(tmp_path).frames, frames)
    saved(a_dataset(frames), tmp_path / "1.dcm")
    with pytest.raises(SweepError, match="several frames"):
        read_sweep(tmp_path)


def test_images_and_dicom_files_in_one_folder_are_refused(tmp_path, frames):
    saved(a_dataset(frames[:1]), tmp_path / "0.dcm")
    cv2.imwrite(str(tmp_path / "1.png"), frames[1])
    with pytest.raises(SweepError, match="both images and DICOM"):
        read_sweep(tmp_path)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]
)
def test_truncated_pixels_are_refused(tmp_path, frames, syntax):
    path = saved(a_dataset(frames, syntax=syntax), tmp_path / "case.dcm")
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(SweepError, match=r"case\.dcm: (truncated|the DICOM file is damaged|its pixels)"):
        read_sweep(path)


@pytest.mark.filterwarnings("ignore:End of file")
@pytest.mark.parametrize("cut", [100, 1000, 10000])
@pytest.mark.parametrize("encoding", ["RLE", "JPEG", "JPEG2000"])
def test_truncated_compressed_pixels_are_refused(tmp_path, frames, encoding, cut):
    dataset = a_dataset(np.repeat(frames, 4, axis=1))
    if encoding == "RLE":
        dataset.compress(RLELossless)
    else:
        encoded = []
        for frame in np.repeat(frames, 4, axis=1):
            buffer = io.BytesIO()
            Image.fromarray(frame).save(buffer, encoding, **({"no_jp2": True} if encoding == "JPEG2000" else {}))
            encoded.append(buffer.getvalue())
        encapsulated(dataset, encoded, JPEGBaseline8Bit if encoding == "JPEG" else JPEG2000Lossless)
    path = saved(dataset, tmp_path / "case.dcm")
    assert read_sweep(path).frame_count == 12
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SweepError, match=r"case\.dcm: .*(truncated|damaged|decoded|announces|no complete)"):
        read_sweep(path)


def test_missing_frames_are_refused(tmp_path, frames):
    dataset = a_dataset(frames)
    dataset.compress(RLELossless)
    dataset.NumberOfFrames = 20
    with pytest.raises(SweepError, match=r"case\.dcm"):
        read_sweep(saved(dataset, tmp_path / "case.dcm"))


def changed(dataset: FileDataset, change: str) -> FileDataset:
    if change == "no pixels":
        del dataset.PixelData
    elif change == "no size":
        del dataset.Rows
    elif change == "no bits":
        del dataset.BitsAllocated
    elif change == "interpretation":
        dataset.PhotometricInterpretation = "HSV"
    elif change == "frames":
        dataset.NumberOfFrames = 0
    elif change == "video":
        encapsulated(dataset, [b"\0" * 64] * dataset.NumberOfFrames, pydicom.uid.MPEG2MPML)
    return dataset


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no pixels", "no complete pixel data"),
        ("no size", "no image"),
        ("no bits", "cannot be decoded"),
        ("interpretation", "'HSV' cannot be read"),
        ("frames", "at least 1"),
        ("video", "cannot be decoded"),
    ],
)
def test_files_that_break_the_standard_are_refused(tmp_path, frames, change, message):
    path = saved(changed(a_dataset(frames), change), tmp_path / "case.dcm")
    with pytest.raises(SweepError, match=message) as caught:
        read_sweep(path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_masks_of_a_dicom_sweep_are_written_in_its_spacing(tmp_path, frames):
    dataset = a_dataset(frames)
    dataset.SequenceOfUltrasoundRegions = Sequence([a_region(0.028, 0.031)])
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    masks = (frames > 100).astype(np.uint8)
    write_masks(tmp_path / "mask.mha", masks, sweep)
    assert np.array_equal(read_masks(tmp_path / "mask.mha", sweep), masks)
