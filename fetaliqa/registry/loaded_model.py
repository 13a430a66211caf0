"""A model bundle loaded on a device, and the assessment of sweeps with it: what Python programs call."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, overload

import numpy as np

from fetaliqa.errors import BundleError
from fetaliqa.inference import assessment
from fetaliqa.inference.assessment import Assessment, Progress
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.inference.chunk_prediction import TORCH, FramePredictor, told_of_full_device
from fetaliqa.inference.graph_runtimes import check_computes, chosen_runtime
from fetaliqa.model.bundle import Bundle
from fetaliqa.model.bundle_card import BundleCard
from fetaliqa.model.bundle_names import AUTO
from fetaliqa.model.onnx_file import is_onnx_path
from fetaliqa.model.user_folders import default_model
from fetaliqa.registry.model_store import resolve_model
from fetaliqa.sweep import Sweep, read_sweep, sweep_from_array

if TYPE_CHECKING:
    from fetaliqa.inference.student import Student

Case: TypeAlias = Sweep | str | os.PathLike[str] | np.ndarray
"""A sweep, the path of one, or its frames."""


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A model bundle loaded on a device; made by ``load_model``.

    Attributes
    ----------
    card
        Name, version, task, anatomy, architecture, threshold, training data and licence of the bundle.
    predictor
        Probability maps of frames, float [N, S, S] on the model's square grid.
    student
        The screening model of the bundle, which ``search`` uses; None where it has none.
    """

    card: BundleCard
    predictor: FramePredictor
    student: Student | None = None

    def __repr__(self) -> str:
        card = self.card
        what = f"{card.task} of the fetal {card.anatomy}, on {self.predictor.device}"
        return f"Model({card.name!r}, version {card.version}, {what}; not for clinical use)"


def load_model(
    name: str | Path | None = None,
    device: str = "auto",
    *,
    weights: str | Path | None = None,
    precision: str = "auto",
    runtime: str = "auto",
) -> Model:
    """Load a model.

    Parameters
    ----------
    name
        ``abdomen``, ``head`` or ``demo``, which ship; a published ``NAME`` (its current version) or
        ``NAME@VERSION``; the folder of a model bundle; or an ONNX file of ``fetaliqa models export``. None:
        ``$FETALIQA_DEFAULT_MODEL``, else ``abdomen``.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` is the first CUDA card that works, else the CPU.
    weights
        FetalCLIP weights, for a bundle that does not include its encoder; None for the imported ones.
    precision
        ``auto``, ``fp32`` or ``bf16``.
    runtime
        ``auto``, ``torch``, ``onnxruntime`` or ``openvino``; ``auto`` is torch, or another for an ONNX file and
        where torch is not installed. Others than torch compute on the CPU.

    Returns
    -------
    Model
        In evaluation mode, for any number of ``assess``.

    Raises
    ------
    NotFoundError
        When there is no such model.
    BundleError
        When its files are damaged, or do not fit the weights.
    WeightsError
        When the weights that it needs are missing.
    OptionError
        When the device does not exist here, or the runtime is not installed.
    DeviceFull
        When the device has no memory for it.

    Examples
    --------
    >>> import fetaliqa
    >>> fetaliqa.load_model("abdomen", "cpu")
    Model('abdomen', version 1.1, segmentation of the fetal abdomen, on cpu; not for clinical use)
    """
    path = resolve_model(default_model() if name is None else name)
    runtime = chosen_runtime(runtime, onnx_file=is_onnx_path(path))
    chosen = None if weights is None else str(weights)
    if runtime != TORCH:
        return _graph_model(path, runtime, device, chosen, precision)
    from fetaliqa.inference.batch_halving import told_when_full
    from fetaliqa.inference.devices import choose_device
    from fetaliqa.inference.predictor import Predictor
    from fetaliqa.inference.student import open_student

    bundle = Bundle.open(path)
    where = choose_device(device)
    predictor = told_when_full(lambda: Predictor(bundle, str(where), weights=chosen, precision=precision), where)
    return Model(bundle.card, predictor, open_student(AUTO, bundle, str(where)))


def _graph_model(path: Path, runtime: str, device: str, weights: str | None, precision: str) -> Model:
    from fetaliqa.inference.graph_predictor import GraphPredictor
    from fetaliqa.model.onnx_bundle import onnx_bundle
    from fetaliqa.registry.opened_graph import open_graph

    check_computes(runtime, device)
    opened = open_graph(path)
    model = onnx_bundle(opened, weights) if isinstance(opened, Bundle) else opened
    return Model(model.card, GraphPredictor(model, runtime, precision))


@overload
def assess(  # type: ignore[overload-overlap]  # a str is an iterable of str: it is a path
    sweep: Case,
    model: Model,
    *,
    sweeps: Sequence[int] | None = None,
    frames: tuple[int, int] | None = None,
    top_n: int = 5,
    threshold: float | None = None,
    search: bool = False,
    classifier: Model | None = None,
    progress: Progress | None = None,
) -> Assessment: ...


@overload
def assess(
    sweep: Iterable[Sweep | str | os.PathLike[str]],
    model: Model,
    *,
    sweeps: Sequence[int] | None = None,
    frames: tuple[int, int] | None = None,
    top_n: int = 5,
    threshold: float | None = None,
    search: bool = False,
    classifier: Model | None = None,
    progress: Progress | None = None,
) -> Iterator[Assessment]: ...


def assess(
    sweep: Case | Iterable[Sweep | str | os.PathLike[str]],
    model: Model,
    *,
    sweeps: Sequence[int] | None = None,
    frames: tuple[int, int] | None = None,
    top_n: int = 5,
    threshold: float | None = None,
    search: bool = False,
    classifier: Model | None = None,
    progress: Progress | None = None,
) -> Assessment | Iterator[Assessment]:
    """Assess a sweep: quality, mask and circumference of each frame, and the best frames. Not for clinical use.

    Nothing is cached; ``fetaliqa score`` is for thousands of sweeps.

    Parameters
    ----------
    sweep
        A sweep, the path of one, or its frames: uint8 [T, H, W], without a pixel spacing. Of several sweeps or
        paths an iterator is returned, which holds one case in memory at a time.
    model
        From ``load_model``.
    sweeps
        Sweeps to assess, numbers from 0; None: all.
    frames
        Half-open range of frames to assess, (first, last + 1); None: all.
    top_n
        How many frames to rank, 1 to 100.
    threshold
        Pixel probability above which a pixel is foreground, between 0 and 1; None: the bundle's own.
    search
        Evaluate only the frames that may be the best one of a sweep; several times as fast.
    classifier
        A classification model whose probability joins the quality score.
    progress
        Called with (frames done, frames in all).

    Returns
    -------
    Assessment or iterator of Assessment
        Masks are uint8 [T, H, W] on the native grid, circumferences in mm where the file gives a pixel spacing.

    Raises
    ------
    NotFoundError
        When there is no such file.
    SweepError
        When a file cannot be read as a sweep, or an array has another type or shape.
    OptionError
        When an option is out of its range, or does not fit the sweep or the model.
    BundleError
        When ``classifier`` is no classification model.
    DeviceFull
        When the device has no memory for a single frame.

    Notes
    -----
    The quality is a weighted geometric mean of what docs/assessment.md lists; its weights are a judgement. The
    circumference is that of an ellipse fitted to the outline (Fitzgibbon, Pilu and Fisher, IEEE TPAMI 21, 1999) by
    Ramanujan's first approximation (1914), as in the ACOUSLIC-AI evaluation.

    Examples
    --------
    >>> import fetaliqa
    >>> model = fetaliqa.load_model("abdomen", "cpu")
    >>> folder = "sample-data/images/stacked_fetal_ultrasound"
    >>> fetaliqa.assess(f"{folder}/Patient01171_Plane2_1_of_1.png", model).best.expected_dice > 0.9
    True
    >>> paths = [f"{folder}/Patient01079_Plane3_1_of_3.png", f"{folder}/patient033_DZA_plane2.png"]
    >>> [assessment.best for assessment in fetaliqa.assess(paths, model)]  # two that show no abdomen
    [None, None]
    """
    if classifier is not None and classifier.card.task != "classification":
        raise BundleError(f"{classifier.card.name}: a {classifier.card.task} model; a classifier is needed")
    options = AssessOptions.from_request(
        {
            "sweeps": None if sweeps is None else list(sweeps),
            "frames": frames,
            "top_n": top_n,
            "threshold": threshold,
            "search": search,
        }
    )

    def assessed(case: Case) -> Assessment:
        read = _sweep(case)
        student = model.student if threshold is None and classifier is None else None
        return told_of_full_device(
            lambda: assessment.assess(
                read,
                model.predictor,
                options,
                classifier=None if classifier is None else classifier.predictor,
                student=student,
                progress=progress,
            ),
            model.predictor,
        )

    if isinstance(sweep, Sweep | str | os.PathLike | np.ndarray):
        return assessed(sweep)
    return map(assessed, sweep)


def _sweep(case: Case) -> Sweep:
    if isinstance(case, Sweep):
        return case
    return sweep_from_array(case) if isinstance(case, np.ndarray) else read_sweep(Path(case))
