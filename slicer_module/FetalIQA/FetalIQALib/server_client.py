"""The server's HTTP interface (docs/server.md) as methods. All of them block; call them from a task's thread."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from FetalIQALib.case_names import checked_case, is_case
from FetalIQALib.client_errors import InvalidResponse, NotFound
from FetalIQALib.http_client import COMPUTE_SECONDS, Cancel, HttpClient, Progress
from FetalIQALib.image_files import Grid, grid_from_header
from FetalIQALib.server_responses import (
    CaseEntry,
    ExportJob,
    LabelVersion,
    NextCase,
    ServerInfo,
    expect,
    parse_export_job,
    parse_suggested_frames,
    skipped_files,
)
from FetalIQALib.translation import _

SEGMENTATION = "fetalclip_seg"
CLIENT = "FetalIQA for 3D Slicer"
IMAGE_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".dcm", ".dicom", ".png", ".jpeg", ".jpg")
PROPOSALS = "original"  # tag of model predictions, which are not labels


class ServerClient:
    """One server.

    Args:
        http: the HTTP client of the server.
    """

    def __init__(self, http: HttpClient) -> None:
        self.http = http

    # -- server, cases -------------------------------------------------------------------------------

    def info(self, cancel: Cancel) -> ServerInfo:
        """Models, strategies and trainers of the server."""
        reply = expect(self.http.json("GET", "/info/", cancel), dict, "the server")
        models = {}
        for name, model in expect(reply.get("models"), dict, "the models").items():
            bundle = model.get("fetaliqa") if isinstance(model, dict) else None
            description = bundle if isinstance(bundle, dict) else {}
            models[str(name)] = f"{description.get('name', '?')} {description.get('version', '')}".strip()
        trainers, stats, interactive = reply.get("trainers"), reply.get("train_stats"), reply.get("interactive")
        return ServerInfo(
            name=str(reply.get("name", "")),
            version=str(reply.get("version", "")),
            models=models,
            strategies=tuple(reply.get("strategies") or ()),
            trainers=trainers if isinstance(trainers, dict) else {},
            train_stats=stats if isinstance(stats, dict) else {},
            not_offered=skipped_files(reply.get("not_offered")),
            interactive=str(interactive.get("model") or "") if isinstance(interactive, dict) else "",
        )

    def worklist(self, tag: str, cancel: Cancel) -> list[CaseEntry]:
        """All cases with the last version of label ``tag``, sorted by id, in one request.

        A server without that request sends its index, which has no counts and reviews.
        """
        try:
            reply = self.http.json("GET", _call("/datastore/worklist", tag=tag), cancel)
        except NotFound:
            return self.cases(cancel)
        entries = []
        for entry in expect(expect(reply, dict, "the cases").get("cases"), list, "the cases"):
            case = entry.get("case") if isinstance(entry, dict) else None
            if isinstance(case, str) and is_case(case):
                last = entry.get("label")
                versions = _versions(entry.get("labels"))
                entries.append(
                    CaseEntry(case, str(entry.get("ext") or ""), versions, last if isinstance(last, dict) else {})
                )
        return sorted(entries, key=lambda entry: entry.case)

    def cases(self, cancel: Cancel) -> list[CaseEntry]:
        """All cases of the server's index, sorted by id."""
        index = expect(self.http.json("GET", "/datastore/?output=all", cancel), dict, "the cases")
        entries = []
        for case, entry in sorted(expect(index.get("objects"), dict, "the cases").items()):
            labels = entry.get("labels") if isinstance(entry, dict) else None
            infos = {
                tag: label.get("info") if isinstance(label, dict) else None
                for tag, label in (labels if isinstance(labels, dict) else {}).items()
            }
            versions = {
                tag: info.get("version") if isinstance(info, dict) else None for tag, info in infos.items()
            }
            image = entry.get("image") if isinstance(entry, dict) else None
            suffix = image.get("ext") if isinstance(image, dict) else None
            if is_case(case):
                entries.append(CaseEntry(case, str(suffix or ""), _versions(versions)))
        return entries

    def next_case(self, strategy: str, rater: str, cancel: Cancel, skip: Sequence[str] = ()) -> NextCase:
        """The case to label next, with the frames that the strategy suggests.

        Args:
            strategy: name of the strategy.
            rater: name of the rater; may be empty.
            cancel: set to cancel the request.
            skip: cases to leave out, such as the current one.

        Raises:
            NotFound: if there is no further case, or no such strategy.
        """
        body: dict[str, Any] = {"user": rater} if rater else {}
        if skip:
            body["skip"] = list(skip)
        reply = expect(
            self.http.json("POST", f"/activelearning/{quote(strategy)}", cancel, json=body), dict, "the next case"
        )
        if not reply.get("id"):
            reason = _("Strategy {strategy}: no further case.").format(strategy=strategy)
            detail = reply.get("message")
            raise NotFound(404, f"{reason} {detail[:200]}" if isinstance(detail, str) else reason)
        case = expect(reply["id"], str, "the next case")
        return NextCase(checked_case(case), parse_suggested_frames(reply.get("frames")))

    def release_lease(self, rater: str, cancel: Cancel) -> None:
        """Release the lease of a rater; without a name the server identifies the client by its address."""
        path = "/activelearning/lease"
        self.http.json("DELETE", _call(path, user_name=rater) if rater else path, cancel, seconds=5.0)

    # -- a case -------------------------------------------------------------------------------------

    def download_image(
        self, case: str, suffix: str, folder: Path, cancel: Cancel, progress: Progress | None = None
    ) -> tuple[Path, Grid | None]:
        """Download the image of a case into ``folder``; returns the file and the server's grid, if it sends one.

        The suffix is that of the file that was sent: for a header with pixels in another file, the server sends a
        self-contained copy.
        """
        checked_case(case)
        target = folder / "image"
        headers = self.http.file("GET", _call("/datastore/image", image=case), target, cancel, progress)
        filename = headers.get("content-disposition", "").rstrip('"')
        suffix = next((known for known in IMAGE_SUFFIXES if filename.lower().endswith(known)), suffix)
        suffix = suffix.lower() or ".dcm"  # DICOM files may have no suffix on the server; readers here need one
        suffix = suffix if re.fullmatch(r"[.a-z0-9]{0,12}", suffix) else ""
        return target.rename(folder / f"image{suffix}"), grid_from_header(headers.get("fetaliqa-grid"))

    def assess(
        self,
        case: str,
        folder: Path,
        cancel: Cancel,
        model: str = SEGMENTATION,
        output: Path | None = None,
        search: bool = False,
    ) -> tuple[Mapping[str, Any], Path]:
        """The model's assessment of a case (docs/assessment.md), and the file of its masks in ``folder``.

        Two requests; the second is answered from the server's cache. With ``search`` the model evaluates only a
        subset of frames to find the best one, unless all frames have been assessed before.
        """
        path = f"/infer/{quote(model)}?" + urlencode({"image": case, "output": "json"})
        params = {"result_extension": ".mha", "top_n": 20, "search": search, "client_id": CLIENT}
        form = {"params": json.dumps(params)}
        reply = expect(
            self.http.json("POST", path, cancel, data=form, seconds=COMPUTE_SECONDS), dict, "the assessment"
        )
        assessment = expect(reply.get("fetaliqa"), dict, "the assessment")
        expect(assessment.get("frames"), list, "the assessment")
        masks = output or folder / "proposals.mha"
        path = path.replace("output=json", "output=image")
        self.http.file("POST", path, masks, cancel, data=form, seconds=COMPUTE_SECONDS)
        return assessment, masks

    # -- labels -------------------------------------------------------------------------------------

    def label(self, case: str, tag: str, folder: Path, cancel: Cancel) -> tuple[Path, LabelVersion] | None:
        """Download the current label of a case into ``folder``; None if there is none."""
        try:
            info = self.label_info(case, tag, cancel)
            target = folder / "label"
            headers = self.http.file("GET", _call("/datastore/label", label=case, tag=tag), target, cancel)
        except NotFound:
            return None
        version = headers.get("label-version", str(info.version))
        if not version.isdecimal():
            raise InvalidResponse(_("The server did not state the version of the label."))
        if int(version) != info.version:  # saved between the two requests: read the matching information
            info = self.label_info(case, tag, cancel)
        if int(version) != info.version:
            raise InvalidResponse(_("The label of {case} is being changed; try again.").format(case=case))
        return target.rename(target.with_suffix(_suffix_of(headers))), info

    def label_info(self, case: str, tag: str, cancel: Cancel) -> LabelVersion:
        """Version number and frame record of the current label.

        Raises:
            NotFound: if there is none.
        """
        reply = expect(
            self.http.json("GET", _call("/datastore/label/info", label=case, tag=tag), cancel), dict, "the label"
        )
        record = reply.get("frame_record")
        version = reply.get("version", 0)
        return LabelVersion(
            version if isinstance(version, int) else 0, record if isinstance(record, dict) else {}, dict(reply)
        )

    def save_label(
        self,
        case: str,
        tag: str,
        masks: Path,
        params: Mapping[str, Any],
        cancel: Cancel,
    ) -> int:
        """Save masks with ``params`` (``frame_record``, ``based_on``) as the next version; returns its number.

        Raises:
            VersionConflict: if another version was saved in the meantime.
        """
        with open(masks, "rb") as file:
            reply = self.http.json(
                "PUT",
                _call("/datastore/label", image=case, tag=tag),
                cancel,
                files={"label": ("label.mha", file)},
                data={"params": json.dumps(params, allow_nan=False)},
                seconds=120.0,
            )
        return expect(expect(reply, dict, "the saved label").get("version"), int, "the saved label")

    def review(self, case: str, tag: str, version: int, state: str, comment: str, cancel: Cancel) -> None:
        """Review a version: ``accepted``, or ``returned`` (changes requested) with a comment."""
        call = _call("/datastore/label/review", label=case, tag=tag, version=version)
        self.http.json("POST", call, cancel, data={"state": state, "comment": comment})

    def pick(self, case: str, tag: str, version: int, cancel: Cancel) -> int:
        """Make one rater's version the next version of the final label; returns its number."""
        call = _call("/datastore/label/pick", label=case, tag=tag, version=version)
        reply = expect(self.http.json("POST", call, cancel), dict, "the final label")
        return expect(reply.get("version"), int, "the final label")

    # -- exports ------------------------------------------------------------------------------------

    def start_export(self, request: Mapping[str, Any], cancel: Cancel) -> ExportJob:
        """Start an export on the server (docs/export.md).

        Raises:
            RequestRefused: 429 while another export runs; 400 for an invalid request.
            NotFound: if this server does not support exports.
        """
        return parse_export_job(self.http.json("POST", "/export/", cancel, json=dict(request)))

    def export_status(self, job: str, cancel: Cancel) -> ExportJob:
        """Status of an export."""
        return parse_export_job(self.http.json("GET", f"/export/{job}", cancel))

    def download_export(self, job: str, target: Path, cancel: Cancel, progress: Progress) -> None:
        """Download the zip file of a finished export to ``target``."""
        self.http.file("GET", f"/export/{job}/zip", target, cancel, progress)

    def remove_export(self, job: str, cancel: Cancel) -> None:
        """Remove an export from the server; a running one is stopped."""
        self.http.json("DELETE", f"/export/{job}", cancel)

    # -- training -----------------------------------------------------------------------------------

    def train(self, mode: str, cancel: Cancel, model: str = SEGMENTATION) -> None:
        """Start a training, ``quick`` or ``full``.

        Raises:
            NotFound: if this server does not train the model.
            RequestRefused: 429 while a training runs; 400 if data are missing.
        """
        self.http.json("POST", f"/train/{quote(model)}", cancel, json={"mode": mode}, seconds=120.0)

    def train_status(self, cancel: Cancel) -> Mapping[str, Any]:
        """Status of MONAI Label's training task.

        Raises:
            NotFound: if there is none.
        """
        return expect(self.http.json("GET", "/train/", cancel), dict, "training")

    def stop_training(self, cancel: Cancel) -> None:
        """Stop the training task."""
        self.http.json("DELETE", "/train/", cancel, seconds=120.0)

    def model_history(self, cancel: Cancel, model: str = SEGMENTATION) -> list[dict[str, Any]]:
        """History of a model's versions, oldest entry first.

        Raises:
            NotFound: if this server keeps no history.
        """
        reply = self.http.json("GET", _call("/models/history", model=model), cancel)
        if isinstance(reply, dict):
            reply = reply.get("history") or reply.get(model) or []
        return [entry for entry in expect(reply, list, "the model's history") if isinstance(entry, dict)]

    def roll_back(self, cancel: Cancel, model: str = SEGMENTATION) -> None:
        """Roll back to the previous version of a model."""
        self.http.json("POST", _call("/models/rollback", model=model), cancel)


def _versions(labels: Any) -> dict[str, int]:
    """Versions by tag; 0 where the server states none."""
    versions = labels.items() if isinstance(labels, dict) else ()
    return {str(tag): version if isinstance(version, int) else 0 for tag, version in versions}


def _call(path: str, **query: Any) -> str:
    return f"{path}?{urlencode(query)}"


def _suffix_of(headers: Mapping[str, str]) -> str:
    """Suffix of the file in a response."""
    match = re.search(r'(\.nii\.gz|\.nii|\.mha|\.nrrd)"?$', headers.get("content-disposition", ""))
    if match is None:
        raise InvalidResponse(_("The server sent a mask file of unknown format."))
    return match.group(1)
