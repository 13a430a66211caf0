"""A student on disk: read whole and for its own model only, and found in the bundle's folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from bundle_cards import a_card
from students import LIMITS, save_student

from fetaliqa.errors import BundleError, OptionError
from fetaliqa.inference import AssessOptions
from fetaliqa.inference.student import Student, open_student
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model import Bundle, build_segmentation, normalise, save_bundle
from fetaliqa.model.bundle_names import AUTO, NONE
from fetaliqa.registry import AssessmentService
from fetaliqa.registry.publishing import publish_bundle
from fetaliqa.sweep import Sweep, sweep_from_array

SEARCH = AssessOptions(search=True)
SCREEN = AssessOptions(screen=True)


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    torch.manual_seed(0)
    model = build_segmentation("demo", random_init=True, encoder="lora")
    return save_bundle(model, a_card(model), tmp_path / "bundle")


def a_sweep(count: int = 6) -> Sweep:
    frames = np.random.default_rng(0).integers(0, 255, (count, 96, 120), np.uint8)
    return sweep_from_array(frames, (1.0, 1.0), case_id="noise")


def test_a_student_guesses_by_whether_a_frame_shows_the_plane_and_by_its_outlines_peak(bundle, tmp_path) -> None:
    own = save_student(tmp_path / "student", bundle)
    sweep = a_sweep(70)
    guessed = Student.open(tmp_path / "student", bundle, "cpu").guess(sweep, np.arange(1, 70))
    squares = SquareGrid(96, 120, 64).to_square(sweep.frames[1:])
    with torch.inference_mode():
        outputs = own.load_model().eval().outputs(normalise(squares))
    plane, peak = torch.sigmoid(outputs.plane / 2), torch.sigmoid(outputs.outline).amax(dim=(1, 2, 3))
    assert guessed == pytest.approx(((plane + peak) / 2).numpy(), abs=1e-4)
    assert len(set(guessed)) > 60


def test_a_student_in_the_bundle_is_found_and_leaves_the_bundle_the_same(bundle) -> None:
    assert open_student(AUTO, bundle) is None
    save_student(bundle.directory / "student", bundle)
    assert Bundle.open(bundle.directory).fingerprint == bundle.fingerprint
    student = open_student(AUTO, bundle)
    assert student is not None
    assert student.limits == LIMITS
    assert open_student(NONE, bundle) is None


def test_another_models_student_is_refused(bundle, tmp_path) -> None:
    other = save_bundle(build_segmentation("demo", random_init=True), a_card_of_another(), tmp_path / "other")
    save_student(tmp_path / "student", other)
    with pytest.raises(BundleError, match=r"from other 1 .*not from random 1 .*fetaliqa distill"):
        AssessmentService(bundle.directory, student=tmp_path / "student")


def a_card_of_another():
    return a_card(build_segmentation("demo", random_init=True), name="other")


def damaged_weights(folder) -> None:
    file = folder / "head.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def wrong_field(folder) -> None:
    card = json.loads((folder / "card.json").read_text())
    card["metrics"]["screening"]["limits"]["margin"] = 7
    (folder / "card.json").write_text(json.dumps(card))


def no_teacher(folder) -> None:
    card = json.loads((folder / "card.json").read_text())
    card["metrics"] = {}
    (folder / "card.json").write_text(json.dumps(card))


def no_limits(folder) -> None:
    card = json.loads((folder / "card.json").read_text())
    card["metrics"]["screening"] |= {"limits": None, "reason": "it misses too many frames"}
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (damaged_weights, "head.safetensors"),
        (wrong_field, "margin is 7.0; 0 to 1 is accepted"),
        (no_teacher, "student 1 is not a student"),
        (no_limits, "cannot screen frames: it misses too many frames"),
        (lambda folder: (folder / "head.safetensors").unlink(), "head.safetensors is missing"),
        (lambda folder: (folder / "card.json").unlink(), "card.json"),
    ],
)
def test_a_damaged_student_is_refused_in_one_sentence(bundle, tmp_path, harm, told) -> None:
    save_student(tmp_path / "student", bundle)
    harm(tmp_path / "student")
    with pytest.raises(BundleError, match=told):
        open_student(tmp_path / "student", bundle)


def test_a_damaged_student_of_the_bundles_own_stops_no_search(bundle, caplog) -> None:
    own = bundle.directory / "student"
    save_student(own, bundle)
    damaged_weights(own)
    assert open_student(AUTO, bundle) is None
    assert "head.safetensors" in caplog.text


def test_a_published_bundle_keeps_its_student(bundle, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    save_student(bundle.directory / "student", bundle)
    published = publish_bundle(bundle.directory)
    assert open_student(AUTO, published) is not None


def test_searches_with_and_without_a_student_are_cached_apart(bundle, tmp_path) -> None:
    save_student(tmp_path / "one", bundle)
    save_student(tmp_path / "two", bundle, seed=1)
    services = [
        AssessmentService(bundle.directory, device="cpu", student=student)
        for student in (AUTO, tmp_path / "one", tmp_path / "two")
    ]
    assert len({service.opened.request(SEARCH).key("content") for service in services}) == 3
    assert len({service.opened.request(AssessOptions()).key("content") for service in services}) == 1
    assert "student" not in services[1].made_with(AssessOptions())


def test_what_cannot_be_screened_is_refused_before_anything_is_read(bundle, tmp_path) -> None:
    own = bundle.directory / "student"
    service = AssessmentService(bundle.directory, device="cpu", cache_dir=tmp_path / "cache")
    for ask in (service.assess, service.cached):
        with pytest.raises(OptionError, match=r"screen: .*no student"):
            ask(tmp_path / "no such file", SCREEN)
    save_student(own, bundle)
    with pytest.raises(OptionError, match="not shown to recognise"):  # the student made meanwhile is found
        service.check_options(SCREEN)
    with pytest.raises(OptionError, match="neither a threshold nor a classifier"):
        service.check_options(replace(SCREEN, threshold=0.4))
    shutil.rmtree(own)
    save_student(own, bundle, replace(LIMITS, screen_floor=0.01))
    service = AssessmentService(bundle.directory, device="cpu")
    service.check_options(SCREEN)
    keys = {service.opened.request(options).key("content") for options in (SEARCH, SCREEN, AssessOptions())}
    assert len(keys) == 3


def test_what_was_computed_before_there_was_screening_stays_good() -> None:
    assert "screen" not in AssessOptions().as_dict()
    assert SCREEN.as_dict()["screen"] is True


def test_a_student_does_not_speak_for_another_threshold_or_a_classifier(bundle, tmp_path) -> None:
    save_student(tmp_path / "one", bundle)
    service = AssessmentService(bundle.directory, device="cpu", student=tmp_path / "one")
    assert service.opened.student_for(SEARCH) is not None
    assert service.opened.student_for(AssessOptions(search=True, threshold=0.3)) is None
    assert service.opened.student_for(AssessOptions()) is None
