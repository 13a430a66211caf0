"""The ONNX model of a setup, opened: what ``OpenedModel`` is without torch."""

from __future__ import annotations

import threading
from pathlib import Path

from fetaliqa.errors import BundleError, OptionError
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.inference.graph_predictor import GraphPredictor, graph_precision
from fetaliqa.inference.graph_runtimes import check_computes
from fetaliqa.model.bundle import Bundle
from fetaliqa.model.bundle_card import BundleCard
from fetaliqa.model.bundle_names import AUTO, NONE
from fetaliqa.model.onnx_bundle import has_shipped_graph, onnx_bundle
from fetaliqa.model.onnx_file import OnnxModel, is_onnx_path, read_onnx
from fetaliqa.registry.assessment_request import AssessmentRequest, common_made_with
from fetaliqa.registry.assessment_setup import AssessmentSetup

CPU = "cpu"


class OpenedGraph:
    """The ONNX model of a setup; it is compiled on first use.

    Args:
        setup: what sweeps are assessed with; its runtime is not torch.

    Attributes:
        setup: the same.
        card: of the model.
        fingerprint: of the ONNX file, or of the bundle.
        classifier: None: only torch computes one.

    Raises:
        BundleError: when the model cannot be used.
        OptionError: when the setup asks for what only torch computes.
    """

    classifier = None

    def __init__(self, setup: AssessmentSetup) -> None:
        self.setup = setup
        self._model: OnnxModel | Bundle = open_graph(setup.bundle)
        self.card: BundleCard = self._model.card
        self.fingerprint = self._model.fingerprint
        self._lock = threading.Lock()
        self._predictor: GraphPredictor | None = None
        self._check_setup()

    def _check_setup(self) -> None:
        setup = self.setup
        graph_precision(setup.precision, setup.runtime)
        for asked, what in (
            (setup.classifier is not None, "a classifier beside the model"),
            (setup.student not in (AUTO, NONE), "a screening model"),
            (setup.options.screen, "screening"),
        ):
            if asked:
                raise OptionError(f"{what} needs torch, not {setup.runtime}; use --runtime torch, or omit it")
        check_computes(setup.runtime, setup.device)

    def check(self) -> None:
        """Check that the foundation-model weights the bundle needs are here, without loading them."""
        if isinstance(self._model, Bundle) and self.setup.weights is None:
            self._model.check_base()

    def load(self) -> GraphPredictor:
        """The compiled model; compiles it on the first call.

        Raises:
            BundleError: when its files are damaged, or the runtime refuses it.
        """
        with self._lock:
            if self._predictor is None:
                model = self._model
                if isinstance(model, Bundle):
                    model = onnx_bundle(model, self.setup.weights)
                self._predictor = GraphPredictor(model, self.setup.runtime, self.setup.precision)
            return self._predictor

    def computed_on(self) -> dict[str, str | None]:
        """See :meth:`OpenedModel.computed_on`."""
        return {"device": CPU, "card": None, "precision": self._precision}

    def request(self, options: AssessOptions, device: str | None = None) -> AssessmentRequest:
        """A request with these options.

        Raises:
            OptionError: when frames are to be screened.
        """
        self.student_for(options)
        made_with = common_made_with(
            self.fingerprint, options, CPU, self._precision, self._model.intervals.sha256, self.setup.runtime
        )
        return AssessmentRequest(options, None, made_with)

    def student_for(self, options: AssessOptions) -> None:
        """None: only torch computes screening models.

        Raises:
            OptionError: when the options ask for one.
        """
        if options.screen:
            raise OptionError(f"screening needs torch, not {self.setup.runtime}; use --runtime torch, or omit it")

    @property
    def _precision(self) -> str:
        return graph_precision(self.setup.precision, self.setup.runtime)


def open_graph(path: Path) -> OnnxModel | Bundle:
    """An ONNX file that is read, or a bundle folder that is opened.

    Raises:
        BundleError: when it is damaged, or a bundle whose graph only torch can make where torch is not installed.
    """
    if is_onnx_path(path):
        return read_onnx(path)
    bundle = Bundle.open(path)
    if not has_shipped_graph(bundle.card):
        _check_exportable(bundle)
    return bundle


def _check_exportable(bundle: Bundle) -> None:
    from fetaliqa.extras import require_extra

    try:
        require_extra("torch,onnx-export", "a graph of this model", {"torch": "torch", "onnxscript": "onnxscript"})
    except OptionError as problem:
        raise BundleError(
            f"{bundle.card.name} {bundle.card.version}: {problem}; or export it elsewhere with "
            "`fetaliqa models export` and give the ONNX file"
        ) from None
