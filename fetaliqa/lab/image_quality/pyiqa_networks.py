"""Learned image quality networks (trained on photographs), by pyiqa where it is installed.

pyiqa (PolyForm Noncommercial licence) is not a dependency of this project. It unpickles its weight files without
restrictions, so a file is first loaded here with ``weights_only``; pyiqa then opens the same file. Checking
whether a measure can run never downloads files.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from torch.nn.functional import interpolate

from fetaliqa.errors import FetalIQAError, OptionError
from fetaliqa.model.fetalclip_checkpoint import read_tensors

# pyiqa's name of each measure: its module, and the key of its weights there
NETWORKS = {
    "cnniqa": ("pyiqa.archs.cnniqa_arch", "koniq10k"),
    "maniqa": ("pyiqa.archs.maniqa_arch", "koniq"),
    "tres": ("pyiqa.archs.tres_arch", "koniq"),
}
SHORTEST_SIDE = 288  # pixels; smaller frames are enlarged: MANIQA cuts 224-pixel windows after scaling by 0.8


def why_not(name: str) -> str | None:
    """Why the network cannot run here, in one sentence; None when it can."""
    if find_spec("pyiqa") is None:
        return "not run: pyiqa is not installed (it is under a noncommercial licence and no part of our extras)"
    try:
        file = _weights_file(name)
    except (ImportError, AttributeError, KeyError) as problem:
        return f"not run: pyiqa is installed, but its {name} cannot be imported ({problem})"
    if not file.is_file():
        return f"not run: weights not downloaded; pyiqa's pyiqa.create_metric({name!r}) fetches {file.name}"
    return None


def score(name: str, frame: np.ndarray, _inside: np.ndarray) -> float:
    """The network's score of a frame uint8 [h, w].

    Raises:
        OptionError: when the network cannot be loaded.
    """
    grey = torch.from_numpy(np.ascontiguousarray(frame))[None, None].float() / 255.0
    if min(frame.shape) < SHORTEST_SIDE:
        factor = SHORTEST_SIDE / min(frame.shape)
        grey = interpolate(grey, scale_factor=factor, mode="bilinear", align_corners=False)
    with torch.inference_mode():
        return float(_network(name)(grey.expand(-1, 3, -1, -1)))


@cache
def _network(name: str) -> Any:
    import pyiqa

    try:
        read_tensors(_weights_file(name))
        return pyiqa.create_metric(name, device=torch.device("cpu"))
    except FetalIQAError as problem:
        raise OptionError(f"{name}: {problem}") from None
    except (OSError, RuntimeError, ValueError, KeyError) as problem:
        raise OptionError(f"{name}: pyiqa could not load it ({type(problem).__name__}); leave it out") from None


def _weights_file(name: str) -> Path:
    module, key = NETWORKS[name]
    address = import_module(module).default_model_urls[key]
    folder = import_module("pyiqa.utils.download_util").DEFAULT_CACHE_DIR
    return Path(folder) / PurePosixPath(urlparse(address).path).name
