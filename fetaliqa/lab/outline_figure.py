"""Figure 3 (by our numbering): outlines of a trained model next to the experts' outlines."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import nn

from fetaliqa.evaluation.example_frames import Example, Examples, choose_examples
from fetaliqa.evaluation.frame_scorers import FrameAnswers
from fetaliqa.evaluation.outline_pairs import pair_picture
from fetaliqa.lab.feature_figure import DPI, Picture, as_png, light
from fetaliqa.lab.paper.held_out_frames import judged_tables
from fetaliqa.lab.paper.paper_study import Study, without_folders
from fetaliqa.lab.paper.table_rows import FIG3
from fetaliqa.lab.paper.trial_runs import CHOSEN, EXPECTED, HALF, trained_model
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model import BaseReference, BundleCard, Threshold, TrainingData, load_architecture
from fetaliqa.model.preprocess import model_inputs
from fetaliqa.pictures.colours import ACCENT, FAINT, MEASURE, MUTED, PANEL, TEXT

EXAMPLES = 5  # columns
PAIR_WIDTH = 360  # pixels of one picture


class _ModelScorer:
    """A model in memory, with the interface of ``choose_examples``."""

    def __init__(self, model: nn.Module, size: int, threshold: float, anatomy: str) -> None:
        self._model = model.eval()
        self.image_size = size
        self.fingerprint = ""
        self.card = BundleCard(
            name="trial",
            version="1.0",
            task="segmentation",
            architecture=load_architecture("demo"),  # not read: the model is there already
            lora=None,
            base=BaseReference("included", ""),
            anatomy=anatomy,
            training_data=TrainingData("trial", "", ""),
            licence="",
            intended_use="",
            limitations="",
            threshold=Threshold(frame_probability=threshold),
        )

    @torch.inference_mode()
    def predict(self, frames: np.ndarray) -> FrameAnswers:
        """Pixel probabilities [n, G, G]; scores are in the frame table already."""
        grid = SquareGrid(frames.shape[1], frames.shape[2], self.image_size)
        logits = self._model(model_inputs(self._model, grid.to_square(frames)))
        nothing = np.zeros(len(frames))
        return FrameAnswers(nothing, nothing > 0, torch.sigmoid(logits.float())[:, 0])


def pairs_figure(study: Study) -> Picture:
    """Figure 3: outlines of FetalCLIP_SEG's first trial beside the experts', typical ones and the worst."""
    title, name = "Figure 3: outlines beside the experts'", "fig3"
    try:
        model, trial = trained_model(study, FIG3)
    except EXPECTED as problem:
        return Picture(name, title, None, (), {FIG3.label: without_folders(str(problem))})
    decision = CHOSEN if trial.recipe["choose_threshold"] else HALF
    threshold = trial.threshold if decision == CHOSEN else 0.5
    labels = trial.recipe["labels"]
    table = judged_tables(
        model, study.held_out(), (Threshold(frame_probability=threshold),), labels, device="cpu"
    )[0]
    scorer = _ModelScorer(model, study.size, threshold, study.data.anatomy.name)
    examples = choose_examples(scorer, study.data, study.split.part("test"), table, count=EXAMPLES)
    notes = (
        f"FetalCLIP_SEG, {study.ours}, seed {trial.seed}, frame threshold {threshold:g}. Found: evenly over the "
        "range of Dice. Worst: lowest Dice of all frames with an outline. Invented: highest score without one.",
    )
    png = _draw_pairs(examples, study.ours)
    return Picture(name, title, png, notes, {})


def _draw_pairs(examples: Examples, ours: str) -> bytes | None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    lines: list[tuple[str, Sequence[Example]]] = [
        ("found", examples.typical),
        ("worst", examples.missed),
        ("invented", examples.invented),
    ]
    lines = [line for line in lines if line[1]]
    if not lines:
        return None
    image = lines[0][1][0].image
    height = 2.3 * image.shape[0] / image.shape[1] + 0.28
    size = (2.3 * EXAMPLES + 0.4, height * len(lines) + 0.55)
    figure = Figure(figsize=size, dpi=DPI, facecolor=PANEL, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(lines), EXAMPLES, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for row, (kind, shown) in enumerate(lines):
        for axes, example in zip(grid[row], shown):
            picture = cv2.imdecode(np.frombuffer(pair_picture(example, PAIR_WIDTH), np.uint8), cv2.IMREAD_COLOR)
            axes.imshow(picture[..., ::-1])
            axes.set_title(_caption(example), color=MUTED, fontsize=8.5, pad=3)
        grid[row][0].annotate(
            kind,
            (-0.06, 0.5),
            xycoords="axes fraction",
            rotation=90,
            ha="right",
            va="center",
            color=TEXT,
            fontsize=11,
        )
    handles = [
        Line2D([], [], color=ACCENT, linewidth=2, label=f"model ({ours})"),
        Line2D([], [], color=MEASURE, linewidth=2, label="reference"),
    ]
    legend = figure.legend(
        handles=handles, loc="outside lower center", ncols=2, fontsize=9, facecolor=PANEL, edgecolor=FAINT
    )
    light(legend)
    return as_png(figure)


def _caption(example: Example) -> str:
    grade = {0: "no plane", 1: "optimal", 2: "suboptimal"}[example.grade]
    return f"{grade}, score {example.score:.2f}" if example.dice is None else f"{grade}, Dice {example.dice:.2f}"
