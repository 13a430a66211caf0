"""The server's calls (docs/server.md) as methods. Every one blocks: it is meant for a task's thread."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from FetalIQALib.case_names import checked_case, is_case
from FetalIQALib.failures import BadReply, NotThere
from FetalIQALib.http import COMPUTE_SECONDS, Cancel, Http, Progress
from FetalIQALib.images import Grid, told_grid
from FetalIQALib.replies import (
    CaseEntry,
    ExportJob,
    NextCase,
    Saved,
    ServerInfo,
    checked_identifier,
    expect,
    export_job,
    left_out,
    suggested_frames,
)
from FetalIQALib.texts import _

SEGMENTATION = "fetalclip_seg"
CLIENT = "FetalIQA for 3D Slicer"
IMAGE_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".dcm", ".dicom", ".png", ".jpeg", ".jpg")
PROPOSALS = "original"  # the tag of a model's own answers, which are nobody's label


class Client:
    """One server.

    Args:
        http: how to reach it.
    """

    def __init__(self, http: Http) -> None:
        self.http = http

    # -- what is there ------------------------------------------------------------------------------

    def info(self, cancel: Cancel) -> ServerInfo:
        """Models, strategies and trainers of the server."""
        told = expect(self.http.json("GET", "/info/", cancel), dict, "itself")
        models = {}
        for name, model in expect(told.get("models"), dict, "its models").items():
            bundle = model.get("fetaliqa") if isinstance(model, dict) else None
            named = bundle if isinstance(bundle, dict) else {}
            models[str(name)] = f"{named.get('name', '?')} {named.get('version', '')}".strip()
        trainers, stats = told.get("trainers"), told.get("train_stats")
        return ServerInfo(
            name=str(told.get("name", "")),
            version=str(told.get("version", "")),
            models=models,
            strategies=tuple(told.get("strategies") or ()),
            trainers=trainers if isinstance(trainers, dict) else {},
            train_stats=stats if isinstance(stats, dict) else {},
            not_offered=left_out(told.get("not_offered")),
        )

    def cases(self, cancel: Cancel) -> list[CaseEntry]:
        """All cases, in the order of their ids."""
        index = expect(self.http.json("GET", "/datastore/?output=all", cancel), dict, "its cases")
        entries = []
        for case, entry in sorted(expect(index.get("objects"), dict, "its cases").items()):
            labels = entry.get("labels") if isinstance(entry, dict) else None
            versions = {}
            for tag, label in (labels if isinstance(labels, dict) else {}).items():
                info = label.get("info") if isinstance(label, dict) else None
                version = info.get("version") if isinstance(info, dict) else None
                versions[str(tag)] = version if isinstance(version, int) else 0
            image = entry.get("image") if isinstance(entry, dict) else None
            suffix = image.get("ext") if isinstance(image, dict) else None
            if is_case(case):
                entries.append(CaseEntry(case, str(suffix or ""), versions))
        return entries

    def next_case(self, strategy: str, rater: str, cancel: Cancel, skip: Sequence[str] = ()) -> NextCase:
        """The case to label next, with the frames that the strategy wants when it names any.

        Args:
            strategy: its name.
            rater: who asks.
            cancel: gives up.
            skip: cases not wanted, such as the one on the desk.

        Raises:
            NotThere: when there is none, or no such strategy.
        """
        body: dict[str, Any] = {"user": rater} if rater else {}
        if skip:
            body["skip"] = list(skip)
        told = expect(
            self.http.json("POST", f"/activelearning/{quote(strategy)}", cancel, json=body), dict, "the next case"
        )
        if not told.get("id"):
            reason = _("The strategy {strategy} has no further case.").format(strategy=strategy)
            told_so = told.get("message")
            raise NotThere(404, f"{reason} {told_so[:200]}" if isinstance(told_so, str) else reason)
        case = expect(told["id"], str, "the next case")
        return NextCase(checked_case(case), suggested_frames(told.get("frames")))

    def release_lease(self, rater: str, cancel: Cancel) -> None:
        """Give back the case that the server holds for a rater; of one without a name it goes by the address."""
        path = "/activelearning/lease"
        self.http.json("DELETE", _call(path, user_name=rater) if rater else path, cancel, seconds=5.0)

    # -- a case -------------------------------------------------------------------------------------

    def download_image(
        self, case: str, suffix: str, folder: Path, cancel: Cancel, progress: Progress | None = None
    ) -> tuple[Path, Grid | None]:
        """The image file of a case, put into ``folder``, and the grid that the server has it on, if it says so.

        Its name ends as that of the file that was sent: of a header whose pixels lie in another file, the server
        sends a complete copy.
        """
        checked_case(case)
        target = folder / "image"
        headers = self.http.file("GET", _call("/datastore/image", image=case), target, cancel, progress)
        sent = headers.get("content-disposition", "").rstrip('"')
        suffix = next((one for one in IMAGE_SUFFIXES if sent.lower().endswith(one)), suffix)
        suffix = suffix.lower() or ".dcm"  # a DICOM file needs none on the server; here readers go by it
        suffix = suffix if re.fullmatch(r"[.a-z0-9]{0,12}", suffix) else ""
        return target.rename(folder / f"image{suffix}"), told_grid(headers.get("fetaliqa-grid"))

    def assess(
        self,
        case: str,
        folder: Path,
        cancel: Cancel,
        model: str = SEGMENTATION,
        output: Path | None = None,
        search: bool = False,
    ) -> tuple[Mapping[str, Any], Path]:
        """The model's assessment of a case (docs/assessment.md), and its masks as a file in ``folder``.

        Two requests: the second finds in the server's cache what the first computed. With ``search`` the model
        looks only at the frames that may be the best, unless it has looked at all of them before.
        """
        path = f"/infer/{quote(model)}?" + urlencode({"image": case, "output": "json"})
        asked = {"result_extension": ".mha", "top_n": 20, "search": search, "client_id": CLIENT}
        form = {"params": json.dumps(asked)}
        told = expect(
            self.http.json("POST", path, cancel, data=form, seconds=COMPUTE_SECONDS), dict, "the assessment"
        )
        assessment = expect(told.get("fetaliqa"), dict, "the assessment")
        expect(assessment.get("frames"), list, "the assessment")
        masks = output or folder / "proposals.mha"
        path = path.replace("output=json", "output=image")
        self.http.file("POST", path, masks, cancel, data=form, seconds=COMPUTE_SECONDS)
        return assessment, masks

    # -- labels -------------------------------------------------------------------------------------

    def label(self, case: str, tag: str, folder: Path, cancel: Cancel) -> tuple[Path, Saved] | None:
        """The current label of a case, its mask file put into ``folder``; None when there is none."""
        try:
            info = self.label_info(case, tag, cancel)
            target = folder / "label"
            headers = self.http.file("GET", _call("/datastore/label", label=case, tag=tag), target, cancel)
        except NotThere:
            return None
        version = headers.get("label-version", str(info.version))
        if not version.isdecimal():
            raise BadReply(_("The server does not say which version of the label it sent."))
        if int(version) != info.version:  # saved between the two requests: ask again for what belongs together
            info = self.label_info(case, tag, cancel)
        if int(version) != info.version:
            raise BadReply(_("The label of {case} is being changed right now; try again.").format(case=case))
        return target.rename(target.with_suffix(_suffix_of(headers))), info

    def label_info(self, case: str, tag: str, cancel: Cancel) -> Saved:
        """The number and record of the current label.

        Raises:
            NotThere: when there is none.
        """
        told = expect(
            self.http.json("GET", _call("/datastore/label/info", label=case, tag=tag), cancel), dict, "the label"
        )
        record = told.get("frame_record")
        version = told.get("version", 0)
        return Saved(
            version if isinstance(version, int) else 0, record if isinstance(record, dict) else {}, dict(told)
        )

    def save_label(
        self,
        case: str,
        tag: str,
        masks: Path,
        params: Mapping[str, Any],
        cancel: Cancel,
    ) -> int:
        """Save masks with their ``params`` (``frame_record``, ``based_on``) as the next version; its number.

        Raises:
            Conflict: when another version was saved meanwhile.
        """
        with open(masks, "rb") as file:
            told = self.http.json(
                "PUT",
                _call("/datastore/label", image=case, tag=tag),
                cancel,
                files={"label": ("label.mha", file)},
                data={"params": json.dumps(params, allow_nan=False)},
                seconds=120.0,
            )
        return expect(expect(told, dict, "the saved label").get("version"), int, "the saved label")

    def history(self, case: str, tag: str, cancel: Cancel) -> list[dict[str, Any]]:
        """All versions of a label, the first one first; empty when there is none."""
        try:
            told = self.http.json("GET", _call("/datastore/label/history", label=case, tag=tag), cancel)
        except NotThere:
            return []
        return [entry for entry in expect(told, list, "the label's versions") if isinstance(entry, dict)]

    def version_masks(self, case: str, tag: str, version: int, folder: Path, cancel: Cancel) -> Path:
        """The mask file of one version, put into ``folder``."""
        target = folder / f"version-{checked_identifier(_('Tag'), tag)}-{version}"
        call = _call("/datastore/label/version", label=case, tag=tag, version=version)
        headers = self.http.file("GET", call, target, cancel)
        return target.rename(target.with_name(target.name + _suffix_of(headers)))

    def review(self, case: str, tag: str, version: int, state: str, comment: str, cancel: Cancel) -> None:
        """Say of a version that it is ``accepted``, or ``returned`` with a comment."""
        call = _call("/datastore/label/review", label=case, tag=tag, version=version)
        self.http.json("POST", call, cancel, data={"state": state, "comment": comment})

    def pick(self, case: str, tag: str, version: int, cancel: Cancel) -> int:
        """Make one rater's version the next of the final label; its number there."""
        call = _call("/datastore/label/pick", label=case, tag=tag, version=version)
        told = expect(self.http.json("POST", call, cancel), dict, "the final label")
        return expect(told.get("version"), int, "the final label")

    # -- exports ------------------------------------------------------------------------------------

    def start_export(self, request: Mapping[str, Any], cancel: Cancel) -> ExportJob:
        """Start an export on the server (docs/export.md).

        Raises:
            Refused: 429 while another one runs; 400 for a request that cannot be met.
            NotThere: when this server does not export.
        """
        return export_job(self.http.json("POST", "/export/", cancel, json=dict(request)))

    def export_status(self, job: str, cancel: Cancel) -> ExportJob:
        """Where an export stands."""
        return export_job(self.http.json("GET", f"/export/{job}", cancel))

    def download_export(self, job: str, target: Path, cancel: Cancel, progress: Progress) -> None:
        """The zip of an export that is done, written to ``target``."""
        self.http.file("GET", f"/export/{job}/zip", target, cancel, progress)

    def remove_export(self, job: str, cancel: Cancel) -> None:
        """Remove an export from the server; one that runs is stopped."""
        self.http.json("DELETE", f"/export/{job}", cancel)

    # -- training -----------------------------------------------------------------------------------

    def train(self, mode: str, cancel: Cancel, model: str = SEGMENTATION) -> None:
        """Start a training, ``quick`` or ``full``.

        Raises:
            NotThere: when this server does not train the model.
            Refused: 429 while one runs; 400 with what is missing.
        """
        self.http.json("POST", f"/train/{quote(model)}", cancel, json={"mode": mode}, seconds=120.0)

    def train_status(self, cancel: Cancel) -> Mapping[str, Any]:
        """MONAI Label's word on its training task.

        Raises:
            NotThere: when there is none.
        """
        return expect(self.http.json("GET", "/train/", cancel), dict, "training")

    def stop_training(self, cancel: Cancel) -> None:
        """Stop the training task."""
        self.http.json("DELETE", "/train/", cancel, seconds=120.0)

    def model_history(self, cancel: Cancel, model: str = SEGMENTATION) -> list[dict[str, Any]]:
        """What was done with the versions of a model, the first thing first.

        Raises:
            NotThere: when this server keeps none.
        """
        told = self.http.json("GET", _call("/models/history", model=model), cancel)
        if isinstance(told, dict):
            told = told.get("history") or told.get(model) or []
        return [entry for entry in expect(told, list, "the model's history") if isinstance(entry, dict)]

    def roll_back(self, cancel: Cancel, model: str = SEGMENTATION) -> None:
        """Put the version into use again that was in use before."""
        self.http.json("POST", _call("/models/rollback", model=model), cancel)


def _call(path: str, **query: Any) -> str:
    return f"{path}?{urlencode(query)}"


def _suffix_of(headers: Mapping[str, str]) -> str:
    """The suffix of the file that an answer carries."""
    found = re.search(r'(\.nii\.gz|\.nii|\.mha|\.nrrd)"?$', headers.get("content-disposition", ""))
    if found is None:
        raise BadReply(_("The server sent a mask file of an unknown kind."))
    return found.group(1)
