"""Augmented copies of training frames, made once before training, as in the paper.

On the padded picture at full resolution, with albumentations 2.0.8 (its settings are those that FetalCLIP-IQA's
released code uses): colour jitter (brightness, contrast and saturation by up to 20 %, half of the time; saturation
and hue change nothing in a grey picture), CLAHE (clip limit up to 4, 8 x 8 tiles, half of the time), and always a
shift of up to 20 % and a rotation of up to 20 degrees. Two differences: our copies are seeded, and resampled
to the square grid like every other frame.

The anatomy may be shifted out of the picture; ``lost`` of the frame store counts such copies.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

SHIFT, ROTATION_DEG = 0.2, 20.0


def make_compose() -> Any:
    """The paper's augmentation; ``set_random_seed`` before each use makes it repeatable."""
    import albumentations

    return albumentations.Compose(
        [
            albumentations.ColorJitter(),
            albumentations.CLAHE(),
            albumentations.Affine(
                scale=1.0,
                translate_percent=(-SHIFT, SHIFT),
                rotate=(-ROTATION_DEG, ROTATION_DEG),
                shear=0,
                interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_NEAREST,
                p=1.0,
            ),
        ]
    )


def augmented_copy(
    compose: Any, frame: np.ndarray, mask: np.ndarray, seed: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """A changed copy of a frame and its mask.

    Args:
        compose: from :func:`make_compose`.
        frame: uint8 [H, W].
        mask: uint8 [H, W] of labels.
        seed: same seed, same copy.

    Returns:
        uint8 [S, S] twice, S the longer side: padded to a square, as the paper augments.
    """
    side = max(frame.shape)
    top, left = (side - frame.shape[0]) // 2, (side - frame.shape[1]) // 2
    square, labels = (np.zeros((side, side), np.uint8) for _ in range(2))
    square[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    labels[top : top + frame.shape[0], left : left + frame.shape[1]] = mask
    compose.set_random_seed(int(np.random.SeedSequence(list(seed)).generate_state(1)[0]))
    changed = compose(image=square[..., None], mask=labels)
    return changed["image"].reshape(side, side), changed["mask"].reshape(side, side)
