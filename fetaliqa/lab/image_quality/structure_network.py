"""A measure after FUIQA: is the abdomen in view, and does the plane show stomach bubble and umbilical vein?

Wu et al., "FUIQA: fetal ultrasound image quality assessment with deep convolutional networks", IEEE Trans.
Cybernetics 47(5), 2017: one network finds the region of interest, a second judges the depiction of stomach bubble
and umbilical vein in it. Here one network outlines all three. It learns from phantoms, which know their
structures; no real image with outlines of stomach and vein is available to this project.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from fetaliqa.datasets.subsample import Sampling
from fetaliqa.evaluation.frame_metrics import dice
from fetaliqa.evaluation.ranking_metrics import roc_auc
from fetaliqa.lab.image_quality.frame_sample import fitted
from fetaliqa.lab.image_quality.measure_scores import bounding_box
from fetaliqa.lab.image_quality.token_networks import pretrained_encoder, with_gamma
from fetaliqa.lab.phantom.phantom_case import CaseRenderer
from fetaliqa.lab.phantom.phantom_frames import sample_sweep
from fetaliqa.lab.phantom.phantom_seeds import PHANTOM
from fetaliqa.lab.phantom.phantom_structures import STRUCTURES, structure_masks
from fetaliqa.model.backbone import IMAGENET_BACKBONE
from fetaliqa.model.preprocess import normalise

SAMPLING = Sampling(annotated=5, hard=2, easy=1)  # of each sweep, to train
ORGAN_SHARE = 0.75  # of a batch: frames that show stomach or vein, which are few
PRIOR_LOGIT = -3.0  # of an untrained network; about one pixel in twenty
DECODER = (64, 48, 32, 16, 8)  # channels
SCALES, GAMMAS = (0.8, 2.0), (0.6, 1.5)  # in training: on real planes the abdomen is larger than in sweeps
PRESENT = 0.5  # probability from which on a pixel is of a structure
MIN_ABDOMEN = 0.01  # of the input; a smaller region is no abdomen (as the paper's least outline)
CORE = 0.01  # of the abdomen's area: a structure is as present as its most probable pixels of this area


class StructureNetwork(nn.Module):
    """Frames uint8 [N, 160, 224] -> logits of the three structures [N, 3, 160, 224]; a U-Net."""

    def __init__(self, encoder_state: dict[str, torch.Tensor] | None) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp

        self.net = smp.Unet(
            f"tu-{IMAGENET_BACKBONE}", encoder_weights=None, decoder_channels=DECODER, classes=len(STRUCTURES)
        )
        # no step is spent on learning that most pixels show none of them
        nn.init.constant_(self.net.segmentation_head[0].bias, PRIOR_LOGIT)
        if encoder_state is not None:
            self.net.encoder.model.load_state_dict(encoder_state, strict=False)  # counters stay 0

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.net(normalise(frames))
        return logits


def new_structure_network() -> StructureNetwork:
    """A network with an ImageNet encoder and a random decoder.

    Raises:
        WeightsError: when the package with the weights is not installed.
    """
    return StructureNetwork(pretrained_encoder().state_dict())


@dataclass(frozen=True, eq=False)
class StructureFrames:
    """Frames uint8 [N, 160, 224] and the masks of their structures, bool [N, 3, 160, 224]."""

    frames: np.ndarray
    masks: np.ndarray


def structure_frames(
    seeds: Sequence[int], progress: Callable[[int, int], None], sampling: Sampling = SAMPLING
) -> StructureFrames:
    """Render some frames of each sweep of phantom cases, with their structures."""
    box = bounding_box(PHANTOM.sector.mask)
    frames, masks = [], []
    for number, seed in enumerate(seeds):
        renderer, random = CaseRenderer(seed, PHANTOM), np.random.default_rng(seed)
        plan = renderer.plan
        for sweep, truth in enumerate(plan.truths):
            chosen, _, _ = sample_sweep(truth, sampling, random)
            if not len(chosen):
                continue
            pictures, _ = renderer.render(sweep, chosen)
            shown = structure_masks(plan.sweeps[sweep], plan.fetus, truth, PHANTOM.sector, chosen)
            frames += [fitted(picture[box]) for picture in pictures]
            masks += [np.stack([fitted(mask[box]) for mask in own]) for own in shown]
        progress(number + 1, len(seeds))
    return StructureFrames(np.stack(frames), np.stack(masks))


class StructureBatches:
    """Iterates without end over batches of frames uint8 and masks float, each turned, scaled, brightened."""

    def __init__(self, drawn: StructureFrames, size: int, seed: int) -> None:
        self.drawn, self.size = drawn, size
        self._organs = np.flatnonzero(drawn.masks[:, 1:].any(axis=(1, 2, 3)))
        self._random = np.random.default_rng(seed)

    def __iter__(self) -> StructureBatches:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = self._random.integers(0, len(self.drawn.frames), self.size)
        if len(self._organs):
            count = round(ORGAN_SHARE * self.size)
            chosen[:count] = self._random.choice(self._organs, count)
        pairs = [_turned(self.drawn.frames[number], self.drawn.masks[number], self._random) for number in chosen]
        frames, masks = (np.stack(part) for part in zip(*pairs))
        return torch.from_numpy(frames), torch.from_numpy(masks.astype(np.float32))


def _turned(frame: np.ndarray, masks: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A frame and its masks under one random turn and scale about the abdomen, and a random gamma."""
    rows, columns = frame.shape
    places = np.argwhere(masks[0])
    middle = places.mean(axis=0) if len(places) else np.array([rows / 2, columns / 2])
    scale, angle = np.exp(random.uniform(*np.log(SCALES))), random.uniform(-180.0, 180.0)
    centre = (float(middle[1]), float(middle[0]))
    matrix: np.ndarray = cv2.getRotationMatrix2D(centre, angle, float(scale))
    # where the abdomen stays, and moves a little towards the centre of the input
    matrix[:, 2] += random.uniform(0.0, 1.0) * (np.array([columns / 2, rows / 2]) - middle[::-1])
    if random.random() < 0.5:
        matrix[0] = [-matrix[0, 0], -matrix[0, 1], columns - 1 - matrix[0, 2]]
    turned = cv2.warpAffine(frame, matrix, (columns, rows), flags=cv2.INTER_LINEAR)
    moved = [
        cv2.warpAffine(mask.astype(np.uint8), matrix, (columns, rows), flags=cv2.INTER_NEAREST) for mask in masks
    ]
    return with_gamma(turned, float(np.exp(random.uniform(*np.log(GAMMAS))))), np.stack(moved) > 0


def structure_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, and 1 - Dice of each structure over the batch, in equal parts."""
    shares = logits.sigmoid()
    overlap = 2 * (shares * masks).sum(dim=(0, 2, 3)) + 1.0
    dice = overlap / (shares.sum(dim=(0, 2, 3)) + masks.sum(dim=(0, 2, 3)) + 1.0)
    loss: torch.Tensor = binary_cross_entropy_with_logits(logits, masks) + (1 - dice).mean()
    return loss


@dataclass(frozen=True)
class PlaneStructures:
    """What a frame shows.

    Attributes:
        in_view: 0 to 1: mean probability inside of the abdomen's region times the share of its edge that does not
        touch
            the border of the field of view; 0 without a region.
        stomach, vein: 0 to 1, probability of the most probable pixels inside of the abdomen.
        masks: bool [3, 160, 224], see ``STRUCTURES``.
    """

    in_view: float
    stomach: float
    vein: float
    masks: np.ndarray

    @property
    def score(self) -> float:
        """A third each for the abdomen in view, stomach and vein; the latter count as far as the first."""
        return self.in_view * (1.0 + self.stomach + self.vein) / 3.0


@torch.inference_mode()
def plane_structures(network: StructureNetwork, frame: np.ndarray, inside: np.ndarray) -> PlaneStructures:
    """Find the structures of a frame uint8 [h, w] with field of view bool [h, w]."""
    shares = network(torch.from_numpy(fitted(frame))[None]).sigmoid()[0].numpy()
    view = fitted(inside).astype(np.uint8)
    masks = (shares > PRESENT) & (view > 0)
    region = masks[0]
    area = int(region.sum())
    if area < MIN_ABDOMEN * region.size:
        return PlaneStructures(0.0, 0.0, 0.0, masks)
    kernel = np.ones((3, 3), np.uint8)
    zeros: dict[str, Any] = {"borderType": cv2.BORDER_CONSTANT, "borderValue": [0.0]}
    edge = region & (cv2.erode(region.astype(np.uint8), kernel, **zeros) == 0)
    clear = cv2.erode(view, kernel, iterations=2, **zeros) > 0
    in_view = float(shares[0][region].mean()) * float(clear[edge].mean())
    core = max(1, round(CORE * area))
    stomach, vein = (float(np.sort((shares[part] * region).ravel())[-core:].mean()) for part in (1, 2))
    masks[1:] &= region
    return PlaneStructures(in_view, stomach, vein, masks)


@dataclass(frozen=True)
class StructureFigures:
    """How well a structure is found on phantom frames.

    Attributes:
        frames, shown: frames, and those that show it.
        roc_auc: of telling the frames that show it; None where all or none do.
        found, absent: share of the frames that show it in which it is found, and of the others in which it is not.
        dice: mean over the frames that show it.
    """

    name: str
    frames: int
    shown: int
    roc_auc: float | None
    found: float | None
    absent: float | None
    dice: float | None


def structure_figures(
    network: StructureNetwork, drawn: StructureFrames, progress: Callable[[int, int], None]
) -> list[StructureFigures]:
    """Judge a network on phantom frames; an abdomen is found with any region, the others with 0.5 and more."""
    view = fitted(PHANTOM.sector.mask[bounding_box(PHANTOM.sector.mask)])
    presence, dices = np.zeros((len(drawn.frames), 3)), np.full((len(drawn.frames), 3), np.nan)
    for number, (frame, truth) in enumerate(zip(drawn.frames, drawn.masks)):
        found = plane_structures(network, frame, view)
        presence[number] = found.in_view, found.stomach, found.vein
        for part in np.flatnonzero(truth.any(axis=(1, 2))):
            dices[number, part] = dice(found.masks[part], truth[part])
        progress(number + 1, len(drawn.frames))
    figures = []
    for part, name in enumerate(STRUCTURES):
        shown = drawn.masks[:, part].any(axis=(1, 2))
        called = presence[:, part] >= (1e-9 if part == 0 else PRESENT)
        figures.append(
            StructureFigures(
                name,
                len(shown),
                int(shown.sum()),
                roc_auc(presence[:, part], shown),
                float(called[shown].mean()) if shown.any() else None,
                float((~called[~shown]).mean()) if (~shown).any() else None,
                float(dices[shown, part].mean()) if shown.any() else None,
            )
        )
    return figures
