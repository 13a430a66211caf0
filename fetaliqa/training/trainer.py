"""The trainer: fits one model with Lightning, with resumable batches, checkpoints and clear errors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import nn

from fetaliqa.errors import OptionError, TrainingError
from fetaliqa.inference.devices import choose_device, cuda_has_bf16
from fetaliqa.out_of_memory import is_out_of_memory
from fetaliqa.training.batch_sampling import OrderedBatches, StepBatches, StepSampler, loader, make_order
from fetaliqa.training.encoder_features import FeatureStore, WithFeatures
from fetaliqa.training.frame_store import FrameStore
from fetaliqa.training.lightning_module import FrameModule, check_trainable
from fetaliqa.training.recipes import Recipe
from fetaliqa.training.stall_recovery import LearningCheck, NotLearning
from fetaliqa.training.torch_settings import numerics_restored
from fetaliqa.training.weight_averaging import Averaging

CHECKPOINT_MINUTES = 5.0  # between checkpoints within an epoch: the most that a kill can cost
LAST, BEST = "last.ckpt", "best.ckpt"
# On CUDA, reading a value from the device synchronises with all queued work, so losses are checked every 50 steps.
# On a CPU each step is checked.
CUDA_WORKERS = 2  # loader processes
CUDA_GATHERERS = 4  # threads that gather cached features, each a batch: of 32 frames 103 MB
CUDA_CHECK_EVERY = 50  # steps between checks of the loss
CUDA_REFRESH = 10  # steps between updates of the progress bar, which shows the loss


@dataclass(frozen=True)
class Machine:
    """Where and how a run is computed; results do not depend on it, up to rounding.

    With a micro-batch, dropout is drawn for each part separately.

    Attributes:
        accelerator: ``auto``, ``cpu`` or ``cuda``.
        devices: processes on each node, one device each.
        num_nodes: nodes.
        strategy: Lightning's name of it; ``auto``, ``ddp``, ...
        precision: in place of the recipe's; None: the recipe's on CUDA cards that have it, else float32.
        workers: loader processes; None: 2 on CUDA, none on a CPU.
        deterministic: only deterministic kernels.
        progress: whether to show a progress bar.
        index: which CUDA device, where there is one process.
        micro_batch: frames computed at a time, with accumulated gradients; None: the whole batch. In a single
            process it is halved when memory runs out.
        recompute: recompute encoder blocks in the backward pass instead of storing activations: less memory, a
            third more time. Switched on automatically when single frames do not fit.

    Raises:
        OptionError: when several processes are to train on one device.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str | None = None
    workers: int | None = None
    deterministic: bool = True
    progress: bool = True
    index: int = 0
    micro_batch: int | None = None
    recompute: bool = False

    def __post_init__(self) -> None:
        if self.index and self.devices > 1:
            raise OptionError(f"device cuda:{self.index} is one card; {self.devices} processes cannot share it")

    def uses_cuda(self) -> bool:
        """Whether the run is on CUDA devices."""
        return self.accelerator == "cuda" or (self.accelerator == "auto" and torch.cuda.is_available())

    @property
    def device(self) -> str:
        """``cuda``, ``cuda:N`` or ``cpu``, for what is computed beside the trainer."""
        if not self.uses_cuda():
            return "cpu"
        return f"cuda:{self.index}" if self.index else "cuda"

    def loader_workers(self) -> int:
        """How many loader processes there are."""
        if self.workers is not None:
            return self.workers
        return CUDA_WORKERS if self.uses_cuda() else 0

    def check_every(self) -> int:
        """Steps between checks that the loss is finite."""
        return CUDA_CHECK_EVERY if self.uses_cuda() else 1

    def precision_of(self, recipe: Recipe) -> str:
        """The precision in Lightning's words: the recipe's on CUDA cards that have it in hardware."""
        if self.precision is not None:
            return self.precision
        if not self.uses_cuda() or ("bf16" in recipe.precision and not cuda_has_bf16(torch.device(self.device))):
            return "32-true"
        return recipe.precision

    def described(self, recipe: Recipe) -> dict[str, Any]:
        """How a run is actually computed, as JSON values."""
        return {
            "device": self.device,
            "devices": self.devices,
            "num_nodes": self.num_nodes,
            "strategy": self.strategy,
            "precision": self.precision_of(recipe),
            "deterministic": self.deterministic,
        }


@numerics_restored()
def fit_model(
    model: nn.Module,
    recipe: Recipe,
    train: FrameStore,
    validation: FrameStore,
    folder: Path,
    *,
    seed: int,
    machine: Machine | None = None,
    features: FeatureStore | None = None,
    validation_features: FeatureStore | None = None,
    callbacks: tuple[Callback, ...] = (),
) -> dict[str, Any]:
    """Train ``model`` in place; it ends with the weights of the best epoch by the recipe's ``monitor``.

    Checkpoints are written to ``folder/checkpoints``: ``last.ckpt`` every few minutes and after each epoch,
    ``best.ckpt`` when the recipe's ``monitor`` improved. They hold trained parameters and statistics, not frozen
    parameters. An existing ``last.ckpt`` is resumed, with the same result as without the interruption, provided
    that ``model`` has the same frozen parameters.

    Returns:
        The figures of the best epoch (``val_loss``, ...), and how many epochs were run; ``frames_at_once`` where
        a batch was split.

    Raises:
        TrainingError: when memory ran out or the loss is not finite; the checkpoints stay.
        OptionError: when the devices asked for are not there.
    """
    machine = machine or Machine()
    choose_device(machine.device)
    check_trainable(model, recipe)
    checkpoints = folder / "checkpoints"
    order = make_order(train.frames, recipe, seed, train.groups)
    module = FrameModule(
        *(model, recipe, order.steps * recipe.epochs, seed),
        check_every=machine.check_every(),
        still_norms=len(train.frames) < recipe.norm_frames,
        micro_batch=machine.micro_batch,
        recompute=machine.recompute,
    )
    best = ModelCheckpoint(
        checkpoints,
        filename="best",
        monitor=recipe.monitor,
        mode=_better(recipe),
        save_top_k=1,
        enable_version_counter=False,
    )
    if recipe.checked:
        callbacks = (*callbacks, LearningCheck(train.frames, order.steps * recipe.epochs))
    trainer = _trainer(
        recipe, folder, machine, (best, *_default_callbacks(recipe, checkpoints, machine), *callbacks)
    )
    data = _Frames(train, validation, recipe, order, seed, machine, (features, validation_features))
    last = checkpoints / LAST
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
            # training mode is set when training starts
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
            # our loader starts at the trainer's step
            warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
            trainer.fit(module, data, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    except SystemExit:  # Lightning's answer to an interrupt
        raise KeyboardInterrupt from None
    except NotLearning:
        raise  # nothing to keep
    except TrainingError as problem:
        raise type(problem)(f"{problem}; {_checkpoint_note(checkpoints)}") from None
    except Exception as problem:
        if is_out_of_memory(problem):
            raise _out_of_memory(recipe, module.at_once.frames, checkpoints) from None
        raise
    best_epoch = torch.load(checkpoints / BEST, map_location="cpu", weights_only=True)
    module.on_load_checkpoint(best_epoch)
    module.load_state_dict(best_epoch["state_dict"])  # averaged weights, where the recipe averages
    module.model.eval()
    trainer.strategy.barrier("trial done")  # no process starts the next trial while another reads this one
    scores = {key: round(float(value), 6) for key, value in best_epoch["figures"].items()}
    at_once = module.at_once.frames
    if at_once is not None and at_once < recipe.batch_size:
        scores["frames_at_once"] = at_once
    return {**scores, "epochs_run": int(trainer.current_epoch), "steps_run": int(trainer.global_step)}


def _trainer(recipe: Recipe, folder: Path, machine: Machine, callbacks: tuple[Callback, ...]) -> pl.Trainer:
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    # the paper's float32_matmul_precision; no effect on a CPU
    torch.set_float32_matmul_precision("high")
    # otherwise deterministic mode fills all new memory with NaN first, a debugging aid
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        return pl.Trainer(
            accelerator="cuda" if machine.uses_cuda() else "cpu",
            devices=[machine.index] if machine.index else machine.devices,
            num_nodes=machine.num_nodes,
            strategy=machine.strategy,
            precision=machine.precision_of(recipe),  # type: ignore[arg-type]
            max_epochs=recipe.epochs,
            gradient_clip_val=recipe.clip_norm,
            deterministic="warn" if machine.deterministic else False,
            benchmark=machine.uses_cuda() and not machine.deterministic,  # times kernels, takes the fastest
            sync_batchnorm=machine.uses_cuda() and machine.devices * machine.num_nodes > 1,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            enable_model_summary=False,
            enable_progress_bar=machine.progress,
            logger=[CSVLogger(str(folder), "logs", ""), TensorBoardLogger(str(folder), "tensorboard", "")],
            callbacks=list(callbacks),
        )
    except (MisconfigurationException, ValueError) as problem:
        what = " ".join(str(problem).split())
        raise OptionError(
            f"accelerator {machine.accelerator!r} with {machine.devices} device(s) and strategy "
            f"{machine.strategy!r} cannot be used here ({what})"
        ) from None


def _better(recipe: Recipe) -> str:
    return "min" if recipe.monitor == "val_loss" else "max"


def _default_callbacks(recipe: Recipe, checkpoints: Path, machine: Machine) -> list[Callback]:
    callbacks: list[Callback] = [
        ModelCheckpoint(
            checkpoints,
            filename="last",
            train_time_interval=timedelta(minutes=CHECKPOINT_MINUTES),
            enable_version_counter=False,
        ),
        ModelCheckpoint(
            checkpoints,
            filename="last",
            monitor=None,
            save_top_k=1,
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
        EarlyStopping(recipe.monitor, patience=recipe.patience, mode=_better(recipe)),
    ]
    if recipe.ema_decay is not None:
        callbacks.append(Averaging(recipe.ema_decay))
    if machine.progress:
        callbacks.append(LossBar(refresh_rate=CUDA_REFRESH if machine.uses_cuda() else 1))
    return callbacks


class LossBar(TQDMProgressBar):
    """A progress bar that reads the loss only when it is refreshed."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        shown: dict[str, Any] = dict(super().get_metrics(trainer, pl_module))
        loss = trainer.callback_metrics.get("train_loss")
        return shown if loss is None else {**shown, "train_loss": float(loss)}


class _Frames(pl.LightningDataModule):
    """Loaders of this process's part of every batch."""

    def __init__(
        self,
        train: FrameStore,
        validation: FrameStore,
        recipe: Recipe,
        order: Any,
        seed: int,
        machine: Machine,
        features: tuple[FeatureStore | None, FeatureStore | None],
    ) -> None:
        super().__init__()
        self._train, self._validation, self._recipe = train, validation, recipe
        self._order, self._seed, self._features = order, seed, features
        self._workers, self._cuda = machine.loader_workers(), machine.uses_cuda()

    def _processes(self) -> tuple[int, int]:
        assert self.trainer is not None
        return self.trainer.global_rank, self.trainer.world_size

    def train_dataloader(self) -> Any:
        trainer = self.trainer
        assert trainer is not None
        batches = StepBatches(self._train.frames, self._order, self._recipe, self._seed, *self._processes())
        steps = StepSampler(self._order.steps, lambda: trainer.global_step)
        return self._loaded(batches, steps, self._features[0])

    def val_dataloader(self) -> Any:
        batches = OrderedBatches(self._validation.frames, self._recipe.batch_size, *self._processes())
        return self._loaded(batches, None, self._features[1])

    def _loaded(self, batches: Any, sampler: StepSampler | None, features: FeatureStore | None) -> Any:
        loaded = loader(batches, sampler, self._workers, self._cuda)
        if features is None:
            return loaded
        return WithFeatures(loaded, features, CUDA_GATHERERS if self._cuda else 0, self._cuda)


def _checkpoint_note(checkpoints: Path) -> str:
    for name in (BEST, LAST):
        if (checkpoints / name).is_file():
            return f"the last good checkpoint is {checkpoints / name}"
    return "no checkpoint was written yet"


def _out_of_memory(recipe: Recipe, at_once: int | None, checkpoints: Path) -> TrainingError:
    frames = f"batches of {recipe.batch_size} frames"
    if at_once is not None and at_once < recipe.batch_size:
        frames += f", {at_once} computed at a time"
    return TrainingError(
        f"memory ran out with {frames}; close other programs that use the same card or memory, lower batch_size, "
        "or compute on the CPU (--accelerator cpu, of a server --conf device cpu); "
        f"{_checkpoint_note(checkpoints)}"
    )
