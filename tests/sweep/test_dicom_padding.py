"""Pixels that only make a DICOM image rectangular (Pixel Padding Value, PS3.3 section C.7.5.1.1.2)."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_files import a_dataset, saved

from fetaliqa.sweep import read_sweep
from fetaliqa.sweep.dicom_grey import PADDING_NOTE


@pytest.mark.parametrize(("kind", "padding"), [(np.int16, -30000), (np.uint16, 65535)])
@pytest.mark.parametrize("interpretation", ["MONOCHROME2", "MONOCHROME1"])
def test_pixels_of_padding_are_black_and_cost_no_contrast(tmp_path, frames, interpretation, kind, padding):
    deep = frames.astype(kind) * kind(10)
    outside = np.zeros(frames.shape, bool)
    outside[:, :, :5] = True
    dataset = a_dataset(np.where(outside, kind(padding), deep), interpretation)
    dataset.PixelPaddingValue = padding
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert sweep.frames[outside].max() <= 1
    assert sweep.frames[~outside].max() - int(sweep.frames[~outside].min()) > 200
    assert PADDING_NOTE in sweep.notes


def test_a_range_of_padding_values_is_black_whatever_the_window(tmp_path, frames):
    padded = frames.copy()
    padded[:, 0], padded[:, 1] = 250, 255
    dataset = a_dataset(padded)
    dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 250, 255
    dataset.WindowCenter, dataset.WindowWidth = 100, 50
    assert not read_sweep(saved(dataset, tmp_path / "case.dcm")).frames[:, :2].any()
    dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 0, 0  # what is black already is no news
    assert PADDING_NOTE not in read_sweep(saved(dataset, tmp_path / "case.dcm")).notes
