"""``/datastore``: images and labels of the studies folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import FileResponse, Response
from monailabel.utils.others.generic import file_checksum

from fetaliqa.labels import LabelVersion
from fetaliqa.labels.changed_frames import KEY as COMPARED
from fetaliqa.labels.changed_frames import counted
from fetaliqa.labels.confirmation import parse_frames
from monailabel_app.lib.access.identity import Identity
from monailabel_app.lib.access.label_owners import check_owner
from monailabel_app.lib.access.role_names import REVIEWER as REVIEWER_ROLE
from monailabel_app.lib.api.dependencies import ADMIN, ANNOTATOR, MAX_COUNT, REVIEWER, USER, Version, served
from monailabel_app.lib.api.file_responses import sent_file, vanishing_file
from monailabel_app.lib.datastore.image_downloads import complete_copy
from monailabel_app.lib.datastore.image_files import download_name, split_name
from monailabel_app.lib.datastore.label_info import LEFT_OUT
from monailabel_app.lib.files.uploaded_files import (
    LABEL_SUFFIXES,
    check_file_name,
    last_part,
    received_file,
    suffix_of,
    sweep_suffixes,
)
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.json_input import json_object
from monailabel_app.lib.http.path_redaction import without_folders
from monailabel_app.lib.http.refusal import Refused, as_refusal
from monailabel_app.lib.http.upload_slots import in_turn

router = APIRouter(prefix="/datastore", tags=["Datastore"])

CHECKSUMS = ("SHA256", "SHA512", "MD5")


def _sent(path: Path) -> FileResponse:
    return sent_file(path, download_name(path))


def _label_path(label: str, tag: str) -> Path:
    uri = served().datastore().get_label_uri(label, tag)
    if not uri or not Path(uri).is_file():
        raise Refused(404, f"image {label!r} has no label with tag {tag!r}")
    return Path(uri)


@router.get("/", summary="Images and labels: counts, training pairs, or everything")
def get_datastore(output: Literal["train", "stats", "all"] | None = None, user: Identity = USER) -> Any:
    """Counts (``stats``), image and label files of final labels (``train``), or the index (``all``)."""
    store = served().datastore()
    if output == "train":
        return without_folders(store.datalist())
    return store.json() if output == "all" else store.status()


@router.put("/", summary="Upload an image", include_in_schema=False)
@router.put("/image", summary="Upload an image")
@in_turn("image")
def put_image(
    file: Annotated[UploadFile, File()],
    image: str | None = None,
    params: Annotated[str, Form()] = "{}",
    user: Identity = ANNOTATOR,
) -> dict[str, str]:
    """Store a file that can be read as a sweep, under a new id."""
    info = {**json_object("params", params), "user": user.username}
    name = check_file_name(file.filename, sweep_suffixes(), "image", file.file)
    image_id = check_id("image", image or split_name(last_part(file.filename))[0])
    with received_file(file.file, name) as path:
        user.note(image=image_id)
        return {"image": served().datastore().add_image(image_id, str(path), info)}


@router.delete("/", summary="Remove an image and its labels", include_in_schema=False)
@router.delete("/image", summary="Remove an image and its labels")
def delete_image(id: str, user: Identity = ADMIN) -> dict[str, Any]:
    """Remove an image from the disk. Its labels are archived in ``label-versions/.retired``."""
    served().datastore().remove_image(id)
    return {}


@router.head("/image", summary="Check whether an image exists")
def head_image(image: str, check_sum: str | None = None, user: Identity = USER) -> dict[str, Any]:
    """200 when the image is here (and has this checksum, ``SHA256:hex``), else 404."""
    path = served().datastore().image_path(image)
    if check_sum:
        algorithm, _, digest = check_sum.rpartition(":")
        algorithm = algorithm.upper() or CHECKSUMS[0]
        if algorithm not in CHECKSUMS:
            raise Refused(400, f"check_sum algorithm {algorithm[:20]!r}: use one of {', '.join(CHECKSUMS)}")
        if file_checksum(path, algorithm) != f"{algorithm}:{digest.lower()}":
            raise Refused(404, f"image {image!r} is here, but with another checksum")
    return {}


@router.get("/image", summary="Download an image")
def get_image(image: str, user: Identity = USER) -> Response:
    """The image as one self-contained file: unchanged, or a complete copy where its pixels lie in another file, or
    in an encoding that other readers lack. The header ``fetaliqa-grid`` gives the server's grid.
    """
    store = served().datastore()
    path = store.image_path(image)
    download = store.downloads.info(path)
    if download.copy is None:
        answer: Response = _sent(path)
    else:
        with as_refusal():
            answer = vanishing_file(complete_copy(path, download.copy), download.name(path))
    answer.headers.update(download.headers())
    return answer


@router.get("/image/info", summary="What is recorded about an image")
def get_image_info(image: str, user: Identity = USER) -> Any:
    """The index's record of the image."""
    served().datastore().image_path(image)
    return served().datastore().get_image_info(image)


@router.put("/image/info", summary="Add to what is recorded about an image")
def put_image_info(image: str, info: Annotated[str, Form()] = "{}", user: Identity = ANNOTATOR) -> Any:
    """Merge a JSON object into the record."""
    served().datastore().update_image_info(image, {**json_object("info", info), "user": user.username})
    return {}


@router.put("/label", summary="Save a label")
@in_turn("label")
def put_label(
    image: str,
    label: Annotated[UploadFile, File()],
    params: Annotated[str, Form()] = "{}",
    tag: str = "final",
    user: Identity = ANNOTATOR,
) -> dict[str, Any]:
    """Save masks of the size of the image, on the image's own grid."""
    app = served()
    info = {**json_object("params", params), "user": user.username}
    check_id("tag", tag)
    app.datastore().image_path(image)
    name = check_file_name(label.filename, LABEL_SUFFIXES, "label")
    with received_file(label.file, name) as path:
        version = app.datastore().save_version(image, str(path), tag, info)
    user.note(tag=version.tag, version=version.version)
    saved = {"image": image, "label": image, "version": version.version, **_remarks(version)}
    return {**(app.on_save_label(image, image) or {}), **saved}


def _remarks(version: LabelVersion) -> dict[str, Any]:
    """Remarks on a saved label, for who saved it."""
    remarks: dict[str, Any] = {}
    if version.info.get(LEFT_OUT):
        remarks[LEFT_OUT] = version.info[LEFT_OUT]
    if version.record is not None and COMPARED in version.info:
        remarks["frames"] = counted(version.record)
        remarks["note"] = version.info[COMPARED]["note"]
    return remarks


@router.delete("/label", summary="Remove a label")
def delete_label(id: str, tag: str, user: Identity = ADMIN) -> dict[str, Any]:
    """Remove a label. Its versions are kept and can be restored."""
    served().datastore().remove_label(id, tag, {"user": user.username})
    return {}


@router.head("/label", summary="Check whether a label exists")
def head_label(image: str, tag: str, user: Identity = USER) -> dict[str, Any]:
    """200 when the label is here, else 404."""
    _label_path(image, tag)
    return {}


@router.get("/label", summary="Download a label")
def get_label(label: str, tag: str, user: Identity = USER) -> FileResponse:
    """The mask file; the header ``label-version`` is its version."""
    path, version = served().datastore().current_label(label, tag)
    served().datastore().note_label_sent(label, tag, version)
    suffix = suffix_of(path.name, LABEL_SUFFIXES) or ""
    sent = sent_file(path, f"{label}{suffix}")
    sent.headers["label-version"] = str(version)
    return sent


@router.get("/label/history", summary="All versions of a label")
def get_label_history(label: str, tag: str, user: Identity = USER) -> list[dict[str, Any]]:
    """Oldest first: author, time, version it is based on, reviews."""
    served().datastore().image_path(label)
    with as_refusal():
        return [version.summary() for version in served().datastore().labels.history(label, check_id("tag", tag))]


@router.get("/label/version", summary="Download a version of a label")
def get_label_version(label: str, tag: str, version: Version, user: Identity = USER) -> FileResponse:
    """The mask file of one version."""
    store = served().datastore()
    store.image_path(label)
    with as_refusal():
        stored = store.labels.version(label, check_id("tag", tag), version)
    if stored.mask is None:
        raise Refused(404, f"image {label!r}: version {version} of its label {tag!r} has no mask")
    store.note_label_sent(label, tag, version)
    return _sent(stored.mask)


@router.post("/label/restore", summary="Make an earlier version the label again")
def restore_label(label: str, tag: str, version: Version, user: Identity = ANNOTATOR) -> dict[str, Any]:
    """The earlier version becomes a new one; nothing is overwritten."""
    check_owner(check_id("tag", tag), unless=REVIEWER_ROLE)
    restored = served().datastore().writer.restore(label, tag, version, {"user": user.username})
    user.note(restored=version, version=restored.version)
    return restored.summary()


@router.post("/label/review", summary="Accept a version of a label, or request changes")
def review_label(
    label: str,
    tag: str,
    version: Version,
    state: Annotated[str, Form()],
    comment: Annotated[str, Form()] = "",
    user: Identity = REVIEWER,
) -> dict[str, Any]:
    """State ``accepted``, or ``returned`` (changes requested) with a comment."""
    user.note(state=state)
    return served().datastore().writer.review(label, tag, version, state, user.username, comment).summary()


@router.post("/label/confirm", summary="Confirm the proposed frames of a label")
def confirm_label(
    label: str,
    tag: str = "final",
    version: int | None = None,
    frames: Annotated[str, Form()] = "",
    user: Identity = REVIEWER,
) -> dict[str, Any]:
    """All proposed frames with a mask, or those of ``frames`` (from 0, such as ``3,7-9``), are confirmed in a new
    version. ``version`` is the one that was reviewed, by default the last.
    """
    app = served()
    with as_refusal():
        chosen = parse_frames(frames) if frames.strip() else None
    confirmed = app.datastore().writer.confirm(label, tag, version, user.username, chosen)
    user.note(tag=tag, version=confirmed.version)
    app.on_save_label(label, label)
    return confirmed.summary()


@router.post("/label/pick", summary="Make one rater's version the final label")
def pick_label(
    label: str, tag: str, version: Version, final: str = "final", user: Identity = REVIEWER
) -> dict[str, Any]:
    """The version is accepted, and becomes the next version of the tag ``final``."""
    check_owner(check_id("tag", final))
    picked = served().datastore().writer.pick(label, tag, version, final, str(user.username or "unknown"))
    user.note(picked=version, version=picked.version)
    return {**picked.summary(), "picked_from": picked.info["picked_from"]}


@router.get("/label/info", summary="What is recorded about a label")
def get_label_info(label: str, tag: str, user: Identity = USER) -> Any:
    """The index's record of the label."""
    _label_path(label, tag)
    return served().datastore().get_label_info(label, tag)


@router.put("/label/info", summary="Add to what is recorded about a label")
def put_label_info(label: str, tag: str, info: Annotated[str, Form()] = "{}", user: Identity = ANNOTATOR) -> Any:
    """Merge a JSON object into the record."""
    _label_path(label, tag)
    check_owner(check_id("tag", tag), unless=REVIEWER_ROLE)
    served().datastore().update_label_info(label, tag, {**json_object("info", info), "user": user.username})
    return {}


@router.put("/updatelabelinfo", summary="Older name of PUT /datastore/label/info", include_in_schema=False)
def put_label_info_old(
    label: str, tag: str, params: Annotated[str, Form()] = "{}", user: Identity = ANNOTATOR
) -> Any:
    """As ``PUT /datastore/label/info``."""
    return put_label_info(label, tag, params, user)


@router.get("/dataset", summary="All finally labelled images as one ZIP")
def get_dataset(
    limit_cases: Annotated[int | None, Query(ge=1, le=MAX_COUNT)] = None, user: Identity = ANNOTATOR
) -> Response:
    """Images, final labels and the index; 404 while nothing is labelled."""
    store = served().datastore()
    if not store.datalist():
        raise Refused(404, "there is no finally labelled image yet; nothing to put into an archive")
    return vanishing_file(Path(store.get_dataset_archive(limit_cases)), "dataset.zip")
