"""Training and held-out images of the interactive model.

Heads and abdomens are split as for the shipped head and abdomen models (``fetaliqa.lab.stills.shipped_split``),
so that no held-out image has trained the encoder. Femurs are left out whole: the decoder
never saw one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

from fetaliqa.lab.interactive.interactive_training import PromptShare
from fetaliqa.lab.interactive.prompt_samples import (
    Absent,
    Carried,
    Mixed,
    Outlined,
    PhantomRun,
    Regions,
    mild,
    phantom_runs,
)
from fetaliqa.lab.phantom.phantom_seeds import PHANTOM, TRAIN
from fetaliqa.lab.stills.shipped_split import held_out, learnt_from
from fetaliqa.lab.stills.still_augmentation import Settings
from fetaliqa.lab.stills.still_image import Still
from fetaliqa.lab.stills.still_samples import StillSet

HEADS_AS_NEGATIVES = 250  # of the abdomen model: the encoder has seen these
UNSEEN_PLANE = "femur"
PHANTOM_SEEDS = range(TRAIN, TRAIN + 40)  # of the 120 that trained the abdomen model
HEAD_SETTINGS = Settings(shift=0.08, p_flip=0.3, p_shadow=0.1, p_marks=0.1, p_view=0.1)
ABDOMEN_SETTINGS = Settings(p_view=0.35)
OTHER_SETTINGS = Settings(p_view=0.2, scale=(0.8, 1.6))
PHANTOM_SETTINGS = mild(Settings(p_view=0.5, p_flip=0.0, rotation_deg=20.0))
ATTRIBUTION = (
    "HC18 (van den Heuvel et al. 2018, Zenodo 1327317); African planes (Sendra-Balcells et al. 2023, Zenodo "
    "7540448); FETAL_PLANES_DB (Burgos-Artizzu et al. 2020, Zenodo 3904280): all CC BY 4.0."
)


def training_stills(stills: Sequence[Still]) -> list[Still]:
    """Images that the decoder learns from: heads, outlined abdomens, and planes other than femurs."""
    heads = [one for one in learnt_from(stills, "head") if one.plane == "head"]
    others = [one for one in learnt_from(stills, "abdomen") if one.plane not in ("head", UNSEEN_PLANE)]
    return [*heads, *others]


def held_out_heads(stills: Sequence[Still]) -> list[Still]:
    """Heads that trained neither the head model nor, as negatives, the abdomen model, whose encoder is used."""
    heads = sorted(
        (one for one in learnt_from(stills, "abdomen") if one.plane == "head"), key=lambda one: one.sha256
    )
    seen = {one.file for one in heads[:HEADS_AS_NEGATIVES]}
    return [one for one in held_out(stills, "head") if one.plane == "head" and one.file not in seen]


def held_out_abdomens(stills: Sequence[Still]) -> list[Still]:
    """Abdomens held out of the abdomen model: African ones, and all Spanish ones."""
    return [one for one in held_out(stills, "abdomen") if one.plane == "abdomen" and one.ellipse is not None]


def unseen_planes(stills: Sequence[Still]) -> list[Still]:
    """Femurs held out of the encoder's training; the decoder never saw any."""
    return [one for one in held_out(stills, "abdomen") if one.plane == UNSEEN_PLANE]


def training_runs(progress: Callable[[], None] = lambda: None) -> list[PhantomRun]:
    """The phantom sweeps that train."""
    return phantom_runs(PHANTOM_SEEDS, PHANTOM, progress=progress)


def training_shares(stills: Sequence[Still], runs: Sequence[PhantomRun]) -> list[PromptShare]:
    """Kinds of samples, and how many of each are new in a step."""
    heads = StillSet([one for one in stills if one.plane == "head"], "head", HEAD_SETTINGS)
    abdomens = StillSet([one for one in stills if one.plane == "abdomen"], "abdomen", ABDOMEN_SETTINGS)
    others = StillSet([one for one in stills if one.plane not in ("head", "abdomen")], "abdomen", OTHER_SETTINGS)
    return [
        PromptShare(Outlined(heads), 2),
        PromptShare(Outlined(abdomens), 2),
        PromptShare(Carried(runs, PHANTOM_SETTINGS, left=0.4), 2),
        PromptShare(
            Mixed(
                [
                    Regions(others, (0.4, 0.5, 0.1)),
                    Regions(abdomens, (0.9, 0.0, 0.1)),
                    Absent(Outlined(abdomens), others),
                ],
                (0.65, 0.2, 0.15),
            ),
            2,
        ),
    ]


def described(stills: Sequence[Still]) -> tuple[str, str]:
    """What trained, in words, and its hash."""
    counted = Counter((one.source, one.plane) for one in stills)
    counts = ", ".join(f"{count} {source} {plane}" for (source, plane), count in sorted(counted.items()))
    digest = hashlib.sha256("".join(sorted(one.sha256 for one in stills)).encode()).hexdigest()
    return f"{counts}; sweeps of {len(PHANTOM_SEEDS)} phantom cases; synthetic objects. {ATTRIBUTION}", digest
