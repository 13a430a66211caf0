"""Figure 2: PCA and t-SNE of the penultimate features of test frames.

The numbering (2: features, 3: outlines) is ours, see ``fetaliqa.lab.paper``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from fetaliqa.lab.baselines import BaselineClassifier
from fetaliqa.lab.paper.held_out_frames import HeldOut
from fetaliqa.lab.paper.paper_study import Study, without_folders
from fetaliqa.lab.paper.table_rows import FIG2, STRATEGY_LABELS
from fetaliqa.lab.paper.trial_runs import EXPECTED, trained_model
from fetaliqa.model import EncoderModel
from fetaliqa.model.preprocess import model_inputs
from fetaliqa.pictures.colours import ACCENT, FAINT, MEASURE, MUTED, PANEL, TEXT

MAX_FRAMES = 1500  # in a map of features: t-SNE takes minutes for more
PERPLEXITY = 30.0  # t-SNE's default; at most a third of the frames
COMPONENTS = 50  # principal components as input of t-SNE
SEED = 0
DPI = 150
GRADES = (
    (0, "nothing to outline", MUTED, 5),
    (2, "suboptimal plane", MEASURE, 14),
    (1, "optimal plane", ACCENT, 14),
)


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        name: for files.
        title: one line.
        png: the picture; None when nothing could be drawn.
        notes: notes for the reader.
        not_run: reason by model.
    """

    name: str
    title: str
    png: bytes | None
    notes: tuple[str, ...]
    not_run: dict[str, str]


@dataclass(frozen=True)
class _Map:
    """One model's features in two dimensions: float [n, 2] each, and the variance that two components explain."""

    label: str
    components: np.ndarray
    neighbours: np.ndarray
    explained: np.ndarray


def features_figure(study: Study) -> Picture:
    """Figure 2: PCA and t-SNE of the penultimate features of test frames, by grade.

    Of three of table 1's models, first trial each; see ``chosen_frames`` for which frames.
    """
    not_run: dict[str, str] = {}
    maps = []
    held = study.held_out()
    chosen = chosen_frames(held.grade)
    for done, row in enumerate(FIG2):
        study.report("fig2: models", done, len(FIG2))
        label = f"{row.label} ({STRATEGY_LABELS[row.strategy]})"
        try:
            model, _ = trained_model(study, row)
        except EXPECTED as problem:
            not_run[label] = without_folders(str(problem))
            continue
        maps.append(_mapped(label, penultimate(model, held, chosen)))
    study.report("fig2: models", len(FIG2), len(FIG2))
    grades = held.grade[chosen]
    counts = ", ".join(f"{int((grades == grade).sum())} {name}" for grade, name, _, _ in GRADES)
    notes = (
        f"{len(chosen)} of {len(held)} test frames ({study.ours}): {counts}. All frames with an outline (at most "
        "as many as others), and others drawn at random.",
        "t-SNE (perplexity 30, scikit-learn) keeps neighbourhoods, not distances: sizes of and gaps between its "
        "groups mean nothing.",
    )
    png = _draw_maps(maps, grades, study.ours) if maps else None
    return Picture("fig2", "Figure 2: penultimate features", png, notes, not_run)


def chosen_frames(grades: np.ndarray, most: int = MAX_FRAMES) -> np.ndarray:
    """Frame numbers, int [n], at most ``most``: outlined ones up to half of them, the rest at random, seeded."""
    random = np.random.default_rng(SEED)
    positive, negative = (random.permutation(np.flatnonzero(mask)) for mask in (grades > 0, grades == 0))
    positive = positive[: most // 2]
    return np.sort(np.concatenate([positive, negative[: most - len(positive)]]))


@torch.inference_mode()
def penultimate(model: nn.Module, held: HeldOut, chosen: np.ndarray) -> np.ndarray:
    """Penultimate features of frames: float [n, features].

    Raises:
        TypeError: for a model without such a unit.
    """
    features = []
    for start in range(0, len(chosen), 64):
        images = torch.from_numpy(np.array(held.store.frames.images[chosen[start : start + 64]]))
        inputs = model_inputs(model, images)
        if isinstance(model, BaselineClassifier):
            features.append(model.features(inputs))
        elif isinstance(model, EncoderModel) and model.task == "classification":
            features.append(model.visual(inputs))
        else:
            raise TypeError(f"{type(model).__name__} has no penultimate features")
    return torch.cat(features).float().numpy()


def _mapped(label: str, features: np.ndarray) -> _Map:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count = min(COMPONENTS, *features.shape)
    pca = PCA(count, random_state=SEED)
    components = pca.fit_transform(features)
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    neighbours = TSNE(2, perplexity=perplexity, init="pca", random_state=SEED).fit_transform(components)
    return _Map(label, components[:, :2], neighbours, pca.explained_variance_ratio_[:2])


def _draw_maps(maps: Sequence[_Map], grades: np.ndarray, ours: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5 * len(maps) + 0.4, 7.4), dpi=DPI, facecolor=PANEL, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(maps), squeeze=False)
    for column, one in enumerate(maps):
        upper, lower = grid[0][column], grid[1][column]
        _scatter(upper, one.components, grades)
        _scatter(lower, one.neighbours, grades)
        upper.set_title(one.label, color=TEXT, fontsize=10.5, pad=8)
        shares = [f"component {number + 1} ({share:.0%})" for number, share in enumerate(one.explained)]
        upper.set_xlabel(shares[0], color=MUTED, fontsize=9)
        upper.set_ylabel(shares[1] if len(shares) > 1 else "", color=MUTED, fontsize=9)
    for row, name in enumerate(("PCA", "t-SNE")):
        grid[row][0].annotate(
            name,
            (-0.13, 0.5),
            xycoords="axes fraction",
            rotation=90,
            color=TEXT,
            fontsize=11,
            ha="right",
            va="center",
        )
    handles, names = grid[0][0].get_legend_handles_labels()
    legend = figure.legend(
        handles, names, loc="outside lower center", ncols=3, fontsize=9, facecolor=PANEL, edgecolor=FAINT,
        title=f"test frames, {ours}", markerscale=1.4,
    )  # fmt: skip
    light(legend)
    return as_png(figure)


def _scatter(axes: Any, points: np.ndarray, grades: np.ndarray) -> None:
    _frame(axes)
    for grade, name, colour, size in GRADES:
        mine = points[grades == grade]
        alpha = 0.45 if grade == 0 else 0.9
        axes.scatter(mine[:, 0], mine[:, 1], s=size, color=colour, alpha=alpha, linewidth=0, label=name)


def _frame(axes: Any) -> None:
    axes.set_facecolor(PANEL)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color(FAINT)


def light(legend: Any) -> None:
    """Write a legend's texts in the report's light colour."""
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_color(TEXT)


def as_png(figure: Any) -> bytes:
    """A matplotlib figure as PNG bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor=figure.get_facecolor())
    return stream.getvalue()
