"""Millimetres come from the file or not at all: units, spacing written twice, and what axes say of orientation."""

from __future__ import annotations

import nibabel
import nrrd as pynrrd
import numpy as np
import pytest
import SimpleITK as sitk
from volume_files import changed_nifti, cine, metaimage, nifti, nrrd

from fetaliqa.errors import SweepError
from fetaliqa.sweep import read_masks, read_sweep, write_masks

FRAMES = cine()
IN_SPACE = "space: left-posterior-superior"
DIRECTIONS = "space directions: (0.3,0,0) (0,0.4,0) (0,0,1)"


def of_nrrd(path, *lines, sizes="40 30 6"):
    return read_sweep(nrrd(path, FRAMES.tobytes(), sizes, *lines))


@pytest.mark.parametrize(("unit", "factor"), [(1, 1000), (2, 1), (3, 1e-3), (10, 1), (8 + 1, 1000)])
def test_nifti_spacing_is_in_the_unit_that_the_header_names(tmp_path, unit, factor):
    spacing = (0.3 / factor, 0.4 / factor)
    sweep = read_sweep(nifti(tmp_path / "a.nii.gz", FRAMES.T, unit, spacing))
    assert sweep.spacing == pytest.approx((0.4, 0.3))
    assert sweep.grid.spacing[:2] == pytest.approx((0.3, 0.4))


@pytest.mark.parametrize("unit", [0, 8, 4, 7, 16])
def test_nifti_spacing_in_an_unknown_unit_is_none_and_that_is_said(tmp_path, unit):
    sweep = read_sweep(nifti(tmp_path / "a.nii.gz", FRAMES.T, unit))
    assert sweep.spacing is None
    assert any("unit" in note and "xyzt_units" in note for note in sweep.notes)
    assert sweep.grid.spacing[:2] == pytest.approx((0.3, 0.4))  # masks go where ITK and 3D Slicer see the frames


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("mm", (0.4, 0.3)), ("cm", (4.0, 3.0)), ("um", None), ("?", None), ("inch", None)],
)
def test_metaimage_spacing_is_in_the_unit_that_the_header_names(tmp_path, unit, expected):
    path = metaimage(tmp_path / "a.mha", FRAMES.tobytes(), DistanceUnits=unit)
    if unit == "um":
        with pytest.raises(SweepError, match=r"0\.0004 x 0\.0003 mm.*no ultrasound image"):
            read_sweep(path)
        path = metaimage(path, FRAMES.tobytes(), DistanceUnits=unit, ElementSpacing="300 400 1")
        expected = (0.4, 0.3)
    sweep = read_sweep(path)
    assert sweep.spacing == pytest.approx(expected)
    assert any("DistanceUnits" in note for note in sweep.notes) == (unit != "mm")


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ('"mm" "mm" "mm"', (0.4, 0.3)),
        ('"millimeters" "mm" ""', (0.4, 0.3)),
        ('"cm" "cm" "cm"', (4.0, 3.0)),
        ('"mm" "cm" "mm"', (4.0, 0.3)),
        ('"" "" ""', None),
        ('"pixel" "pixel" "pixel"', None),
        ('"mm" "furlong" "mm"', None),
    ],
)
def test_nrrd_spacing_in_space_is_in_its_space_units(tmp_path, units, expected):
    sweep = of_nrrd(tmp_path / "a.nrrd", IN_SPACE, DIRECTIONS, f"space units: {units}")
    assert sweep.spacing == pytest.approx(expected)
    assert any("units" in note for note in sweep.notes) == (expected != (0.4, 0.3))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("spacings: 0.3 0.4 1", 'units: "mm" "mm" "s"'), (0.4, 0.3)),
        (("spacings: 0.3 0.4 nan", 'units: "cm" "mm" "s"'), (0.4, 3.0)),
        (("spacings: 0.3 0.4 1",), None),
        (("spacings: 0.3 0.4 1", 'units: "" "" ""'), None),
        (("spacings: nan nan 1",), None),
        ((), None),
    ],
)
def test_nrrd_spacing_without_a_space_needs_units(tmp_path, lines, expected):
    sweep = of_nrrd(tmp_path / "a.nrrd", *lines)
    assert sweep.spacing == pytest.approx(expected)
    assert any("unit" in note for note in sweep.notes) == (
        "spacings: 0.3" in "".join(lines) and expected != (0.4, 0.3)
    )


@pytest.mark.parametrize(
    "lines",
    [
        (IN_SPACE, DIRECTIONS, "spacings: 0.3 0.5 1"),
        ("spacings: 0.3 0.4 1", "spacings: 0.3 0.5 1"),
        ("spacings: 0 0.4 1", 'units: "mm" "mm" "s"'),
        ("spacings: -0.3 0.4 1", 'units: "mm" "mm" "s"'),
        ("spacings: inf 0.4 1", 'units: "mm" "mm" "s"'),
        ("spacings: nan 0.4 1", 'units: "mm" "mm" "s"'),
        ("spacings: 0.3 0.4", 'units: "mm" "mm"'),
        ("spacings: 0.3 0.4 1", 'units: "mm" "mm"'),
        (IN_SPACE, DIRECTIONS, 'space units: "mm" "mm"'),
        (IN_SPACE, "space directions: (1e9,0,0) (0,1e9,0) (0,0,1)"),
        (IN_SPACE, "space directions: (nan,0,0) (0,0.4,0) (0,0,1)"),
        ("space: nowhere", DIRECTIONS),
    ],
)
def test_nrrd_spacing_that_contradicts_itself_or_is_impossible_is_refused(tmp_path, lines):
    with pytest.raises(SweepError, match=r"correct|does not match|do not match|twice|cannot be used"):
        of_nrrd(tmp_path / "a.nrrd", *lines)


@pytest.mark.parametrize("spacing", ["0.0003 0.0003 1", "300 300 1", "1e30 1e30 1"])
def test_a_spacing_that_no_ultrasound_image_has_is_refused(tmp_path, spacing):
    with pytest.raises(SweepError, match="no ultrasound image has that"):
        read_sweep(metaimage(tmp_path / "a.mha", FRAMES.tobytes(), ElementSpacing=spacing))


def test_element_size_counts_where_there_is_no_spacing(tmp_path):
    sized = {"ElementSize": "0.5 0.6 1"}
    path = metaimage(tmp_path / "a.mha", FRAMES.tobytes(), ElementSpacing=None, **sized)
    assert read_sweep(path).spacing == (0.6, 0.5)
    sweep = read_sweep(metaimage(path, FRAMES.tobytes(), **sized))
    assert sweep.spacing == (0.4, 0.3)
    assert any("ElementSize differ" in note for note in sweep.notes)


def test_a_header_line_that_is_there_twice_is_refused_when_it_says_two_things(tmp_path):
    path = metaimage(tmp_path / "a.mha", FRAMES.tobytes())
    content = path.read_bytes()
    for line, refused in ((b"ElementSpacing = 0.3 0.4 1\n", False), (b"ElementSpacing = 0.5 0.5 1\n", True)):
        path.write_bytes(content.replace(b"ElementType", line + b"ElementType", 1))
        if refused:
            with pytest.raises(SweepError, match="'ElementSpacing' occurs twice"):
                read_sweep(path)
        else:
            assert read_sweep(path).spacing == (0.4, 0.3)


def test_pixdim_and_sform_that_disagree_are_refused_with_both(tmp_path):
    path = changed_nifti(nifti(tmp_path / "a.nii", FRAMES.T), srow_x=[-0.5, 0, 0, 0])
    with pytest.raises(SweepError, match=r"pixdim says 0\.3 x 0\.4.*sform 0\.5 x 0\.4"):
        read_sweep(path)
    changed_nifti(path, sform_code=0)  # says that the sform is not to be used
    assert read_sweep(path).spacing == pytest.approx((0.4, 0.3))


@pytest.mark.parametrize(("field", "code"), [("srow_z", "sform"), ("qoffset_x", "qform")])
def test_a_placement_that_is_not_made_of_numbers_is_refused_when_it_is_used(tmp_path, field, code):
    path = nifti(tmp_path / "a.nii", FRAMES.T)
    changed_nifti(path, **{field: np.inf, f"{code}_code": 1})
    with pytest.raises(SweepError, match=f"{code} has values that are not numbers"):
        read_sweep(path)
    assert np.array_equal(read_sweep(changed_nifti(path, **{f"{code}_code": 0})).frames, FRAMES)


def test_sform_and_qform_that_turn_the_frames_differently_are_said(tmp_path):
    image = nibabel.Nifti1Image(FRAMES.T, np.diag([-0.3, -0.4, 1, 1]))
    image.header["xyzt_units"] = 2
    image.set_qform(np.diag([0.3, -0.4, 1, 1]), code=1)
    nibabel.save(image, tmp_path / "a.nii")
    sweep = read_sweep(tmp_path / "a.nii")
    assert any("sform and qform" in note for note in sweep.notes)
    assert sweep.grid.direction == sitk.ReadImage(str(tmp_path / "a.nii")).GetDirection()


@pytest.mark.parametrize("turn", ["RAS", "LAS", "LPS", "PLS", "SLP"])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_frames_stay_as_stored_and_masks_lie_where_simpleitk_sees_the_frames(tmp_path, name, turn):
    """Axes that run to the left and posterior need no words; of others the note says where they run."""
    letters = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1)}
    axes = np.zeros((3, 3))
    for axis, (row, sign) in enumerate(letters[letter] for letter in turn):
        axes[row, axis] = sign
    image = sitk.GetImageFromArray(FRAMES)
    image.SetSpacing((0.3, 0.4, 1.5))
    image.SetOrigin((1.0, 2.0, 3.0))
    image.SetDirection(axes.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / name))
    sweep = read_sweep(tmp_path / name)
    assert np.array_equal(sweep.frames, FRAMES)
    assert sweep.spacing == pytest.approx((0.4, 0.3))
    orientation_notes = [note for note in sweep.notes if "as they are stored" in note]
    assert len(orientation_notes) == (turn != "LPS")
    assert all(f"towards {turn[0]} and rows towards {turn[1]}" in note for note in orientation_notes)
    masks = (FRAMES > 128).astype(np.uint8)
    write_masks(tmp_path / "mask.nii.gz", masks, sweep)
    source, mask = sitk.ReadImage(str(tmp_path / name)), sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    corner = (39, 29, 5)
    assert mask.TransformIndexToPhysicalPoint(corner) == pytest.approx(
        source.TransformIndexToPhysicalPoint(corner), abs=1e-4
    )
    assert np.array_equal(read_masks(tmp_path / "mask.nii.gz", sweep), masks)


def test_an_anatomical_orientation_that_its_matrix_contradicts_is_said(tmp_path):
    stated = {"TransformMatrix": "1 0 0 0 1 0 0 0 1", "AnatomicalOrientation": "RAI"}
    assert read_sweep(metaimage(tmp_path / "a.mha", FRAMES.tobytes(), **stated)).notes == ()
    notes = read_sweep(
        metaimage(tmp_path / "a.mha", FRAMES.tobytes(), **{**stated, "AnatomicalOrientation": "LAS"})
    ).notes
    assert any("AnatomicalOrientation is LAS" in note and "RAI" in note for note in notes)


@pytest.mark.parametrize(("orientation", "said"), [("MFA", False), ("MF", False), ("UNA", True), ("MN", True)])
def test_a_probe_that_is_not_on_top_is_said(tmp_path, orientation, said):
    sweep = read_sweep(metaimage(tmp_path / "a.mha", FRAMES.tobytes(), UltrasoundImageOrientation=orientation))
    assert np.array_equal(sweep.frames, FRAMES)
    assert any("UltrasoundImageOrientation" in note for note in sweep.notes) == said


@pytest.mark.parametrize("space", ["left-posterior-superior", "RAS", "LAS", "scanner-xyz"])
def test_geometry_agrees_with_pynrrd_and_simpleitk(tmp_path, space):
    directions = np.array([[0.3, 0.02, 0], [-0.02, 0.4, 0], [0, 0, 1]])
    header = {"space": space, "space directions": directions, "space origin": [1, 2, 3]}
    pynrrd.write(str(tmp_path / "a.nrrd"), FRAMES.T.copy(), header, index_order="F")
    sweep = read_sweep(tmp_path / "a.nrrd")
    read, fields = pynrrd.read(str(tmp_path / "a.nrrd"), index_order="F")
    lengths = np.linalg.norm(fields["space directions"], axis=1)
    assert np.array_equal(sweep.frames, read.T)
    assert sweep.spacing == pytest.approx((lengths[1], lengths[0]))
    image = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    assert sweep.grid.origin == pytest.approx(image.GetOrigin())
    assert sweep.grid.direction == pytest.approx(image.GetDirection())


@pytest.mark.parametrize(
    "field", [{"scl_slope": 0.0, "scl_inter": 9.0}, {"scl_slope": 1.0, "scl_inter": 0.0}, {"scl_slope": np.nan}]
)
def test_a_slope_that_means_none_changes_nothing(tmp_path, field):
    path = changed_nifti(nifti(tmp_path / "a.nii", FRAMES.T), **field)
    assert np.array_equal(read_sweep(path).frames, FRAMES)


def test_a_slope_does_not_apply_to_colours(tmp_path):
    packed = np.repeat(FRAMES.T[..., None], 3, axis=-1).copy().view([(c, "u1") for c in "RGB"])[..., 0]
    image = nibabel.Nifti1Image(packed, np.diag([-0.3, -0.4, 1, 1]))
    nibabel.save(image, tmp_path / "a.nii")
    assert np.array_equal(read_sweep(changed_nifti(tmp_path / "a.nii", scl_slope=-3, scl_inter=9)).frames, FRAMES)


@pytest.mark.parametrize("endian", ["little", "big", None])
def test_the_byte_order_of_an_nrrd_file_is_not_guessed(tmp_path, endian):
    deep = FRAMES.astype(">u2" if endian == "big" else "<u2")
    lines = [] if endian is None else [f"endian: {endian}"]
    path = nrrd(tmp_path / "a.nrrd", deep.tobytes(), "40 30 6", *lines)
    path.write_bytes(path.read_bytes().replace(b"type: uchar", b"type: ushort"))
    if endian is None:
        with pytest.raises(SweepError, match="order"):
            read_sweep(path)
    else:
        assert np.array_equal(read_sweep(path).frames, FRAMES)


@pytest.mark.parametrize("field", ["UltrasoundImageOrientation", "Seq_Frame0000_ProbeToTrackerTransform"])
def test_a_tracked_sequence_of_plus_with_a_spacing_of_1_is_not_calibrated(tmp_path, field):
    tracked = {field: "MFA", "ElementSpacing": "1 1 1"}
    sweep = read_sweep(metaimage(tmp_path / "a.mha", FRAMES.tobytes(), **tracked))
    assert sweep.spacing is None
    assert any("PLUS" in note for note in sweep.notes)
    assert read_sweep(metaimage(tmp_path / "b.mha", FRAMES.tobytes(), **{field: "MFA"})).spacing == (0.4, 0.3)
    lines = ("space: left-posterior-superior", "space directions: (1,0,0) (0,1,0) (0,0,1)", f"{field}:=MFA")
    assert read_sweep(nrrd(tmp_path / "a.nrrd", FRAMES.tobytes(), "40 30 6", *lines)).spacing is None


def test_a_spacing_of_exactly_1_is_to_be_checked_and_none_is_said(tmp_path):
    plain = read_sweep(metaimage(tmp_path / "a.mha", FRAMES.tobytes(), ElementSpacing="1 1 1"))
    assert plain.spacing == (1.0, 1.0)
    assert any("exactly 1 x 1 mm" in note for note in plain.notes)
    assert read_sweep(metaimage(tmp_path / "b.mha", FRAMES.tobytes())).notes == ()
    none = metaimage(tmp_path / "c.mha", FRAMES.tobytes(), ElementSpacing=None)
    for path in (none, nrrd(tmp_path / "c.nrrd", FRAMES.tobytes(), "40 30 6")):
        assert [note for note in read_sweep(path).notes if "no measurement in mm" in note]


def test_an_intensity_function_of_metaimage_is_not_applied_and_that_is_said(tmp_path):
    function = {"ElementToIntensityFunctionSlope": "-1", "ElementToIntensityFunctionOffset": "255"}
    sweep = read_sweep(metaimage(tmp_path / "a.mha", FRAMES.tobytes(), **function))
    assert np.array_equal(sweep.frames, FRAMES)
    assert any("slope -1, offset 255" in note for note in sweep.notes)
