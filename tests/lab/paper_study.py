"""A study small enough for a test: discs in noise, a tiny random encoder, one epoch."""

import torch
from disc_data import TINY, DiscData, PaddedDiscs

from fetaliqa.datasets.splits import Split
from fetaliqa.lab.paper_tables import Study
from fetaliqa.model import build_segmentation
from fetaliqa.model.lora import base_state
from fetaliqa.training.starting_weights import Base
from fetaliqa.training.trainer import Machine

__all__ = ["SPLIT", "DiscData", "PaddedDiscs", "a_study"]

CASES = [f"case-{number}" for number in range(6)]
SPLIT = Split("by-hand", "case", None, tuple(CASES[:3]), tuple(CASES[3:4]), tuple(CASES[4:]))


def tiny_base():
    torch.manual_seed(0)
    model = build_segmentation(TINY, random_init=True, encoder="full")
    state = {name: tensor.detach().clone() for name, tensor in base_state(model.visual).items()}
    return Base("tiny", TINY, "included", True, state, "Apache-2.0")


def a_study(work, **changes):
    values = {
        "data": DiscData(),
        "split": SPLIT,
        "work": work,
        "seeds": (0, 1),
        "reduced": True,
        "base": tiny_base(),
        "base_key": "tiny",
        "settings": {"batch_size": 8, "copies": 1, "learning_rate": 0.01},
        "machine": Machine(accelerator="cpu", progress=False),
    }
    return Study(**{**values, **changes})
