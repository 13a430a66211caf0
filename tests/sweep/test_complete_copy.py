"""Copies that any program can open by itself."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import a_dataset, saved
from pydicom.encaps import encapsulate
from video_files import a_loop, a_video, video_bytes

from fetaliqa.sweep import read_sweep
from fetaliqa.sweep.self_contained_copy import copy_suffix, write_copy


def an_image(dtype: type = np.uint8) -> sitk.Image:
    values = np.random.default_rng(5).integers(0, 200, (5, 12, 16)).astype(dtype)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.3, 0.4, 1.5))
    image.SetOrigin((1, 2, 3))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    return image


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.nii", "a.nii.gz", "a.dcm", "a.png"])
def test_a_file_that_others_can_open_is_sent_as_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith(".dcm"):
        saved(a_dataset(sitk.GetArrayFromImage(an_image())), path)
    else:
        sitk.WriteImage(an_image()[:, :, 0] if name.endswith(".png") else an_image(), str(path))
    assert copy_suffix(path) is None


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.uint32])
def test_a_header_with_pixels_elsewhere_is_copied_with_values_and_grid(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "pair.mhd"
    image = an_image(dtype)
    sitk.WriteImage(image, str(path), useCompression=dtype is np.int16)
    header = path.read_text().replace("ElementDataFile", "SweepRanges = 0:2,2:5\nElementDataFile")
    path.write_text(header)
    assert copy_suffix(path) == ".mha"
    for name in ("copy.mha", "copy.nrrd", "copy.nii.gz"):
        write_copy(path, tmp_path / name)
        copied = sitk.ReadImage(str(tmp_path / name))
        assert np.array_equal(sitk.GetArrayFromImage(copied), sitk.GetArrayFromImage(image)), name
        assert copied.GetPixelID() == image.GetPixelID()
        for found, expected in (
            (copied.GetSpacing(), image.GetSpacing()),
            (copied.GetOrigin(), image.GetOrigin()),
            (copied.GetDirection(), image.GetDirection()),
        ):
            assert np.allclose(found, expected, atol=1e-6), name
        if not name.endswith(".gz"):
            assert read_sweep(tmp_path / name).ranges == ((0, 2), (2, 5))


def test_video_needs_a_copy(tmp_path: Path) -> None:
    a_video(tmp_path / "loop.mp4", a_loop(), "libx264")
    stream = video_bytes(a_loop(), "libx264", "mp4")
    dataset = a_dataset(a_loop())
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # MPEG-4
    dataset.PixelData = encapsulate([stream], has_bot=False)
    dataset["PixelData"].VR = "OB"
    saved(dataset, tmp_path / "cine.dcm")
    for name in ("loop.mp4", "cine.dcm"):
        assert copy_suffix(tmp_path / name) == ".mha", name
        write_copy(tmp_path / name, tmp_path / "copy.mha")
        copied = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "copy.mha")))
        assert np.array_equal(copied, read_sweep(tmp_path / name).frames), name


def test_a_copy_takes_little_memory(tmp_path: Path) -> None:
    frames = np.zeros((300, 256, 256), np.uint8)
    frames[:, 10:20] = 90
    sitk.WriteImage(sitk.GetImageFromArray(frames), str(tmp_path / "long.mhd"))
    del frames
    tracemalloc.start()
    try:
        write_copy(tmp_path / "long.mhd", tmp_path / "copy.mha")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20, "of 20 MB"
    finally:
        tracemalloc.stop()
