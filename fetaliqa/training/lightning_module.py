"""The Lightning module: losses, optimiser, schedule, validation and checkpoints of a model and recipe."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as functional
from torch import nn

from fetaliqa.errors import TrainingError
from fetaliqa.model import CompactSeg, FetalCLIPSeg, Threshold
from fetaliqa.model.compact_model import combined
from fetaliqa.model.encoder_model import trainable_parameters
from fetaliqa.model.lora import has_adapters
from fetaliqa.model.preprocess import model_inputs
from fetaliqa.training.activation_recompute import recompute_blocks, recomputes
from fetaliqa.training.augmentation import apply_changes
from fetaliqa.training.finite_losses import FiniteLosses, NotFinite
from fetaliqa.training.frame_head_loss import frame_head_loss
from fetaliqa.training.gradient_accumulation import FramesAtOnce, loss_by_parts, parts_of
from fetaliqa.training.losses import dice_loss, outline_loss
from fetaliqa.training.metric_sums import COUNT, figures_of, sums_of
from fetaliqa.training.recipes import Recipe
from fetaliqa.training.training_frames import Batch

logger = logging.getLogger(__name__)

FINAL_RATE = 0.01  # of the peak learning rate, at the end of a cosine schedule
# entries of a checkpoint: the validated weights, and with averaging (Lightning) the current ones
STATES = {"state_dict", "current_model_state"}
DICE_EPS = 1e-7  # of the paper's loss (segmentation_models_pytorch's DiceLoss with smooth 0)


def batch_dice_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Dice loss over all pixels of a batch together; 0 without gradient where no target has a pixel.

    The loss of FetalCLIP-IQA's released code, reproduced from its description.

    Args:
        logits: float [N, H, W].
        targets: float [N, H, W], 0 or 1.
    """
    return dice_loss(logits, targets, dim=(0, 1, 2), smooth_denominator=DICE_EPS) * (targets.sum() > 0)


class FrameModule(pl.LightningModule):
    """What Lightning trains.

    Args:
        model: maps normalised frames [N, 3, S, S] to logits [N, 1, S, S] (segmentation) or [N].
        recipe: training settings.
        steps: optimiser steps in all.
        seed: of dropout; each step is seeded by it, so that a resumed run goes on exactly.
        check_every: steps between checks that losses are finite; they are also checked before validation and
            before a checkpoint.
        still_norms: whether batch norms are frozen (running statistics).
        micro_batch: frames computed at a time; None: the whole batch. Halved when memory runs out.
        recompute: recompute encoder blocks in the backward pass instead of storing activations.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        steps: int,
        seed: int,
        check_every: int = 1,
        still_norms: bool = False,
        micro_batch: int | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.at_once = FramesAtOnce(micro_batch, self._recompute)
        self._recomputes, self._splits = recompute, False
        self._trainable: list[nn.Parameter] = []
        self._still_norms = still_norms
        self.model, self.recipe, self.steps, self.seed = model, recipe, steps, seed
        self._losses = FiniteLosses(recipe, check_every)
        self._sums = torch.zeros(COUNT, dtype=torch.float64)
        self.figures: dict[str, float] = {}  # of the last validation

    # -- the loss -----------------------------------------------------------------------------------

    def _answer(self, batch: Batch, held: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of whole frames, and the recipe's loss of them; ``held``: the encoder's features, if known."""
        if isinstance(self.model, CompactSeg):
            outputs = self.model.outputs(model_inputs(self.model, batch.images))
            loss = self.loss_of(outputs.outline[:, 0], batch)
            loss = loss + frame_head_loss(outputs, batch.outlines, batch.weights)
            return combined(outputs)[:, 0], loss
        logits = self._logits(batch, held)
        return logits, self.loss_of(logits, batch)

    def _logits(self, batch: Batch, held: torch.Tensor | None) -> torch.Tensor:
        images = model_inputs(self.model, batch.images)
        if held is None:
            logits = self.model(images)
            return logits[:, 0] if logits.ndim == 4 else logits
        if isinstance(self.model, FetalCLIPSeg):
            maps = [part.contiguous(memory_format=torch.channels_last) for part in held.unbind(dim=1)]
            return self.model.decoder(images.contiguous(memory_format=torch.channels_last), maps)[:, 0]
        return self.model.classifier(held[:, 0])[:, 0]  # type: ignore[operator]

    def loss_of(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The recipe's loss of logits: [N], or [N, S, S]."""
        logits = logits.float()
        if self.recipe.loss == "bce":
            positive = (batch.outlines.amax(dim=(1, 2)) > 0).float()
            return functional.binary_cross_entropy_with_logits(logits, positive, batch.weights)
        if self.recipe.loss == "batch-dice":
            return batch_dice_loss(logits, batch.outlines)
        smooth = float(Threshold().min_foreground_pixels(batch.images.shape[-1]))
        return outline_loss(logits, batch.outlines, batch.weights, smooth=smooth)

    # -- training -----------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> FrameModule:
        """Training mode, except for a frozen encoder and frozen batch norms.

        Statistics of few frames or few steps are unreliable; see ``Recipe.norm_frames``.
        """
        super().train(mode)
        encoder = getattr(self.model, "visual", None)
        if isinstance(encoder, nn.Module) and self.recipe.encoder == "frozen":
            encoder.eval()
        if self._still_norms:
            still = encoder if self.recipe.encoder == "full" and isinstance(encoder, nn.Module) else self.model
            for module in still.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def on_train_start(self) -> None:
        # Lightning keeps the mode of each module, and a bundle's model is in eval mode
        self.train()
        self._splits, self._trainable = self._can_split(), trainable_parameters(self.model)
        if self._recomputes and not self._recompute():
            logger.warning("encoder blocks are not recomputed: none of them is trained")
        if self.at_once.frames is not None and not self._splits:
            logger.warning("batches are not split: their loss or their batch norms need whole ones")

    def on_fit_end(self) -> None:
        recompute_blocks(self.model, False)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self._seed_step()

    def _seed_step(self) -> None:
        torch.manual_seed(hash((self.seed, self.global_step, self.global_rank)) % 2**63)

    def _can_split(self) -> bool:
        """Whether accumulated gradients equal that of the whole batch."""
        norms = (one for one in self.model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm))
        return self.recipe.loss != "batch-dice" and not any(norm.training for norm in norms)

    def _recompute(self) -> bool:
        """Switch on recomputation of encoder blocks; False where it is on already, or they are not trained."""
        if self.recipe.encoder == "frozen" or recomputes(self.model):
            return False
        return recompute_blocks(self.model, True)

    def training_step(self, item: dict[str, Any], _: int) -> torch.Tensor:
        batch = Batch(item["images"], item["outlines"].float(), weights=item["weights"])
        if "changes" in item and self.recipe.online is not None:
            # in full precision: sampling positions rounded to bfloat16 are off by up to half a pixel
            with torch.autocast(self.device.type, enabled=False):
                changed = apply_changes(batch, item["changes"], self.recipe.online)
            batch = Batch(changed.images, changed.outlines, weights=batch.weights)
        loss = self._step_loss(batch, item.get("features"))
        self._losses.add(self.global_step, loss)
        # not prog_bar: Lightning would synchronise at every step for a bar that moves every tenth
        self.log("train_loss", loss, on_step=True, on_epoch=False, batch_size=len(batch.images))
        return loss

    def _step_loss(self, batch: Batch, held: torch.Tensor | None) -> torch.Tensor:
        """The loss of a step; in a single process its gradients are computed here too.

        Then a step that runs out of memory is retried. In distributed training one process cannot retry alone.
        """
        alone = self._trainer is not None and self.trainer.world_size == 1
        if not alone and not (self._splits and self.at_once.frames):
            return self._answer(batch, held)[1]
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)

        def by_parts(size: int) -> torch.Tensor:
            return loss_by_parts(
                lambda part, own: self._answer(part, own)[1],
                *(batch, held, size, self._trainable),
                scaled=(lambda loss: loss) if scaler is None else scaler.scale,
            )

        count = len(batch.images)
        if not alone:
            return by_parts(min(self.at_once.frames or count, count))
        return self.at_once.compute(count, by_parts, splits=self._splits, again=self._seed_step)

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        rates = {True: recipe.learning_rate * recipe.encoder_rate, False: recipe.learning_rate}
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups[name.startswith("visual.")].append(parameter)
        fused = all(parameter.is_cuda for group in groups.values() for parameter in group)
        optimizer = torch.optim.AdamW(
            [{"params": group, "lr": rates[encoder]} for encoder, group in groups.items() if group],
            weight_decay=recipe.weight_decay,
            fused=fused or None,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        """Share of the peak learning rate at a step."""
        warmup = round(self.recipe.warmup_share * self.steps)
        if step < warmup:
            return (step + 1) / warmup
        if self.recipe.schedule == "constant":
            return 1.0
        share = min(1.0, (step - warmup) / max(1, self.steps - warmup))
        return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * share))

    # -- validation: sums over frames, added up over processes once, at the end -----------------------

    def on_validation_epoch_start(self) -> None:
        self._losses.check()
        self._sums = torch.zeros(COUNT, dtype=torch.float64, device=self.device)

    def validation_step(self, item: dict[str, Any], _: int) -> None:
        weights = item["weights"]  # how many frames of its case each stands for
        count = len(weights)
        if not count:
            return
        batch, held = Batch(item["images"], item["outlines"].float(), weights=weights), item.get("features")

        def by_parts(size: int) -> torch.Tensor:
            parts = [self._sums_of(part, own) for _, part, own in parts_of(batch, held, size)]
            return torch.stack(parts).sum(dim=0)

        splits = self.recipe.loss != "batch-dice"
        self._sums += self.at_once.compute(count, by_parts, splits=splits, again=lambda: None)

    def _sums_of(self, batch: Batch, held: torch.Tensor | None) -> torch.Tensor:
        assert batch.weights is not None
        logits, loss = self._answer(replace(batch, weights=batch.weights / batch.weights.mean()), held)
        return sums_of(logits, batch.outlines, batch.weights, loss)

    def on_validation_epoch_end(self) -> None:
        sums = self.trainer.strategy.reduce(self._sums, reduce_op="sum").tolist()
        if not math.isfinite(sums[0]):  # checked here: early stopping would end the run silently
            raise NotFinite(
                f"the validation loss became {sums[0]} after step {self.global_step}; lower learning_rate "
                f"(now {self.recipe.learning_rate}) or set clip_norm"
            )
        self.figures = figures_of(sums, self.recipe.task == "segmentation")
        self.log_dict(self.figures, prog_bar=True)

    # -- checkpoints without frozen parameters, which are in the base already ------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._losses.check()  # never save weights after a loss that is not finite
        checkpoint["figures"] = dict(self.figures)
        frozen = self._frozen()
        for part in STATES & checkpoint.keys():
            checkpoint[part] = {name: value for name, value in checkpoint[part].items() if name not in frozen}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the frozen parameters of this model."""
        for part in STATES & checkpoint.keys():
            checkpoint[part] = {**self._frozen(), **checkpoint[part]}

    def _frozen(self) -> dict[str, torch.Tensor]:
        return {name: value.detach() for name, value in self.named_parameters() if not value.requires_grad}


def check_trainable(model: nn.Module, recipe: Recipe) -> None:
    """Check that the recipe has something to train in the model.

    Raises:
        TrainingError: when there is nothing to train.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(f"recipe {recipe.name!r} leaves nothing of the model to train")
    encoder = getattr(model, "visual", None)
    if recipe.encoder == "lora" and isinstance(encoder, nn.Module) and not has_adapters(encoder):
        raise TrainingError(f"recipe {recipe.name!r} trains adapters, but the model's encoder has none")
