"""A student on disk: read whole and for its own model only, and found in the bundle's folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from bundle_cards import a_card

from fetaliqa.errors import BundleError, OptionError
from fetaliqa.inference import AssessmentService, AssessOptions
from fetaliqa.models import Bundle, TrainingData, build_segmentation, save_bundle
from fetaliqa.models.store import publish_bundle
from fetaliqa.student import AUTO, NONE
from fetaliqa.student.card import StudentCard, Teacher
from fetaliqa.student.folder import Student, open_student, save_student
from fetaliqa.student.network import StudentNet, as_images
from fetaliqa.student.search import ScreenLimits

SEARCH = AssessOptions(search=True)
SCREEN = AssessOptions(screen=True)


def card_for(bundle: Bundle) -> StudentCard:
    return StudentCard(
        teacher=Teacher(bundle.card.name, bundle.card.version, bundle.fingerprint),
        training_data=TrainingData("noise", "none", "random numbers"),
        held_out={"sweeps": 0},
        limits=ScreenLimits(0.05, 0.5),
        licence="Apache-2.0",
        intended_use="tests",
        limitations="knows nothing",
    )


def random_net(seed: int = 0) -> StudentNet:
    torch.manual_seed(seed)
    net = StudentNet()
    with torch.no_grad():
        net(torch.rand(8, 1, 112, 112))  # batch norms that have seen something
    return net


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    torch.manual_seed(0)
    model = build_segmentation("demo", random_init=True, encoder="lora")
    return save_bundle(model, a_card(model), tmp_path / "bundle")


def test_a_saved_student_guesses_as_the_trained_network_does(bundle, tmp_path) -> None:
    net = random_net()
    save_student(net, card_for(bundle), tmp_path / "student")
    frames = np.random.default_rng(0).integers(0, 255, (5, 112, 112), np.uint8)
    guessed = Student.open(tmp_path / "student", bundle).guess(frames, np.array([1, 4]))
    with torch.inference_mode():
        expected = torch.sigmoid(net.eval()(as_images(torch.from_numpy(frames[[1, 4]])))).numpy()
    assert guessed == pytest.approx(expected, abs=1e-5)
    assert guessed[0] != guessed[1]


def test_a_student_in_the_bundle_is_found_and_leaves_the_bundle_the_same(bundle) -> None:
    assert open_student(AUTO, bundle) is None
    save_student(random_net(), card_for(bundle), bundle.directory / "student")
    assert Bundle.open(bundle.directory).fingerprint == bundle.fingerprint
    found = open_student(AUTO, bundle)
    assert found is not None
    assert found.card.limits == ScreenLimits(0.05, 0.5)
    assert open_student(NONE, bundle) is None


def test_another_models_student_is_refused(bundle, tmp_path) -> None:
    other = save_bundle(build_segmentation("demo", random_init=True), a_card_of_another(), tmp_path / "other")
    save_student(random_net(), card_for(other), tmp_path / "student")
    with pytest.raises(BundleError, match=r"learnt from other 1 .*not from random 1 .*fetaliqa distill"):
        AssessmentService(bundle.directory, student=tmp_path / "student")


def a_card_of_another():
    return a_card(build_segmentation("demo", random_init=True), name="other")


def damaged_weights(folder) -> None:
    file = folder / "student.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def wrong_field(folder) -> None:
    card = json.loads((folder / "card.json").read_text())
    card["limits"]["margin"] = 7
    (folder / "card.json").write_text(json.dumps(card))


def a_bundles_card(folder) -> None:
    shutil.copyfile(folder.parent / "bundle" / "card.json", folder / "card.json")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (damaged_weights, "damaged or was changed"),
        (wrong_field, "margin is 7.0; 0 to 1 is accepted"),
        (a_bundles_card, "not the card of a student"),
        (lambda folder: (folder / "student.safetensors").unlink(), "student.safetensors: not readable"),
        (lambda folder: (folder / "card.json").unlink(), "not a student"),
    ],
)
def test_a_damaged_student_is_refused_in_one_sentence(bundle, tmp_path, harm, told) -> None:
    save_student(random_net(), card_for(bundle), tmp_path / "student")
    harm(tmp_path / "student")
    with pytest.raises(BundleError, match=told):
        open_student(tmp_path / "student", bundle)


def test_a_damaged_student_of_the_bundles_own_stops_no_search(bundle, caplog) -> None:
    own = bundle.directory / "student"
    save_student(random_net(), card_for(bundle), own)
    damaged_weights(own)
    assert open_student(AUTO, bundle) is None
    assert "damaged or was changed" in caplog.text


def test_a_student_is_never_overwritten_and_a_diverged_one_not_written(bundle, tmp_path) -> None:
    save_student(random_net(), card_for(bundle), tmp_path / "student")
    with pytest.raises(BundleError, match="exists already"):
        save_student(random_net(1), card_for(bundle), tmp_path / "student")
    broken = random_net()
    with torch.no_grad():
        broken.head.weight[0, 0] = torch.nan
    with pytest.raises(BundleError, match="not finite"):
        save_student(broken, card_for(bundle), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_published_bundle_keeps_its_student(bundle, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    save_student(random_net(), card_for(bundle), bundle.directory / "student")
    published = publish_bundle(bundle.directory)
    assert open_student(AUTO, published) is not None


def test_searches_with_and_without_a_student_are_cached_apart(bundle, tmp_path) -> None:
    save_student(random_net(), card_for(bundle), tmp_path / "one")
    save_student(random_net(1), card_for(bundle), tmp_path / "two")
    services = [
        AssessmentService(bundle.directory, device="cpu", student=student)
        for student in (AUTO, tmp_path / "one", tmp_path / "two")
    ]
    assert len({service._resolved(SEARCH).key("content") for service in services}) == 3
    assert len({service._resolved(AssessOptions()).key("content") for service in services}) == 1
    assert "student" not in services[1].made_with(AssessOptions())


def test_what_cannot_be_screened_is_refused_before_anything_is_read(bundle, tmp_path) -> None:
    own = bundle.directory / "student"
    service = AssessmentService(bundle.directory, device="cpu", cache_dir=tmp_path / "cache")
    for ask in (service.assess, service.cached):
        with pytest.raises(OptionError, match="there is no student"):
            ask(tmp_path / "no such file", SCREEN)
    card = card_for(bundle)
    save_student(random_net(), card, own)
    with pytest.raises(OptionError, match="not known to be able to tell"):  # made meanwhile, and found
        service.check_options(SCREEN)
    with pytest.raises(OptionError, match="own threshold, and no classifier"):
        service.check_options(replace(SCREEN, threshold=0.4))
    shutil.rmtree(own)
    save_student(random_net(), replace(card, limits=replace(card.limits, screen_floor=0.01)), own)
    service = AssessmentService(bundle.directory, device="cpu")
    service.check_options(SCREEN)
    keys = {service._resolved(options).key("content") for options in (SEARCH, SCREEN, AssessOptions())}
    assert len(keys) == 3


def test_what_was_computed_before_there_was_screening_stays_good() -> None:
    assert "screen" not in AssessOptions().as_dict()
    assert SCREEN.as_dict()["screen"] is True


def test_a_student_does_not_speak_for_another_threshold_or_a_classifier(bundle, tmp_path) -> None:
    save_student(random_net(), card_for(bundle), tmp_path / "one")
    service = AssessmentService(bundle.directory, device="cpu", student=tmp_path / "one")
    assert service._student_for(SEARCH) is not None
    assert service._student_for(AssessOptions(search=True, threshold=0.3)) is None
    assert service._student_for(AssessOptions()) is None
