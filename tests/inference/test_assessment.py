"""From frames to an assessment, with a stand-in network whose answer is known."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from fetaliqa.errors import BundleError, OptionError, SweepError
from fetaliqa.inference import Assessment, AssessOptions, Predictor, assess, choose_device
from fetaliqa.inference.batch_halving import HalvingForward
from fetaliqa.inference.predictor import VIEWS
from fetaliqa.model import Threshold, load_architecture
from fetaliqa.registry import AssessmentService
from fetaliqa.sweep import read_masks, read_sweep, sweep_from_array

HEIGHT, WIDTH, SPACING = 281, 372, 0.56
DRAWS = AssessOptions(threshold=0.001)  # at which a random model draws something on every frame
AXES = (80, 70)  # native pixels; AC = 0.56 mm x Ramanujan(80, 70) = 264.1 mm


class BrightnessModel(torch.nn.Module):
    """Calls everything brighter than half the range the abdomen: what it outlines is what the test drew."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images[:, :1] - 0.1) * 40


def brightness_predictor() -> Predictor:
    predictor = Predictor.__new__(Predictor)
    predictor.card = SimpleNamespace(
        name="brightness",
        version="1",
        task="segmentation",
        anatomy="abdomen",
        threshold=Threshold(),
        architecture=load_architecture("demo"),
    )
    predictor.device, predictor.batch_size, predictor.precision = torch.device("cpu"), 16, "fp32"
    predictor.model, predictor.is_segmentation = BrightnessModel(), True
    predictor.image_size, predictor.views = 224, VIEWS[1]
    predictor._halving = HalvingForward(predictor._computed, predictor.device)
    return predictor


def drawn_frames(shown: dict[int, tuple[int, int]], count: int = 80, padded: int = 10) -> np.ndarray:
    """Dim frames, a bright ellipse of the given axes on some, black padding at the end."""
    frames = np.full((count, HEIGHT, WIDTH), 60, np.uint8)
    for frame, axes in shown.items():
        cv2.ellipse(frames[frame], (WIDTH // 2, HEIGHT // 2), axes, 0, 0, 360, 250, cv2.FILLED)
    frames[count - padded :] = 0
    return frames


@pytest.fixture(scope="module")
def assessed():
    shown = dict.fromkeys(range(20, 30), AXES) | {5: (6, 5)}  # frame 5: far below 1 % of the area
    sweep = sweep_from_array(drawn_frames(shown), (SPACING, SPACING), case_id="drawn")
    return sweep, assess(sweep, brightness_predictor())


def test_frames_with_enough_foreground_are_positive_and_only_they_have_a_mask(assessed):
    _, result = assessed
    positive = [frame["index"] for frame in result.record["frames"] if frame["positive"]]
    assert positive == list(range(20, 30))
    assert np.flatnonzero(result.masks.any(axis=(1, 2))).tolist() == positive


def test_circumference_is_measured_in_millimetres_on_the_native_grid(assessed):
    sweep, result = assessed
    for frame in range(20, 30):
        fields = result.record["frames"][frame]
        assert fields["circumference_mm"] == pytest.approx(264.1, rel=0.015)  # drawn half a pixel too large
        drawn = (sweep.frames[frame] > 155).sum()
        assert fields["area_mm2"] == pytest.approx(drawn * SPACING**2, rel=0.005)
        assert fields["warning"] is None


def test_padding_is_never_scored_or_offered(assessed):
    sweep, result = assessed
    for frame in np.flatnonzero(sweep.padding):
        fields = result.record["frames"][frame]
        assert fields["padding"]
        assert fields["quality"] is None
    assert not set(result.record["ranking"]) & set(np.flatnonzero(sweep.padding).tolist())


def test_the_best_frame_is_one_that_shows_the_anatomy_and_neighbours_are_not_offered_twice(assessed):
    _, result = assessed
    assert result.record["best"] in range(20, 30)
    assert result.record["ranking"] == [result.record["best"]]


def test_the_record_is_plain_json(assessed):
    _, result = assessed
    assert json.loads(json.dumps(result.record, allow_nan=False)) == result.record


def test_a_case_without_the_anatomy_says_so():
    sweep = sweep_from_array(drawn_frames({}), (SPACING, SPACING))
    record = assess(sweep, brightness_predictor()).record
    assert record["best"] is None
    assert "no usable frame" in record["reason"].lower()


def test_without_spacing_the_circumference_is_absent_with_the_reason():
    sweep = sweep_from_array(drawn_frames({3: AXES}), None)
    fields = assess(sweep, brightness_predictor()).record["frames"][3]
    assert fields["circumference_mm"] is None
    assert "spacing" in fields["circumference_absent"]
    assert fields["area_px"] > 0


def test_only_the_chosen_part_is_assessed():
    frames = np.concatenate([drawn_frames({10: AXES}, 40, 8), drawn_frames({12: AXES}, 40, 8)])
    sweep = sweep_from_array(frames, (SPACING, SPACING), sweeps=2)
    second = assess(sweep, brightness_predictor(), AssessOptions(sweeps=(1,))).record
    assert second["best"] == 52
    assert all(frame["quality"] is None for frame in second["frames"][:40])
    some = assess(sweep, brightness_predictor(), AssessOptions(frames=(5, 15))).record
    assert [frame["index"] for frame in some["frames"] if frame["quality"] is not None] == list(range(5, 15))


@pytest.mark.parametrize(
    "options", [AssessOptions(sweeps=(7,)), AssessOptions(frames=(0, 999)), AssessOptions(frames=(72, 80))]
)
def test_a_part_that_is_not_there_is_refused(options):
    sweep = sweep_from_array(drawn_frames({}), None)
    with pytest.raises(OptionError, match="array"):
        assess(sweep, brightness_predictor(), options)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(OptionError, match="CUDA devices"):
        choose_device("cuda:99")
    with pytest.raises(OptionError, match="unknown device"):
        choose_device("gpu please")


@pytest.fixture(scope="module")
def case_file(tmp_path_factory):
    frames = np.random.default_rng(0).integers(20, 255, (12, 90, 120), dtype=np.uint8)
    path = tmp_path_factory.mktemp("case") / "case.mha"
    import SimpleITK

    image = SimpleITK.GetImageFromArray(frames)
    image.SetSpacing((0.5, 0.5, 1.0))
    SimpleITK.WriteImage(image, str(path))
    return path


def test_the_second_request_comes_from_the_cache(random_bundle, case_file, tmp_path):
    service = AssessmentService(random_bundle.directory, cache_dir=tmp_path, device="cpu")
    first, second = service.assess(case_file), service.assess(case_file)
    assert (first.cached, second.cached) == (False, True)
    assert first.assessment == second.assessment
    np.testing.assert_array_equal(first.masks, second.masks)
    other = service.assess(case_file, AssessOptions(top_n=2))
    assert not other.cached
    again = AssessmentService(random_bundle.directory, cache_dir=tmp_path, device="cpu")
    assert again.assess(case_file).cached, "the cache outlives the process"


def test_a_changed_file_is_assessed_again(random_bundle, case_file, tmp_path):
    import SimpleITK

    copy = tmp_path / "copy.mha"
    copy.write_bytes(case_file.read_bytes())
    service = AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu")
    service.assess(case_file)
    known = service.assess(copy)
    assert known.cached, "equal pixels"
    assert known.assessment["case_id"] == "copy"
    image = SimpleITK.ReadImage(str(copy))
    array = SimpleITK.GetArrayFromImage(image)
    array[3, 4, 5] ^= 1
    changed = SimpleITK.GetImageFromArray(array)
    changed.CopyInformation(image)
    SimpleITK.WriteImage(changed, str(copy))
    assert not service.assess(copy).cached


def test_nothing_is_outlined_outside_of_the_field_of_view():
    """A sector of 60 degrees, and a model that outlines everything on the right, the black corner too."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    fan = np.abs(columns - WIDTH / 2) < 20 + rows * 0.55
    frames = np.where(fan, 60, 0).astype(np.uint8)[None].repeat(8, axis=0)
    frames[:, 100:200, WIDTH // 2 :][:, fan[100:200, WIDTH // 2 :]] = 250

    class RightSideModel(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = torch.full_like(images[:, :1], -9.0)
            logits[:, :, 85:145, 112:] = 9.0
            return logits

    predictor = brightness_predictor()
    predictor.model = RightSideModel()
    masks = assess(sweep_from_array(frames, (SPACING, SPACING)), predictor).masks
    assert masks.any()
    # the field of view is found from the pixels, to about a pixel; without it nearly half would be outside
    assert masks[:, ~fan].sum() < 0.02 * masks.sum()


def test_new_pixels_behind_an_old_header_are_assessed_again(random_bundle, tmp_path):
    import SimpleITK

    frames = np.random.default_rng(1).integers(20, 255, (4, 60, 80), dtype=np.uint8)
    header = tmp_path / "case.mhd"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(frames), str(header))
    service = AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu")
    first = service.assess(header)
    (tmp_path / "case.raw").write_bytes(frames[::-1].tobytes())
    second = service.assess(header)
    assert not second.cached
    assert second.assessment["content_hash"] != first.assessment["content_hash"]


def test_equal_pixels_read_in_another_way_keep_their_own_notes(random_bundle, tmp_path):
    frames = np.random.default_rng(2).integers(20, 255, (1, 60, 80), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "grey.png"), frames[0])
    cv2.imwrite(str(tmp_path / "colour.png"), np.repeat(frames[0][..., None], 3, axis=2))
    service = AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu")
    grey = service.assess(tmp_path / "grey.png").assessment["notes"]
    assert "luma" not in " ".join(grey)
    for _ in range(2):  # by its pixels, then by its identity
        colour = service.assess(tmp_path / "colour.png")
        assert colour.cached
        assert "luma" in " ".join(colour.assessment["notes"])
    assert service.cached(tmp_path / "grey.png").assessment["notes"] == grey


def test_only_what_was_assessed_before_is_answered_without_computing(random_bundle, case_file, tmp_path):
    service = AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu")
    assert service.cached(case_file) is None
    done = service.assess(case_file)
    known = service.cached(case_file)
    assert known is not None
    assert known.assessment == done.assessment
    assert service.cached(case_file, AssessOptions(top_n=2)) is None
    assert AssessmentService(random_bundle.directory, device="cpu").cached(case_file) is None


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
def test_masks_of_a_known_case_are_written_without_its_pixels_or_the_model(
    random_bundle, case_file, tmp_path, monkeypatch, suffix
):
    path = turned_copy(case_file, tmp_path)
    done = AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu").assess(
        path, DRAWS
    )
    assert done.masks.any()

    def refuse(*_args, **_kwargs):
        raise AssertionError("a known case needs neither pixels nor model")

    monkeypatch.setattr("fetaliqa.registry.assessment_service.read_sweep", refuse)
    monkeypatch.setattr("fetaliqa.inference.case_result.read_sweep", refuse)
    monkeypatch.setattr(AssessmentService, "load", refuse)
    again = AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu").cached(
        path, DRAWS
    )
    for name in ("first", "kept"):
        again.write_masks(tmp_path / f"{name}{suffix}")
        np.testing.assert_array_equal(read_masks(tmp_path / f"{name}{suffix}", done.sweep), done.masks)


def turned_copy(case_file, folder):
    """The same pixels, lying elsewhere in space."""
    import SimpleITK

    image = SimpleITK.ReadImage(str(case_file))
    image.SetOrigin((7.0, -8.0, 9.0))
    image.SetDirection((0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    SimpleITK.WriteImage(image, str(folder / "turned.mha"))
    return folder / "turned.mha"


def test_equal_pixels_elsewhere_in_space_get_masks_where_they_lie(random_bundle, case_file, tmp_path):
    service = AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu")
    service.assess(case_file, DRAWS).write_masks(tmp_path / "here.mha")
    there = turned_copy(case_file, tmp_path)
    for name in ("there", "again"):  # by its pixels, then by its identity
        known = service.assess(there, DRAWS)
        assert known.cached
        known.write_masks(tmp_path / f"{name}.mha")
        assert read_masks(tmp_path / f"{name}.mha", read_sweep(there)).any()
    with pytest.raises(SweepError, match="origin"):
        read_masks(tmp_path / "here.mha", read_sweep(there))


def test_a_record_of_a_file_from_before_it_held_the_grid_is_made_again(random_bundle, case_file, tmp_path):
    service = AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu")
    service.assess(case_file)
    (identity,) = (tmp_path / "cache").glob("*.identity.json")
    recorded = json.loads(identity.read_text())
    del recorded["grid"]
    identity.write_text(json.dumps(recorded))
    assert service.cached(case_file) is None
    assert service.assess(case_file).cached, "by its pixels"
    assert service.cached(case_file) is not None


def test_a_classifier_that_cannot_be_loaded_is_an_error_every_time(
    random_bundle, random_classifier, case_file, tmp_path
):
    damaged = tmp_path / "cls"
    shutil.copytree(random_classifier.directory, damaged)
    head = damaged / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-1] + b"x")
    service = AssessmentService(
        random_bundle.directory, classifier=damaged, device="cpu", cache_dir=tmp_path / "cache"
    )
    for _ in range(2):
        with pytest.raises(BundleError, match="damaged or was changed"):
            service.assess(case_file)


def test_written_masks_lie_on_the_input_grid_also_from_the_cache(random_bundle, case_file, tmp_path):
    import SimpleITK

    service = AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu")
    service.assess(case_file).write_masks(tmp_path / "one.nii.gz")
    service.assess(case_file).write_masks(tmp_path / "two.nii.gz")
    service.assess(case_file).write_masks(tmp_path / "three.nii.gz")
    assert (tmp_path / "two.nii.gz").read_bytes() == (tmp_path / "three.nii.gz").read_bytes()
    image, mask = SimpleITK.ReadImage(str(case_file)), SimpleITK.ReadImage(str(tmp_path / "three.nii.gz"))
    assert mask.GetSize() == image.GetSize()
    assert mask.GetSpacing() == pytest.approx(image.GetSpacing())


def test_a_classifier_ranks_without_masks_and_can_join_the_quality_score(
    random_bundle, random_classifier, case_file
):
    alone = AssessmentService(random_classifier.directory, device="cpu").assess(case_file)
    assert not alone.masks.any()
    assert all(0 <= frame["quality"] <= 1 for frame in alone.assessment["frames"])
    joined = AssessmentService(random_bundle.directory, classifier=random_classifier.directory, device="cpu")
    frames = joined.assess(case_file).assessment["frames"]
    assert [frame["cls_probability"] for frame in frames] == pytest.approx(
        [frame["quality"] for frame in alone.assessment["frames"]], abs=1e-4
    )


def test_frames_and_outlines_have_thresholds_of_their_own() -> None:
    frames = np.full((2, HEIGHT, WIDTH), 60, np.uint8)
    for frame in frames:
        cv2.ellipse(frame, (WIDTH // 2, HEIGHT // 2), AXES, 0, 0, 360, 131, cv2.FILLED)  # probability about 0.7
    cv2.ellipse(frames[1], (WIDTH // 2, HEIGHT // 2), (40, 35), 0, 0, 360, 250, cv2.FILLED)
    sweep = sweep_from_array(frames, (SPACING, SPACING), case_id="two")

    def found(card: Threshold, **options: float) -> Assessment:
        predictor = brightness_predictor()
        predictor.card.threshold = card
        return assess(sweep, predictor, AssessOptions(**options))

    one, two = found(Threshold()), found(Threshold(frame_probability=0.95))
    assert [frame["positive"] for frame in one.record["frames"]] == [True, True]
    assert [frame["positive"] for frame in two.record["frames"]] == [False, True]
    assert (two.record["threshold"], two.record["frame_threshold"]) == (0.5, 0.95)
    assert np.array_equal(two.masks[1], one.masks[1]), "the outline was cut at the frame's threshold"
    assert not two.masks[0].any()
    strict = found(Threshold(frame_probability=0.6), threshold=0.95)
    assert [frame["positive"] for frame in strict.record["frames"]] == [False, True]
    assert strict.masks[1].sum() < 0.4 * one.masks[1].sum(), "who asks for one threshold gets it for both"
