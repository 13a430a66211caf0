"""Table of trainable parameters at full size: the paper's eight models, and the other rows of tables 3 and 4."""

from __future__ import annotations

from functools import cache

import torch

from fetaliqa.errors import OptionError
from fetaliqa.lab.baselines import build_baseline
from fetaliqa.lab.paper import NUMBERING_NOTE
from fetaliqa.lab.paper.figure_table import Cell, Table
from fetaliqa.lab.paper.table_rows import Row
from fetaliqa.lab.parameter_counts import COUNT_BATCH, learning_count, parameter_counts
from fetaliqa.model.architecture import load_architecture
from fetaliqa.model.classification_model import FetalCLIPCls
from fetaliqa.model.encoder_model import EncoderModel
from fetaliqa.model.image_encoder import empty_tower
from fetaliqa.model.segmentation_model import FetalCLIPSeg


def full_parameters(row: Row, as_released: bool = False) -> int | None:
    """Scalars that get a gradient when the row's full-size model trains; None where its options exclude it.

    Needs no weights: shapes alone are counted, on torch's meta device.
    """
    if row.baseline is None and as_released:
        key = "fetalclip_seg" if row.task == "segmentation" else "fetalclip_cls"
        return next(int(one["released"]) for one in _released_counts() if one["key"] == key)
    return _count(row.baseline, row.strategy, row.task, as_released)


@cache
def _released_counts() -> tuple[dict, ...]:
    return tuple(parameter_counts(True))


@cache
def _count(baseline: str | None, strategy: str, task: str, as_released: bool) -> int | None:
    try:
        with torch.device("meta"):
            if baseline is None:
                return _fetalclip_count(task)
            model = build_baseline(baseline, strategy=strategy, pretrained=False, as_released=as_released)  # type: ignore[arg-type]
            images = torch.empty(COUNT_BATCH, 3, model.spec.size, model.spec.size)
    except OptionError:
        return None
    return learning_count(model, images)


def _fetalclip_count(task: str) -> int:
    architecture = load_architecture("fetalclip")
    kind: type[EncoderModel] = FetalCLIPSeg if task == "segmentation" else FetalCLIPCls
    model = kind(architecture, empty_tower(architecture.transformer))
    model.add_adapters()
    side = architecture.vision.image_size
    return learning_count(model, torch.empty(COUNT_BATCH, 3, side, side))


def parameters_table() -> Table:
    """Our counts beside the paper's and the released code's, with a reason where they differ."""
    columns = {
        "model": "model",
        "strategy": "trained",
        "paper": "paper (M)",
        "ours": "ours",
        "agrees": "rounds to the paper's",
        "marked": "marked in the released code",
        "released": "learning in the released code",
        "difference": "ours - released",
        "reason": "reason",
    }
    rows = []
    for one in parameter_counts():
        numbers = {"ours": one["ours"], "marked": one["released_marked"], "released": one["released"]}
        gap = one["ours"] - one["released"]
        rows.append(
            {
                "model": Cell(one["label"]),
                "strategy": Cell(one["strategy"]),
                "paper": Cell(one["paper"]),
                **{key: Cell(f"{value:,}", value) for key, value in numbers.items()},
                "agrees": Cell("yes" if one["agrees"] else "no"),
                "difference": Cell(f"{gap:+,}" if gap else "0", gap),
                "reason": Cell(one["reason"] or "-"),
            }
        )
    return Table(
        "parameters",
        "Trainable parameters",
        columns,
        (tuple(columns)[1:],),
        tuple(rows),
        notes=(
            NUMBERING_NOTE,
            "Counted at full size, without weights: scalars that get a gradient in one backward pass. These "
            "counts hold for the paper's own architectures and do not depend on data.",
        ),
    )
