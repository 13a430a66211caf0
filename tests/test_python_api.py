"""The names of the package root: imported on first use, and what they do with good and bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fetaliqa
from fetaliqa.errors import BundleError, LabelError, NotFoundError, OptionError, SweepError
from fetaliqa.labels.label_store import FOLDER, LabelStore

REPOSITORY = Path(__file__).parents[1]
HEAVY = {
    "numpy",
    "scipy",
    "torch",
    "monai",
    "SimpleITK",
    "cv2",
    "pydicom",
    "nibabel",
    "sklearn",
    "PIL",
    "matplotlib",
}
PHANTOM = "f0d494c1-9ae1-4d45-a20e-fcaf30c2e979"


@pytest.fixture(scope="module")
def images(sample_data: Path) -> Path:
    return sample_data / "images" / "stacked_fetal_ultrasound"


@pytest.fixture(scope="module")
def model() -> fetaliqa.Model:
    return fetaliqa.load_model("abdomen", "cpu")


@pytest.fixture(scope="module")
def sweep(images: Path) -> fetaliqa.Sweep:
    return fetaliqa.read_sweep(images / f"{PHANTOM}.mha")


# -- import --------------------------------------------------------------------------------------------


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import json, sys, fetaliqa; print(json.dumps([fetaliqa.__version__, *sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    version, *modules = json.loads(done.stdout)
    assert version == fetaliqa.__version__
    assert "fetaliqa" in modules
    assert HEAVY.intersection(name.partition(".")[0] for name in modules) == set()
    assert [name for name in modules if name.startswith("fetaliqa.")] == []


def test_every_public_name_leads_to_an_object_of_that_name() -> None:
    assert {"read_sweep", "load_model", "assess", "Assessment", "write_masks", "Labels"} <= set(fetaliqa.__all__)
    assert [name for name in fetaliqa.__all__ if getattr(fetaliqa, name).__name__ != name] == []


def test_every_public_name_is_documented_in_numpydoc_style() -> None:
    functions = [getattr(fetaliqa, name) for name in fetaliqa.__all__ if name[0].islower()]
    assert [one.__name__ for one in functions if "Parameters\n" not in (one.__doc__ or "")] == []
    assert [one.__name__ for one in functions if "Raises\n" not in (one.__doc__ or "")] == []


@pytest.mark.long
def test_a_strictly_typed_program_type_checks(tmp_path: Path) -> None:
    program = """
from pathlib import Path

import fetaliqa


def circumferences(paths: list[Path]) -> dict[str, float | None]:
    model: fetaliqa.Model = fetaliqa.load_model("abdomen", device="cpu")
    found: dict[str, float | None] = {}
    for path in paths:
        sweep = fetaliqa.read_sweep(path)
        assessment = fetaliqa.assess(sweep, model, search=True)
        fetaliqa.write_masks(path.with_suffix(".nrrd"), assessment.masks, sweep)
        best = assessment.best
        found[sweep.case_id] = None if best is None else best.circumference_mm
    return found


def qualities(paths: list[Path], model: fetaliqa.Model) -> list[float | None]:
    return [frame.quality for case in fetaliqa.assess(paths, model) for frame in case.frames]


def raters(folder: Path) -> set[str | None]:
    labels = fetaliqa.Labels(folder)
    return {told.rater for case in labels for told in labels[case].frames.values()}
"""
    wrong = "\n\nname: int = fetaliqa.load_model().card.name\n"
    settings = "[mypy]\nstrict = True\nfollow_imports = silent\nignore_missing_imports = True\n"
    settings += "[mypy-torch.*]\nfollow_imports = skip\n"  # a minute of PyTorch that says nothing of us
    (tmp_path / "mypy.ini").write_text(settings)
    (tmp_path / "right.py").write_text(program)
    (tmp_path / "wrong.py").write_text(program + wrong)
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "right.py", "wrong.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(REPOSITORY), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    (error,) = [line for line in found.stdout.splitlines() if ": error:" in line]
    assert error.startswith("wrong.py:"), found.stdout + found.stderr
    assert 'has type "str", variable has type "int"' in error


# -- assess --------------------------------------------------------------------------------------------


def test_an_assessment_gives_frames_as_its_record_does(sweep: fetaliqa.Sweep, model: fetaliqa.Model) -> None:
    assessment = fetaliqa.assess(sweep, model, frames=(15, 24))
    record = assessment.record
    assert assessment.best is assessment.frames[record["best"]]
    assert [frame.index for frame in assessment.ranking] == record["ranking"]
    assert [frame.quality for frame in assessment.frames] == [frame["quality"] for frame in record["frames"]]
    best, told = assessment.best, record["frames"][record["best"]]
    assert best is not None
    assert best.ellipse is not None
    assert vars(best.ellipse) == told["ellipse"]
    assert (best.circumference_mm, best.area_mm2) == (told["circumference_mm"], told["area_mm2"])
    assert assessment.masks.shape == sweep.shape
    assert np.flatnonzero(assessment.masks.any(axis=(1, 2))).tolist() == [
        frame.index for frame in assessment.frames if frame.positive
    ]


def test_a_path_a_sweep_and_an_array_are_the_same_frames(images: Path, model: fetaliqa.Model) -> None:
    path = images / "Patient01171_Plane2_1_of_1.png"
    still = fetaliqa.read_sweep(path)
    of_sweep, of_path, of_array = (fetaliqa.assess(case, model) for case in (still, str(path), still.frames))
    assert of_path.record == of_sweep.record
    assert of_array.record["frames"] == of_sweep.record["frames"]
    assert np.array_equal(of_array.masks, of_sweep.masks)


def test_several_are_assessed_one_at_a_time(images: Path, model: fetaliqa.Model, tmp_path: Path) -> None:
    stills = [images / "Patient01171_Plane2_1_of_1.png", tmp_path / "nowhere.png"]
    each = fetaliqa.assess(stills, model)
    assert next(each).record["case_id"] == "Patient01171_Plane2_1_of_1"
    with pytest.raises(NotFoundError, match=r"nowhere\.png"):
        next(each)


def test_nothing_found_is_no_error(images: Path, model: fetaliqa.Model) -> None:
    assessment = fetaliqa.assess(images / "Patient01079_Plane3_1_of_3.png", model)
    assert assessment.best is None
    assert assessment.ranking == ()
    assert assessment.reason
    assert "best frame: none" in repr(assessment)


def test_a_search_evaluates_a_part_of_the_frames(sweep: fetaliqa.Sweep, model: fetaliqa.Model) -> None:
    frames = fetaliqa.assess(sweep, model, frames=(0, 48), search=True).frames
    assert any(frame.interpolated for frame in frames)
    assert 0 < sum(frame.quality is not None and not frame.interpolated for frame in frames) < 30


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"top_n": 0}, "top_n"),
        ({"threshold": 1.5}, "threshold"),
        ({"frames": (5, 5)}, "frames"),
        ({"sweeps": [7]}, "7"),
    ],
)
def test_options_out_of_range_are_named(
    sweep: fetaliqa.Sweep, model: fetaliqa.Model, options: dict, named: str
) -> None:
    with pytest.raises(OptionError, match=named):
        fetaliqa.assess(sweep, model, **options)


def test_arrays_of_another_shape_or_type_are_refused(sweep: fetaliqa.Sweep, model: fetaliqa.Model) -> None:
    with pytest.raises(SweepError, match="float64"):
        fetaliqa.assess(np.zeros((2, 8, 8)), model)
    with pytest.raises(SweepError, match=r"\(1, 2, 8, 8\)"):
        fetaliqa.assess(np.ones((1, 2, 8, 8), np.uint8), model)


def test_a_segmentation_model_is_no_classifier(sweep: fetaliqa.Sweep, model: fetaliqa.Model) -> None:
    with pytest.raises(BundleError, match="classifier"):
        fetaliqa.assess(sweep, model, classifier=model)


# -- models --------------------------------------------------------------------------------------------


def test_models_are_named_or_lie_in_a_folder(model: fetaliqa.Model, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "fetaliqa" / "shipped_models" / "abdomen", tmp_path / "copy")
    assert fetaliqa.load_model(tmp_path / "copy", "cpu").card == model.card
    assert fetaliqa.load_model(device="cpu").card.name == "demo"  # what the tests have as the default model


def test_unknown_models_and_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="kidney"):
        fetaliqa.load_model("kidney")
    with pytest.raises(NotFoundError, match="not a model bundle"):
        fetaliqa.load_model(tmp_path)
    with pytest.raises(OptionError, match="tpu"):
        fetaliqa.load_model("abdomen", "tpu")


# -- masks ---------------------------------------------------------------------------------------------


def test_masks_of_another_shape_or_type_are_refused(sweep: fetaliqa.Sweep, tmp_path: Path) -> None:
    for masks in (np.zeros((2, 3, 4), np.uint8), np.zeros(sweep.shape)):
        with pytest.raises(fetaliqa.FetalIQAError, match=r"\(96, 281, 372\)"):
            fetaliqa.write_masks(tmp_path / "masks.mha", masks, sweep)
    assert list(tmp_path.iterdir()) == []


def test_masks_of_another_grid_are_refused(sweep: fetaliqa.Sweep, tmp_path: Path) -> None:
    other = fetaliqa.sweep_from_array(sweep.frames, spacing=(0.3, 0.3))
    fetaliqa.write_masks(tmp_path / "masks.mha", np.zeros(sweep.shape, np.uint8), other)
    with pytest.raises(SweepError, match="spacing"):
        fetaliqa.read_masks(tmp_path / "masks.mha", sweep)


# -- labels --------------------------------------------------------------------------------------------


@pytest.fixture
def studies(images: Path, tmp_path: Path) -> Path:
    """A studies folder as a server leaves it, with one phantom and no label."""
    shutil.copy(images / f"{PHANTOM}.mha", tmp_path / "p.mha")
    objects = {"p": {"image": {"ext": ".mha", "info": {}}, "labels": {}}}
    index = {"name": "n", "description": "d", "images_dir": ".", "labels_dir": "labels", "objects": objects}
    (tmp_path / "datastore_v2.json").write_text(json.dumps(index))
    return tmp_path


def drawn(sweep: fetaliqa.Sweep, *frames: int) -> np.ndarray:
    masks = np.zeros(sweep.shape, np.uint8)
    masks[list(frames), 100:150, 120:180] = 1
    return masks


def test_labels_of_a_data_set_are_read_case_by_case(sample_data: Path, sweep: fetaliqa.Sweep) -> None:
    labels = fetaliqa.Labels(sample_data)
    assert list(labels) == list(labels.subjects)
    assert PHANTOM in labels
    case = labels[PHANTOM]
    assert np.array_equal(case.images, sweep.frames)
    assert np.array_equal(case.known, ~sweep.padding)
    assert sorted(case.frames) == np.flatnonzero(case.known).tolist()
    told = {frame: label.plane for frame, label in case.frames.items() if label.state == "annotated"}
    assert told == {18: "suboptimal", 19: "optimal", 20: "optimal", 21: "suboptimal"}
    assert sorted(told) == np.flatnonzero(case.masks.any(axis=(1, 2))).tolist()


def test_saved_frames_are_read_back_and_the_others_stay(studies: Path, sweep: fetaliqa.Sweep) -> None:
    labels = fetaliqa.Labels(studies)
    assert len(labels) == 0
    labels.save("p", drawn(sweep, 18, 19, 30), [18, 19, 25], rater="anna", planes={18: "suboptimal"})
    labels.save("p", drawn(sweep, 20), [20, 19], rater="ben")
    assert list(labels) == ["p"]
    case = fetaliqa.Labels(studies)["p"]
    assert {frame: (told.state, told.plane, told.rater) for frame, told in case.frames.items()} == {
        18: ("annotated", "suboptimal", "anna"),
        25: ("empty", None, "anna"),
        19: ("empty", None, "ben"),
        20: ("annotated", None, "ben"),
    }
    assert np.flatnonzero(case.known).tolist() == [18, 19, 20, 25]
    assert np.flatnonzero(case.masks.any(axis=(1, 2))).tolist() == [18, 20]
    assert case.masks[18, 110, 130] == 2
    versions = LabelStore(studies / FOLDER).history("p", "final")
    assert [version.info["user"] for version in versions] == ["anna", "ben"]


@pytest.mark.parametrize(
    ("case_id", "frames", "planes", "rater", "named"),
    [
        ("q", [18], {}, "anna", "q"),
        ("p", [96], {}, "anna", "96"),
        ("p", [-1], {}, "anna", "-1"),
        ("p", [47], {}, "anna", "47"),  # black padding
        ("p", [18], {18: "good"}, "anna", "good"),
        ("p", [18], {}, "", "rater"),
    ],
)
def test_what_cannot_be_saved_leaves_no_version(
    studies: Path, sweep: fetaliqa.Sweep, case_id: str, frames: list[int], planes: dict, rater: str, named: str
) -> None:
    labels = fetaliqa.Labels(studies)
    with pytest.raises(fetaliqa.FetalIQAError, match=named):
        labels.save(case_id, drawn(sweep, 18), frames, rater=rater, planes=planes)
    assert LabelStore(studies / FOLDER).cases() == []


def test_masks_of_another_shape_are_not_saved(studies: Path, sweep: fetaliqa.Sweep) -> None:
    with pytest.raises(fetaliqa.FetalIQAError, match=r"\(3, 4, 5\)"):
        fetaliqa.Labels(studies).save("p", np.ones((3, 4, 5), np.uint8), [0], rater="anna")


def test_a_label_of_other_pixels_is_not_added_to(studies: Path, sweep: fetaliqa.Sweep, images: Path) -> None:
    labels = fetaliqa.Labels(studies)
    labels.save("p", drawn(sweep, 18), [18], rater="anna")
    shutil.copy(images / "888f4a32-9a52-48d1-843c-1621e1ab0dd6.mha", studies / "p.mha")
    with pytest.raises(LabelError, match="other pixels"):
        labels.save("p", drawn(sweep, 14), [14], rater="anna")
    with pytest.raises(LabelError, match="other pixels"):
        labels["p"]


def test_a_label_from_before_there_were_versions_is_not_replaced(studies: Path, sweep: fetaliqa.Sweep) -> None:
    index = json.loads((studies / "datastore_v2.json").read_text())
    index["objects"]["p"]["labels"] = {"final": {"ext": ".mha", "info": {}}}
    (studies / "datastore_v2.json").write_text(json.dumps(index))
    (studies / "labels" / "final").mkdir(parents=True)
    fetaliqa.write_masks(studies / "labels" / "final" / "p.mha", drawn(sweep, 18), sweep)
    labels = fetaliqa.Labels(studies)
    assert len(labels) == 0  # without a frame record nobody knows which frames were looked at
    assert "frame record" in labels.left_out[0]
    with pytest.raises(LabelError, match="before there were versions"):
        labels.save("p", drawn(sweep, 19), [19], rater="anna")
    assert LabelStore(studies / FOLDER).cases() == []


def test_a_data_set_s_own_labels_are_not_written(sample_data: Path, sweep: fetaliqa.Sweep) -> None:
    with pytest.raises(LabelError, match="versions"):
        fetaliqa.Labels(sample_data).save(PHANTOM, drawn(sweep, 18), [18], rater="anna")


def test_unknown_folders_and_cases_are_named(sample_data: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        fetaliqa.Labels(tmp_path / "nowhere")
    with pytest.raises(NotFoundError, match="case-1"):
        fetaliqa.Labels(sample_data)["case-1"]
