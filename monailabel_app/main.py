"""What ``monailabel start_server --app monailabel_app`` loads: one MONAILabelApp, a thin adapter."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPOSITORY = str(Path(__file__).resolve().parent.parent)
if REPOSITORY not in sys.path:  # MONAI Label loads this file by its path, in the server and in its workers
    sys.path.insert(0, REPOSITORY)

from monailabel_app.lib.startup.lazy_monai import lazy_monai  # noqa: E402

lazy_monai.begin()  # ended when the app is made

from monailabel.config import settings  # noqa: E402
from monailabel.interfaces.app import MONAILabelApp  # noqa: E402
from monailabel.interfaces.datastore import DefaultLabelTag  # noqa: E402
from monailabel.interfaces.tasks.scoring import ScoringMethod  # noqa: E402
from monailabel.interfaces.tasks.strategy import Strategy  # noqa: E402

from fetaliqa import __version__  # noqa: E402
from fetaliqa.active.annotation_queue import LabelQueue  # noqa: E402
from fetaliqa.active.strategies import DEFAULT  # noqa: E402
from fetaliqa.errors import FetalIQAError  # noqa: E402
from fetaliqa.inference.shared_requests import Stopped  # noqa: E402
from fetaliqa.measure.anatomy import ABDOMEN, Anatomy, anatomy_named  # noqa: E402
from fetaliqa.model.bundle_names import INTERACTIVE  # noqa: E402
from fetaliqa.model.user_folders import interactive_folder  # noqa: E402
from fetaliqa.registry.interactive_service import InteractiveService  # noqa: E402
from fetaliqa.size_limits import limit_unpacked  # noqa: E402
from monailabel_app.lib.access.label_owners import check_owner, signed_in_name  # noqa: E402
from monailabel_app.lib.access.login_service import check_plain_server  # noqa: E402
from monailabel_app.lib.browser.decoded_sweeps import decoded_or_read  # noqa: E402
from monailabel_app.lib.datastore.studies_datastore import StudiesDatastore  # noqa: E402
from monailabel_app.lib.dicomweb.archive_client import Archive  # noqa: E402
from monailabel_app.lib.dicomweb.archive_sync import ArchiveSync  # noqa: E402
from monailabel_app.lib.files.locked_folder import remove_stale  # noqa: E402
from monailabel_app.lib.files.scratch import scratch  # noqa: E402
from monailabel_app.lib.files.upload_sessions import UploadSessions  # noqa: E402
from monailabel_app.lib.files.uploaded_files import check_self_contained, is_stock_upload  # noqa: E402
from monailabel_app.lib.http.ids import check_id, check_known  # noqa: E402
from monailabel_app.lib.http.refusal import Refused  # noqa: E402
from monailabel_app.lib.startup.conf import SEG_MODEL, ServerConf  # noqa: E402
from monailabel_app.lib.startup.current_app import close_current, set_current  # noqa: E402
from monailabel_app.lib.startup.listening import bound_host  # noqa: E402
from monailabel_app.lib.startup.studies_option import open_studies  # noqa: E402
from monailabel_app.lib.tasks.active_learning import SCORING, FrameScoring, make_strategies  # noqa: E402
from monailabel_app.lib.tasks.auto_retrain import AutoRetrain  # noqa: E402
from monailabel_app.lib.tasks.batch_task import AssessAhead, batch_images  # noqa: E402
from monailabel_app.lib.tasks.export_task import ExportTasks  # noqa: E402
from monailabel_app.lib.tasks.inference_request import InferenceRequest  # noqa: E402
from monailabel_app.lib.tasks.inference_task import SweepTask, known_task, make_tasks  # noqa: E402
from monailabel_app.lib.tasks.interactive_task import InteractiveTask  # noqa: E402
from monailabel_app.lib.tasks.retraining_task import RetrainTask, make_trainers  # noqa: E402
from monailabel_app.lib.tasks.worker_processes import end_with_server, in_worker, mark_workers  # noqa: E402

logger = logging.getLogger(__name__)

SESSION_SECONDS = 300.0  # between two searches for expired upload sessions


class FetalIQAApp(MONAILabelApp):
    """Hosts ``fetalclip_seg`` and ``fetalclip_cls`` on a folder of blind sweeps."""

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, Any]) -> None:
        self._studies_option = studies
        replaces_another = close_current(studies)
        end_with_server()
        try:
            self.server_conf = ServerConf.from_conf(conf or {})
            limit_unpacked(self.server_conf.max_unpacked_bytes)
            if not in_worker():  # MONAI Label's plain server has no other check
                check_plain_server(bound_host(), self.server_conf.login, self.server_conf.opened)
            studies, archive = open_studies(
                studies, self.server_conf, read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY
            )
            self._archive = None if archive is None else self._archive_sync(archive, Path(studies))
            self._exports = ExportTasks(Path(studies), self.server_conf.max_export_bytes)
            self._interactive = InteractiveTask(InteractiveService(interactive_folder(), decoded_or_read))
            super().__init__(
                app_dir=app_dir,
                studies=studies,
                conf=dict(conf or {}),
                name="FetalIQA",
                description="Finds, outlines and measures the fetal abdomen in blind-sweep ultrasound",
                version=__version__,
            )
        except FetalIQAError as error:
            logger.error("the server cannot start: %s", error)
            raise
        self._closed = threading.Event()
        lazy_monai.end()
        if replaces_another:  # MONAI Label's plain server made this app anew for a request (POST /reload)
            self.server_mode(True)
            self.on_init_complete()

    def init_datastore(self) -> StudiesDatastore:
        store = StudiesDatastore(
            self.studies,
            max_file_bytes=self.server_conf.max_upload_bytes,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
            archive=self._archive,
        )
        store.writer.anatomy = self._anatomy
        store.writer.rater, store.writer.check_owner = signed_in_name, check_owner
        return store

    def _archive_sync(self, archive: Archive, folder: Path) -> ArchiveSync:
        return ArchiveSync(archive, folder, self.server_conf.dicom_refresh, self._anatomy)

    def _anatomy(self) -> Anatomy:
        task = self._infers.get(SEG_MODEL)
        return ABDOMEN if task is None else anatomy_named(task.model["anatomy"])

    def archive(self) -> ArchiveSync | None:
        """Synchronisation with the DICOM archive of the studies; None when they are a folder."""
        return self._archive

    def exports(self) -> ExportTasks:
        """The exports of this server."""
        return self._exports

    def close(self) -> None:
        """Stop background threads, remove temporary files, and release the models."""
        self._closed.set()
        self._auto_retrain.close()
        self._exports.close()
        if self._archive is not None:
            self._archive.close()
        self._datastore.close()
        if self._infers_threadpool is not None:
            self._infers_threadpool.shutdown(wait=False)
        for tasks in (self._infers, self._trainers, self._strategies, self._scoring_methods):
            tasks.clear()

    def info(self) -> dict[str, Any]:
        interactive = self._interactive
        info = {
            **super().info(),
            "interactive": interactive.described(),
            "not_offered": self._datastore.not_offered(),
            "uploads": {"max_bytes": self.server_conf.max_upload_bytes},
        }
        if interactive.is_valid():
            info["models"] = {**info["models"], INTERACTIVE: interactive.info()}
        return info

    def init_infers(self) -> dict[str, SweepTask]:
        tasks = make_tasks(self.server_conf)
        for task in tasks.values():
            task.on_masks_sent = self._datastore.note_proposal
        return tasks

    def init_strategies(self) -> dict[str, Strategy]:
        self._queue = LabelQueue(Path(self.studies))
        return make_strategies(self._queue, self._infers.get(SEG_MODEL))

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        task = self._infers.get(SEG_MODEL)
        return {} if task is None else {SCORING: FrameScoring(Path(self.studies), task)}

    def init_trainers(self) -> dict[str, RetrainTask]:
        trainers = make_trainers(self)
        self._auto_retrain = AutoRetrain(trainers[SEG_MODEL], self.server_conf.auto_retrain)
        return trainers

    def on_save_label(self, image_id: str, label_id: str) -> dict[str, Any]:
        if self._server_mode:
            self._auto_retrain.label_saved()
        return super().on_save_label(image_id, label_id) or {}

    def init_batch_infer(self) -> AssessAhead:
        return AssessAhead()

    def _session_folder(self) -> str | None:
        # not `self._sessions and ...`: a session store without sessions has length 0 and counts as false
        return None if self._sessions is None else self._sessions.store_path

    def _load_sessions(self, load: bool = False) -> UploadSessions | None:
        if not load:
            return None
        return UploadSessions(settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY)

    def on_init_complete(self) -> None:
        if self._auto_update_scoring:
            self.async_scoring(None)
        # MONAI Label's own thread for this cannot be stopped, and dies at the first error
        threading.Thread(target=self._remove_old_sessions, name="sessions", daemon=True).start()
        # otherwise the first request would read the profiles of hundreds of cases
        threading.Thread(target=self._refresh_queue, name="label-queue", daemon=True).start()

    def cleanup_sessions(self) -> None:
        if self._sessions is not None:  # MONAI Label's test is false also for a store without sessions
            self._sessions.remove_expired()

    def _remove_old_sessions(self) -> None:
        while not self._closed.is_set():
            try:
                self.cleanup_sessions()
            except Exception:
                logger.exception("expired upload sessions could not be removed; it is retried later")
            self._closed.wait(SESSION_SECONDS)

    def _refresh_queue(self) -> None:
        importlib.import_module("scipy.cluster.vq")  # imported ahead: it groups frames for the first next sample
        task = self._infers.get(SEG_MODEL)
        if task is None:
            return
        try:
            self._queue.refresh(self._datastore.sources(), task.serving.peek().fingerprint)
        except Exception:
            logger.exception("the queue of cases could not be prepared; the first request prepares it")

    def label_counts(self) -> dict[str, int]:
        """Numbers of scored, labelled and leased cases and frames.

        Raises:
            Refused: 404 without a segmentation model.
        """
        task = known_task(self._infers, SEG_MODEL)
        return self._queue.counts(self._datastore.sources(), task.serving.peek().fingerprint)

    def release_lease(self, rater: str) -> None:
        """End the lease of a rater's case."""
        self._queue.release(rater)

    def server_mode(self, mode: bool) -> None:
        super().server_mode(mode)
        if mode:
            # workers inherit this: only the server itself changes the index of the studies folder
            os.environ["MONAI_LABEL_DATASTORE_READ_ONLY"] = "true"
            os.environ["MONAI_LABEL_DATASTORE_AUTO_RELOAD"] = "false"
            removed = remove_stale()
            if removed:
                logger.info("removed %d temporary folders of killed servers", removed)
            set_current(self._studies_option, self)
            mark_workers(Path(self.studies))
            self._auto_retrain.watch()
            if self._archive is not None:
                self._archive.start()

    def bundle_path(self, model: str | None) -> str:
        """A folder the worker process may import from; MONAI Label asks before it starts any worker.

        The one place where the plain server lets an app refuse an unknown model. Answering with a folder
        also overrides a ``bundle_path`` from the client, which would otherwise reach the worker's import path.
        """
        if model:
            check_known("model", model, [*self._infers, *self._trainers, INTERACTIVE])
        return REPOSITORY

    def cached_infer(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to :meth:`infer` when nothing has to be computed for it, else None.

        Raises:
            Refused: as :meth:`infer`.
        """
        if request.get("model") == INTERACTIVE:
            return None
        image_id = check_id("image", request.get("image"))
        tag = self._tag_to_save(request)
        path = self._datastore.image_path(image_id)
        task = known_task(self._infers, request.get("model"))
        answer = task.cached(InferenceRequest.of(request, path, image_id))
        return None if answer is None else self._finished(request, image_id, tag, *answer, store=self._datastore)

    def infer(
        self,
        request: Mapping[str, Any],
        datastore: StudiesDatastore | None = None,
        stopped: Stopped | None = None,
    ) -> dict[str, Any]:
        """Run a model on an image of the studies folder.

        Args:
            request: ``model``, ``image`` (an id), ``save_label``, ``label_tag`` and the options in docs/server.md.
            datastore: where the image is; None means the app's own.
            stopped: asked after each batch whether the client has gone.

        Raises:
            Refused: with the HTTP status and a sentence.
        """
        store = datastore or self._datastore
        image = request.get("image")
        if request.get("model") == INTERACTIVE:
            return self._infer_slice(request, store, stopped)
        task = known_task(self._infers, request.get("model"))
        if isinstance(image, str) and is_stock_upload(image, self._session_folder()):
            return self.infer_file(Path(image), request, stopped)
        image_id = check_id("image", image)
        tag = self._tag_to_save(request)  # refused before anything is computed
        path = store.image_path(image_id)
        file, params = task.infer(InferenceRequest.of(request, path, image_id), stopped)
        return self._finished(request, image_id, tag, file, params, store=store)

    def _infer_slice(
        self, request: Mapping[str, Any], store: StudiesDatastore, stopped: Stopped | None
    ) -> dict[str, Any]:
        """The interactive model's answer, as MONAI Label's clients of the type deepedit take it."""
        path = store.image_path(check_id("image", request.get("image")))
        if request.get("save_label") in (True, "true"):
            raise Refused(400, "save_label: an interactive mask is no label until it is submitted as one")
        return _answer(*self._interactive.infer_slice(path, request, self._anatomy(), stopped))

    def segment(self, image: str, body: Mapping[str, Any], stopped: Stopped | None = None) -> dict[str, Any]:
        """Segment a frame of an image by prompts, see :meth:`InteractiveTask.segment`.

        Raises:
            Refused: with the HTTP status and a sentence.
        """
        path = self._datastore.image_path(check_id("image", image))
        return self._interactive.segment(path, body, self._anatomy(), stopped)

    def propagate(self, image: str, body: Mapping[str, Any], stopped: Stopped | None = None) -> dict[str, Any]:
        """Carry a mask of a frame of an image along, see :meth:`InteractiveTask.propagate`.

        Raises:
            Refused: with the HTTP status and a sentence.
        """
        path = self._datastore.image_path(check_id("image", image))
        return self._interactive.propagate(path, body, stopped)

    def _finished(
        self,
        request: Mapping[str, Any],
        image_id: str,
        tag: str | None,
        file: str | None,
        params: dict[str, Any],
        *,
        store: StudiesDatastore,
    ) -> dict[str, Any]:
        """The answer, once its mask file is stored as a label under ``tag``, where there are both."""
        answer = _answer(file, params)
        try:
            if tag and file:
                answer["label"] = store.save_label(image_id, file, tag, _label_info(request, params))
                answer["tag"] = tag
        except BaseException:
            if file:
                scratch.discard(Path(file))
            raise
        return answer

    def infer_file(self, path: Path, request: Mapping[str, Any], stopped: Stopped | None = None) -> dict[str, Any]:
        """Run a model on a client's file.

        Raises:
            Refused: with the HTTP status and a sentence.
        """
        if request.get("model") == INTERACTIVE:
            raise Refused(400, "the interactive model takes images of the studies folder; name one with ?image=ID")
        task = known_task(self._infers, request.get("model"))
        check_self_contained(path)
        return _answer(*task.infer(InferenceRequest.of(request, path), stopped))

    def _tag_to_save(self, request: Mapping[str, Any]) -> str | None:
        if request.get("save_label") not in (True, "true"):
            return None
        tag = check_id("tag", request.get("label_tag") or DefaultLabelTag.ORIGINAL.value)
        if tag != DefaultLabelTag.ORIGINAL.value:
            raise Refused(
                400, f"label_tag {tag} is for labels a person has confirmed; a proposal is saved as 'original'"
            )
        return tag

    def batch_infer(self, request: Mapping[str, Any], datastore: StudiesDatastore | None = None) -> dict[str, Any]:
        known_task(self._infers, request.get("model"))
        batch_images(request)
        return super().batch_infer(request, datastore)

    def infer_wsi(self, request: Mapping[str, Any], datastore: StudiesDatastore | None = None) -> dict[str, Any]:
        raise Refused(404, "whole-slide inference is not part of this app; use /infer/{model}")

    def next_sample(self, request: Mapping[str, Any]) -> dict[str, Any]:
        strategy = check_known("strategy", str(request.get("strategy") or DEFAULT), self._strategies)
        sample = super().next_sample({**request, "strategy": strategy})
        return {**sample, "path": Path(sample["path"]).name} if sample else sample


def _answer(file: str | None, params: dict[str, Any]) -> dict[str, Any]:
    return {"label": file, "tag": DefaultLabelTag.ORIGINAL.value, "file": file, "params": params}


def _label_info(request: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Info stored with a saved proposal: the model and options that made it, without 840 frame records."""
    assessment = params["fetaliqa"]
    summary = {
        key: assessment[key] for key in ("schema", "model", "options", "threshold", "best", "warning", "ranking")
    }
    return {"model": request["model"], "params": {"label_names": params["label_names"], "fetaliqa": summary}}
