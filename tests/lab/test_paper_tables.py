"""The paper's tables run anew: honest cells, equal budgets, and nothing computed twice."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from paper_study import SPLIT, DiscData, PaddedDiscs, a_study

from fetaliqa.datasets.splits import Split
from fetaliqa.errors import OptionError, WeightsError
from fetaliqa.evaluation.frame_scorers import BundleScorer
from fetaliqa.evaluation.frame_table import collect
from fetaliqa.inference import Predictor
from fetaliqa.lab.feature_figure import chosen_frames
from fetaliqa.lab.paper import model_tables, trial_runs
from fetaliqa.lab.paper.ablation import FREE, GROUPS, described_change, paper_steps, recipes_table, without
from fetaliqa.lab.paper.figure_table import Cell, Table, difference_cell, figure_cell
from fetaliqa.lab.paper.held_out_frames import judged_tables, table_figures
from fetaliqa.lab.paper.paper_study import without_folders
from fetaliqa.lab.paper.parameter_table import full_parameters
from fetaliqa.lab.paper.published_figures import published
from fetaliqa.lab.paper.table_rows import FIG3, TABLE1, TABLE3, TABLE4, baseline_row, fetalclip_row
from fetaliqa.lab.paper.trial_runs import run_trial, trained_model
from fetaliqa.lab.paper_tables import ablations, run_experiment, run_row, write_report
from fetaliqa.model import BaseReference, Bundle, BundleCard, Threshold, TrainingData, save_bundle
from fetaliqa.training.lightning_messages import quiet_lightning
from fetaliqa.training.recipes import FETALIQA, PAPER, Recipe
from fetaliqa.training.trainer import Machine

pytestmark = pytest.mark.slow

PAPER_SPLIT = Split(
    "paper",
    "case",
    "0",
    tuple(f"a{number}" for number in range(210)),
    tuple(f"b{number}" for number in range(30)),
    tuple(f"c{number}" for number in range(60)),
)
CLS, SEG = fetalclip_row("classification"), fetalclip_row("segmentation")


@pytest.fixture(autouse=True)
def _quiet_and_single_threaded():
    quiet_lightning()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A work folder whose trials several tests share: one seed, the same settings."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def no_counting(monkeypatch):
    """Full-size counts take seconds; here they are only passed on."""
    monkeypatch.setattr(model_tables, "full_parameters", lambda row, as_released: 2_360_065)


# -- one row ---------------------------------------------------------------------------------------------


def test_a_row_is_trained_with_each_seed_and_what_is_there_is_read(tmp_path):
    stages = []
    study = a_study(tmp_path, report=lambda stage, *_: stages.append(stage))
    first = run_row(study, CLS)
    assert [trial.seed for trial in first.trials] == [0, 1]
    assert any(stage.startswith("train") for stage in stages)
    assert 0 <= first.trials[0].figure("roc_auc") <= 1
    assert not list((tmp_path / "fits").iterdir())  # no checkpoint stays
    stages.clear()
    assert run_row(study, CLS) == first
    assert not any(stage.startswith("train") for stage in stages)
    next((tmp_path / "trials").glob("fetalclip_cls-any-1-*.json")).unlink()
    again = run_row(study, CLS)  # that trial alone, with the same result
    assert again.trials[0] == first.trials[0]
    assert again.trials[1].figures == first.trials[1].figures
    next((tmp_path / "trials").glob("fetalclip_cls-any-1-*.json")).unlink()
    stages.clear()
    left = run_row(replace(study, only_done=True), CLS)
    assert left.trials == first.trials[:1]
    assert left.reason == "seed 1 was not trained yet; run the same command without --only-done"
    assert not any(stage.startswith("train") for stage in stages)


def test_rows_of_other_recipes_and_encoders_do_not_share_results(shared):
    study = a_study(shared, seeds=(0,))
    recipe = SEG.recipe(study)
    stores = study.stores(recipe)

    def name(study=study, row=SEG, recipe=recipe, steps=None):
        return trial_runs.trial_name(study, row, recipe, 0, stores, steps)

    others = [
        name(row=replace(SEG, key="other")),
        name(recipe=replace(recipe, clip_norm=1.0)),
        name(steps=3),
        name(study=a_study(shared, seeds=(0,), base_key="another")),
        name(study=a_study(shared, seeds=(0,), as_released=True)),
    ]
    assert len({name(), *others}) == 6
    bfloat = Machine("cpu", progress=False, precision="bf16-mixed")
    assert name(study=a_study(shared, seeds=(0,), machine=bfloat)) != name()
    # where all frames are used, all positives are
    assert name(recipe=replace(recipe, frame_step=1, keep_positives=True)) == name(
        recipe=replace(recipe, frame_step=1)
    )
    # the threshold is found after training, and figures are kept for both
    assert name(recipe=replace(recipe, name="x", choose_threshold=True)) == name()


def test_as_released_black_slots_are_tested_too(tmp_path):
    without, within = (
        a_study(tmp_path, data=PaddedDiscs(), as_released=as_released).held_out() for as_released in (False, True)
    )
    cases = len(SPLIT.test)
    assert (len(without), len(within)) == (21 * cases, 23 * cases)
    assert not within.grade[np.isin(within.store.numbers, (10, 23))].any()
    assert within.measured[within.store.numbers == 10].all()


def test_other_weights_of_the_same_size_are_another_trial(shared, tmp_path):
    study = a_study(shared, seeds=(0,), reduced=False, weights_dir=tmp_path)
    row, names = baseline_row("vit"), set()
    for content in (b"one", b"two"):
        (tmp_path / "vit.safetensors").write_bytes(content)
        recipe = row.recipe(study)
        names.add(trial_runs.trial_name(study, row, recipe, 0, study.stores(recipe), None))
    assert len(names) == 2


def test_training_ends_after_the_given_steps_within_an_epoch_and_is_validated(tmp_path):
    study = a_study(tmp_path, seeds=(0,))
    recipe = SEG.recipe(study)
    trial = run_trial(study, SEG, replace(recipe, epochs=3, patience=4), 0, steps=6)
    assert trial.fit["steps_run"] == 6
    assert trial.fit["val_loss"] > 0


def test_a_reduced_comparison_model_trains_on_the_same_frames(shared):
    study = a_study(shared, seeds=(0,))
    result = run_row(study, baseline_row("vit", "linear"))
    assert result.reason is None
    assert result.trials[0].parameters == 97  # 96 features and a bias
    assert result.values("f1") != [None]


def test_missing_weights_are_a_reason_and_nothing_is_prepared(tmp_path):
    study = a_study(
        tmp_path, base=None, base_reason="no FetalCLIP weights at /home/somebody/weights.pt; import them"
    )
    result = run_row(study, SEG)
    assert result.trials == ()
    assert result.reason == "no FetalCLIP weights at weights.pt; import them"
    assert not (tmp_path / "frames").exists()


def test_a_folder_without_a_models_weights_says_how_to_name_the_file(tmp_path):
    study = a_study(tmp_path, reduced=False, weights_dir=tmp_path)
    with pytest.raises(WeightsError, match=r"no weights of Swin-L in .*; put swin.safetensors there"):
        study.weights_of("swin")
    (tmp_path / "swin.pth").touch()
    assert study.weights_of("swin") == tmp_path / "swin.pth"


def test_a_kept_model_says_the_same_again(shared):
    study = a_study(shared, seeds=(0,))
    model, trial = trained_model(study, SEG)
    table = judged_tables(model, study.held_out(), (Threshold(),), "any", device="cpu")[0]
    assert table_figures(table, masks=True) == trial.figures["half"]


# -- figures on prepared frames ---------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["any", "optimal"])
def test_prepared_test_frames_give_the_rows_of_whole_cases(labels, tmp_path):
    study = a_study(tmp_path, settings={"batch_size": 8, "copies": 0, "learning_rate": 0.01, "encoder": "full"})
    model, _ = trained_model(replace(study, seeds=(0,)), SEG)
    card = BundleCard(
        "tiny", "1.0", "segmentation", study.base.architecture, None, BaseReference("included", ""), "abdomen",
        TrainingData("discs", "0" * 64, "none"), "Apache-2.0", "tests", "all",
    )  # fmt: skip
    save_bundle(model, card, tmp_path / "bundle")
    scorer = BundleScorer(Predictor(Bundle.open(tmp_path / "bundle"), "cpu"))
    whole = collect(scorer, study.data, SPLIT.test, labels)
    table = judged_tables(model, study.held_out(), (Threshold(),), labels, device="cpu")[0]
    for column in (
        "case",
        "frame",
        "sweep",
        "grade",
        "measured",
        "target",
        "positive",
        "predicted",
        "truth",
        "both",
    ):
        assert np.array_equal(getattr(whole, column), getattr(table, column)), column
    assert np.allclose(whole.score, table.score, atol=1e-5)


# -- recipes and their parts ------------------------------------------------------------------------------


def test_every_recipe_field_belongs_to_one_part():
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted([*grouped, *FREE]) == sorted(Recipe.__dataclass_fields__)


def test_ablations_change_one_part_each_and_all_together_are_the_other_recipe():
    thinned = replace(FETALIQA, frame_step=2)
    assert set(ablations(thinned)) - set(ablations()) == {"thinning"}  # which frames of each case are used
    assert ablations(thinned)["thinning"].keep_positives is False
    recipes = ablations()
    assert set(recipes) == {
        "augmentation", "loss", "sampling", "optimiser", "schedule", "averaging", "clipping", "threshold",
        "selection", "sweeps",
    }  # fmt: skip
    assert described_change(recipes["averaging"], FETALIQA) == "ema_decay None"
    together = FETALIQA
    for part in recipes:
        together = replace(together, **{name: getattr(PAPER, name) for name in GROUPS[part]})
    assert replace(together, epochs=PAPER.epochs, patience=PAPER.patience).decided() == PAPER.decided()


def test_parts_can_be_left_out_together():
    both = without(FETALIQA, "averaging+clipping")
    assert described_change(both, FETALIQA) == "ema_decay None, clip_norm None"
    assert both.name == "fetaliqa without its averaging, clipping"


def test_ablations_of_another_task_are_refused():
    with pytest.raises(OptionError, match="for segmentation, 'paper' for classification"):
        ablations(FETALIQA, replace(PAPER, task="classification", loss="bce"))


def test_all_recipes_have_as_many_steps_as_the_papers(shared):
    study = a_study(shared, seeds=(0,), parts=("threshold", "sweeps"))
    table, results = recipes_table(study)
    assert [row["recipe"].text for row in table.rows] == [
        "paper", "released-code", "fetaliqa", "without its threshold", "without its sweeps",
    ]  # fmt: skip
    steps = paper_steps(study, replace(PAPER, epochs=1, batch_size=8, copies=1))
    assert {trial.fit["steps_run"] for result in results for trial in result.trials} == {steps}
    assert int(table.rows[0]["positives"].mean) <= int(table.rows[0]["frames"].mean)
    assert table.rows[2]["frames"].mean == len(study.stores(results[2].recipe)[0].frames)
    fetaliqa, threshold = results[2].trials[0], results[3].trials[0]
    assert fetaliqa.figure("average_precision") == threshold.figure("average_precision")
    assert fetaliqa.figure("f1") == fetaliqa.figure("f1", decision="chosen")
    assert threshold.figure("f1") == fetaliqa.figure("f1", decision="half")
    assert (
        results[1].trials[0].parameters < results[0].trials[0].parameters
    )  # the released code's encoder is frozen


# -- tables -----------------------------------------------------------------------------------------------


def test_reduced_figures_are_called_so_and_never_subtracted_from_the_papers(shared, monkeypatch, no_counting):
    monkeypatch.setitem(model_tables.ROWS, "table1", (CLS, SEG))
    outcome = run_experiment(a_study(shared, seeds=(0,)), "table1")
    assert outcome.ran
    first = outcome.table.rows[0]
    assert outcome.table.columns["f1"] == "F1, reduced stand-in on phantoms"
    assert first["f1_paper"].text == "0.7570 ± 0.007"
    assert first["f1_difference"].text == "not comparable"
    assert first["f1_difference"].mean is None
    markdown = outcome.table.to_markdown()
    assert "The numbering of tables and figures is ours" in markdown
    assert re.search(r"\| FetalCLIP_CLS \| LoRA \| 2.4 \| 2,360,065 \| [\d,]+ \|", markdown)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"reduced": True}, "these are other models"),
        ({"name": "studies"}, "the data are not the paper's"),
        ({"synthetic": True}, "the data are not the paper's"),
        ({"split": replace(PAPER_SPLIT, name="subject")}, "the split is 'subject' of 210, 30, 60 cases"),
        ({"split": replace(PAPER_SPLIT, test=PAPER_SPLIT.test[:59])}, "the split is 'paper' of 210, 30, 59 cases"),
        ({"settings": {"epochs": 1}}, r"the recipe was changed \(epochs\)"),
        ({"seeds": (0, 1, 2)}, "there are 3 trials, not the paper's 5"),
    ],
)
def test_a_difference_to_the_paper_needs_its_data_split_recipe_and_trials(tmp_path, changes, why):
    data = DiscData()
    data.name, data.synthetic = changes.pop("name", "acouslic"), changes.pop("synthetic", False)
    whole = {"data": data, "split": PAPER_SPLIT, "settings": {}, "seeds": (0, 1, 2, 3, 4), "reduced": False}
    reasons = a_study(tmp_path, **{**whole, **changes}).incomparable
    assert reasons is None if why is None else re.search(why, reasons)


def test_rows_without_weights_say_not_run_and_why_and_the_rest_is_shown(tmp_path, monkeypatch, no_counting):
    monkeypatch.setitem(model_tables.ROWS, "table1", (baseline_row("swin"), CLS))
    study = a_study(tmp_path, seeds=(0,), reduced=False, weights_dir=tmp_path / "nothing")
    outcome = run_experiment(study, "table1")
    assert outcome.ran
    swin, fetalclip = outcome.table.rows
    assert swin["f1"].text == "not run"
    assert swin["f1"].mean is None
    assert swin["f1_paper"].text == "0.7429 ± 0.039"
    assert "put swin.safetensors there" in outcome.table.not_run["Swin-L (LoRA)"]
    assert fetalclip["f1"].trials == 1
    assert str(tmp_path) not in outcome.table.to_markdown() + json.dumps(outcome.table.to_json())


def test_nothing_that_could_be_run_is_said_so(tmp_path, monkeypatch, no_counting):
    monkeypatch.setitem(model_tables.ROWS, "table4", (CLS,))
    study = a_study(tmp_path, base=None, base_reason="no weights", reduced=False)
    assert not run_experiment(study, "table4").ran
    assert run_experiment(study, "fig3").picture.not_run == {"FetalCLIP_SEG": "no weights"}


def test_an_unknown_experiment_is_refused(tmp_path):
    with pytest.raises(OptionError, match="unknown experiment 'table9'"):
        run_experiment(a_study(tmp_path), "table9")


def test_a_difference_is_ours_minus_the_papers_where_it_means_something():
    ours = figure_cell([0.70, 0.80])
    assert ours.text == "0.750 ± 0.071 (n=2)"
    assert difference_cell(ours, 0.757, True).text == "-0.007"
    assert difference_cell(ours, None, True).text == "paper's not known"
    assert difference_cell(ours, 0.757, False).text == "not comparable"
    assert figure_cell([0.5, None]).text == "undefined"


def test_a_table_is_written_as_markdown_json_and_csv(tmp_path):
    rows = ({"model": Cell("a|b"), "f1": figure_cell([0.25, 0.75])}, {"model": Cell("c"), "f1": Cell("not run")})
    table = Table(
        "t", "Title", {"model": "model", "f1": "F1"}, (("f1",),), rows, {"c": "no weights"}, ("A note.",)
    )
    table.write(tmp_path)
    markdown = (tmp_path / "t.md").read_text()
    assert "| a\\|b | 0.500 ± 0.354 (n=2) |" in markdown
    assert "- c: not run: no weights" in markdown
    assert json.loads((tmp_path / "t.json").read_text())["rows"][0]["f1"]["trials"] == 2
    lines = list(csv.reader(io.StringIO((tmp_path / "t.csv").read_text())))
    assert lines[0] == ["model", "F1", "F1 (std)", "F1 (trials)"]
    assert lines[1] == ["a|b", "0.5", "0.353553", "2"]
    assert lines[2] == ["c", "not run", "", ""]


def test_published_figures_belong_to_rows_and_table_1_has_one_for_each():
    assert [published(row.key) is not None for row in TABLE1] == [True] * 8
    assert published("fetalclip_seg-any").figures == {"f1": (0.771, None)}
    assert {row.key for row in (*TABLE3, *TABLE4)} >= {
        "densenet-lora",
        "vit-linear",
        "vit_small-full",
        "vit_laion-lora",
    }
    assert published("densenet-lora") is None


def test_full_size_parameters_are_counted_without_weights():
    assert full_parameters(baseline_row("vit_small", "linear")) == 385
    assert (
        full_parameters(baseline_row("densenet", "lora"), as_released=True) is None
    )  # its targets match no layer


def test_sentences_lose_their_folders():
    assert without_folders("/home/me/data/file.pt: no such file") == "file.pt: no such file"
    assert without_folders("3/4 of and/or") == "3/4 of and/or"


# -- pictures and report ----------------------------------------------------------------------------------


def test_a_map_shows_at_most_as_many_outlined_frames_as_others():
    grades = np.array([0] * 50 + [1] * 10 + [2] * 40)
    chosen = chosen_frames(grades, 60)
    assert len(set(chosen)) == 60
    assert (grades[chosen] > 0).sum() == 30
    assert np.array_equal(chosen, chosen_frames(grades, 60))
    assert len(chosen_frames(grades, 500)) == 100


def test_the_report_holds_tables_pictures_and_how_it_was_made(shared, tmp_path, monkeypatch, no_counting):
    monkeypatch.setitem(model_tables.ROWS, "table1", (SEG,))
    monkeypatch.setattr("fetaliqa.lab.feature_figure.FIG2", (CLS, baseline_row("vit", "linear")))
    study = a_study(shared, seeds=(0,))
    outcomes = [run_experiment(study, name) for name in ("table1", "fig2", "fig3")]
    text = write_report(outcomes, tmp_path / "out", study, "fetaliqa experiment all").read_text()
    assert "**These are figures of reduced stand-in models on synthetic phantoms." in text
    assert "say nothing about patients" in text
    assert "`fetaliqa experiment all`" in text
    assert str(tmp_path) not in text
    assert str(shared) not in text
    for name in ("fig2", "fig3"):
        assert f"({name}.png)" in text
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    held = json.loads((tmp_path / "out/report.json").read_text())
    assert held["experiments"]["table1"]["trials"] == 1
    assert held["environment"]["packages"]["torch"]


def test_figure_3_reuses_the_trial_of_table_1():
    assert FIG3.key in [row.key for row in TABLE1]
