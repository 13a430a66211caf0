"""Where a phantom frame shows trunk, stomach and vein: the masks fit labels and pictures."""

import numpy as np
import pytest

from fetaliqa.lab.phantom.phantom_case import CaseRenderer
from fetaliqa.lab.phantom.phantom_seeds import PHANTOM
from fetaliqa.lab.phantom.phantom_structures import STRUCTURES, structure_masks


@pytest.fixture(scope="module")
def sweeps():
    """Of a case, all sweeps in which stomach or vein is seen: frames, pictures, outlines, structures, truth."""
    renderer = CaseRenderer(115_002, PHANTOM)
    found = []
    for number, truth in enumerate(renderer.plan.truths):
        frames = np.flatnonzero(truth.stomach | truth.vein)
        if len(frames):
            frames = np.unique(np.clip([frames[0] - 1, *frames[:: max(1, len(frames) // 4)]], 0, None))
            pictures, outlines = renderer.render(number, frames)
            plan = renderer.plan
            shown = structure_masks(plan.sweeps[number], plan.fetus, truth, PHANTOM.sector, frames)
            found.append((frames, pictures, outlines, shown, truth))
    assert found
    return found


def test_the_trunk_is_the_outline_of_the_label(sweeps):
    for _, _, outlines, shown, _ in sweeps:
        labelled = outlines.any(axis=(1, 2))
        differs = (outlines[labelled] > 0) != shown[labelled, STRUCTURES.index("abdomen")]
        assert differs.sum(axis=(1, 2)).max(initial=0) <= 4  # pixels on the line itself, by rounding
        assert outlines[labelled].any(axis=(1, 2)).all()


def test_stomach_and_vein_are_where_the_label_says_that_they_are_seen(sweeps):
    seen = 0
    for frames, _, _, shown, truth in sweeps:
        assert np.array_equal(shown[:, 1].any(axis=(1, 2)), truth.stomach[frames])
        assert np.array_equal(shown[:, 2].any(axis=(1, 2)), truth.vein[frames])
        assert not (shown[:, 1:] & ~shown[:, :1]).any()  # inside of the trunk
        seen += shown[:, 1:].any(axis=(2, 3)).sum()
    assert seen > 0


def test_stomach_and_vein_are_darker_than_the_trunk_around_them(sweeps):
    for _, pictures, _, shown, _ in sweeps:
        for picture, (trunk, stomach, vein) in zip(pictures, shown):
            for organ in (stomach, vein):
                if organ.sum() > 40:
                    assert picture[organ].mean() < 0.8 * picture[trunk & ~stomach & ~vein].mean()
