"""Training frames, batches, augmentation and loss."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from fetaliqa.training.augmentation import STILL, Augmentation, apply_changes, augment, draw_changes
from fetaliqa.training.losses import outline_loss
from fetaliqa.training.training_frames import Batch, frames_of_case, join


def _disc(center=(112, 112), radius=30, size=224):
    mask = np.zeros((size, size), np.uint8)
    cv2.circle(mask, center, radius, 1, cv2.FILLED)
    return mask


def test_frames_keep_their_outline_and_grade():
    masks = np.stack([_disc() * 2, np.zeros((224, 224), np.uint8), _disc(radius=40)])
    frames = np.random.default_rng(0).integers(0, 255, masks.shape, dtype=np.uint8)
    first = frames_of_case(frames, masks, hard=np.array([False, True, False]), case=4)
    both = join([first, frames_of_case(frames[:1], masks[:1], hard=np.array([False]), case=5)])
    assert both.grades.tolist() == [2, 0, 1, 2]
    assert both.cases.tolist() == [4, 4, 4, 5]
    batch = both.batch(np.array([2, 1]))
    np.testing.assert_array_equal(batch.images.numpy(), frames[[2, 1]])
    np.testing.assert_array_equal(batch.outlines.numpy(), (masks[[2, 1]] > 0).astype(np.float32))


def test_augmentation_never_pushes_the_outline_out_of_the_picture():
    targets = torch.from_numpy(np.stack([_disc((18, 112), 18), _disc((112, 200), 22)] * 100)).float()
    images = (targets * 200).to(torch.uint8)
    batch = augment(Batch(images, targets), torch.Generator().manual_seed(0), Augmentation())
    moved, outlines = batch.images, batch.outlines
    left = outlines.sum(dim=(1, 2)) / targets.sum(dim=(1, 2))
    # the zoom of at most 12 % changes areas by at most 1 / 0.88 ** 2; 5 % may be cut off
    assert left.min() > 0.95 * 1 / 1.13**2
    # picture and outline move together
    inside = torch.stack([image[outline > 0].float().mean() for image, outline in zip(moved, outlines)])
    outside = torch.stack([image[outline == 0].float().mean() for image, outline in zip(moved, outlines)])
    assert (inside > 10 * outside).all()


def test_augmentation_moves_most_frames():
    targets = torch.from_numpy(np.stack([_disc()] * 50)).float()
    drawn = Batch((targets * 200).to(torch.uint8), targets)
    batch = augment(drawn, torch.Generator().manual_seed(0), Augmentation())
    assert ((batch.outlines != targets).sum(dim=(1, 2)) > 0).float().mean() > 0.9


@pytest.mark.parametrize("moves", [True, False])
def test_picture_and_outline_move_together(moves):
    targets = torch.from_numpy(np.stack([_disc((80, 100), 40)] * 30)).float()
    settings = Augmentation() if moves else STILL
    drawn = Batch((targets * 200).to(torch.uint8), targets)
    batch = augment(drawn, torch.Generator().manual_seed(1), settings)
    shown = batch.images > 60  # half of the darkest grey level that gamma and gain make of 200
    assert (shown == (batch.outlines > 0)).float().mean() > 0.99
    mirrored = batch.outlines[:, :, :112].sum(dim=(1, 2)) < batch.outlines[:, :, 112:].sum(dim=(1, 2))
    assert 5 < int(mirrored.sum()) < 25
    if not moves:
        flipped = torch.where(mirrored[:, None, None], targets.flip(-1), targets)
        torch.testing.assert_close(batch.outlines, flipped)


def test_flipped_and_mirrored_frames_keep_their_size():
    targets = torch.from_numpy(np.stack([_disc((80, 60), 30)] * 40)).float()
    settings = Augmentation(rotation_deg=0, shift=0, zoom=0, flip=True)
    batch = augment(Batch((targets * 200).to(torch.uint8), targets), torch.Generator().manual_seed(2), settings)
    torch.testing.assert_close(batch.outlines.sum(dim=(1, 2)), targets.sum(dim=(1, 2)))
    low = batch.outlines[:, 112:].sum(dim=(1, 2)) > batch.outlines[:, :112].sum(dim=(1, 2))
    assert 8 < int(low.sum()) < 32


def test_two_processes_apply_what_one_would():
    targets = torch.from_numpy(np.stack([_disc((80, 100), radius) for radius in range(20, 28)])).float()
    whole = Batch((targets * 200).to(torch.uint8), targets)
    settings = Augmentation(flip=True)
    changes = draw_changes(8, torch.Generator().manual_seed(3), settings)
    together = apply_changes(whole, changes, settings)
    for rank in range(2):
        own = Batch(whole.images[rank::2], whole.outlines[rank::2])
        part = apply_changes(own, changes.part(rank, 2), settings)
        assert torch.equal(part.images, together.images[rank::2])
        assert torch.equal(part.outlines, together.outlines[rank::2])


def test_impossible_augmentation_is_refused():
    with pytest.raises(ValueError, match=r"zoom is 1\.5; 0 to 1"):
        Augmentation(zoom=1.5)


def test_the_loss_of_a_frame_is_its_cross_entropy_and_its_smoothed_dice():
    logits = torch.tensor([[[2.0, -1.0]], [[-3.0, 0.5]]])
    targets = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    p = torch.sigmoid(logits)
    cross = -(targets * p.log() + (1 - targets) * (1 - p).log()).mean(dim=(1, 2))
    dice = 1 - (2 * (p * targets).sum(dim=(1, 2)) + 5) / (p.sum(dim=(1, 2)) + targets.sum(dim=(1, 2)) + 5)
    expected = (cross + dice).tolist()
    assert outline_loss(logits, targets, smooth=5).item() == pytest.approx(sum(expected) / 2)
    weighed = outline_loss(logits, targets, torch.tensor([0.5, 3.0]), smooth=5)
    assert weighed.item() == pytest.approx((0.5 * expected[0] + 3 * expected[1]) / 2)


def test_a_batch_without_any_outline_still_gives_gradient():
    logits = torch.full((2, 224, 224), -1.0, requires_grad=True)
    outline_loss(logits, torch.zeros(2, 224, 224)).backward()
    assert logits.grad.abs().sum() > 1e-3


def test_a_right_answer_costs_less_than_a_wrong_one():
    targets = torch.from_numpy(_disc()[None]).float()
    right = outline_loss(targets * 16 - 8, targets)
    assert right < 0.02
    assert outline_loss(8 - targets * 16, targets) > 1
