"""People with roles, and what they send to a server that requires a login."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from app_harness import Answer, Server

from monailabel_app.lib.access.user_accounts import Accounts

PASSWORD = "correct horse battery"
SESSION = "/fetaliqa/v1/session"
PEOPLE = {"vera": "user", "anna": "annotator", "bob": "annotator", "rita": "reviewer", "adam": "admin"}
CASES = ("case_a", "case_b", "case_c", "case_d", "left_1", "left_2")


class Team:
    """A server, and people with a token each."""

    def __init__(self, server: Server, tokens: dict[str, str]) -> None:
        self.server, self.tokens = server, tokens
        self.accounts = Accounts(server.studies)

    def call(self, who: str | None, method: str, target: str, **parts: Any) -> Answer:
        headers = dict(parts.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer {self.tokens.get(who, who)}"
        return self.server.call(method, target, headers=headers, **parts)

    def sign_in(self, user: Any, password: Any = PASSWORD, **headers: str) -> Answer:
        body = {"user": user, "password": password}
        return self.server.call("POST", SESSION, json=body, headers=headers)

    def cookie(self, user: str) -> str:
        answer = self.sign_in(user)
        assert answer.status == 200, answer.body
        return answer.headers["set-cookie"].partition(";")[0]

    def save(self, who: str | None, case: str, tag: str, record: Any = None, **parts: Any) -> Answer:
        params = {**parts.pop("params", {}), **({} if record is None else {"frame_record": record})}
        drawn = parts.pop("drawn", (0,))
        target = f"/datastore/label?image={case}&tag={tag}"
        files = {"label": ("mask.nii.gz", mask(self.server.studies / f"{case}.mha", drawn))}
        return self.call(who, "PUT", target, files=files, data={"params": json.dumps(params)}, **parts)

    def info(self, case: str, tag: str) -> dict[str, Any]:
        return self.call("adam", "GET", f"/datastore/label/info?label={case}&tag={tag}").json()

    def audit(self, **query: Any) -> list[dict[str, Any]]:
        text = "&".join(f"{key}={value}" for key, value in query.items())
        return self.call("adam", "GET", f"/fetaliqa/v1/audit?limit=500&{text}").json()["entries"]


def mask(image: Path, frames: tuple[int, ...], wider: int = 0) -> bytes:
    """A mask file with a square on some frames."""
    reference = sitk.ReadImage(str(image))
    array = np.zeros(sitk.GetArrayViewFromImage(reference).shape, np.uint8)
    for frame in frames:
        array[frame, 10 : 20 + frame, 10 : 20 + wider] = 1
    stack = sitk.GetImageFromArray(array)
    stack.CopyInformation(reference)
    path = image.parent.parent / "mask.nii.gz"
    sitk.WriteImage(stack, str(path), useCompression=True)
    return path.read_bytes()


def judged(rater: str | None, time: str = "2026-01-31T14:05:00+00:00", **frames: str) -> dict[str, Any]:
    """A frame record: ``f0="annotated"``."""
    entries = {name[1:]: {"state": state, "rater": rater, "time": time} for name, state in frames.items()}
    return {"schema": 1, "frames": entries}
