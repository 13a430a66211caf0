"""The evaluation report: one file, nothing loaded from elsewhere, and nothing hidden."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import cv2
import numpy as np
import pytest
from in_memory_data import InMemoryData, KnowingScorer, a_case, disc
from PIL import Image

from fetaliqa.evaluation.evaluation_html import render_report, write_report
from fetaliqa.evaluation.evaluation_tables import case_rows, figure_tables
from fetaliqa.evaluation.example_frames import choose_examples
from fetaliqa.evaluation.model_evaluation import evaluate
from fetaliqa.evaluation.outline_pairs import PREDICTED_COLOUR, TRUTH_COLOUR, pair_picture
from fetaliqa.evaluation.run_evaluation import RunEvaluation, summarise

NASTY = 'x"><script>alert(1)</script>'


def some_cases():
    grades = [0, 1, 1, 2, 0, 0, 0, 0]
    return [a_case(name, grades, circumferences=(91.0, None)) for name in ("good", "poor", NASTY)]


def evaluated(task="segmentation", synthetic=False, **options):
    cases = some_cases()
    scorer = KnowingScorer(task)
    for frame in (1, 2, 3):
        scorer.learn(cases[0], frame, disc(14) if task == "segmentation" else 0.9)
    scorer.learn(cases[1], 1, disc(11) if task == "segmentation" else 0.8)
    scorer.learn(cases[1], 6, disc(14) if task == "segmentation" else 0.7)
    data = InMemoryData(cases, synthetic=synthetic)
    result = evaluate(scorer, data, list(data.cases), bootstrap=50, **options)
    return result, choose_examples(scorer, data, result.case_ids, result.table)


class Images(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.sources = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]


@pytest.fixture(scope="module")
def seen():
    return evaluated()


@pytest.fixture(scope="module")
def report(seen):
    return render_report(*seen)


def test_the_file_loads_nothing_and_runs_nothing(report):
    page = Images(report)
    assert page.tags.isdisjoint({"script", "link", "iframe"})
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "url(" not in report


def test_every_picture_can_be_decoded(report):
    for source in Images(report).sources:
        with Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
            picture.load()
            assert picture.width >= 400


def test_names_from_the_data_are_text_and_not_markup(report):
    assert "<script>" not in report
    assert "&lt;script&gt;" in report


@pytest.mark.parametrize(
    "said",
    [
        "knowing 1 on memory",
        "measured sweeps only",
        "predicted negative",
        "micro Dice",
        "ACOUSLIC-AI challenge",
        "Circumference (AC)",
        "Precision and recall",
        "ROC",
        "Reliability",
        "Bland-Altman",
        "Worst positives",
        "Most confident false positives",
        "Model and experts",
        "Cases, worst first",
        "not for clinical use",
    ],
)
def test_the_report_has_all_its_parts(report, said):
    assert said in report


def test_mistakes_come_before_good_examples(report):
    places = [report.index(title) for title in ("Worst positives", "Most confident false", "Model and experts")]
    assert places == sorted(places)


def test_data_that_are_not_synthetic_carry_no_banner(report):
    assert "SYNTHETIC" not in report


def test_a_classifier_is_reported_without_outlines():
    result, examples = evaluated("classification")
    page = render_report(result, examples)
    assert "mean Dice" not in page
    assert "ACOUSLIC-AI challenge" not in page
    assert "Worst positives" in page


def test_figures_are_shown_with_their_intervals(seen):
    result, _ = seen
    table = figure_tables(result)[0]
    assert table["columns"] == ["all sweeps", "measured sweeps only"]
    recall = next(row for row in table["rows"] if row["name"] == "recall")
    assert recall["cells"][0][0] == f"{4 / 9:.4f}"
    assert re.fullmatch(r"0\.\d{4} to [01]\.\d{4}", recall["cells"][0][1])


def test_cases_are_sorted_from_the_worst(seen):
    result, _ = seen
    table = case_rows(result)
    assert table["total"] == 3
    assert [row[0] for row in table["rows"]] == [NASTY, "poor", "good"]
    assert table["columns"][0] == "case"


def test_a_run_on_phantoms_is_summed_up_over_its_trials_under_a_banner(tmp_path):
    first, _ = evaluated(synthetic=True)
    second, _ = evaluated(synthetic=True, challenge=False)
    run = RunEvaluation("my-run", {"trial-0": first, "trial-1": second}, summarise([first, second]))
    write_report(tmp_path / "new" / "report.html", first, None, run)
    page = (tmp_path / "new" / "report.html").read_text()
    assert page.endswith("</html>")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]
    assert "0.4444 ± 0.0000" in page
    assert "Everything below is for trial-0" in page
    assert "SYNTHETIC DATA" in page
    assert "accuracy on synthetic phantoms says nothing about patients" in page


def test_both_outlines_are_drawn_in_their_own_colour(seen):
    _, examples = seen
    shown = next(example for example in examples.typical if example.dice < 1)  # the smaller disc
    picture = cv2.imdecode(np.frombuffer(pair_picture(shown, width=640), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert picture.shape == (640, 640, 3)
    middle = picture[325]  # a row through the centre: truth at 14 pixels from it, prediction at 11
    for colour, radius in ((TRUTH_COLOUR, 14.5), (PREDICTED_COLOUR, 11.5)):
        near = np.flatnonzero(np.abs(middle.astype(int) - colour).max(axis=1) < 12)
        assert len(near)
        assert np.abs(np.abs(near - 325) - radius * 10).max() < 12
