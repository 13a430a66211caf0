"""The encoder that stands in for FetalCLIP in experiments on phantoms."""

import pytest

from fetaliqa.lab.phantom_encoder import train_stand_in
from fetaliqa.model import Bundle
from fetaliqa.training.recipes import recipe_named
from fetaliqa.training.starting_weights import open_base

pytestmark = pytest.mark.slow


def test_a_stand_in_is_a_bundle_that_runs_can_start_from(tmp_path):
    stages = []
    folder = train_stand_in(
        tmp_path / "stand-in", lambda *stage: stages.append(stage), cases=2, steps=3, processes=1
    )
    assert "for its encoder alone" in Bundle.open(folder).card.limitations
    assert stages[-1] == ("train the stand-in encoder", 3, 3)
    base = open_base(str(folder))
    assert base.synthetic
    assert base.kind == "included"
    one, two = (base.build(recipe_named("paper"), seed) for seed in (0, 1))
    trained = dict(one.visual.named_parameters())
    for name, parameter in two.visual.named_parameters():  # the encoder is the bundle's, whatever the seed
        assert "lora" in name or bool((trained[name] == parameter).all())
