"""``POST /infer/{model}``, in a thread, with cancellation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, File, Form, Request, Response, UploadFile

from fetaliqa.inference.assessment_options import MAX_SWEEPS, MAX_TOP_N
from fetaliqa.inference.shared_requests import Stopped
from fetaliqa.model.bundle_names import INTERACTIVE
from fetaliqa.sweep import MASK_SUFFIXES
from monailabel_app.lib.api.dependencies import USER, served
from monailabel_app.lib.api.file_responses import mask_reply
from monailabel_app.lib.datastore.image_files import split_name
from monailabel_app.lib.files.uploaded_files import check_file_name, received_file, sweep_suffixes
from monailabel_app.lib.http.disconnects import run_while_connected
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.json_input import json_object
from monailabel_app.lib.http.refusal import Refused
from monailabel_app.lib.tasks.inference_task import known_task

router = APIRouter(prefix="/infer", tags=["Infer"])

# inferences wait here, not in the thread pool that serves all other requests
MAX_INFERENCES = 2
_limiter: anyio.CapacityLimiter | None = None

Output = Literal["all", "json", "image"]
# set by the server, never by params
SERVER_KEYS = ("session", "output")
# of the API description
OPTION_SCHEMAS: dict[str, dict[str, Any]] = {
    "sweeps": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    "frames": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2},
    "top_n": {"type": "integer", "minimum": 1, "maximum": MAX_TOP_N},
    "threshold": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "sweep_count": {"type": "integer", "minimum": 1, "maximum": MAX_SWEEPS},
    "search": {"type": "boolean"},
    "screen": {"type": "boolean"},
    "result_extension": {"type": "string", "enum": list(MASK_SUFFIXES)},
}


def _inference_limiter() -> anyio.CapacityLimiter:
    global _limiter
    if _limiter is None:
        _limiter = anyio.CapacityLimiter(MAX_INFERENCES)
    return _limiter


def checked_params(params: str | None, model: str, image: str) -> dict[str, Any]:
    """The ``params`` form field, which may not redirect the request to another image or model.

    Raises:
        Refused: 400.
    """
    options = json_object("params", params)
    for key, value in (("model", model), ("image", image)):
        if options.pop(key, value) != value:
            raise Refused(400, f"params has another {key} than the URL; leave {key} out of params")
    return {key: value for key, value in options.items() if key not in SERVER_KEYS}


@router.post("/{model}", summary="Run a model on an image of the studies folder, or on an uploaded file")
async def run_inference(
    http_request: Request,
    model: str,
    image: str = "",
    session_id: str = "",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    label: Annotated[UploadFile | None, File()] = None,
    output: Output | None = None,
    user: Any = USER,
) -> Response:
    """Answer with masks on the input's grid and the assessment (docs/server.md)."""
    app = served()
    if model != INTERACTIVE:
        known_task(app._infers, model)
    options = checked_params(params, model, image)
    if label is not None:
        raise Refused(400, f"{model} takes no label as input; leave the form field label out")
    request = {**options, "model": model, "image": image, "output": output}
    result = None
    if file is None and not session_id and image:  # a cached answer does not wait for running inferences
        result = await anyio.to_thread.run_sync(_cached, app, request)
    if result is None:

        def work(stopped: Stopped) -> tuple[dict[str, Any], str]:
            return _infer(app, request, session_id, file, stopped)

        result = await run_while_connected(http_request, work, _inference_limiter())
    answer, name = result
    if output == "image" and not answer["file"]:
        raise Refused(400, f"{model} makes no masks; ask for output=json")
    return mask_reply(answer["file"], answer["params"], output, name)


def _cached(app: Any, request: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    """The cached answer to a request, else None."""
    answer = app.cached_infer(request)
    return None if answer is None else (_with_label(answer), request["image"])


def _with_label(answer: dict[str, Any]) -> dict[str, Any]:
    if answer["label"] != answer["file"]:
        answer["params"]["label"] = {"image": answer["label"], "tag": answer["tag"]}
    return answer


def _infer(
    app: Any, request: dict[str, Any], session_id: str, file: UploadFile | None, stopped: Stopped
) -> tuple[dict[str, Any], str]:
    """Run the request in this thread; returns the app's answer and a name for the mask file."""
    if file is not None:
        name = check_file_name(file.filename, sweep_suffixes(), "image", file.file)
        with received_file(file.file, name) as path:
            return app.infer_file(path, request, stopped), _stem(name)
    if session_id:
        path = session_image(app, session_id)
        return app.infer_file(path, request, stopped), _stem(path.name)
    if request["image"]:
        image = check_id("image", request["image"])
        return _with_label(app.infer(request, stopped=stopped)), image
    raise Refused(400, "name an image (?image=ID), a session (?session_id=ID), or send a file")


def session_image(app: Any, session_id: str) -> Path:
    """The file, or folder of files, of an upload session.

    Raises:
        Refused: 400 for a bad id, 404 for an unknown or expired session, 406 when sessions are turned off.
    """
    check_id("session", session_id)
    sessions = app.sessions()
    if sessions is None:
        raise Refused(406, "upload sessions are turned off on this server")
    session = sessions.get_session(session_id)
    if not session:
        raise Refused(404, f"there is no session {session_id!r} here; it may have expired")
    return Path(session.image)


def _stem(name: str) -> str:
    return split_name(name)[0] or "masks"
