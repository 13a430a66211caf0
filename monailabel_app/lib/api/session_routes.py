"""``/session``: files uploaded once and assessed several times, for clients without a shared folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, UploadFile

from monailabel_app.lib.api.dependencies import MAX_COUNT, USER, served
from monailabel_app.lib.api.file_responses import sent_file
from monailabel_app.lib.api.inference_routes import session_image
from monailabel_app.lib.datastore.image_files import download_name
from monailabel_app.lib.files.scratch import scratch
from monailabel_app.lib.files.uploaded_files import (
    check_file_name,
    check_self_contained,
    last_part,
    sweep_suffixes,
)
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.refusal import Refused
from monailabel_app.lib.http.upload_slots import in_turn

router = APIRouter(prefix="/session", tags=["Session"])


def _record(session: Any) -> dict[str, Any]:
    """A session's record, with file names in place of paths."""
    record = session.to_json()
    return {**record, **{key: Path(record[key]).name for key in ("path", "image")}}


@router.put("/", summary="Start a session with one or several uploaded files")
@in_turn("image")
def create_session(
    files: Annotated[list[UploadFile], File()],
    uncompress: bool = False,
    expiry: Annotated[int, Query(le=MAX_COUNT)] = 0,
    user: Any = USER,
) -> dict[str, Any]:
    """Keep the files until the session expires; several files are the frames of one sweep."""
    if uncompress:
        raise Refused(400, "uncompress is not supported: paths in an archive could lead anywhere; send files")
    sessions = served().sessions()
    if sessions is None:
        raise Refused(406, "upload sessions are turned off on this server")
    names = [check_file_name(file.filename, sweep_suffixes(), "image", file.file) for file in files]
    if len(names) > 1:  # their names give the order of the frames
        for file in files:
            check_id("file name of the image", last_part(file.filename))
    if len(set(names)) != len(names):
        raise Refused(400, "two of the files have the same name; rename one")
    with scratch.folder() as folder:
        received = folder / "frames"
        received.mkdir()
        for file, name in zip(files, names):
            with open(received / name, "wb") as target:
                while chunk := file.file.read(1 << 20):
                    target.write(chunk)
        check_self_contained(received)
        source = received if len(names) > 1 else received / names[0]
        session_id, session = sessions.add_session(str(source), max(0, expiry))
    return {"session_id": session_id, "session_info": _record(session)}


@router.get("/{session_id}", summary="A session's record, or its file")
def get_session(session_id: str, update_ts: bool = False, image: bool = False, user: Any = USER) -> Any:
    """The session's record, or with ``image`` its file."""
    path = session_image(served(), session_id)
    if not image:
        return _record(served().sessions().get_session(session_id, update_ts=update_ts))
    if path.is_dir():
        raise Refused(400, f"session {session_id} holds several files; they cannot be sent as one")
    return sent_file(path, download_name(path))


@router.delete("/{session_id}", summary="Remove a session and its files")
def remove_session(session_id: str, user: Any = USER) -> Any:
    """Remove the files now."""
    session_image(served(), session_id)
    sessions = served().sessions()
    record = _record(sessions.get_session(session_id))
    sessions.remove_session(session_id)
    return record
