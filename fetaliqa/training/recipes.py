"""Training recipes as data: the paper's, the released code's, and ours.

Sources: He, Wang & Yaqub, arXiv 2507.22802, and the settings of its released code (FetalCLIP-IQA, commit fbcbdd2).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from fetaliqa.errors import OptionError
from fetaliqa.model.json_records import from_json, to_json
from fetaliqa.model.lora import LoraSettings
from fetaliqa.training.augmentation import Augmentation

Task = Literal["segmentation", "classification"]
Encoder = Literal["lora", "frozen", "full"]
Labels = Literal["any", "optimal"]
Loss = Literal["bce", "batch-dice", "outline", "sparse-outline"]
Sampling = Literal["shuffle", "balanced"]
Schedule = Literal["constant", "cosine"]
Monitor = Literal["val_loss", "val_dice", "val_f1", "val_score"]
Precision = Literal["bf16-mixed", "16-mixed", "32-true"]


NORM_FRAMES = 200  # see COMPACT


@dataclass(frozen=True)
class Recipe:
    """All settings of a training run besides data, split, base weights and seed.

    Attributes:
        name: of the recipe.
        task: segmentation (a mask per frame) or classification (one number per frame).
        encoder: what training changes in the encoder: adapters, nothing, or everything.
        lora: settings of the adapters, if any.
        labels: ``any`` mask makes a frame positive (the paper), or ``optimal`` planes only; suboptimal frames then
            count as negative.
        measured_sweeps_only: leave out sweeps without a reference circumference, for training and validation.
        black_slots: use the black slots that pad a sweep as frames without outline.
        frame_step: use every n-th frame of a case, positive or negative; 1: all. Neighbouring frames are similar,
            and the share of positives does not change.
        keep_positives: use all frames with an outline regardless of ``frame_step``; the others are weighted.
        copies: augmented copies per training frame, drawn once before training (the paper: 2).
        online: augmentation drawn each time a frame is used; None for none.
        sampling: ``shuffle`` all frames each epoch, or ``balanced`` batches.
        positive_share, hard_share: of a balanced batch: with outline; without, but within 15 frames of one.
        sweep_weights: weight the loss of each frame by its frequency in sweeps relative to batches.
        loss: ``bce`` on frames; ``batch-dice``: Dice over all pixels of a batch, which is 0 without gradient when
            no frame of it has an outline; ``outline``: pixel cross-entropy plus smoothed Dice per frame;
            ``sparse-outline``: the same with a decoder initialised to predict few outlined pixels.
        outline_prior: initial probability of an outlined pixel, by the bias of the last layer; None: unchanged.
        norm_frames: with fewer training frames than this, batch norms are frozen: those of a fully trained
            encoder, else those of the decoder.
        checked: whether training that finds no outline in its own frames is restarted once with safer settings,
            see ``fetaliqa.training.stall_recovery``.
        learning_rate: AdamW's, at the peak.
        encoder_rate: learning rate of the encoder, as a share of ``learning_rate``.
        weight_decay: decoupled.
        epochs: passes over the training frames (of balanced batches: as many steps).
        batch_size: frames per step, over all devices.
        warmup_share: share of all steps with a growing learning rate.
        schedule: of the learning rate after that.
        ema_decay: decay of averaged weights, which are then validated and saved; None: no averaging.
        clip_norm: largest norm of the gradient; None for no limit.
        precision: on CUDA; CPUs without bfloat16 arithmetic always train in float32.
        monitor: validation figure that selects the best epoch: the paper's ``val_loss``, ``val_dice`` (pooled
            over all pixels, at 0.5), ``val_f1`` (of frames, at 0.5) or ``val_score``: the mean Dice of the frames
            with an outline, one not found counting 0, less up to half of it for false positives.
        patience: epochs without a better figure before training stops.
        choose_threshold: choose the probability threshold by F1 on the validation frames, instead of 0.5.
    """

    name: str
    task: Task = "segmentation"
    encoder: Encoder = "lora"
    lora: LoraSettings = field(default_factory=LoraSettings)
    labels: Labels = "any"
    measured_sweeps_only: bool = True
    black_slots: bool = False
    frame_step: int = 1
    keep_positives: bool = False
    copies: int = 2
    online: Augmentation | None = None
    sampling: Sampling = "shuffle"
    positive_share: float = 0.375
    hard_share: float = 0.25
    sweep_weights: bool = False
    loss: Loss = "batch-dice"
    outline_prior: float | None = None
    norm_frames: int = 0
    checked: bool = False
    learning_rate: float = 3e-4
    encoder_rate: float = 1.0
    weight_decay: float = 0.01
    epochs: int = 5
    batch_size: int = 32
    warmup_share: float = 0.0
    schedule: Schedule = "constant"
    ema_decay: float | None = None
    clip_norm: float | None = None
    precision: Precision = "bf16-mixed"
    monitor: Monitor = "val_loss"
    patience: int = 5
    choose_threshold: bool = False

    def __post_init__(self) -> None:
        least = {"frame_step": 1, "copies": 0, "norm_frames": 0, "epochs": 1, "batch_size": 1, "patience": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}; {low} or more is needed")
        for name in ("learning_rate", "encoder_rate"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; above 0 and up to 1 is accepted")
        for name in ("positive_share", "hard_share", "warmup_share", "weight_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; 0 to 1 is accepted")
        if self.positive_share + self.hard_share > 1:
            raise ValueError(
                f"positive_share {self.positive_share} and hard_share {self.hard_share} add up to more than 1"
            )
        if self.outline_prior is not None and not 0 < self.outline_prior < 1:
            raise ValueError(f"outline_prior is {self.outline_prior}; a value between 0 and 1, or none, is needed")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; a value between 0 and 1, or none, is needed")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm is {self.clip_norm}; a positive value, or none, is needed")
        if (self.loss == "bce") != (self.task == "classification"):
            losses = "bce" if self.task == "classification" else "batch-dice, outline or sparse-outline"
            raise ValueError(f"loss {self.loss!r} for {self.task}; {losses} is needed")
        if self.monitor in ("val_dice", "val_score") and self.task == "classification":
            raise ValueError(f"monitor {self.monitor!r} is not available for a classifier; use val_loss or val_f1")
        if self.sweep_weights and self.loss == "batch-dice":
            raise ValueError("sweep_weights need a loss per frame, which batch-dice is not")

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON values."""
        return to_json(self)

    def decided(self) -> dict[str, Any]:
        """The settings that affect training, as JSON values, for comparing recipes.

        The name is left out, and ``keep_positives`` where all frames are used anyway.
        """
        return replace(self, name="", keep_positives=self.keep_positives and self.frame_step > 1).to_json()


PAPER = Recipe(name="paper")

# FetalCLIP-IQA's segmentation encoder runs without gradient, so its adapters never learn: only the decoder does.
# Its classifier's adapters do learn, those of the attention output excepted, which PyTorch never calls. It takes
# all 140 slots of a sweep, the black ones at its end too.
RELEASED_CODE = replace(PAPER, name="released-code", encoder="frozen", black_slots=True)
RELEASED_CODE_CLS = replace(
    RELEASED_CODE,
    encoder="lora",
    task="classification",
    loss="bce",
    lora=LoraSettings(targets=("c_fc", "c_proj")),
)

# Ablations of the deviations from the paper, measured on phantoms: docs/training.md.
FETALIQA = replace(
    PAPER,
    name="fetaliqa",
    measured_sweeps_only=False,
    keep_positives=True,
    copies=0,
    online=Augmentation(),
    sampling="balanced",
    loss="sparse-outline",
    learning_rate=1e-2,
    encoder_rate=0.1,
    warmup_share=0.05,
    schedule="cosine",
    ema_decay=0.99,
    clip_norm=1.0,
    monitor="val_dice",
    choose_threshold=True,
)

# Retraining on a laptop: the frozen encoder's features are computed once, and only the decoder trains.
DECODER = replace(FETALIQA, name="decoder", encoder="frozen", online=None)

# For the compact network with an ImageNet encoder: a standard recipe (AdamW, one cycle).
COMPACT = replace(
    FETALIQA,
    name="compact",
    encoder="full",
    online=Augmentation(rotation_deg=30.0, shift=0.07, zoom=0.25, flip=True, gamma=0.5, gain=0.3, max_lost=0.15),
    loss="outline",
    positive_share=0.5,
    learning_rate=1e-3,
    encoder_rate=1.0,
    warmup_share=0.1,
    ema_decay=0.97,
    epochs=24,
    batch_size=16,
    monitor="val_score",
    patience=1000,
    norm_frames=NORM_FRAMES,
    choose_threshold=False,
)

_NAMED: dict[tuple[str, str], Recipe] = {
    ("paper", "segmentation"): PAPER,
    ("paper", "classification"): replace(PAPER, task="classification", loss="bce"),
    ("released-code", "segmentation"): RELEASED_CODE,
    ("released-code", "classification"): RELEASED_CODE_CLS,
    ("fetaliqa", "segmentation"): FETALIQA,
    ("decoder", "segmentation"): DECODER,
    ("compact", "segmentation"): COMPACT,
    ("fetaliqa", "classification"): replace(
        FETALIQA, task="classification", loss="bce", learning_rate=3e-3, encoder_rate=0.3, monitor="val_f1"
    ),
}
RECIPE_NAMES = tuple(dict.fromkeys(name for name, _ in _NAMED))


def recipe_named(name: str, task: str = "segmentation") -> Recipe:
    """The recipe called ``name`` for a task.

    Raises:
        OptionError: when there is none.
    """
    if task not in get_args(Task):
        raise OptionError(f"unknown task {task!r}; known: {', '.join(get_args(Task))}")
    if (name, task) not in _NAMED and name in RECIPE_NAMES:
        others = ", ".join(known for known, of in _NAMED if of == task)
        raise OptionError(f"recipe {name!r} is not for {task}; for it there are {others}, or a JSON file")
    if (name, task) not in _NAMED:
        raise OptionError(f"unknown recipe {name!r}; known: {', '.join(RECIPE_NAMES)}, or the path of a JSON file")
    return _NAMED[name, task]


def recipe_from_json(value: Any, where: str) -> Recipe:
    """A recipe from parsed JSON; fields that are left out keep the paper's value, except the name.

    Raises:
        OptionError: naming the first wrong field.
    """
    if not isinstance(value, dict):
        raise OptionError(f"{where}: a recipe is an object with named fields")
    if "name" not in value:
        raise OptionError(f"{where}: the field 'name' is missing")
    classifies = value.get("task") == "classification"
    defaults = recipe_named("paper", "classification" if classifies else "segmentation").to_json()
    return from_json(Recipe, {**defaults, **value}, where, OptionError)


def changed(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    """A recipe with some fields changed; ``{"online.zoom": 0.2}`` reaches into ``online`` and ``lora``.

    Raises:
        OptionError: naming the first wrong field.
    """
    value = recipe.to_json()
    field_names = {one.name for one in fields(Recipe)}
    for key, new in settings.items():
        name, _, inner = key.partition(".")
        if name not in field_names:
            raise OptionError(f"recipe has no field {name!r}; known: {', '.join(sorted(field_names))}")
        if not inner:
            value[name] = new
        elif isinstance(value[name], dict):
            value[name] = {**value[name], inner: new}
        else:
            raise OptionError(f"the recipe's {name} is {value[name]!r}, so it has no {inner!r}")
    return from_json(Recipe, value, "recipe", OptionError)
