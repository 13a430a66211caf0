"""Export of a model as a MONAI bundle, which runs without FetalIQA.

::

    OUT/configs/metadata.json           what the model is, its input and output, and the versions it was made with
    OUT/configs/inference.json          masks of single images (PNG, JPEG, BMP)
    OUT/configs/inference_stack.json    in addition: masks of stacks of frames (NIfTI)
    OUT/models/model.ts                 the network, see ``script_network``
    OUT/models/model.pt                 its tensors, as the specification of MONAI bundles asks for
    OUT/docs/README.md, license.txt

Specification: https://docs.monai.io/en/stable/mb_specification.html.
"""

from __future__ import annotations

import json
import warnings
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import torch

from fetaliqa import __version__
from fetaliqa.atomic import atomic_directory, write_json, write_text
from fetaliqa.deployment.monai_documents import licence_text, readme_text
from fetaliqa.deployment.script_network import script_network
from fetaliqa.errors import StorageError
from fetaliqa.measure.anatomy import anatomy_named
from fetaliqa.model import Bundle, BundleCard

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
MONAI_TESTED = "1.6.1"  # written where MONAI is not installed: the version that the tests run bundles with
# for what `monai.bundle run` imports: the evaluator, readers and writers, and the largest region of a mask
PACKAGES = {"pytorch-ignite": "0.5.5", "nibabel": "5.2", "pillow": "10.0", "scikit-image": "0.22", "fire": "0.7"}
CONFIGS = ("inference.json", "inference_stack.json")


def export_monai(bundle: Bundle, out: Path, weights: str | None = None) -> dict[str, Any]:
    """Write a model as a MONAI bundle.

    Args:
        bundle: a segmentation model.
        out: folder to create.
        weights: FetalCLIP weights, for a bundle that does not include them; None for the imported ones.

    Returns:
        ``files`` (names and bytes) and ``lines``, what to know, in sentences.

    Raises:
        BundleError, WeightsError: when the model cannot be exported.
        StorageError: when ``out`` exists.
    """
    network = script_network(bundle, weights)
    card = bundle.card
    try:
        with atomic_directory(out) as folder:
            for part in ("configs", "models", "docs"):
                (folder / part).mkdir()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # TorchScript is what MONAI bundles hold
                torch.jit.save(network, str(folder / "models" / "model.ts"))
            torch.save(dict(network.state_dict()), folder / "models" / "model.pt")
            write_json(folder / "configs" / "metadata.json", bundle_metadata(card))
            for name in CONFIGS:
                write_text(folder / "configs" / name, _config(name, card.threshold.probability))
            write_text(folder / "docs" / "README.md", readme_text(card))
            write_text(folder / "docs" / "license.txt", licence_text(card))
    except FileExistsError:
        raise StorageError(f"{out} exists already; choose another folder") from None
    files = {str(file.relative_to(out)): file.stat().st_size for file in sorted(out.rglob("*")) if file.is_file()}
    lines = [
        f"{card.name} {card.version} as a MONAI bundle; not for clinical use",
        f"licence of the model: {card.licence}",
        "commands that run and check it: docs/README.md in the folder",
    ]
    return {"files": files, "lines": lines}


def _config(name: str, threshold: float) -> str:
    """A configuration with the threshold of the model's outlines."""
    text = (resources.files("fetaliqa.deployment") / "monai_configs" / name).read_text(encoding="utf-8")
    values = json.loads(text)
    if "threshold" in values:
        values["threshold"] = threshold
    return json.dumps(values, indent=4) + "\n"


def bundle_metadata(card: BundleCard) -> dict[str, Any]:
    """Content of ``metadata.json``."""
    anatomy = anatomy_named(card.anatomy)
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "US",
        "num_channels": 1,
        "spatial_shape": ["*", "*"],
        "dtype": "float32",
        "value_range": [0, 255],
        "is_patch_data": False,
        "channel_def": {"0": "grey levels of a frame, rows then columns"},
    }
    shown = {
        **image,
        "type": "probabilities",
        "format": "segmentation",
        "value_range": [0, 1],
        "channel_def": {"0": f"probability of the fetal {anatomy.name}; 0 in frames that do not show it"},
    }
    return {
        "schema": SCHEMA,
        "version": card.version,
        "changelog": {card.version: f"exported by FetalIQA {__version__}"},
        "monai_version": _installed("monai") or MONAI_TESTED,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": _installed("numpy") or "",
        "required_packages_version": {name: _installed(name) or least for name, least in PACKAGES.items()},
        "name": f"FetalIQA {card.name}",
        "task": f"Segmentation of the fetal {anatomy.name} in ultrasound frames",
        "description": (
            f"Finds the frames that show the fetal {anatomy.name} and outlines it. {card.limitations} "
            "Not for clinical use."
        ),
        "authors": "FetalIQA contributors",
        "copyright": "FetalIQA contributors",
        "licence": card.licence,
        "data_source": f"{card.training_data.name}: {card.training_data.description}",
        "data_type": "png, jpeg, bmp, nifti",
        "image_classes": "one channel, grey levels 0 to 255, any size",
        "label_classes": f"one channel, 1 is the fetal {anatomy.name}, 0 is everything else",
        "pred_classes": f"one channel, probability of the fetal {anatomy.name}",
        "eval_metrics": card.metrics,
        "intended_use": card.intended_use,
        "references": ["https://arxiv.org/abs/2507.22802"],
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": shown}},
        "fetaliqa": {"anatomy": anatomy.name, "threshold": card.threshold.probability, "files": card.files},
    }


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None
