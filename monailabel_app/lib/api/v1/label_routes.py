"""``/fetaliqa/v1/label``: labels with masks as run lengths; agreement of two raters."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from fetaliqa.labels import LabelVersion
from fetaliqa.labels.rater_agreement import compare
from fetaliqa.measure.field_of_view import field_of_view
from monailabel_app.lib.access.identity import Identity
from monailabel_app.lib.api.dependencies import ANNOTATOR, MAX_COUNT, USER, served
from monailabel_app.lib.api.v1 import PREFIX
from monailabel_app.lib.browser.decoded_sweeps import decoded_sweeps
from monailabel_app.lib.browser.label_runs import INFO_KEYS, label_entry, read_label_runs, write_label
from monailabel_app.lib.browser.mask_runs import SCHEMA
from monailabel_app.lib.files.scratch import scratch
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.json_input import MasksObject, takes_json
from monailabel_app.lib.http.refusal import Refused, as_refusal
from monailabel_app.lib.http.upload_slots import in_turn

router = APIRouter(prefix=PREFIX, tags=["FetalIQA"])

BODY = takes_json(
    {
        "masks": {"type": "object", "additionalProperties": SCHEMA},
        "frame_record": {"type": "object"},
        "based_on": {"type": "integer", "minimum": 0},
        "rater": {"type": "string"},
        "submission": {"type": "string"},
        "client": {"type": "string"},
    },
    required=("masks", "frame_record"),
)
LabelNumber = Annotated[int | None, Query(ge=0, le=MAX_COUNT)]


@router.get("/label", summary="A label with its masks as run lengths")
def label(image: str, tag: str = "final", version: LabelNumber = None, user: Any = USER) -> dict[str, Any]:
    """The last version, or another one; ``version`` 0 and no frames where there is no label."""
    store = served().datastore()
    path = store.image_path(image)
    check_id("tag", tag)
    if version is None:
        store.get_label_uri(image, tag)  # a file that another program put there becomes a version
    with as_refusal():
        found = _version(image, tag, version)
        if found is None:
            return {"case": image, "tag": tag, "version": 0, "frame_record": None, "masks": {}, "values": {}}
        answer = read_label_runs(found, decoded_sweeps.get(path).sweep())
    store.note_label_sent(image, tag, found.version)
    return answer


def _version(image: str, tag: str, version: int | None) -> LabelVersion | None:
    labels = served().datastore().labels
    return labels.current(image, tag) if version is None else labels.version(image, tag, version)


@router.post("/label", summary="Save a label, masks as run lengths", openapi_extra=BODY)
@in_turn("label")
def save_label(body: MasksObject, image: str, tag: str = "final", user: Identity = ANNOTATOR) -> dict[str, Any]:
    """As ``PUT /datastore/label`` with a mask file and the same params; 409 when another version was saved since
    ``based_on``.
    """
    app = served()
    path = app.datastore().image_path(image)
    check_id("tag", tag)
    missing = [key for key in ("masks", "frame_record") if not isinstance(body.get(key), dict)]
    if missing:
        raise Refused(400, f"{missing[0]} is missing, or is not a JSON object")
    info = {**{key: body[key] for key in INFO_KEYS if key in body}, "user": user.username}
    with scratch.folder() as folder:
        with as_refusal():
            file = write_label(folder, body["masks"], decoded_sweeps.get(path).sweep())
        saved = app.datastore().save_version(image, str(file), tag, info)
    user.note(tag=saved.tag, version=saved.version)
    app.on_save_label(image, image)
    return {"image": image, "tag": tag, "version": saved.version, "saved": saved.saved}


@router.get("/labels", summary="All labels of a case: versions and reviews by tag")
def labels(image: str, user: Any = USER) -> dict[str, list[dict[str, Any]]]:
    """Oldest version first."""
    store = served().datastore()
    store.image_path(image)
    with as_refusal():
        tags = [tag for tag in store.labels.known_tags(image) if tag != "original"]
        return {tag: [label_entry(version) for version in store.labels.history(image, tag)] for tag in tags}


@router.get("/agreement", summary="Agreement of two labels of a case")
def agreement(image: str, first: str, second: str, user: Any = USER) -> dict[str, Any]:
    """Figures of ``fetaliqa labels agreement``, and the Dice of each frame that both outlined."""
    store = served().datastore()
    path = store.image_path(image)
    tags = check_id("tag", first), check_id("tag", second)
    with as_refusal():
        sweep = decoded_sweeps.get(path).sweep()
        sides = []
        for tag in tags:
            found = store.labels.current(image, tag)
            if found is None or found.record is None:
                raise Refused(404, f"image {image!r} has no label with tag {tag!r} and a frame record")
            sides.append((found.masks(sweep), found.record))
        comparison = compare(sides[0], sides[1], sweep.spacing, field_of_view(sweep.frames))
        shared = sorted(set(sides[0][1].known()) & set(sides[1][1].known()))
        outlined = [frame for frame in shared if all(masks[frame].any() for masks, _ in sides)]
        return {
            "first": tags[0],
            "second": tags[1],
            **asdict(comparison.agreement()),
            "by_frame": [
                {"frame": frame, "dice": round(dice, 4)} for frame, dice in zip(outlined, comparison.overlaps)
            ],
        }
