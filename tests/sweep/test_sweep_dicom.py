"""Ultrasound DICOM files: calibration, folders of files, privacy, and files that cannot be used."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pydicom
import pytest
from dicom_files import a_dataset, a_region, encapsulated, saved
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from fetaliqa.errors import SweepError
from fetaliqa.sweep import is_sweep_path, read_masks, read_sweep, write_masks
from fetaliqa.sweep.case_paths import expand_cases


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


def test_single_frame_files_in_a_folder_are_one_case_and_cine_loops_are_one_each(tmp_path, frames):
    singles, loops = tmp_path / "singles", tmp_path / "loops"
    for folder in (singles, loops):
        folder.mkdir()
    for index, frame in enumerate(frames[:4]):
        saved(a_dataset(frame[None]), singles / f"{index}.dcm")
    for index in range(2):
        saved(a_dataset(frames), loops / f"{index}.dcm")
    assert expand_cases(singles) == [singles]
    assert len(expand_cases(singles, each=True)) == 4
    assert [path.name for path in expand_cases(loops)] == ["0.dcm", "1.dcm"]
    (loops / "2.dcm").write_bytes(b"not DICOM")
    assert len(expand_cases(loops)) == 3  # named when it is read


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
    with pytest.raises(SweepError, match=r"both images \(1\.png, \.\.\.\) and DICOM"):
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
    with pytest.raises(SweepError, match=r"case\.dcm: .*(truncated|damaged|decoded|declares|no complete)"):
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
        ("video", "can be decoded"),
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
