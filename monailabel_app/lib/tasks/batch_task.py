"""Batch inference that fills the cache, so that the assessment of a sweep is ready when it is opened."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.batch_infer import BatchInferTask

from fetaliqa.errors import FetalIQAError
from monailabel_app.lib.files.scratch import scratch
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.refusal import Refused

logger = logging.getLogger(__name__)

Infer = Callable[[Mapping[str, Any], Any], Mapping[str, Any]]


def batch_images(request: Mapping[str, Any]) -> list[str] | None:
    """The image ids that a batch request lists, or None for a named set (all, labeled, unlabeled).

    Raises:
        Refused: 400 for a list with anything but ids.
    """
    images = request.get("images")
    if images is None or isinstance(images, str):
        return None
    if not isinstance(images, list):
        raise Refused(400, f"images is {images!r}; it must be all, labeled, unlabeled or a list of image ids")
    return [check_id("image", image) for image in images]


class AssessAhead(BatchInferTask):
    """Batch inference that fills the cache and stores no label.

    MONAI Label's own batch saves every result as a label. An unconfirmed proposal is not a label here, and the
    worker process must not rewrite the index while people save labels.
    """

    def __call__(self, request: Mapping[str, Any], datastore: Any, infer: Infer) -> dict[str, Any]:
        """Assess each image in turn; a failure is reported and does not stop the others.

        Returns:
            Per image id: best frame, its warning or None, seconds and whether it was cached; or the error's
            message.
        """
        scratch.holds_masks = True  # they are discarded below
        images = sorted(self.get_images(request, datastore))
        limit = int(request.get("max_batch_size") or 0)
        images = images[:limit] if limit > 0 else images
        outcome: dict[str, Any] = {}
        logger.info("%d images to assess with %s", len(images), request.get("model"))
        for number, image in enumerate(images, 1):
            started = time.perf_counter()
            try:
                answer = infer({**request, "image": image, "save_label": False, "output": "all"}, datastore)
            except FetalIQAError as error:
                outcome[image] = {"error": str(error)}
                logger.warning("%d of %d: %s failed: %s", number, len(images), image, error)
                continue
            if answer.get("file"):
                scratch.discard(Path(answer["file"]))  # the masks stay in the cache
            params = answer["params"]
            seconds = round(time.perf_counter() - started, 2)
            summary = {name: params["fetaliqa"].get(name) for name in ("best", "warning")}
            outcome[image] = {**summary, "cached": params["cached"], "seconds": seconds}
            logger.info("%d of %d: %s assessed in %.1f s", number, len(images), image, seconds)
        failed = sum("error" in value for value in outcome.values())
        logger.info("assessed %d of %d images, %d failed", len(images) - failed, len(images), failed)
        return outcome
