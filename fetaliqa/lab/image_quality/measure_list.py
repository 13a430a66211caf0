"""The image quality measures: description, source, and whether each can run here.

A measure gets a frame cropped to the bounding box of the field of view. Pixel measures use only the pixels inside
of it; the others see the black corners of the box.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec

import numpy as np

from fetaliqa.lab.image_quality import learned_measures, package_measures, pixel_measures

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
        symmetric: whether ``compare`` gives the same both ways, so that each pair is computed once.
        min_side: shortest side of the box it is defined for, pixels.
    """

    name: str
    label: str
    source: str
    why_not: Callable[[], str | None] = field(default=_runs, repr=False)
    score: FrameFunction | None = field(default=None, repr=False)
    compare: PairFunction | None = field(default=None, repr=False)
    symmetric: bool = False
    min_side: int = 3

    @property
    def needs_neighbours(self) -> bool:
        """Whether it compares a frame with the ones before and after it in the same sweep."""
        return self.compare is not None


_PIQ = partial(_needs, "piq", _EXTRA)
_SKIMAGE = partial(_needs, "skimage", _EXTRA)
_PIQE_ADVICE = "it asks for opencv-python, which overwrites opencv-python-headless: add it with pip's --no-deps"
_NO_TRIQ = "not run: no maintained package with it was found (pyiqa 0.1.16 does not have it)"


def _learned(name: str, label: str, source: str) -> ClassicMeasure:
    return ClassicMeasure(
        name,
        label,
        f"{source}; pyiqa",
        partial(learned_measures.why_not, name),
        partial(learned_measures.score, name),
        min_side=32,
    )


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
        "Venkatanath 2015; pypiqe",
        partial(_needs, "pypiqe", _PIQE_ADVICE),
        package_measures.piqe,
        min_side=32,
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
    _learned("cnniqa", "CNNIQA", "Kang 2014, trained on KonIQ-10k"),
    _learned("maniqa", "MANIQA", "Yang 2022, trained on KonIQ-10k"),
    _learned("tres", "TReS", "Golestaneh 2022, trained on KonIQ-10k"),
    ClassicMeasure("triq", "TRIQ", "You & Korhonen 2021", lambda: _NO_TRIQ),
)
MEASURES: dict[str, ClassicMeasure] = {measure.name: measure for measure in _ALL}


def runnable_measures() -> list[str]:
    """Names of the measures that can run here, in the order of ``MEASURES``."""
    return [name for name, measure in MEASURES.items() if measure.why_not() is None]


def measure_table() -> list[dict[str, str | bool | None]]:
    """One row per measure: ``name``, ``label``, ``source``, ``needs_neighbours``, ``why_not`` (None: it runs)."""
    return [
        {
            "name": measure.name,
            "label": measure.label,
            "source": measure.source,
            "needs_neighbours": measure.needs_neighbours,
            "why_not": measure.why_not(),
        }
        for measure in MEASURES.values()
    ]
