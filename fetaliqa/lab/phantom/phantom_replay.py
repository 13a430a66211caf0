"""Phantoms as the replay source of the demo model, which was trained on them."""

from __future__ import annotations

from fetaliqa.errors import BundleError, NotFoundError
from fetaliqa.lab.phantom.phantom_data import SampledPhantoms, WholePhantoms
from fetaliqa.lab.phantom.phantom_seeds import TRAIN, VALIDATION
from fetaliqa.model import Bundle
from fetaliqa.registry.model_store import DEMO, resolve_bundle
from fetaliqa.retraining.replay import SWEEP_CASES, SWEEP_STEP, TRAIN_FRAMES, VALIDATION_FRAMES, Replay


class PhantomReplay:
    """Phantoms of the seeds that the demo model was trained and validated on; see ``ReplaySource``."""

    def trained(self, bundle: Bundle) -> bool:
        """Whether a bundle has the demo model's own encoder."""
        if bundle.card.base.kind != "included":
            return False
        try:
            demo = Bundle.open(resolve_bundle(DEMO))
        except (NotFoundError, BundleError):
            return False
        return demo.card.base.sha256 == bundle.card.base.sha256

    def replay(self, train_cases: int, validation_cases: int) -> Replay:
        """The first cases of the training and of the validation seeds."""
        train = tuple(range(TRAIN, TRAIN + train_cases))
        validation = tuple(range(VALIDATION, VALIDATION + validation_cases))
        return Replay(
            {"kind": "phantom", "train_cases": train_cases, "validation_cases": validation_cases},
            SampledPhantoms(train, TRAIN_FRAMES),
            SampledPhantoms(validation, VALIDATION_FRAMES),
            WholePhantoms(validation[:SWEEP_CASES], SWEEP_STEP),
        )


SOURCE = PhantomReplay()
