"""Real DICOM files: those that pydicom brings for its own tests, and scanners' files where they are at hand."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.data import get_testdata_file
from pydicom.pixel_data_handlers.util import apply_color_lut, apply_modality_lut, apply_voi_lut

from fetaliqa.errors import SweepError
from fetaliqa.sweep import read_sweep

LUMA = np.array([0.299, 0.587, 0.114])


def the_file(name: str) -> str:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom comes without {name}")
    return str(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        "SC_jpeg_no_color_transform.dcm",
        "SC_jpeg_no_color_transform_2.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+n2.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_jpeg_app14_dcmd.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm",
        "SC_rgb_rle.dcm",
        "SC_rgb_small_odd.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ],
)
def test_colour_files_of_many_encodings_are_read_as_gdcm_reads_them(name):
    path = the_file(name)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(path)).reshape(-1, 3) @ LUMA
    assert np.abs(read_sweep(path).frames.ravel() - expected).mean() < 0.3


def test_bytes_in_big_endian_words_are_the_same_picture():
    little, big = (read_sweep(the_file(f"SC_rgb_small_odd{end}.dcm")) for end in ("", "_big_endian"))
    assert np.array_equal(little.frames, big.frames)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        "MR_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "693_J2KI.dcm",
    ],
)
def test_windows_of_real_files_are_applied(name):
    dataset = pydicom.dcmread(the_file(name))
    values = apply_modality_lut(dataset.pixel_array, dataset)
    dataset.BitsStored = 16 if "RescaleSlope" not in dataset else dataset.BitsStored
    center, width = (float(np.atleast_1d(dataset[key].value)[0]) for key in ("WindowCenter", "WindowWidth"))
    expected = np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255  # PS3.3 C.11.2.1.2.1
    assert np.abs(read_sweep(the_file(name)).frames[0] - expected).max() <= 0.51
    assert np.ptp(apply_voi_lut(values, dataset)) > 0


def test_segmentations_reports_and_truncated_files_are_refused():
    for name, words in (
        ("liver_1frame.dcm", "segmentation"),
        ("test-SR.dcm", "no image"),
        ("MR_truncated.dcm", "truncated"),
    ):
        with pytest.raises(SweepError, match=words):
            read_sweep(the_file(name))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["OBXXXX1A.dcm", "OBXXXX1A_2frame.dcm", "gdcm-US-ALOKA-16.dcm"])
def test_palettes_of_scanners_are_looked_up_as_pydicom_does(shared_data, name):
    path = shared_data / "dicom_us" / name
    dataset = pydicom.dcmread(path)
    colours = apply_color_lut(dataset.pixel_array, dataset).astype(float)
    largest = 255 if colours.max() <= 255 else 65535
    expected = (colours * (255 / largest)) @ LUMA
    sweep = read_sweep(path)
    assert np.abs(sweep.frames - expected.reshape(sweep.shape)).max() <= 1.6
    assert sweep.spacing == pytest.approx([0.38265] * 2 if "ALOKA" in name else [0.26229] * 2, abs=1e-4)
