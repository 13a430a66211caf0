"""One grey time series, whichever axis time lies on: frames are never averaged as colours."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from volume_files import cine, metaimage, nifti, nrrd

from fetaliqa.errors import SweepError
from fetaliqa.sweep import read_masks, read_sweep, write_masks

IN_SPACE = "space: left-posterior-superior"
LIST_FIRST = (IN_SPACE, "space directions: none (0.3,0,0) (0,0.4,0) (0,0,1)", "space origin: (1,2,3)")
LIST_LAST = (IN_SPACE, "space directions: (0.3,0,0) (0,0.4,0) (0,0,1) none", "space origin: (1,2,3)")


def first(frames: np.ndarray) -> bytes:
    """Frames along the fastest axis."""
    return frames.transpose(1, 2, 0).tobytes()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("kind", ["list", "time"])
def test_a_slicer_sequence_with_frames_first_is_a_time_series(tmp_path, count, kind):
    frames = cine(count)
    kinds = f"kinds: {kind} domain domain domain"
    sweep = read_sweep(nrrd(tmp_path / "a.seq.nrrd", first(frames), f"{count} 40 30 1", kinds, *LIST_FIRST))
    assert np.array_equal(sweep.frames, frames)
    assert sweep.spacing == (0.4, 0.3)
    assert sweep.notes == ()
    assert (sweep.grid.spacing, sweep.grid.origin) == ((0.3, 0.4, 1.0), (1.0, 2.0, 3.0))


@pytest.mark.parametrize("encoding", ["encoding: raw", "encoding: gzip"])
def test_frames_first_are_gathered_in_slabs_of_rows(tmp_path, monkeypatch, encoding):
    monkeypatch.setattr("fetaliqa.sweep.raw_pixels.SLAB_BYTES", 3 * 40 * 7)  # three rows, then less than a frame
    frames = cine(7)
    lines = ("kinds: list domain domain domain", encoding, *LIST_FIRST)
    assert np.array_equal(read_sweep(nrrd(tmp_path / "a.nrrd", first(frames), "7 40 30 1", *lines)).frames, frames)


@pytest.mark.parametrize(
    ("sizes", "lines"),
    [
        ("40 30 1 6", ("kinds: domain domain domain list", *LIST_LAST)),
        ("40 30 1 6", ("kinds: space space space time", *LIST_LAST)),
        ("40 30 1 6", ("kinds: domain domain domain domain",)),
        ("40 30 6 1", ("kinds: domain domain domain domain",)),
        ("40 30 1 6", ()),
        ("40 30 6", ()),
        ("40 30 6", ("kinds: domain domain list",)),
        ("40 30 6", ("kinds: domain domain time", IN_SPACE, "space directions: (0.3,0,0) (0,0.4,0) none")),
        ("40 30 6", ("kinds: domain domain list", IN_SPACE, "space directions: (0.3,0,0) (0,0.4,0) (0,0,1)")),
        ("40 30 6", (IN_SPACE, "space directions: (0.3,0,0) (0,0.4,0) (nan,nan,nan)")),
        ("1 40 30 6", ("kinds: stub domain domain domain",)),
        ("1 40 30 6", ("kinds: vector domain domain domain",)),
    ],
)
def test_frames_that_follow_each_other_in_an_nrrd_file_are_read_as_they_lie(tmp_path, sizes, lines):
    frames = cine()
    path = nrrd(tmp_path / "a.nrrd", frames.tobytes(), sizes, *lines)
    sweep = read_sweep(path)
    assert np.array_equal(sweep.frames, frames)
    masks = (frames > 128).astype(np.uint8)
    write_masks(tmp_path / "mask.nrrd", masks, sweep)
    assert np.array_equal(read_masks(tmp_path / "mask.nrrd", sweep), masks)


@pytest.mark.parametrize("kinds", ["list domain domain", "time space space"])
def test_frames_first_of_three_axes_are_gathered_too(tmp_path, kinds):
    frames = cine()
    lines = (f"kinds: {kinds}", IN_SPACE, "space directions: none (0,0.3,0) (0.4,0,0)", "space origin: (1,2,3)")
    sweep = read_sweep(nrrd(tmp_path / "a.nrrd", first(frames), "6 40 30", *lines))
    assert np.array_equal(sweep.frames, frames)
    write_masks(tmp_path / "mask.mha", np.ones_like(frames), sweep)
    mask = sitk.ReadImage(str(tmp_path / "mask.mha"))
    assert mask.GetSize() == (40, 30, 6)
    assert np.reshape(mask.GetDirection(), (3, 3))[:, :2].tolist() == [[0, 1], [1, 0], [0, 0]]
    assert mask.GetOrigin() == (1, 2, 3)


@pytest.mark.parametrize("shape", [(40, 30, 1, 6), (40, 30, 6, 1), (40, 30, 6)])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_time_series_are_read(tmp_path, name, shape):
    frames = cine()
    sweep = read_sweep(nifti(tmp_path / name, frames.T.reshape(shape)))
    assert np.array_equal(sweep.frames, frames)
    assert sweep.spacing == pytest.approx((0.4, 0.3))
    assert sweep.notes == ()


@pytest.mark.parametrize("step", [0.0, np.nan, -1.0])
def test_the_time_between_frames_is_no_length_and_may_be_anything(tmp_path, step):
    frames = cine()
    image = nibabel.Nifti1Image(frames.T[:, :, None], np.diag([-0.3, -0.3, 1, 1]))
    image.header["xyzt_units"] = 10
    image.header["pixdim"][4] = step
    nibabel.save(image, tmp_path / "a.nii")
    assert read_sweep(tmp_path / "a.nii").shape == (6, 30, 40)
    fields = {"NDims": "4", "DimSize": "40 30 1 6", "ElementSpacing": f"0.3 0.4 1 {step}"}
    assert read_sweep(metaimage(tmp_path / "a.mha", frames.tobytes(), **fields)).spacing == (0.4, 0.3)


@pytest.mark.parametrize(
    "fields",
    [
        {"NDims": "4", "DimSize": "40 30 1 6", "ElementSpacing": "0.3 0.4 1 0.05"},
        {"NDims": "4", "DimSize": "40 30 6 1", "ElementSpacing": "0.3 0.4 1 1"},
        {"Kinds": "domain domain list"},
    ],
)
@pytest.mark.parametrize("compressed", [True, False])
def test_metaimage_time_series_are_read(tmp_path, fields, compressed):
    frames = cine()
    sweep = read_sweep(metaimage(tmp_path / "a.mha", frames.tobytes(), compressed, **fields))
    assert np.array_equal(sweep.frames, frames)
    assert sweep.spacing == (0.4, 0.3)


@pytest.mark.parametrize("mask_suffix", [".mha", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
def test_masks_of_four_axes_lie_on_the_grid_that_simpleitk_reads(tmp_path, suffix, mask_suffix):
    frames = cine()
    image = sitk.GetImageFromArray(frames[:, None], isVector=False)
    image.SetSpacing((0.3, 0.4, 1.5, 0.05))
    image.SetOrigin((1.0, -2.0, 3.0, 0.0))
    turned = np.eye(4)
    turned[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    image.SetDirection(turned.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"), useCompression=True)
    sweep = read_sweep(tmp_path / f"a{suffix}")
    assert np.array_equal(sweep.frames, frames)
    masks = (frames > 128).astype(np.uint8)
    target = tmp_path / f"mask{mask_suffix}"
    write_masks(target, masks, sweep)
    assert np.array_equal(read_masks(target, sweep), masks)
    written, source = sitk.ReadImage(str(target)), sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    assert written.GetPixelID() == sitk.sitkUInt8
    assert written.GetSize() == source.GetSize() == (40, 30, 1, 6)
    assert np.array_equal(sitk.GetArrayFromImage(written)[:, 0], masks)
    for ours, theirs in zip(
        (written.GetSpacing(), written.GetOrigin(), written.GetDirection()),
        (source.GetSpacing(), source.GetOrigin(), source.GetDirection()),
    ):
        assert ours == pytest.approx(theirs, abs=1e-6)


def test_masks_of_three_axes_fit_a_series_of_four(tmp_path):
    frames = cine()
    fields = {"NDims": "4", "DimSize": "40 30 1 6", "ElementSpacing": "0.3 0.4 1 0.05"}
    sweep = read_sweep(metaimage(tmp_path / "a.mha", frames.tobytes(), **fields))
    masks = (frames > 128).astype(np.uint8)
    mask = metaimage(tmp_path / "mask.mha", masks.tobytes(), ElementSpacing="0.3 0.4 7")
    assert np.array_equal(read_masks(mask, sweep), masks)
    moved = metaimage(tmp_path / "moved.mha", masks.tobytes(), Offset="5 0 0")
    with pytest.raises(SweepError, match="origin"):
        read_masks(moved, sweep)


@pytest.mark.parametrize("kind", ["RGB-color", "3-color", "vector"])
@pytest.mark.parametrize("last", [True, False])
def test_colours_of_an_nrrd_file_become_luma_wherever_their_axis_lies(tmp_path, kind, last):
    colour = np.random.default_rng(3).integers(0, 256, (4, 30, 40, 3), dtype=np.uint8)
    pixels = np.moveaxis(colour, -1, 0) if last else colour
    kinds = f"kinds: domain domain domain {kind}" if last else f"kinds: {kind} domain domain domain"
    path = nrrd(tmp_path / "a.nrrd", pixels.tobytes(), "40 30 4 3" if last else "3 40 30 4", kinds)
    sweep = read_sweep(path)
    assert np.abs(sweep.frames - colour @ np.array([0.299, 0.587, 0.114])).max() <= 0.51
    assert any("luma" in note for note in sweep.notes)


def test_a_sequence_of_colour_images_is_read(tmp_path):
    colour = np.random.default_rng(3).integers(0, 256, (6, 1, 30, 40, 3), dtype=np.uint8)
    path = nrrd(tmp_path / "a.nrrd", colour.tobytes(), "3 40 30 1 6", "kinds: RGB-color domain domain domain list")
    expected = colour[:, 0] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_sweep(path).frames - expected).max() <= 0.51
    scattered = colour.transpose(1, 2, 3, 0, 4)  # frames between the axes of the image and the colours
    kinds = "kinds: RGB-color list domain domain domain"
    path = nrrd(tmp_path / "b.nrrd", scattered.tobytes(), "3 6 40 30 1", kinds)
    assert np.abs(read_sweep(path).frames - expected).max() <= 0.51


@pytest.mark.parametrize(("intent", "values"), [(1007, 3), (2003, 3), (2004, 4)])
@pytest.mark.parametrize("four", [True, False])
def test_colours_on_the_fifth_axis_of_a_nifti_file_become_luma(tmp_path, intent, values, four):
    colour = np.random.default_rng(3).integers(0, 256, (40, 30, 6, values), dtype=np.uint8)
    shape = (40, 30, 1, 6, values) if four else (40, 30, 6, 1, values)
    image = nibabel.Nifti1Image(colour.reshape(shape), np.diag([-0.3, -0.3, 1, 1]))
    image.header["xyzt_units"], image.header["intent_code"] = 10, intent
    nibabel.save(image, tmp_path / "a.nii.gz")
    sweep = read_sweep(tmp_path / "a.nii.gz")
    assert np.abs(sweep.frames - (colour[..., :3] @ np.array([0.299, 0.587, 0.114])).T).max() <= 0.51
    assert any("luma" in note for note in sweep.notes)


@pytest.mark.parametrize("intent", [0, 1006, 1007])
def test_five_axes_that_are_no_colours_are_refused(tmp_path, intent):
    values = 2 if intent == 1007 else 3
    image = nibabel.Nifti1Image(np.ones((40, 30, 1, 6, values), np.uint8), np.eye(4))
    image.header["intent_code"] = intent
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(SweepError, match="5 dimensions"):
        read_sweep(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("sizes", "lines", "message"),
    [
        ("6 40 30 2", ("kinds: list domain domain domain",), "4 dimensions"),  # volumes, not frames
        ("40 30 6 3", (), "4 dimensions"),
        ("1 40 30 6", (), "4 dimensions"),
        ("3 40 30", (), "colours or frames"),
        ("3 40 30 1", (IN_SPACE, "space directions: none (1,0,0) (0,1,0) (0,0,1)"), "colours or frames"),
        ("4 40 30 1", ("kinds: ??? domain domain domain", *LIST_FIRST), "colours or frames"),
        ("3 40 30", ("kinds: HSV-color domain domain",), "hsv-color"),
        ("2 40 30", ("kinds: complex domain domain",), "complex"),
        ("6 40 30", ("kinds: vector domain domain",), "6 values per pixel"),
        ("3 6 40 30", ("kinds: list time domain domain",), "4 dimensions"),
        ("40 30 6", ("kinds: domain domain",), "does not match its 3 dimensions"),
        ("40 30 6", (IN_SPACE, "space directions: (1,0,0) (0,1,0)"), "do not match"),
        ("2 40 30 1", ("kinds: list domain domain domain", "Segment0_ID:=a"), "layered segmentation"),
    ],
)
def test_what_is_no_time_series_or_does_not_say_so_is_refused(tmp_path, sizes, lines, message):
    count = int(np.prod([int(size) for size in sizes.split()]))
    path = nrrd(tmp_path / "a.nrrd", bytes(range(1, 251)) * (count // 250 + 1), sizes, *lines)
    path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"\n\n") + 2 + count])
    with pytest.raises(SweepError, match=message) as caught:
        read_sweep(path)
    assert "\n" not in str(caught.value)


def test_an_axis_outside_of_space_without_a_kind_is_frames_and_that_is_said(tmp_path):
    frames = cine()
    sweep = read_sweep(nrrd(tmp_path / "a.nrrd", first(frames), "6 40 30 1", *LIST_FIRST))
    assert np.array_equal(sweep.frames, frames)
    assert any("is read as frames" in note for note in sweep.notes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"NDims": "4", "DimSize": "40 15 2 6", "ElementSpacing": "1 1 1 1"}, "4 dimensions"),
        ({"Kinds": "list domain domain"}, "frames must come last"),
        ({"ElementNumberOfChannels": "6", "DimSize": "40 30 1"}, "6 values per pixel"),
    ],
)
def test_metaimage_files_that_are_no_time_series_are_refused(tmp_path, fields, message):
    with pytest.raises(SweepError, match=message):
        read_sweep(metaimage(tmp_path / "a.mha", cine().tobytes(), **fields))


@pytest.mark.parametrize(
    "lines",
    [('units: "s" "mm" "mm"', "spacings: 0.04 0.4 0.3"), ('labels: "frame" "x" "y"',), ('labels: "T" "x" "y"',)],
)
def test_frames_first_are_known_by_the_unit_or_label_of_their_axis_too(tmp_path, lines):
    sweep = read_sweep(nrrd(tmp_path / "a.nrrd", first(cine()), "6 40 30", *lines))
    assert np.array_equal(sweep.frames, cine())
    assert sweep.spacing == ((0.3, 0.4) if "units" in lines[0] else None)


def test_nifti_2_is_read_and_its_masks_lie_on_it(tmp_path):
    image = nibabel.Nifti2Image(cine().transpose(2, 1, 0), np.diag([-0.3, -0.4, 1, 1]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "a.nii.gz")
    sweep = read_sweep(tmp_path / "a.nii.gz")
    assert np.array_equal(sweep.frames, cine())
    assert (sweep.spacing, sweep.grid.origin) == ((0.4, 0.3), (0, 0, 0))
    write_masks(tmp_path / "mask.nii.gz", np.ones_like(cine()), sweep)
    assert np.allclose(nibabel.load(tmp_path / "mask.nii.gz").affine, image.affine)
