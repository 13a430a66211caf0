"""The study: data, split, seeds, base encoder and work folder shared by all experiments."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fetaliqa.datasets.labelled_data import LabelledData
from fetaliqa.datasets.splits import Split
from fetaliqa.errors import WeightsError
from fetaliqa.lab.baselines import baseline_named
from fetaliqa.lab.baselines.reduced_baselines import REDUCED_SIZE
from fetaliqa.lab.paper.held_out_frames import HeldOut, held_out_frames
from fetaliqa.measure.square_grid import GRID
from fetaliqa.training.frame_store import FrameStore, StoreRequest, prepare_frames
from fetaliqa.training.memory_watch import Report
from fetaliqa.training.recipes import Recipe, changed, recipe_named
from fetaliqa.training.starting_weights import Base
from fetaliqa.training.trainer import Machine
from fetaliqa.training.training_run import store_requests

PAPER_DATA, PAPER_SPLIT, PAPER_PARTS, PAPER_TRIALS = "acouslic", "paper", (210, 30, 60), 5
# For training eight models on a CPU: half of the negative frames, and one epoch over the three versions of a frame
# instead of five.
REDUCED_SETTINGS: dict[str, Any] = {"frame_step": 2, "epochs": 1}
REDUCED_RECIPE_SETTINGS: dict[str, Any] = {"epochs": 1}  # for `recipes`, where the share of positives matters
WEIGHT_ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
ABSOLUTE_PATH = re.compile(r"(?<![\w.])/(?:[^\s/:;,'\"]+/)+")


@dataclass
class Study:
    """Setting of a set of experiments.

    Attributes:
        data: labelled cases.
        split: training, validation and test cases.
        work: folder of prepared frames and results, which are reused.
        seeds: of the trials.
        reduced: small stand-ins with random weights instead of the paper's models.
        base: FetalCLIP's encoder or its stand-in; None: missing, see ``base_reason``.
        base_reason: see ``base``.
        base_key: identity of the encoder.
        settings: changes of every recipe, as ``--set`` gives them.
        as_released: train as the released code does, where it differs from the paper.
        weights_dir: folder of the comparison models' weights; None: timm's hub.
        machine: where models train.
        processes: to prepare frames with.
        parts: ablated parts in ``recipes``, one at a time: keys of ``ablation.GROUPS``, several together
            joined by ``+``; None: each of them.
        stills: folder of real still images that the quality measures are tried on too; None: not tried.
        only_done: train nothing; missing results are reported as not run.
        report: called with stage, done, in all.
    """

    data: LabelledData
    split: Split
    work: Path
    seeds: tuple[int, ...]
    reduced: bool = False
    base: Base | None = None
    base_reason: str = "no encoder was given"
    base_key: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    as_released: bool = False
    weights_dir: Path | None = None
    machine: Machine = field(default_factory=lambda: Machine(progress=False))
    processes: int = 1
    parts: tuple[str, ...] | None = None
    stills: Path | None = None
    only_done: bool = False
    report: Report = lambda *_: None

    @property
    def incomparable(self) -> str | None:
        """Why results are not comparable with the paper's; None when they are."""
        if self.reduced:
            return "these are other models, on other data" if self.data.synthetic else "these are other models"
        if self.data.synthetic or self.data.name != PAPER_DATA:
            return "the data are not the paper's"
        parts = tuple(len(self.split.part(name)) for name in ("train", "validation", "test"))
        if self.split.name != PAPER_SPLIT or parts != PAPER_PARTS:
            cases = ", ".join(map(str, parts))
            return f"the split is {self.split.name!r} of {cases} cases, not the paper's of 210, 30 and 60"
        if self.settings:
            return f"the recipe was changed ({', '.join(self.settings)})"
        if len(self.seeds) < PAPER_TRIALS:
            return f"there are {len(self.seeds)} trials, not the paper's {PAPER_TRIALS}"
        return None

    @property
    def ours(self) -> str:
        """Description of our figures, for headings."""
        what = "reduced stand-in" if self.reduced else "ours"
        return f"{what} on phantoms" if self.data.synthetic else what

    @property
    def size(self) -> int:
        """Side of the square grid that frames are prepared on, pixels."""
        if self.base is not None:
            return self.base.architecture.vision.image_size
        return REDUCED_SIZE if self.reduced else GRID

    def require_base(self) -> Base:
        """The encoder.

        Raises:
            WeightsError: when there is none, saying why.
        """
        if self.base is None:
            raise WeightsError(self.base_reason)
        return self.base

    def recipe(self, task: str) -> Recipe:
        """The recipe of the tables: the paper's, or the released code's, with the study's changes."""
        recipe = recipe_named("released-code" if self.as_released else "paper", task)
        return changed(recipe, {**(REDUCED_SETTINGS if self.reduced else {}), **self.settings})

    def weights_of(self, key: str) -> Path | None:
        """The file of a comparison model's weights; None: ask timm's hub.

        Raises:
            WeightsError: when there is a folder of weights without that model.
        """
        if self.weights_dir is None:
            return None
        baseline = baseline_named(key)
        names = [f"{stem}{ending}" for stem in (key, baseline.timm_id) for ending in WEIGHT_ENDINGS]
        file = next((self.weights_dir / name for name in names if (self.weights_dir / name).is_file()), None)
        if file is None:
            raise WeightsError(f"no weights of {baseline.label} in {self.weights_dir}; put {names[0]} there")
        return file

    def stores(self, recipe: Recipe) -> tuple[FrameStore, FrameStore]:
        """Frames to train and to validate on."""
        train, validation = store_requests(recipe, self.size, self.seeds[0])
        return self._store("train", train), self._store("validation", validation)

    def held_out(self) -> HeldOut:
        """All frames of the test part; as released, the black slots that pad its sweeps too."""
        store = self._store("test", StoreRequest(self.size, black_slots=self.as_released))
        return held_out_frames(self.data, self.split.test, store, self.work / "frames", self.report)

    def _store(self, part: str, request: StoreRequest) -> FrameStore:
        return prepare_frames(
            self.data,
            self.split.part(part),
            request,
            self.work / "frames",
            processes=self.processes,
            progress=lambda done, total: self.report(f"prepare {part} frames", done, total),
        )


def without_folders(text: str) -> str:
    """A message with absolute paths cut to their last part, for published files."""
    return ABSOLUTE_PATH.sub("", text)
