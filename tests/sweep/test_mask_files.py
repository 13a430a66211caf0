"""Mask stacks written a frame at a time are the files that SimpleITK writes, and small."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from fetaliqa.sweep.mask_files import image_on_grid, write_frames
from fetaliqa.sweep.sweep_types import IDENTITY, Grid

FORMATS = [".mha", ".nii.gz", ".nrrd"]
WHOLE_CASE = (840, 562, 744)  # frames x rows x columns of an ACOUSLIC-AI case: 351 MB
ANGLE = 0.3
TURNED = (np.cos(ANGLE), -np.sin(ANGLE), 0.0, np.sin(ANGLE), np.cos(ANGLE), 0.0, 0.0, 0.0, 1.0)
MIRRORED = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def written(path, shape, grid, drawn):
    frames = [drawn.get(number) for number in range(shape[0])]
    write_frames(path, shape, grid, frames)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("direction", [IDENTITY, TURNED, MIRRORED], ids=["upright", "turned", "mirrored"])
@pytest.mark.parametrize("shape", [(12, 30, 40), (1, 5, 7)])
def test_the_header_is_the_one_simpleitk_writes_for_the_whole_stack(tmp_path, suffix, direction, shape):
    grid = Grid((0.28000000000000003, 0.31, 0.7), (-12.5, 1 / 3, 100.0), direction)
    mask = np.zeros(shape[1:], np.uint8)
    mask[2:4, 3:6] = 2
    stack = np.zeros(shape, np.uint8)
    stack[-1] = mask
    ours = written(tmp_path / f"ours{suffix}", shape, grid, {shape[0] - 1: mask})
    theirs = tmp_path / f"theirs{suffix}"
    sitk.WriteImage(image_on_grid(stack, grid), str(theirs), useCompression=True)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(ours))), stack)
    if suffix == ".nii.gz":
        assert gzip.decompress(ours.read_bytes()) == gzip.decompress(theirs.read_bytes())
        return
    end = b"ElementDataFile = LOCAL\n" if suffix == ".mha" else b"\n\n"
    header, wanted = (path.read_bytes().split(end)[0].splitlines() for path in (ours, theirs))
    size = b"CompressedDataSize"  # the two deflate in their own ways
    assert [line for line in header if not line.startswith(size)] == [
        line for line in wanted if not line.startswith(size)
    ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_whole_case_with_few_masks_is_half_a_megabyte(tmp_path, suffix):
    mask = np.zeros(WHOLE_CASE[1:], np.uint8)
    mask[100:300, 200:500] = 1
    path = written(tmp_path / f"masks{suffix}", WHOLE_CASE, Grid(), dict.fromkeys(range(300, 320), mask))
    assert path.stat().st_size < 500_000
    image = sitk.ReadImage(str(path))
    assert image.GetSize() == WHOLE_CASE[::-1]
    stack = sitk.GetArrayViewFromImage(image)
    assert np.flatnonzero(stack.any(axis=(1, 2))).tolist() == list(range(300, 320))
    assert np.array_equal(stack[310], mask)


def test_nibabel_reads_the_masks(tmp_path):
    mask = np.zeros((30, 40), np.uint8)
    mask[4:9, 3:6] = 1
    path = written(tmp_path / "masks.nii.gz", (5, 30, 40), Grid(), {2: mask, 3: mask})
    stack = np.asarray(nibabel.load(path).dataobj).transpose()
    assert np.array_equal(stack, [mask * (number in (2, 3)) for number in range(5)])


@pytest.mark.parametrize("wrong", [[None] * 2, [None] * 4, [None, None, np.zeros((5, 6), np.uint8)]])
def test_frames_that_do_not_make_the_stack_are_refused_and_nothing_is_written(tmp_path, wrong):
    with pytest.raises(ValueError, match="expected"):
        write_frames(tmp_path / "masks.mha", (3, 6, 5), Grid(), wrong)
    assert list(tmp_path.iterdir()) == []
