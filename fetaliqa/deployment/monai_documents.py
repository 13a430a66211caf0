"""Texts inside of an exported MONAI bundle: how to run it, and its licence."""

from __future__ import annotations

from fetaliqa.measure.anatomy import anatomy_named
from fetaliqa.model import BundleCard

README = """\
# FetalIQA {name} {version}

Outlines the fetal {anatomy} in ultrasound frames. **Not for clinical use.**

{intended_use}

{limitations}

Trained on: {data}

## Run

FetalIQA is not needed. Install `monai`, `torch` and the packages under `required_packages_version` in
`configs/metadata.json`. In this folder:

    python -m monai.bundle run --config_file configs/inference.json --dataset_dir IMAGES --output_dir MASKS

writes a mask (0 and 255) for each PNG, JPEG or BMP of the folder `IMAGES`. Stacks of frames, as NIfTI with the
axes columns, rows, frames:

    python -m monai.bundle run --config_file "['configs/inference.json', 'configs/inference_stack.json']" \\
        --dataset_dir STACKS --output_dir MASKS

Check the bundle:

    python -m monai.bundle verify_metadata --meta_file configs/metadata.json --filepath schema.json
    python -m monai.bundle verify_net_in_out network_def --meta_file configs/metadata.json \\
        --config_file configs/inference.json

`verify_metadata` downloads the schema to `schema.json`, unless that file exists.

In Python, without MONAI:

    network = torch.jit.load("models/model.ts")
    probabilities = network(frames)     # frames: grey levels 0 to 255, [N, 1, rows, columns], any size

## Input and output

- Grey levels 0 to 255 as 8-bit files have them; do not scale or resize them. The network pads a frame to a square,
  resamples it to {size} x {size} pixels, and brings the probabilities back to the frame's own pixels.
- A frame shows the {anatomy} when more than {share:.3g} of the square is above {frame_threshold}. In other frames
  all probabilities are 0.
- A mask is the largest region with probabilities of at least {threshold}, its holes filled.
- FetalIQA also removes what lies outside of the field of view of the sweep; this bundle does not. Masks differ
  only where an outline crosses the edge of the field of view.
- `models/model.pt` has the tensors of `models/model.ts`.
"""

LICENCE = """\
Model: {name} {version} of FetalIQA
Licence of the model: {licence}

FetalIQA is licensed under the Apache License, Version 2.0; you may obtain a copy at
http://www.apache.org/licenses/LICENSE-2.0. It is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR
CONDITIONS OF ANY KIND, either express or implied.

Not for clinical use.

Training data: {data}
"""

FETALCLIP = """
models/ includes weights of the image encoder of FetalCLIP (https://arxiv.org/abs/2502.14807), which are licensed
under CC BY-NC 4.0 (https://creativecommons.org/licenses/by-nc/4.0/): not for commercial use.
"""


def readme_text(card: BundleCard) -> str:
    """``docs/README.md`` of the bundle."""
    return README.format(
        name=card.name,
        version=card.version,
        anatomy=anatomy_named(card.anatomy).name,
        intended_use=card.intended_use,
        limitations=card.limitations,
        data=_data(card),
        size=card.architecture.vision.image_size,
        share=card.threshold.min_foreground_fraction,
        threshold=card.threshold.probability,
        frame_threshold=card.threshold.frame,
    )


def licence_text(card: BundleCard) -> str:
    """``docs/license.txt`` of the bundle."""
    text = LICENCE.format(name=card.name, version=card.version, licence=card.licence, data=_data(card))
    return text + (FETALCLIP if card.base.kind == "fetalclip" else "")


def _data(card: BundleCard) -> str:
    return f"{card.training_data.name} ({card.training_data.description})"
