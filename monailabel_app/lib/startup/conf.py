"""Settings of the app: what ``--conf KEY VALUE`` accepts, checked before anything is loaded."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fetaliqa.errors import OptionError
from fetaliqa.inference.assessment_options import PRECISIONS
from fetaliqa.size_limits import MAX_UNPACKED_VARIABLE, memory_bytes
from monailabel_app.lib.access.login_setting import login_switch
from monailabel_app.lib.http.hosts import checked_hosts, switch

SEG_MODEL = "fetalclip_seg"
CLS_MODEL = "fetalclip_cls"
MODELS = (SEG_MODEL, CLS_MODEL)
MAX_UPLOAD_VARIABLE = "FETALIQA_MAX_UPLOAD_MB"
DEFAULT_UPLOAD_MB = 2048.0  # MiB; an uncompressed 840 x 562 x 744 case is 335
DEFAULT_EXPORT_MB = 4096.0  # MiB; about 28,000 frames of 562 x 744 as PNG
MOST_UNPACKED_MB = 4096.0  # MiB by default, or a quarter of the memory when that is less: two are read at once
LEAST_UNPACKED_MB = 1024.0  # MiB
DEFAULT_CACHE_GB = 2.0  # GiB
DEFAULT_STUDIES_GB = 1000.0  # GiB; some 3,000 uncompressed cases
DEFAULT_FREE_GB = 1.0  # GiB; ten thousand labels
DEFAULT_UPLOADS = 600  # a minute; a script that copies small files over loopback makes about half
DEFAULT_DICOM_REFRESH = 300.0  # s
ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")
_MEBIBYTE = 1024**2
_GIBIBYTE = 1024**3

KEYS = {
    "models": "comma-separated model names, or all",
    "bundle": "segmentation bundle: folder, name or name@version",
    "cls_bundle": "classification bundle: folder, name or name@version",
    "device": "auto, cpu, cuda or cuda:N",
    "precision": "of the encoder: auto, fp32 or bf16",
    "cache_dir": "folder of cached assessments",
    "cache_gb": "bound on that folder in GiB, 0 turns the cache off",
    "max_upload_mb": "largest request body in MiB",
    "max_unpacked_mb": "largest size in MiB that a compressed image may unpack to",
    "max_export_mb": "largest export in MiB",
    "origins": "comma-separated origins of web pages that may call, such as http://viewer.example:3000",
    "hosts": "comma-separated host names of this server, such as labels.example.org",
    "open": "true: answer other machines without a login",
    "max_studies_gb": "bound on images, upload sessions and temporary files together in GiB",
    "min_free_gb": "GiB of each disk that uploads of images leave free",
    "uploads_per_minute": "images and sessions that one client may upload per minute",
    "dicom_folder": "folder for copies and labels of a DICOM archive",
    "dicom_refresh": "seconds between two searches of the DICOM archive, 0: only at start and on request",
    "replay": "labelled data set replayed in training, see docs/learning.md",
    "train_epochs": "epochs (of 20 steps) of a training, 0: the default of the mode",
    "train_devices": "GPUs, or processes on a CPU, that train together",
    "deterministic": "false: a training may use faster kernels that are not repeatable",
    "train_batch": "frames that a training step computes at a time, with the same result; 0: the whole batch",
    "auto_retrain": "newly confirmed frames after which a quick training starts automatically, 0: never",
    "login": "true: users sign in; false: they do not; auto: where other machines can reach the server",
    "server_mode": "set by MONAI Label itself",
}


def _positive(key: str, text: Any, low: float) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value) or value < low:
        raise OptionError(f"--conf {key} {text}: must be a number of at least {low:g} ({KEYS[key]})")
    return value


def _whole(key: str, text: Any, low: int = 0) -> int:
    value = _positive(key, text, low)
    if value != int(value):
        raise OptionError(f"--conf {key} {text}: must be a whole number ({KEYS[key]})")
    return int(value)


def _gibibytes(conf: Mapping[str, Any], key: str, default: float) -> int:
    return int(_positive(key, conf.get(key, default), 0.0) * _GIBIBYTE)


def _folder(key: str, text: Any) -> Path | None:
    if not str(text or "").strip():
        return None
    folder = Path(str(text)).expanduser().resolve()
    if not folder.is_dir():
        raise OptionError(f"--conf {key} {text}: there is no such folder ({KEYS[key]})")
    return folder


@dataclass(frozen=True)
class ServerConf:
    """Checked settings.

    Attributes:
        models: models asked for, or None for every one whose bundle is present.
        bundle: segmentation bundle, or None for the published one, else the default.
        cls_bundle: classification bundle, or None for the published one if there is one.
        device: torch device name, or auto.
        precision: of the encoder, see ``fetaliqa.inference.precision``.
        cache_dir: folder of cached assessments, or None for the user's cache folder.
        cache_bytes: bound on that folder; 0 turns caching off.
        max_upload_bytes: largest request body.
        max_unpacked_bytes: largest size of an image unpacked, see ``fetaliqa.size_limits``.
        max_export_bytes: largest export, before it is packed.
        origins: origins (scheme, host, port) of web pages that may call.
        hosts: host names of this server, in addition to those of this machine.
        opened: whether other machines are answered without a login.
        login: whether users sign in; None: where other machines can reach the server, and it is not opened.
        max_studies_bytes: images, upload sessions and temporary files together.
        min_free_bytes: of each disk, left free by uploads of images.
        uploads_per_minute: of one client.
        dicom_folder: where copies and labels of an archive are kept, or None for the user's data folder.
        dicom_refresh: seconds between two searches of the archive; 0: only at start and on request.
        replay: data set that training replays, or None for the default.
        train_epochs: of a training; 0: the default of the mode.
        train_devices: GPUs, or processes on a CPU, that train together.
        deterministic: whether training uses repeatable kernels only.
        train_batch: frames that a training step computes at a time; 0: the whole batch.
        auto_retrain: newly confirmed frames that start a training; 0: never.
    """

    models: tuple[str, ...] | None = None
    bundle: str | None = None
    cls_bundle: str | None = None
    device: str = "auto"
    precision: str = "auto"
    cache_dir: Path | None = None
    cache_bytes: int = int(DEFAULT_CACHE_GB * _GIBIBYTE)
    max_upload_bytes: int = int(DEFAULT_UPLOAD_MB * _MEBIBYTE)
    max_unpacked_bytes: int = int(MOST_UNPACKED_MB * _MEBIBYTE)
    max_export_bytes: int = int(DEFAULT_EXPORT_MB * _MEBIBYTE)
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    opened: bool = False
    login: bool | None = None
    max_studies_bytes: int = int(DEFAULT_STUDIES_GB * _GIBIBYTE)
    min_free_bytes: int = int(DEFAULT_FREE_GB * _GIBIBYTE)
    uploads_per_minute: int = DEFAULT_UPLOADS
    dicom_folder: Path | None = None
    dicom_refresh: float = DEFAULT_DICOM_REFRESH
    replay: Path | None = None
    train_epochs: int = 0
    train_devices: int = 1
    deterministic: bool = True
    train_batch: int = 0
    auto_retrain: int = 0

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any]) -> ServerConf:
        """Read ``--conf`` pairs.

        Raises:
            OptionError: for a key that does not exist, or a value that key does not take.
        """
        for key in conf:
            if key not in KEYS:
                known = "; ".join(f"{name} ({meaning})" for name, meaning in KEYS.items() if name != "server_mode")
                raise OptionError(f"--conf {key}: there is no such setting; known: {known}")
        upload = conf.get("max_upload_mb", os.environ.get(MAX_UPLOAD_VARIABLE, DEFAULT_UPLOAD_MB))
        cache_dir = str(conf.get("cache_dir") or "").strip()
        return cls(
            models=_models(conf.get("models")),
            bundle=str(conf["bundle"]) if conf.get("bundle") else None,
            cls_bundle=str(conf["cls_bundle"]) if conf.get("cls_bundle") else None,
            device=str(conf.get("device") or "auto"),
            precision=_precision(conf.get("precision")),
            cache_dir=Path(cache_dir).expanduser().resolve() if cache_dir else None,
            cache_bytes=_gibibytes(conf, "cache_gb", DEFAULT_CACHE_GB),
            max_upload_bytes=int(_positive("max_upload_mb", upload, 0.001) * _MEBIBYTE),
            max_unpacked_bytes=_unpacked_bytes(conf.get("max_unpacked_mb")),
            max_export_bytes=int(
                _positive("max_export_mb", conf.get("max_export_mb", DEFAULT_EXPORT_MB), 0.001) * _MEBIBYTE
            ),
            origins=_origins(conf.get("origins")),
            hosts=checked_hosts(conf.get("hosts")),
            opened=switch("open", conf.get("open") or "false"),
            login=login_switch(conf.get("login")),
            max_studies_bytes=_gibibytes(conf, "max_studies_gb", DEFAULT_STUDIES_GB),
            min_free_bytes=_gibibytes(conf, "min_free_gb", DEFAULT_FREE_GB),
            uploads_per_minute=_whole("uploads_per_minute", conf.get("uploads_per_minute", DEFAULT_UPLOADS), 1),
            dicom_folder=_folder("dicom_folder", conf.get("dicom_folder")),
            dicom_refresh=_positive("dicom_refresh", conf.get("dicom_refresh", DEFAULT_DICOM_REFRESH), 0.0),
            replay=_folder("replay", conf.get("replay")),
            train_epochs=_whole("train_epochs", conf.get("train_epochs", 0)),
            train_devices=_train_devices(conf),
            deterministic=switch("deterministic", conf.get("deterministic") or "true"),
            train_batch=_whole("train_batch", conf.get("train_batch", 0)),
            auto_retrain=_whole("auto_retrain", conf.get("auto_retrain", 0)),
        )


def _unpacked_bytes(text: Any) -> int:
    quarter = memory_bytes() / 4 / _MEBIBYTE
    default = min(MOST_UNPACKED_MB, max(LEAST_UNPACKED_MB, quarter))
    chosen = text if text is not None else os.environ.get(MAX_UNPACKED_VARIABLE) or default
    return int(_positive("max_unpacked_mb", chosen, 0.001) * _MEBIBYTE)


def _train_devices(conf: Mapping[str, Any]) -> int:
    count = _whole("train_devices", conf.get("train_devices", 1), 1)
    device = str(conf.get("device") or "auto")
    if count > 1 and ":" in device:
        raise OptionError(
            f"--conf train_devices {count}: --conf device {device} names one card; use device cuda to train on "
            f"the first {count}, or train_devices 1"
        )
    return count


def _precision(value: Any) -> str:
    name = str(value or "auto").strip().lower()
    if name not in PRECISIONS:
        raise OptionError(f"--conf precision {value}: it must be one of {', '.join(PRECISIONS)}")
    return name


def _models(value: Any) -> tuple[str, ...] | None:
    names = tuple(dict.fromkeys(name.strip() for name in str(value or "all").split(",") if name.strip()))
    if names in ((), ("all",)):
        return None
    for name in names:
        if name not in MODELS:
            raise OptionError(
                f"--conf models {value}: there is no model {name!r}; known: {', '.join(MODELS)}, all"
            )
    return names


def _origins(value: Any) -> tuple[str, ...]:
    origins = tuple(part.strip().rstrip("/") for part in str(value or "").split(",") if part.strip())
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise OptionError(
                f"--conf origins {value}: {origin!r} is not of the form http://host or https://host:port"
            )
    return origins
