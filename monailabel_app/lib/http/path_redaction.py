"""Removes the server's folders from paths in responses."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monailabel.config import settings

from fetaliqa.model.user_folders import models_folder
from fetaliqa.registry.assessment_setup import default_cache_directory
from monailabel_app.lib.files.uploaded_files import TEMPORARY_PREFIX

REPOSITORY = Path(__file__).resolve().parents[3]
# random names of the server's temporary folders
_TEMPORARY = re.compile(
    rf"(?<![\w./-]){re.escape(TEMPORARY_PREFIX)}(?:[a-z]+-)?[a-z0-9_]{{8}}/(?:tmp[a-z0-9_]{{8}}/)?"
)


def server_folders() -> list[Path]:
    """Folders that the server uses, nested ones first."""
    configured = [
        settings.MONAI_LABEL_STUDIES,
        settings.MONAI_LABEL_APP_DIR,
        settings.MONAI_LABEL_SESSION_PATH,
        *(
            settings.MONAI_LABEL_APP_CONF.get(key)
            for key in ("bundle", "cls_bundle", "cache_dir", "dicom_folder", "replay")
        ),
        tempfile.gettempdir(),
        models_folder(),
        default_cache_directory(),
        REPOSITORY,
        sys.prefix,
        Path.home(),
    ]
    paths = [Path(str(folder)) for folder in configured if folder]
    folders = {folder for path in paths if path.is_absolute() for folder in (path, path.resolve())}
    return sorted((folder for folder in folders if folder.parent != folder), key=lambda path: -len(str(path)))


def without_folders(value: Any, folders: Iterable[Path] | None = None) -> Any:
    """Text without the server's folders; in lists and objects, all texts in them.

    A file is given by its path below the innermost of these folders, such a folder itself by its own name.

    Args:
        value: JSON value of a response.
        folders: as ``server_folders`` gives them.
    """
    folders = server_folders() if folders is None else folders
    if isinstance(value, str):
        if "/" not in value and "\\" not in value:
            return value
        for folder in folders:
            start = rf"(?<![\w./\\-]){re.escape(str(folder))}"
            value = re.sub(rf"{start}[/\\]", "", value)
            value = re.sub(rf"{start}(?![\w.-])", folder.name.replace("\\", r"\\"), value)
        return _TEMPORARY.sub("", value)
    if isinstance(value, dict):
        return {key: without_folders(content, folders) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(content, folders) for content in value]
    return value


def shown_task(task: Any) -> Any:
    """State of a worker task as MONAI Label gives it (or a list of them, or None), without folders."""
    if isinstance(task, list):
        return [shown_task(each) for each in task]
    if not isinstance(task, dict):
        return task
    shown = {**task, "details": list(task["details"])} if "details" in task else dict(task)
    if isinstance(shown.get("request"), dict):
        shown["request"] = {key: value for key, value in shown["request"].items() if key != "bundle_path"}
    return without_folders(shown)
