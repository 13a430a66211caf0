"""Time series with four axes: what 3D Slicer makes of them and of the masks that belong to them."""

from __future__ import annotations

from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
from FetalIQALib.client_errors import InvalidResponse
from FetalIQALib.image_files import read_masks as shown_masks
from FetalIQALib.image_files import read_stack

from fetaliqa.sweep import read_sweep, write_masks

slicer = pytest.importorskip(
    "slicer", reason="slicer-core cannot be imported: pip install -e '.[dev]'", exc_type=ImportError
)
vtk = pytest.importorskip("vtk", reason="vtk cannot be imported: pip install -e '.[dev]'", exc_type=ImportError)
FRAMES = np.random.default_rng(11).integers(1, 256, (6, 30, 40), dtype=np.uint8)
MASKS = (FRAMES > 128).astype(np.uint8)
DIRECTIONS = np.array([[0.3, 0, 0], [0, 0.4, 0], [0, 0, 1.5]])
OUTSIDE = np.full((1, 3), np.nan)


def write_sequence(path: Path, first: bool) -> Path:
    """A sequence as 3D Slicer writes it, with the list of frames as its first or its last axis."""
    stack = FRAMES.T[:, :, None, :]
    kinds, directions = ["domain"] * 3, [DIRECTIONS]
    for parts, part in ((kinds, "list"), (directions, OUTSIDE)):
        parts.insert(0 if first else len(parts), part)
    header = {"space": "RAS", "kinds": kinds, "space directions": np.concatenate(directions)}
    if first:
        stack = np.moveaxis(stack, -1, 0)
    nrrd.write(str(path), stack.copy(), {**header, "space origin": [1, 2, 3]}, index_order="F")
    return path


def in_slicer(path: Path) -> list[tuple[np.ndarray, list[float]]]:
    """Pixels and place (IJK to RAS) of the images that 3D Slicer reads from a sequence."""
    scene, node = slicer.vtkMRMLScene(), slicer.vtkMRMLSequenceNode()
    storage, found = slicer.vtkMRMLVolumeSequenceStorageNode(), []
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    for item in range(node.GetNumberOfDataNodes()):
        volume, matrix = node.GetNthDataNode(item), vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(matrix)
        pixels = slicer.util.arrayFromVolume(volume)
        found.append(
            (pixels[0].copy(), [matrix.GetElement(row, column) for row in range(3) for column in range(4)])
        )
    return found


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
def test_slicer_shows_the_masks_of_a_sequence_on_its_frames(tmp_path: Path, first: bool, suffix: str) -> None:
    source = write_sequence(tmp_path / "a.seq.nrrd", first)
    sweep = read_sweep(source)
    assert np.array_equal(sweep.frames, FRAMES)
    write_masks(tmp_path / f"mask{suffix}", MASKS, sweep)
    masks = (tmp_path / f"mask{suffix}").rename(tmp_path / f"mask.seq{suffix}")
    images, overlays = in_slicer(source), in_slicer(masks)
    assert len(images) == len(overlays) == len(FRAMES)
    for frame, mask, (image, workspace), (overlay, same) in zip(FRAMES, MASKS, images, overlays):
        assert np.array_equal(image, frame)
        assert np.array_equal(overlay, mask)
        assert same == pytest.approx(workspace, abs=1e-6)


def test_frames_that_itk_takes_for_values_of_a_pixel_are_not_averaged(tmp_path: Path) -> None:
    """The server sends another form of such a file; MONAI Label's plain server sends the file itself."""
    with pytest.raises(InvalidResponse, match="6"):
        read_stack(write_sequence(tmp_path / "a.nrrd", first=True))


def test_the_module_shows_a_series_of_four_axes_and_its_masks(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(FRAMES.T[:, :, None], np.diag([-0.3, -0.4, 1.5, 1]))
    image.header["xyzt_units"] = 2
    nibabel.save(image, tmp_path / "a.nii.gz")
    stack = read_stack(tmp_path / "a.nii.gz")
    assert np.array_equal(stack.frames, FRAMES)
    assert stack.grid.size == (40, 30, 6)
    assert stack.spacing_mm == pytest.approx((0.4, 0.3))
    write_masks(tmp_path / "mask.mha", MASKS, read_sweep(tmp_path / "a.nii.gz"))
    assert sorted(shown_masks(tmp_path / "mask.mha", FRAMES.shape)) == list(range(6))
