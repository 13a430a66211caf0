"""Figures of models whose answers are known, on cases small enough to count by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from bundle_cards import a_card
from in_memory_data import SIDE, InMemoryData, KnowingScorer, a_case, disc, sample_cases

from fetaliqa.datasets.splits import Split, write_split
from fetaliqa.errors import NotFoundError, OptionError
from fetaliqa.evaluation.example_frames import choose_examples
from fetaliqa.evaluation.frame_scorers import frame_scores
from fetaliqa.evaluation.frame_table import BundleScorer, collect
from fetaliqa.evaluation.model_evaluation import evaluate
from fetaliqa.evaluation.run_evaluation import choose_cases, evaluate_run, is_run, run_of
from fetaliqa.inference import Predictor
from fetaliqa.measure import Ellipse, draw_ellipse, ellipse_circumference
from fetaliqa.measure.anatomy import HEAD
from fetaliqa.model import Architecture, DecoderConfig, VisionConfig, build_segmentation, save_bundle

DISC = disc(14)
AREA = int(DISC.sum())
CIRCUMFERENCE = ellipse_circumference(14, 14)  # mm
TINY = Architecture("tiny", VisionConfig(32, 8, 32, 4, 2, 16, 4.0), DecoderConfig((1, 2, 3, 4), 4))


def two_sweeps(name="one", grades=(0, 1, 1, 2, 0, 0, 0, 0), **more):
    """Eight frames in two sweeps, only the first of which has a reference circumference."""
    return a_case(name, list(grades), circumferences=(CIRCUMFERENCE, None), **more)


def knowing(case, frames):
    scorer = KnowingScorer()
    for frame in frames:
        scorer.learn(case, frame, DISC)
    return scorer


def test_a_frame_is_positive_exactly_where_its_score_exceeds_the_threshold():
    probabilities = torch.rand(40, 20, 20, generator=torch.Generator().manual_seed(0)) ** 8
    scores = frame_scores(probabilities, 5)
    for threshold in (0.3, 0.8, 0.9, float(np.float32(scores[7]))):
        counted = (probabilities > threshold).sum(dim=(1, 2)).numpy() >= 5
        assert np.array_equal(scores > threshold, counted)
    with pytest.raises(ValueError, match="401 of 400"):
        frame_scores(probabilities, 401)


def test_the_table_holds_known_frames_only_and_what_was_said_of_them():
    case = two_sweeps(unknown=(2,), padding=(7,))
    table = collect(knowing(case, [1, 4]), InMemoryData([case]), ["one"])
    assert table.frame.tolist() == [0, 1, 3, 4, 5, 6]
    assert table.sweep.tolist() == [0, 0, 0, 1, 1, 1]
    assert table.grade.tolist() == [0, 1, 2, 0, 0, 0]
    assert table.measured.tolist() == [True] * 3 + [False] * 3
    assert table.target.tolist() == [False, True, True, False, False, False]
    assert table.positive.tolist() == [False, True, False, True, False, False]
    assert table.predicted.tolist() == [0, AREA, 0, AREA, 0, 0]
    assert table.truth.tolist() == [0, AREA, AREA, 0, 0, 0]
    assert table.both.tolist() == [0, AREA, 0, 0, 0, 0]
    assert table.score[1] > 0.9 > 0.1 > table.score[0]
    assert np.nan_to_num(table.dice(), nan=-1).tolist() == [-1, 1, 0, 0, -1, -1]


def test_with_optimal_labels_a_suboptimal_frame_is_a_negative_without_target():
    case = two_sweeps()
    table = collect(knowing(case, [3]), InMemoryData([case]), ["one"], labels="optimal")
    assert table.target.tolist() == [False, True, True] + 5 * [False]
    assert (table.truth[3], table.both[3], table.predicted[3]) == (0, 0, AREA)


def test_the_papers_filter_hides_false_positives_in_unmeasured_sweeps():
    case = two_sweeps()  # three positives in sweep 0
    result = evaluate(knowing(case, [1, 2, 5, 6]), InMemoryData([case]), ["one"], challenge=False, bootstrap=0)
    used, paper = result.protocols["all_sweeps"], result.protocols["measured_sweeps_only"]
    assert (used.frames, paper.frames) == (8, 4)
    assert used.figures["precision"].value == 0.5
    assert paper.figures["precision"].value == 1.0
    assert used.figures["recall"].value == paper.figures["recall"].value == pytest.approx(2 / 3)
    assert used.figures["specificity"].value == pytest.approx(3 / 5)
    assert used.figures["prevalence"].value == pytest.approx(3 / 8)
    assert used.figures["micro_dice"].value == pytest.approx(2 * 2 / (4 + 3))
    assert paper.figures["micro_dice"].value == pytest.approx(2 * 2 / (2 + 3))
    assert used.figures["positive_dice"].value == pytest.approx(2 / 3)
    assert used.figures["f1"].interval is None


def test_intervals_are_by_case():
    good, bad = two_sweeps("good"), two_sweeps("bad")
    scorer = knowing(good, [1, 2, 3])
    result = evaluate(scorer, InMemoryData([good, bad]), ["good", "bad"], challenge=False, bootstrap=300)
    recall = result.protocols["all_sweeps"].figures["recall"]
    assert (recall.value, recall.interval.low, recall.interval.high) == (0.5, 0, 1)
    auc = result.protocols["all_sweeps"].figures["roc_auc"]
    # one case is ranked perfectly, the other not at all
    assert (auc.interval.low, auc.interval.high) == (0.5, 1)


def test_full_marks_for_a_model_that_knows_all_and_each_frame_is_predicted_once():
    case = two_sweeps(padding=(7,))
    scorer = knowing(case, [1, 2, 3])
    result = evaluate(scorer, InMemoryData([case]), ["one"], bootstrap=0)
    assert scorer.calls == 7
    assert result.outcomes[0].best in (1, 2, 3)
    for mode in ("official", "corrected"):
        figures = result.challenge[mode]
        assert figures["dice_soft"].value > 0.99
        assert figures["nae_ac"].value < 0.05  # the challenge measures half a pixel inside
    (measured,) = result.measurements()
    assert (measured.sweep, measured.reference_mm) == (0, CIRCUMFERENCE)
    assert measured.measured_mm == pytest.approx(CIRCUMFERENCE, rel=0.02)
    assert result.circumference["mean_absolute_mm"].value == pytest.approx(
        abs(measured.measured_mm - CIRCUMFERENCE)
    )
    assert result.circumference["sd_mm"].value is None  # one sweep has no spread


def test_agreement_is_that_of_bland_and_altman():
    from fetaliqa.evaluation.case_scores import Measurement, circumference_figures

    pairs = [(100.0, 103.0), (200.0, 199.0), (150.0, None), (250.0, 254.0)]
    rows = [Measurement(k, str(k), 0, 0, reference, measured) for k, (reference, measured) in enumerate(pairs)]
    figures = circumference_figures(rows, np.zeros((0, 4), int))
    assert (figures["sweeps"], figures["measured"]) == (4, 3)
    assert figures["bias_mm"].value == pytest.approx(2)
    assert figures["mean_absolute_mm"].value == pytest.approx(8 / 3)
    assert figures["mean_absolute_percent"].value == pytest.approx((3 + 0.5 + 1.6) / 3)
    assert figures["sd_mm"].value == pytest.approx(np.std([3, -1, 4], ddof=1))
    assert figures["upper_mm"].value == pytest.approx(2 + 1.96 * np.std([3, -1, 4], ddof=1))
    assert circumference_figures([], np.zeros((0, 4), int)) is None


def test_a_blind_model_makes_the_official_soft_dice_infinite_and_the_result_says_so():
    case = two_sweeps()
    result = evaluate(KnowingScorer(), InMemoryData([case]), ["one"], bootstrap=10)
    assert result.challenge["official"]["dice_soft"].value is None
    assert result.challenge["corrected"]["score"].value == 0
    assert any("infinite" in note for note in result.notes)
    assert result.circumference["measured"] == 0
    json.dumps(result.to_json(), allow_nan=False)


def test_single_images_have_a_dice_on_their_own_pixels_and_no_challenge():
    head = draw_ellipse(Ellipse(32, 32, 20, 15, 30), (SIDE, SIDE))
    case = a_case("image", [1], circumferences=(ellipse_circumference(20, 15),), mask=head)
    other = a_case("other", [1], circumferences=(ellipse_circumference(20, 15),), mask=head)
    scorer = KnowingScorer(anatomy="head")
    scorer.learn(case, 0, head)
    result = evaluate(scorer, InMemoryData([case, other], anatomy=HEAD), ["image", "other"], bootstrap=0)
    assert result.challenge is None
    assert result.images["images"] == 2
    assert result.outcomes[0].image_dice > 0.99
    assert result.images["dice"].value == pytest.approx(result.outcomes[0].image_dice / 2)
    assert result.images["dice_min"].value == 0
    assert result.circumference["mean_absolute_percent"].value < 3
    assert (result.circumference["sweeps"], result.circumference["measured"]) == (2, 1)
    assert result.model["measurement"] == "HC"


def test_a_classifier_has_no_dice_and_a_score_of_its_own():
    case = two_sweeps()
    scorer = KnowingScorer("classification")
    for frame, score in ((1, 0.9), (2, 0.7), (3, 0.3), (5, 0.6)):
        scorer.learn(case, frame, score)
    result = evaluate(scorer, InMemoryData([case]), ["one"], bootstrap=0)
    figures = result.protocols["all_sweeps"].figures
    assert "micro_dice" not in figures
    assert result.challenge is None
    assert figures["precision"].value == pytest.approx(2 / 3)
    # of 3 x 5 pairs of positive and negative frames only (0.3, 0.6) is in the wrong order
    assert figures["roc_auc"].value == pytest.approx(14 / 15)


def test_what_a_reader_must_know_is_in_the_notes():
    case = two_sweeps()
    data = InMemoryData([case], synthetic=True, anatomy=HEAD)
    notes = evaluate(KnowingScorer(), data, ["one"], bootstrap=0, notes=["more"]).notes
    assert any("says nothing about patients" in note for note in notes)
    assert any("the data set the head" in note for note in notes)
    assert any("Only 1 case" in note for note in notes)
    assert notes[-1] == "more"


@pytest.mark.parametrize(
    ("case_ids", "options", "said"),
    [
        ([], {}, "no case to evaluate"),
        (["one", "one"], {}, "case one is given twice"),
        (["one"], {"labels": "best"}, "any or optimal"),
        (["one"], {"bootstrap": -1}, "bootstrap -1"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(case_ids, options, said):
    with pytest.raises(OptionError, match=said):
        evaluate(KnowingScorer(), InMemoryData([two_sweeps()]), case_ids, **options)


def test_cases_that_nobody_judged_are_refused():
    case = a_case("unjudged", [0, 0], unknown=(0, 1))
    with pytest.raises(OptionError, match="none of the 1 cases"):
        evaluate(KnowingScorer(), InMemoryData([case]), ["unjudged"])
    with pytest.raises(NotFoundError):
        evaluate(KnowingScorer(), InMemoryData([case]), ["elsewhere"])


def test_examples_are_the_worst_first_and_from_different_cases():
    cases = [two_sweeps(name) for name in ("a", "b", "c")]
    scorer = knowing(cases[0], [1, 2, 3, 5])
    scorer.learn(cases[1], 1, disc(12))
    scorer.learn(cases[1], 6, DISC)
    data = InMemoryData(cases)
    result = evaluate(scorer, data, list(data.cases), challenge=False, bootstrap=0)
    examples = choose_examples(scorer, data, result.case_ids, result.table, count=3)
    assert [example.dice for example in examples.missed][:2] == [0, 0]
    assert {example.case_id for example in examples.missed} == {"a", "b", "c"}
    assert {(example.case_id, example.frame) for example in examples.invented} == {("a", 5), ("b", 6)}
    assert examples.typical[0].dice < examples.typical[-1].dice == 1
    assert all(example.positive and example.truth.any() for example in examples.typical)
    assert examples.typical[-1].predicted.sum() == AREA


@pytest.fixture
def phantoms(sample_data):
    return sample_cases(sample_data)


@pytest.fixture
def run_folder(tmp_path, phantoms):
    """A run of two trials with random models on a 32-pixel grid."""
    folder = tmp_path / "run"
    ids = list(phantoms.cases)
    write_split(folder / "split.json", Split("thirds", "case", None, (ids[0],), (ids[1],), (ids[2],)))
    (folder / "recipe.json").write_text('{"labels": "optimal"}')
    for trial in range(2):
        torch.manual_seed(trial)
        model = build_segmentation(TINY, random_init=True)
        save_bundle(model, a_card(model), folder / f"trial-{trial}" / "bundle")
    return folder


def test_a_run_is_evaluated_on_its_test_cases_trial_by_trial(run_folder, phantoms):
    seen = []
    whole = evaluate_run(
        run_folder, phantoms, device="cpu", bootstrap=20, progress=lambda *what: seen.append(what)
    )
    assert list(whole.trials) == ["trial-0", "trial-1"]
    first = whole.trials["trial-0"]
    assert first.case_ids == (list(phantoms.cases)[2],)
    assert first.settings | {"part": "test", "split": "thirds", "labels": "optimal"} == first.settings
    accuracy = [trial.protocols["all_sweeps"].figures["accuracy"].value for trial in whole.trials.values()]
    summary = whole.summary["all_sweeps"]["accuracy"]
    assert (summary.mean, summary.trials) == (pytest.approx(np.mean(accuracy)), 2)
    assert summary.std == pytest.approx(np.std(accuracy, ddof=1))
    assert seen[-1] == ("trial-1", 1, 1)
    assert 0 < seen[0][1] < 1
    json.dumps(whole.to_json(), allow_nan=False)


def test_a_bundle_on_another_grid_is_scored_on_its_own(run_folder, phantoms):
    from fetaliqa.model import Bundle

    scorer = BundleScorer(Predictor(Bundle.open(run_folder / "trial-0" / "bundle"), "cpu"))
    case = next(iter(phantoms.cases.values()))
    scores, positive, pixels, _ = scorer.predict(case.frames[:20])
    assert pixels.shape == (20, 32, 32)
    counted = (pixels > 0.5).sum(dim=(1, 2)).numpy() >= scorer.card.threshold.min_foreground_pixels(32)
    assert np.array_equal(positive, counted)
    assert np.array_equal(positive, scores > 0.5)


def test_runs_are_told_from_other_folders(run_folder, tmp_path):
    assert is_run(run_folder)
    assert run_of(run_folder / "trial-1" / "bundle") == run_folder
    assert not is_run(tmp_path)
    with pytest.raises(NotFoundError, match="not a finished training run"):
        evaluate_run(tmp_path, InMemoryData([]))


FOUR = InMemoryData([a_case(name, [0], subject=name[0]) for name in ("a1", "a2", "b1", "c1")])


def the_split(train=("a1",), validation=("c1",), test=("b1",)):
    return Split("mine", "case", 1, train, validation, test)


def test_cases_of_the_training_part_are_refused_unless_asked_for():
    trained = the_split()
    assert choose_cases(FOUR, trained=trained).case_ids == ("b1",)
    with pytest.raises(OptionError, match="1 of the 4 selected cases were trained on"):
        choose_cases(FOUR, "all", trained=trained)
    with pytest.raises(OptionError, match="trained on"):
        choose_cases(FOUR, split=the_split(train=(), test=("a1",)), trained=trained)
    chosen = choose_cases(FOUR, "train", trained=trained)
    assert chosen.case_ids == ("a1",)
    assert "training cases" in chosen.notes[0]


def test_shared_subjects_and_validation_cases_are_pointed_out():
    trained = the_split()
    assert choose_cases(FOUR, "test", trained=trained).notes == ()
    notes = choose_cases(FOUR, split=the_split(train=(), validation=(), test=("a2", "c1")), trained=trained).notes
    assert "1 of the 2 cases share a subject with a training case" in notes[0]
    assert "1 of the 2 cases are validation cases" in notes[1]


def test_a_data_set_the_model_never_saw_is_evaluated_whole():
    chosen = choose_cases(InMemoryData([a_case("new", [0])]), "all", trained=the_split())
    assert (chosen.case_ids, chosen.notes) == (("new",), ())
    with pytest.raises(OptionError, match="--part all"):
        choose_cases(InMemoryData([a_case("new", [0])]), trained=the_split())


def test_without_a_split_nothing_is_known_and_no_part_can_be_chosen():
    chosen = choose_cases(FOUR)
    assert chosen.case_ids == ("a1", "a2", "b1", "c1")
    assert "unknown whether the model was trained" in chosen.notes[0]
    with pytest.raises(OptionError, match="needs a split"):
        choose_cases(FOUR, "test")
    with pytest.raises(OptionError, match="part is 'best'"):
        choose_cases(FOUR, "best")
