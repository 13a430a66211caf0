"""``fetaliqa distill`` as a user runs it, with a large model that calls everything bright the abdomen."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import SimpleITK
import torch
from bundle_cards import a_card
from test_assessment import brightness_predictor

from fetaliqa.cli.main import main
from fetaliqa.inference import AssessOptions, Predictor, assess
from fetaliqa.inference.student import Student
from fetaliqa.lab.distillation import teacher_outputs
from fetaliqa.lab.distillation.distillation_cases import FileSource
from fetaliqa.lab.distillation.student_start import starting_model
from fetaliqa.lab.distillation.teacher_agreement import agreement
from fetaliqa.lab.distillation.teacher_outputs import Answers
from fetaliqa.model import Bundle, Threshold, build_classification, save_bundle
from fetaliqa.model.backbone import backbone_state, imagenet_state
from fetaliqa.registry.model_store import resolve_bundle
from fetaliqa.registry.publishing import publish_bundle
from fetaliqa.sweep import read_sweep, sweep_from_array

pytestmark = pytest.mark.slow

TEACHER = "7" * 64


def teacher(*_args: object, **_options: object):
    predictor = brightness_predictor()
    predictor.fingerprint = TEACHER
    predictor.card.licence = "Apache-2.0"
    return predictor


def write_case(path: Path, peaks: list[int], seed: int) -> Path:
    """Sweeps of 80 frames; a bright ellipse comes and goes around the peak of each, -1: none."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(30, 70, (80 * len(peaks), 96, 128)).astype(np.uint8)
    for sweep, peak in enumerate(peaks):
        for frame in range(80) if peak >= 0 else ():
            size = 30 - 6 * abs(frame - peak)
            if size > 0:
                axes = (size, int(0.9 * size))
                cv2.ellipse(frames[80 * sweep + frame], (64, 48), axes, 0, 0, 360, 250, cv2.FILLED)
    image = SimpleITK.GetImageFromArray(frames)
    image.SetSpacing((1.5, 1.5, 1.0))
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    for number in range(6):
        write_case(folder / f"case{number}.mha", [15 + 9 * number], number)
    return folder


@pytest.fixture
def bright_teacher(monkeypatch, tmp_path) -> Path:
    """The folder of answers of a run whose large model is the stand-in."""
    monkeypatch.setattr("fetaliqa.inference.Predictor", teacher)
    return tmp_path / "answers"


@pytest.fixture
def small_batches(monkeypatch) -> None:
    monkeypatch.setattr("fetaliqa.lab.distillation.distillation_frames.SHARES", (2, 1, 1))


def test_a_compact_bundle_learns_to_outline_as_its_teacher_does(
    cases, bright_teacher, small_batches, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    out = tmp_path / "bundle"
    command = ["distill", str(cases), "--answers", str(bright_teacher), "--steps", "8", "--name", "mine@2"]
    assert main([*command, "--out", str(out)]) == 0
    output = capsys.readouterr().out
    assert "bundle mine 2 written to" in output
    card = Bundle.open(out).card
    held_out = card.metrics["held_out"]
    assert card.metrics["teacher"]["fingerprint"] == TEACHER
    assert card.architecture.name == "compact"
    assert "Not for any clinical use" in card.intended_use
    assert (held_out["cases"], held_out["sweeps_with_a_best_frame"]) == (2, 2)
    assert held_out["dice_mean"] > 0.6
    assert held_out["best_within_15"] == 2
    assert f"its mean Dice with the teacher's outlines is {held_out['dice_mean']:.3f}" in output
    assert "as a student: a search finds the best frame of 2 of 2 held-out sweeps" in output

    assert publish_bundle(out).card.name == "mine"
    sweep = read_sweep(write_case(tmp_path / "new.mha", [33], 99))
    assessment = assess(sweep, Predictor(Bundle.open(out), "cpu"), AssessOptions(frames=(24, 44))).record
    assert abs(assessment["best"] - 33) <= 3
    assert assessment["frames"][assessment["best"]]["unlike_training_data"] is False
    assert assessment["frames"][43]["positive"] is False

    student = Student.open(out, SimpleNamespace(fingerprint=TEACHER), "cpu")  # type: ignore[arg-type]
    whole = assess(sweep, teacher()).record
    assessment = assess(sweep, teacher(), AssessOptions(search=True), student=student).record
    assessed = [frame["index"] for frame in assessment["frames"] if frame["positive"] is not None]
    guessed = [frame for frame in assessment["frames"] if frame.get("interpolated")]
    assert assessment["best"] in assessed
    assert assessment["frames"][assessment["best"]]["quality"] >= whole["frames"][whole["best"]]["quality"] - 0.01
    assert len(assessed) <= 16
    assert {(frame["positive"], frame["guessed_by"]) for frame in guessed} == {(None, "student")}
    assert len(assessed) + len(guessed) == 80
    assert (assessment["student"], whole["student"]) == (student.fingerprint, None)


@pytest.mark.long
def test_a_bundle_that_cannot_screen_is_no_student_and_is_not_written(
    cases, bright_teacher, small_batches, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("fetaliqa.lab.distillation.search_limits.MAX_SHARE", 0.0)
    model = shutil.copytree(resolve_bundle("demo"), tmp_path / "model")
    few = [str(cases / f"case{number}.mha") for number in range(4)]
    command = ["distill", *few, "--answers", str(bright_teacher), "--steps", "1", "--model", str(model)]
    assert main([*command, "--student"]) == 1
    assert "about as many as without one; distil from more cases" in capsys.readouterr().err
    assert not (model / "student").exists()
    assert main([*command, "--out", str(tmp_path / "bundle")]) == 0
    assert "it cannot screen frames for its teacher (--student): with this student" in capsys.readouterr().out


def test_a_classifier_is_no_teacher(cases, tmp_path, capsys):
    model = build_classification("small", random_init=True)
    save_bundle(model, a_card(model), tmp_path / "classifier")
    assert (
        main(["distill", str(cases), "--model", str(tmp_path / "classifier"), "--out", str(tmp_path / "new")]) == 2
    )
    assert "a classification bundle; a segmentation bundle is needed" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_training_starts_from_imagenet_or_from_a_compact_bundle(tmp_path):
    model, card = starting_model("imagenet", "abdomen")
    assert card is None
    assert all(parameter.requires_grad for parameter in model.parameters())
    expected = imagenet_state(model.architecture.vision)
    state = backbone_state(model.visual)
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())

    save_bundle(model, a_card(model, name="started"), tmp_path / "bundle")
    again, card = starting_model(str(tmp_path / "bundle"), "abdomen")
    assert card is not None
    assert card.architecture == again.architecture == model.architecture


def test_agreement_counts_what_is_missed_and_what_is_made_up():
    outline = np.zeros((224, 224), np.uint8)
    outline[50:150, 50:150] = 255
    half = outline.copy()
    half[:, 100:] = 0
    empty = np.zeros_like(outline)
    teacher = an_answer([outline, outline, empty, empty], [True, True, False, False], [0, -1])
    distilled = an_answer([half, empty, outline, empty], [True, False, True, False], [1, 2])
    assert agreement([(teacher, teacher)])["dice_mean"] == 1
    figures = agreement([(teacher, distilled)])
    assert figures["dice_mean"] == pytest.approx((2 / 3 + 0) / 2, abs=1e-4)
    assert (figures["precision"], figures["recall"]) == (0.5, 0.5)
    assert (figures["sweeps_with_a_best_frame"], figures["best_within_15"]) == (1, 1)
    assert (figures["sweeps_without_a_best_frame"], figures["best_offered_there"]) == (1, 1)
    assert agreement([])["dice_mean"] is None


def an_answer(outlines: list[np.ndarray], positive: list[bool], best: list[int]) -> Answers:
    stack = np.stack(outlines)
    return Answers(
        stack,
        stack,
        np.array(positive, np.float32),
        np.array(positive),
        np.array([[0, 2], [2, 4]]),
        np.array(best),
    )


def test_outlines_are_kept_with_the_teachers_threshold_at_one_half(cases):
    sweep = sweep_from_array(read_sweep(cases / "case0.mha").frames[10:20], (1.5, 1.5))
    model = teacher()
    probabilities = next(iter(model.predict(sweep.frames, np.arange(10)))).probabilities.numpy()
    model.card.threshold = Threshold(0.9)
    answers = teacher_outputs.answers_on(sweep, model)
    assert answers.positive.any()
    assert ((probabilities > 0.5) & (probabilities < 0.89)).any()
    sure = np.abs(probabilities - 0.9) > 0.01
    assert np.array_equal((answers.outlines > teacher_outputs.HALF)[sure], (probabilities > 0.9)[sure])


def test_an_answer_is_asked_for_once_and_again_only_when_it_is_damaged(cases, tmp_path, monkeypatch):
    store = teacher_outputs.AnswerStore(tmp_path, teacher())
    source = FileSource(cases / "case0.mha")
    first = store.answers(source, 3)
    with monkeypatch.context() as patched:
        patched.setattr(teacher_outputs, "assess", lambda *_: pytest.fail("the large model is asked again"))
        assert np.array_equal(store.answers(source, 3).quality, first.quality)
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(file.read_bytes()[:200])
    again = store.answers(source, 3)
    assert np.array_equal(first.quality, again.quality)
    assert len(again.squares) == 27
    assert again.ranges.tolist() == [[0, 27]]


def test_wrong_use_is_one_sentence_and_writes_nothing(cases, bright_teacher, tmp_path, capsys):
    out = tmp_path / "student"
    tail = ["--out", str(out), "--answers", str(bright_teacher)]
    for command, sentence in (
        ([str(cases / "case0.mha"), str(cases / "case1.mha")], "cases to distil from: 2; 4 or more are needed"),
        ([str(cases), "--phantoms", "8"], "--phantoms and DATA"),
        (["--phantoms", "0"], "--phantoms is 0"),
        ([str(tmp_path / "nowhere")], "no such file or folder"),
        ([str(cases), "--steps", "0"], "--steps is 0"),
        ([str(cases), "--name", "a/b"], "--name 'a/b' is invalid"),
        ([str(cases), "--start", "demo"], "--start demo: a bundle of architecture 'demo'; one of architecture"),
    ):
        assert main(["distill", *command, *tail]) == 2
        output = capsys.readouterr().err
        assert sentence in output
        assert "Traceback" not in output
    for command in ([], ["--student", *tail]):
        assert main(["distill", str(cases), *command]) == 2
        assert "or --student" in capsys.readouterr().err
    out.mkdir()
    assert main(["distill", str(cases), *tail]) == 2
    assert "exists already" in capsys.readouterr().err
    assert list(out.iterdir()) == []
    assert not bright_teacher.exists()


def test_where_the_model_sees_nothing_there_is_nothing_to_learn(bright_teacher, tmp_path, capsys):
    folder = tmp_path / "dark"
    folder.mkdir()
    for number in range(4):
        write_case(folder / f"case{number}.mha", [-1], number)
    out = tmp_path / "student"
    assert main(["distill", str(folder), "--out", str(out), "--answers", str(bright_teacher)]) == 1
    assert "nothing to learn" in capsys.readouterr().err
    assert not out.exists()
