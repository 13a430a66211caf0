"""Recipes are data; stores hold what a recipe asks for; batches follow from seed and step."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from disc_data import PaddedDiscs

from fetaliqa.errors import OptionError, SweepError
from fetaliqa.model import build_classification, build_segmentation, load_architecture
from fetaliqa.model.encoder_model import trainable_count
from fetaliqa.model.image_encoder import tower_shapes
from fetaliqa.training.batch_sampling import OrderedBatches, StepBatches, StepSampler, make_order
from fetaliqa.training.frame_store import StoreRequest, open_store, prepare_frames
from fetaliqa.training.lightning_module import FrameModule, batch_dice_loss
from fetaliqa.training.losses import outline_loss
from fetaliqa.training.recipes import RECIPE_NAMES, changed, recipe_from_json, recipe_named


def test_the_paper_recipe_holds_the_papers_figures():
    paper = recipe_named("paper")
    assert (paper.learning_rate, paper.epochs, paper.batch_size, paper.copies) == (3e-4, 5, 32, 2)
    assert (paper.schedule, paper.loss, paper.precision) == ("constant", "batch-dice", "bf16-mixed")
    assert (paper.lora.rank, paper.lora.alpha, paper.lora.dropout) == (8, 16, 0.1)
    assert recipe_named("paper", "classification").loss == "bce"
    assert recipe_named("released-code").encoder == "frozen"


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_named_recipes_survive_json(name):
    recipe = recipe_named(name)
    assert recipe_from_json(recipe.to_json(), "x") == recipe


def test_trainable_parameters_of_the_named_recipes_are_the_papers():
    architecture = load_architecture("fetalclip")
    weights = {name: torch.zeros(()).expand(shape) for name, shape in tower_shapes(architecture.vision).items()}
    counts = {}
    for name, build in (("cls", build_classification), ("seg", build_segmentation)):
        counts[name] = trainable_count(build(architecture, weights=weights, encoder="lora"))
    counts["released seg"] = trainable_count(build_segmentation(architecture, weights=weights, encoder="frozen"))
    assert counts == {"cls": 2_360_065, "seg": 3_951_237, "released seg": 1_591_941}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0; 1 or more"),
        ({"learning_rate": 2}, "learning_rate is 2.0; above 0"),
        ({"loss": "bce"}, "loss 'bce' for segmentation"),
        ({"positive_share": 0.9, "hard_share": 0.3}, "add up to more than 1"),
        ({"optimiser": "adamw"}, "recipe has no field 'optimiser'; known: batch_size"),
        ({"sweep_weights": True, "loss": "batch-dice"}, "sweep_weights need a loss per frame"),
        ({"online.zoom": 3}, "zoom is 3.0; 0 to 1"),
        ({"epochs.x": 3}, "the recipe's epochs is 5, so it has no 'x'"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0"),
        ({"warmup_share": 1.5}, "warmup_share is 1.5; 0 to 1"),
        ({"encoder_rate": 0}, "encoder_rate is 0.0; above 0"),
        ({"muon_learning_rate": 3e-3}, "recipe has no field 'muon_learning_rate'; known: batch_size"),
        ({"window": 8}, "recipe has no field 'window'; known: batch_size"),
    ],
)
def test_a_wrong_field_is_named(change, message):
    with pytest.raises(OptionError, match=message.replace(".", r"\.")):
        changed(recipe_named("fetaliqa"), change)


def test_unknown_recipes_name_the_known_ones():
    with pytest.raises(
        OptionError, match="unknown recipe 'papers'; known: paper, released-code, fetaliqa, decoder, compact"
    ):
        recipe_named("papers")


# -- prepared frames -------------------------------------------------------------------------------


def test_only_frames_somebody_looked_at_are_taken(discs, tmp_path):
    store = prepare_frames(discs, ["case-0"], StoreRequest(size=32), tmp_path)
    assert 11 not in store.numbers
    assert len(store.frames) == 23
    assert store.frames.grades[store.numbers == 3].tolist() == [1]
    assert store.frames.grades[store.numbers == 6].tolist() == [2]
    assert store.frames.grades.astype(bool).sum() == 4


def test_optimal_labels_make_suboptimal_frames_negative(discs, tmp_path):
    store = prepare_frames(discs, ["case-0"], StoreRequest(size=32, labels="optimal"), tmp_path)
    suboptimal = np.isin(store.numbers, (5, 6))
    assert not store.frames.grades[suboptimal].any()
    assert not store.frames.outlines(np.flatnonzero(suboptimal)).any()
    assert store.frames.grades[np.isin(store.numbers, (3, 4))].tolist() == [1, 1]


def test_the_papers_filter_drops_sweeps_without_circumference(discs, tmp_path):
    store = prepare_frames(discs, ["case-0"], StoreRequest(size=32, measured_sweeps_only=True), tmp_path)
    assert store.numbers.max() == 10


def test_black_slots_count_where_the_released_code_counts_them_only(tmp_path):
    assert recipe_named("released-code").black_slots
    assert recipe_named("released-code", "classification").black_slots
    assert not recipe_named("paper").black_slots
    # slot 11 is grey, and nobody looked at it
    with_slots = StoreRequest(size=32, measured_sweeps_only=True, black_slots=True)
    assert prepare_frames(PaddedDiscs(), ["case-0"], with_slots, tmp_path).numbers.tolist() == list(range(11))
    without = replace(with_slots, black_slots=False)
    assert prepare_frames(PaddedDiscs(), ["case-0"], without, tmp_path).numbers.tolist() == list(range(10))
    everywhere = StoreRequest(size=32, black_slots=True)
    store = prepare_frames(PaddedDiscs(), ["case-0"], everywhere, tmp_path)
    assert store.numbers.tolist() == [number for number in range(24) if number != 11]
    assert not store.frames.grades[np.isin(store.numbers, (10, 23))].any()


def test_every_nth_frame_is_taken(discs, tmp_path):
    store = prepare_frames(discs, ["case-0"], StoreRequest(size=32, frame_step=4), tmp_path)
    assert store.numbers.tolist() == [0, 4, 8, 12, 16, 20]
    assert store.frames.grades.tolist() == [0, 1, 0, 0, 0, 0]


def test_negatives_stand_for_those_left_out_where_all_positives_are_kept(discs, tmp_path):
    store = prepare_frames(discs, ["case-0"], StoreRequest(size=32, frame_step=4, keep_positives=True), tmp_path)
    assert store.numbers.tolist() == [0, 3, 4, 5, 6, 8, 12, 16, 20]
    assert store.frames.weights.tolist() == [4, 1, 1, 1, 1, 4, 4, 4, 4]


def test_copies_are_seeded_and_counted(discs, tmp_path):
    stores = [
        prepare_frames(discs, ["case-0"], StoreRequest(size=32, copies=2, seed=seed), tmp_path / str(place))
        for place, seed in enumerate((1, 1, 2))
    ]
    assert stores[0].summary()["augmented_copies"] == 46
    assert (stores[0].frames.images == stores[1].frames.images).all()
    assert (stores[0].frames.images != stores[2].frames.images).any()
    original = stores[0].copies == 0
    assert (stores[0].frames.images[original] == stores[2].frames.images[original]).all()


def test_the_same_request_finds_what_was_prepared(discs, tmp_path, monkeypatch):
    one = prepare_frames(discs, ["case-0"], StoreRequest(size=32), tmp_path)
    monkeypatch.setattr(type(discs), "read", None)
    two = prepare_frames(discs, ["case-0"], StoreRequest(size=32), tmp_path)
    assert one.key == two.key
    assert (one.frames.images == two.frames.images).all()


def test_several_processes_prepare_the_same_frames(discs, tmp_path):
    ids = ["case-0", "case-1"]
    one = prepare_frames(discs, ids, StoreRequest(size=32, copies=1), tmp_path / "1")
    two = prepare_frames(discs, ids, StoreRequest(size=32, copies=1), tmp_path / "2", processes=2)
    assert (one.frames.images == two.frames.images).all()


def test_a_failure_leaves_no_half_of_a_store(discs, tmp_path):
    with pytest.raises(Exception, match="no such case"):
        prepare_frames(discs, ["case-0", "case-99"], StoreRequest(size=32), tmp_path)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_damaged_store_is_refused(discs, tmp_path):
    store = prepare_frames(discs, ["case-0"], StoreRequest(size=32), tmp_path)
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    with open(folder / "images.u8", "ab") as file:
        file.write(b"x")
    with pytest.raises(SweepError, match=r"images\.u8 is damaged"):
        open_store(folder, store.key)


# -- the order of batches --------------------------------------------------------------------------


def test_every_epoch_of_shuffled_frames_is_one_pass(stores, a_recipe):
    recipe = a_recipe("paper", epochs=3)
    order = make_order(stores[0].frames, recipe, seed=1)
    epochs = [[order.batch(epoch * order.steps + step) for step in range(order.steps)] for epoch in range(2)]
    for epoch in epochs:
        taken = np.concatenate(epoch)
        assert len(taken) == len(set(taken.tolist())) == order.steps * 8
    assert not np.array_equal(epochs[0][0], epochs[1][0])


def test_balanced_batches_hold_their_shares_and_use_every_frame(stores, a_recipe):
    recipe = a_recipe("fetaliqa", positive_share=0.5, hard_share=0.25)
    frames = stores[0].frames
    order = make_order(frames, recipe, seed=1)
    for step in (0, 7, 1000):
        chosen = order.batch(step)
        assert (frames.grades[chosen] > 0).sum() == 4
        assert frames.hard[chosen].sum() == 2
    used = np.concatenate([order.batch(step) for step in range(40)])
    assert set(used.tolist()) == set(range(len(frames)))


def test_sweep_weights_undo_the_balance(stores, a_recipe):
    frames = stores[0].frames
    order = make_order(frames, a_recipe("fetaliqa", sweep_weights=True), seed=1)
    chosen = order.batch(0)
    weighed = order.weights[frames.grades[chosen] > 0].sum() / order.weights.sum()
    assert weighed == pytest.approx((frames.grades > 0).mean())
    assert order.weights.mean() == pytest.approx(1)


def test_processes_share_a_batch_without_overlap(stores, a_recipe):
    recipe = a_recipe("fetaliqa")
    order = make_order(stores[0].frames, recipe, seed=1)
    whole = StepBatches(stores[0].frames, order, recipe, 1)[5]
    parts = [StepBatches(stores[0].frames, order, recipe, 1, rank, 2)[5] for rank in range(2)]
    for rank, part in enumerate(parts):
        assert torch.equal(part["images"], whole["images"][rank::2])
        assert torch.equal(part["changes"].thetas, whole["changes"].thetas[rank::2])
    held = [OrderedBatches(stores[1].frames, 8, rank, 2) for rank in range(2)]
    indices = torch.cat([batches[step]["indices"] for batches in held for step in range(len(batches))])
    assert sorted(indices.tolist()) == list(range(len(stores[1].frames)))


def test_a_sampler_goes_on_within_an_epoch():
    assert list(StepSampler(10, lambda: 13)) == list(range(13, 20))
    assert list(StepSampler(10, lambda: 20)) == list(range(20, 30))


def test_training_without_any_outline_is_refused(discs, tmp_path, a_recipe):
    store = prepare_frames(discs, ["case-0"], StoreRequest(size=32), tmp_path)
    store.frames.grades[:] = 0
    with pytest.raises(OptionError, match="no training frame has an outline"):
        make_order(store.frames, a_recipe(), seed=0)


# -- losses and optimiser --------------------------------------------------------------------------


def test_batch_dice_gives_no_gradient_without_an_outline_and_ours_does():
    empty = torch.zeros(2, 32, 32)
    for loss, learns in ((batch_dice_loss, False), (outline_loss, True)):
        logits = torch.zeros(2, 32, 32, requires_grad=True)
        value = loss(logits, empty)
        value.backward()
        assert bool(logits.grad.abs().sum() > 0) == learns
    assert float(batch_dice_loss(torch.zeros(2, 32, 32), empty)) == 0


def test_batch_dice_pools_the_pixels_of_the_batch():
    logits = torch.full((2, 1, 4), -50.0)
    logits[0, 0, :2] = 50.0  # two pixels predicted in the first frame, none in the second
    targets = torch.tensor([[[1.0, 0, 0, 0]], [[1.0, 1, 0, 0]]])
    assert float(batch_dice_loss(logits, targets)) == pytest.approx(1 - 2 * 1 / (2 + 3))


def test_the_dice_losses_are_those_of_monai():
    from monai.losses import DiceCELoss, DiceLoss

    torch.manual_seed(0)
    logits, targets = torch.randn(3, 16, 16), (torch.rand(3, 16, 16) > 0.7).float()
    channel = logits[:, None], targets[:, None]
    frames = DiceCELoss(sigmoid=True, smooth_nr=5.0, smooth_dr=5.0)
    torch.testing.assert_close(outline_loss(logits, targets, smooth=5.0), frames(*channel))
    batch = DiceLoss(sigmoid=True, batch=True, smooth_nr=0.0, smooth_dr=1e-7)
    torch.testing.assert_close(batch_dice_loss(logits, targets), batch(*channel))


def test_the_encoder_learns_at_a_rate_of_its_own(a_recipe):
    model = build_segmentation("study", random_init=True, encoder="lora")
    for share, task in ((0.1, "fetaliqa"), (1.0, "paper")):
        optimizer = FrameModule(model, a_recipe(task), 10, 0).configure_optimizers()["optimizer"]
        encoder, decoder = optimizer.param_groups
        assert encoder["initial_lr"] == pytest.approx(1e-2 * share)
        assert decoder["initial_lr"] == pytest.approx(1e-2)
        assert len(encoder["params"]) == sum(p.requires_grad for p in model.visual.parameters()) > 0
        assert len(decoder["params"]) == sum(p.requires_grad for p in model.decoder.parameters()) > 0


# -- validation ------------------------------------------------------------------------------------


class _Answers(torch.nn.Module):
    """Says what it is told to, frame by frame."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return self.logits[:, None]


def test_validation_weighs_frames_by_what_they_stand_for(a_recipe):
    outline = torch.zeros(32, 32)
    outline[:10, :10] = 1
    wrong = torch.zeros(32, 32)
    wrong[20:30, 20:30] = 1
    predicted = torch.stack([outline, wrong, torch.zeros(32, 32)])  # one hit, one false alarm, one rightly empty
    item = {
        "images": torch.zeros(3, 32, 32, dtype=torch.uint8),
        "outlines": torch.stack([outline, torch.zeros(32, 32), torch.zeros(32, 32)]).to(torch.uint8),
        "indices": torch.arange(3),
        "weights": torch.tensor([1.0, 4.0, 4.0]),
    }
    module = FrameModule(_Answers(predicted * 40 - 20), a_recipe(), 1, 0)
    module.on_validation_epoch_start()
    module.validation_step(item, 0)
    loss, count, hits, false, missed, overlap, pixels = module._sums.tolist()[:7]
    assert (count, hits, false, missed) == (9, 1, 4, 0)
    assert (overlap, pixels) == (100, 200 + 4 * 100)
    even = dict(item, weights=torch.ones(3))
    module.on_validation_epoch_start()
    module.validation_step(even, 0)
    assert loss / count > module._sums[0] / module._sums[1]  # the false alarm counts for more


def test_a_classifier_cannot_be_chosen_by_dice():
    with pytest.raises(OptionError, match="monitor 'val_dice' is not available for a classifier"):
        changed(recipe_named("fetaliqa", "classification"), {"monitor": "val_dice"})
