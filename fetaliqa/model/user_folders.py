"""Folders of the user's data: weights, published bundles, training frames, and archives."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from fetaliqa.model.bundle_names import INTERACTIVE

HOME_VARIABLE = "FETALIQA_HOME"
DEMO_VARIABLE = "FETALIQA_DEMO_MODEL"
DEFAULT_VARIABLE = "FETALIQA_DEFAULT_MODEL"
INTERACTIVE_VARIABLE = "FETALIQA_INTERACTIVE_MODEL"
SHIPPED = ("abdomen", "head", "femur")  # bundles in this package, trained on real images


def weights_folder() -> Path:
    """Folder of imported foundation-model weights: ``$FETALIQA_HOME/weights``, else in the user's cache."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) / "weights" if home else platformdirs.user_cache_path("fetaliqa") / "weights"


def models_folder() -> Path:
    """Folder of published bundles: ``$FETALIQA_HOME/models``, else in the user's data folder.

    Not in the cache: a trained model cannot be downloaded again.
    """
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) / "models" if home else platformdirs.user_data_path("fetaliqa") / "models"


def demo_folder() -> Path:
    """Folder of the demo bundle: ``$FETALIQA_DEMO_MODEL``, else the one that ships inside this package."""
    folder = os.environ.get(DEMO_VARIABLE)
    return Path(folder) if folder else Path(__file__).resolve().parents[1] / "demo_model"


def shipped_folder(name: str) -> Path:
    """Folder of a bundle that ships inside this package, one of ``SHIPPED``."""
    return Path(__file__).resolve().parents[1] / "shipped_models" / name


def interactive_folder() -> Path:
    """Folder of the interactive bundle: ``$FETALIQA_INTERACTIVE_MODEL``, else the one that ships."""
    folder = os.environ.get(INTERACTIVE_VARIABLE)
    return Path(folder) if folder else shipped_folder(INTERACTIVE)


def default_model() -> str:
    """The bundle used by default, if none is published: ``$FETALIQA_DEFAULT_MODEL``, else ``abdomen``."""
    return os.environ.get(DEFAULT_VARIABLE) or SHIPPED[0]


def frames_folder() -> Path:
    """Folder of prepared training frames and features: ``$FETALIQA_HOME/frames``, else in the user's cache."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) / "frames" if home else platformdirs.user_cache_path("fetaliqa") / "frames"


def answers_folder() -> Path:
    """Folder of teacher outputs for distillation: ``$FETALIQA_HOME/answers``, else in the user's cache."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) / "answers" if home else platformdirs.user_cache_path("fetaliqa") / "answers"


def archives_folder() -> Path:
    """Folder of data from DICOM archives: ``$FETALIQA_HOME/archives``, else in the user's data folder.

    Not in the cache, because it holds labels.
    """
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) / "archives" if home else platformdirs.user_data_path("fetaliqa") / "archives"
