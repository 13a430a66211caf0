import pytest
import torch
from disc_data import DiscData

from fetaliqa.training.frame_store import StoreRequest, prepare_frames
from fetaliqa.training.lightning_messages import quiet_lightning
from fetaliqa.training.recipes import changed, recipe_named


@pytest.fixture(autouse=True)
def _quiet_and_single_threaded():
    quiet_lightning()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def discs():
    return DiscData()


@pytest.fixture
def stores(discs, tmp_path):
    """Training and validation frames on a grid of 32 pixels."""
    ids = [entry.case_id for entry in discs.entries()]
    request = StoreRequest(size=32)
    return prepare_frames(discs, ids[:4], request, tmp_path / "s"), prepare_frames(
        discs, ids[4:], request, tmp_path / "s"
    )


@pytest.fixture
def a_recipe():
    """A quick recipe: the named one with small batches and few epochs."""

    def make(name="fetaliqa", task="segmentation", **changes):
        quick = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-2, **changes}
        return changed(recipe_named(name, task), quick)

    return make
