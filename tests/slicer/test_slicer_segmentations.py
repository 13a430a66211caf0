"""Segmentations as 3D Slicer writes them: which pixels of which segment, where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from fetaliqa.errors import LabelError
from fetaliqa.labels.slicer_segmentation import Segmentation, anatomy_segments, is_segmentation
from fetaliqa.measure.anatomy import ABDOMEN
from fetaliqa.sweep import Sweep, read_sweep
from monailabel_app.lib.datastore.uploaded_label import read_label as read_received

SHAPE = (4, 30, 40)
SPACING = (0.3, 0.25, 1.0)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    image = sitk.GetImageFromArray(np.random.default_rng(1).integers(30, 200, SHAPE, dtype=np.uint8))
    image.SetSpacing(SPACING)
    image.SetOrigin((3, -4, 5))
    sitk.WriteImage(image, str(tmp_path / "case.mha"))
    return read_sweep(tmp_path / "case.mha")


def a_mask(column: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 8:20, column : column + 10] = 1
    return mask


def written_by_slicer(
    path: Path, masks: dict[str, np.ndarray], *, cropped: bool = False, spacing: tuple[float, ...] = (1, 1, 1)
) -> Path:
    """A file of the real storage node, whose source is an image of this spacing without origin."""
    pytest.importorskip("slicer_core")
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    scene = slicer.vtkMRMLScene()
    frames, rows, columns = next(iter(masks.values())).shape

    def filled(image: vtk.vtkImageData, pixels: np.ndarray) -> vtk.vtkImageData:
        image.SetDimensions(columns, rows, frames)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        vtk_to_numpy(image.GetPointData().GetScalars())[:] = pixels.ravel()
        return image

    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    volume.SetAndObserveImageData(filled(vtk.vtkImageData(), np.zeros((frames, rows, columns), np.uint8)))
    volume.SetSpacing(spacing)
    volume.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    geometry = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(geometry)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, mask in masks.items():
        labelmap = filled(slicer.vtkOrientedImageData(), mask)
        labelmap.SetGeometryFromImageToWorldMatrix(geometry)
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Binary labelmap", labelmap)
        node.GetSegmentation().AddSegment(segment)
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    storage.SetCropToMinimumExtent(cropped)
    assert storage.WriteData(node)
    return path


@pytest.mark.parametrize("cropped", [False, True])
def test_layers_of_slicer_lie_where_they_were_drawn(tmp_path: Path, sweep: Sweep, cropped: bool) -> None:
    masks = {"placenta": a_mask(16), "Abdomen": a_mask(4), "spine": a_mask(20)}
    file = Segmentation(written_by_slicer(tmp_path / "case.seg.nrrd", masks, cropped=cropped))
    assert [segment.name for segment in file.segments] == list(masks)
    for segment in file.segments:
        assert np.array_equal(file.mask(segment, sweep), masks[segment.name] > 0), segment
    (chosen,) = anatomy_segments(file.segments, ABDOMEN, file.name)
    assert chosen.name == "Abdomen"
    assert file.overlapping(file.segments[0]) == ["spine"]
    assert file.overlapping(chosen) == []


def test_a_label_takes_the_segment_of_the_anatomy_or_says_why_not(tmp_path: Path, sweep: Sweep) -> None:
    apart = {"placenta": a_mask(20), "abdomen": a_mask(4)}
    path = written_by_slicer(tmp_path / "any name.nrrd", apart, cropped=True)
    assert is_segmentation(path)
    found = read_received(path, "label", sweep, ABDOMEN)
    assert np.array_equal(found.masks, apart["abdomen"])
    assert (found.as_sent, found.left_out) == (False, ("placenta",))
    graded = {"abdomen": a_mask(4), "abdomen suboptimal": np.roll(a_mask(20), 1, 0)}
    found = read_received(written_by_slicer(path, graded), "label", sweep, ABDOMEN)
    assert np.array_equal(found.masks, graded["abdomen"] + 2 * graded["abdomen suboptimal"])
    only = read_received(written_by_slicer(path, {"Segment_1": a_mask(4)}), "label", sweep, ABDOMEN)
    assert np.array_equal(only.masks, a_mask(4))
    for masks, problem in (
        ({"abdomen": a_mask(4), "placenta": a_mask(9)}, r"'abdomen' overlaps 'placenta'"),
        ({"head": a_mask(4)}, r"none of its segments \('head'\) is called abdomen"),
        ({"Segment_1": a_mask(4), "Segment_2": a_mask(20)}, r"\('Segment_1', 'Segment_2'\)"),
        ({"abdomen": a_mask(4)[:, 1:]}, "segments an image of 40 x 29 x 4 pixels, but case has 40 x 30 x 4"),
    ):
        with pytest.raises(LabelError, match=problem):
            read_received(written_by_slicer(path, masks, cropped=True), "label", sweep, ABDOMEN)


def test_values_of_one_layer_are_told_apart_by_segment(tmp_path: Path, sweep: Sweep) -> None:
    image = sitk.GetImageFromArray(a_mask(4) * 7 + a_mask(20) * 3)
    for key, value in {"Name": "AC", "LabelValue": "7"}.items():
        image.SetMetaData(f"Segment0_{key}", value)
    for key, value in {"Name": "liver", "LabelValue": "3"}.items():
        image.SetMetaData(f"Segment1_{key}", value)
    path = tmp_path / "case.seg.nrrd"
    sitk.WriteImage(image, str(path), useCompression=True)
    assert np.array_equal(read_received(path, "label", sweep, ABDOMEN).masks, a_mask(4))
    image.SetMetaData("Segment0_Layer", "4")
    sitk.WriteImage(image, str(path))
    with pytest.raises(LabelError, match="segment 'AC' has layer '4'"):
        read_received(path, "label", sweep, ABDOMEN)
    path.write_bytes(path.read_bytes().replace(b"Segment0_Layer:=4", b"Segment0_Layer:=0")[:-900])
    with pytest.raises(LabelError, match="cannot be read as a segmentation"):
        read_received(path, "label", sweep, ABDOMEN)


def test_a_label_lies_on_the_images_grid_whatever_its_file_says(tmp_path: Path, sweep: Sweep) -> None:
    image = sitk.GetImageFromArray(a_mask(4) * 255)  # spacing 1, origin 0
    for name in ("label.mha", "label.nii.gz", "label.nrrd", "label.nii"):
        sitk.WriteImage(image, str(tmp_path / name))
        found = read_received(tmp_path / name, name, sweep, ABDOMEN)
        assert np.array_equal(found.masks, a_mask(4)), name
        assert not found.as_sent
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    for name in ("label.mha", "label.nii.gz", "label.nrrd"):
        sitk.WriteImage(image, str(tmp_path / name))
        with pytest.raises(Exception, match=r"direction \(1, 0, 0, 0, -1, 0, 0, 0, 1\), the sweep's is"):
            read_received(tmp_path / name, name, sweep, ABDOMEN)
    same = sitk.GetImageFromArray(a_mask(4))
    same.CopyInformation(sitk.ReadImage(str(tmp_path / "case.mha")))
    sitk.WriteImage(same, str(tmp_path / "label.nrrd"))
    assert read_received(tmp_path / "label.nrrd", "label", sweep, ABDOMEN).as_sent
    sitk.WriteImage(sitk.Compose(same, same, same), str(tmp_path / "label.nrrd"))
    with pytest.raises(Exception, match="is in colour"):
        read_received(tmp_path / "label.nrrd", "label", sweep, ABDOMEN)


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        ([("abdomen", 1), ("spine", 2)], (1, 2), (1, 0)),
        ([("abdomen", 2)], (1, 0), (1, 0)),  # MONAI Label's module counts a background that it does not send
        ([("placenta", 2), ("abdomen", 3)], (1, 2), (0, 1)),  # so do the numbers here
        ([("placenta", 4), ("abdomen", 9)], (4, 9), (0, 1)),
        ([("abdomen", 1)], (1, 2), (1, 2)),  # graded, as this server's own labels are
        ([("abdomen suboptimal", 1), ("abdomen", 2)], (1, 2), (2, 1)),
        ([("abdomen", 2), ("placenta", 1)], (1, 2), None),  # in order or by number?
        ([("abdomen", 1), ("placenta", 2)], (1, 5), None),
        ([("head", 1)], (1, 0), None),
        ([], (1, 2), (1, 2)),
        ([], (255, 0), (1, 0)),
        ([], (1, 3), None),
    ],
)
def test_values_are_understood_by_the_classes_told_with_them(
    tmp_path: Path, sweep: Sweep, names: list, values: tuple, expected: tuple | None
) -> None:
    image = sitk.GetImageFromArray(a_mask(4) * np.uint8(values[0]) + a_mask(20) * np.uint8(values[1]))
    sitk.WriteImage(image, str(tmp_path / "label.nii.gz"))
    classes = [{"name": name, "idx": number} for name, number in names]
    if expected is None:
        with pytest.raises(LabelError):
            read_received(tmp_path / "label.nii.gz", "label", sweep, ABDOMEN, classes)
    else:
        found = read_received(tmp_path / "label.nii.gz", "label", sweep, ABDOMEN, classes)
        assert np.array_equal(found.masks, a_mask(4) * np.uint8(expected[0]) + a_mask(20) * np.uint8(expected[1]))
