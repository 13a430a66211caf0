"""A real server in its own process, real sockets, real files; what is outside of the studies is watched."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from requests_toolbelt.multipart import decoder

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 90  # a server that takes longer than this on two busy cores is broken
ANSWERED = (200, 401)  # of a server without a login, and with one
UPLOAD_LIMIT_MB = 8
EXPORT_LIMIT_MB = 1
UNPACKED_LIMIT_MB = 64
VIEWER = "http://viewer.example:3000"
MATPLOTLIB_CACHE = str(
    Path(tempfile.gettempdir()) / "fetaliqa-tests-matplotlib"
)  # its list of fonts takes seconds
LONG_FRAMES = 420  # half of a whole ACOUSLIC-AI case


def case_pixels(frames: int, seed: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Noise with a bright ellipse in the later two thirds of the frames, uint8 [T, H, W]."""
    random = np.random.default_rng(seed)
    stack = random.integers(30, 90, (frames, *size), dtype=np.uint8)
    row, column = np.mgrid[: size[0], : size[1]]
    inside = ((row - size[0] / 2) / 14) ** 2 + ((column - size[1] / 2) / 18) ** 2 < 1
    stack[frames // 3 :, inside] += 100
    return stack


def write_case(path: Path, frames: int, seed: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A stack on a turned grid with spacing and origin worth checking; returns its pixels."""
    stack = case_pixels(frames, seed, size)
    image = sitk.GetImageFromArray(stack)
    image.SetSpacing((0.28, 0.31, 1.5))
    image.SetOrigin((3.0, -4.0, 5.0))
    image.SetDirection((0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)
    return stack


def write_mask(path: Path, image: Path, dtype: type = np.uint8, shift: float = 0.0) -> Path:
    """A mask on the grid of ``image``, moved by ``shift`` mm."""
    reference = sitk.ReadImage(str(image))
    array: np.ndarray = np.zeros(sitk.GetArrayViewFromImage(reference).shape, dtype)
    array[0, 10:20, 10:20] = 1
    mask = sitk.GetImageFromArray(array)
    mask.CopyInformation(reference)
    mask.SetOrigin(tuple(value + shift for value in reference.GetOrigin()))
    sitk.WriteImage(mask, str(path), useCompression=True)
    return path


@dataclasses.dataclass
class Answer:
    """Status, headers and body of a reply."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """The error sentence; fails when the reply is not ``{"detail": sentence}``."""
        reply = self.json()
        assert set(reply) == {"detail"}, reply
        assert isinstance(reply["detail"], str)
        assert "Traceback" not in reply["detail"]
        return reply["detail"]

    def parts(self) -> tuple[dict[str, Any], bytes, str]:
        """The params, the file's bytes and its name, of a multipart reply."""
        found = {}
        for part in decoder.MultipartDecoder(self.body, self.headers["content-type"]).parts:
            disposition = part.headers[b"Content-Disposition"].decode()
            fields = dict(item.strip().split("=", 1) for item in disposition.split(";")[1:])
            found[fields["name"].strip('"')] = (part.content, fields.get("filename", "").strip('"'))
        return json.loads(found["params"][0]), *found["image"]


@dataclasses.dataclass
class Server:
    """A running server and the folders it may and may not touch."""

    address: tuple[str, int]
    root: Path
    process: subprocess.Popen

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    @property
    def studies(self) -> Path:
        return self.root / "studies"

    @property
    def images(self) -> Path:
        return self.studies / "images" / "stacked_fetal_ultrasound"

    @property
    def temporary(self) -> Path:
        return self.root / "temporary"

    def raw(self, method: str, target: str, body: bytes | None = None, headers: Any = None) -> Answer:
        """Send the target exactly as written: no client library tidies up ``..`` on the way."""
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            reply = connection.getresponse()
            return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def call(self, method: str, target: str, **parts: Any) -> Answer:
        """A request with form fields (``data``), files (``files``) or a JSON body (``json``)."""
        body = requests.Request(method, self.url, **parts).prepare()
        content: Any = body.body.encode() if isinstance(body.body, str) else body.body
        return self.raw(method, target, content, dict(body.headers))

    def infer(self, query: str, params: Any = None, model: str = "fetalclip_seg", **parts: Any) -> Answer:
        data = {} if params is None else {"params": params if isinstance(params, str) else json.dumps(params)}
        return self.call("POST", f"/infer/{model}?{query}", data=data, **parts)

    def outside(self) -> dict[str, str]:
        """Hash of every file of the server's root that no request may change."""
        return {
            str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.suffix != ".log" and "cache" not in path.parts
        }

    def leftovers(self) -> list[str]:
        """Temporary files of requests that are over; waits a moment for those that are just being removed."""
        deadline = time.monotonic() + 3
        while True:
            # MONAI Label leaves its own log settings (.json) there at start
            found = [path.name for path in self.temporary.iterdir() if path.suffix != ".json"]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    def index(self) -> dict[str, Any]:
        return json.loads((self.studies / "datastore_v2.json").read_text())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(root: Path) -> dict[str, str]:
    """The server's environment: its temporary files, sessions and caches lie under ``root``."""
    return {
        **os.environ,
        "TMPDIR": str(root / "temporary"),
        "HOME": str(root / "home"),
        "XDG_CACHE_HOME": str(root / "home" / "cache"),
        "MPLCONFIGDIR": MATPLOTLIB_CACHE,
        "MONAI_LABEL_SESSION_PATH": str(root / "sessions"),
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def start(root: Path, command: list[str], port: int | None = None, cwd: Path = REPOSITORY) -> Server:
    """Start a server process in a folder and wait for its first answer.

    Without a port the command has ``--port 0``: the address is read from what the server says once it serves, and
    the first request has to be answered.
    """
    (root / "temporary").mkdir(exist_ok=True)
    (root / "home").mkdir(exist_ok=True)
    with open(root / "server.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd,
            env=environment(root),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(("127.0.0.1", port or 0), root, process)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if port is None:
            said = re.search(r"is serving .* at http://\S+:(\d+)\n", (root / "server.log").read_text())
            if said is None:
                time.sleep(0.05)
                continue
            server.address = ("127.0.0.1", int(said[1]))
            assert server.raw("GET", "/info/").status in ANSWERED
            return server
        try:
            if server.raw("GET", "/info/").status in ANSWERED:
                return server
        except OSError:
            time.sleep(0.1)
    stop(server)
    pytest.fail("the server did not start:\n" + (root / "server.log").read_text()[-4000:])


def stop(server: Server) -> None:
    """End the server and the workers it started."""
    if server.process.poll() is None:
        os.killpg(server.process.pid, signal.SIGTERM)
        try:
            server.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait(10)


def fill_studies(root: Path) -> None:
    """Two short cases and a whole one in the ACOUSLIC-AI layout, and a secret beside the studies."""
    images = root / "studies" / "images" / "stacked_fetal_ultrasound"
    write_case(images / "case_a.mha", 12, seed=1)
    write_case(images / "case_b.mha", 6, seed=2)
    write_case(images / "long.mha", LONG_FRAMES, seed=3)
    (images / "broken.mha").write_text("this is a text file, not an image")
    (images / "left\nout.mha").write_text("of a name that no image can have")
    write_case(root / "secret.mha", 4, seed=4)


def make_bundle(folder: Path, task: str) -> Path:
    """A bundle of a tiny architecture with random weights: real code, real files, no skill."""
    import torch
    from bundle_cards import a_card

    from fetaliqa.model import (
        Architecture,
        BaseReference,
        DecoderConfig,
        VisionConfig,
        build_classification,
        build_segmentation,
        save_bundle,
    )

    torch.manual_seed(5)
    vision = VisionConfig(image_size=224, patch_size=28, width=32, layers=4, heads=2, embed_dim=32, mlp_ratio=2.0)
    decoder = DecoderConfig(taps=(1, 2, 3, 4), init_filters=2) if task == "segmentation" else None
    architecture = Architecture("tiny", vision, decoder)
    build = build_segmentation if task == "segmentation" else build_classification
    model = build(architecture, random_init=True, encoder="full").eval()
    if task == "segmentation":
        _centre_logits(model)
    save_bundle(model, a_card(model, name=f"random-{task}", base=BaseReference("included", "")), folder)
    return folder


def _centre_logits(model: Any) -> None:
    """Shift and stretch the last layer so that about half of a case's pixels are foreground, not all or none."""
    import torch

    from fetaliqa.measure.square_grid import SquareGrid
    from fetaliqa.model import normalise

    pixels = case_pixels(6, seed=1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = (
                1.0  # one pass leaves the statistics of its pictures, and nothing of the initial ones
            )
    with torch.no_grad():
        # batch statistics of these pictures: with the initial ones a random decoder's signal dies out
        model.train()
        model(normalise(SquareGrid(*pixels.shape[1:]).to_square(pixels)))
        model.eval()
        logits = model(normalise(SquareGrid(*pixels.shape[1:]).to_square(pixels)))
        last = model.decoder.head[-1]
        last.bias -= logits.median()
        last.weight /= logits.std()
        last.bias /= logits.std()
