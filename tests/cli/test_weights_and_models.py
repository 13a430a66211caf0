from __future__ import annotations

import json
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from bundle_cards import a_card
from fake_cards import has_cards

from fetaliqa.cli.main import main
from fetaliqa.model import (
    Architecture,
    DecoderConfig,
    VisionConfig,
    build_segmentation,
    fetalclip_weights,
    save_bundle,
)
from fetaliqa.model.architecture import TextConfig
from fetaliqa.model.fetalclip_checkpoint import checkpoint_shapes
from fetaliqa.registry.publishing import publish_bundle

TINY = Architecture("tiny", VisionConfig(32, 8, 32, 4, 2, 16, 4.0), DecoderConfig((1, 2, 3, 4), 4))
TEXT = TextConfig(117, 50, 16, 2, 2, 16, 4.0)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FETALIQA_DEMO_MODEL", str(tmp_path / "demo"))
    monkeypatch.setattr(fetalclip_weights, "fetalclip_text", lambda: TEXT)
    monkeypatch.setattr(fetalclip_weights, "load_architecture", lambda _: TINY)
    return tmp_path / "home"


@pytest.fixture
def checkpoint(home, tmp_path) -> Path:
    (tmp_path / "served").mkdir()
    file = tmp_path / "served" / "FetalCLIP_weights.pt"
    torch.save({name: torch.randn(shape) for name, shape in checkpoint_shapes(TINY.vision, TEXT).items()}, file)
    return file


@pytest.fixture
def published(home, tmp_path) -> str:
    model = build_segmentation(TINY, random_init=True)
    publish_bundle(save_bundle(model, a_card(model, name="tiny", version="1.0"), tmp_path / "made").directory)
    return "tiny"


def test_weights_are_imported_and_shown(checkpoint, capsys):
    assert main(["weights", "import", str(checkpoint)]) == 0
    assert "differs from the hash" in capsys.readouterr().out
    assert main(["weights", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["source_name"] == "FetalCLIP_weights.pt"
    assert shown["tensor_count"] == len(checkpoint_shapes(TINY.vision, TEXT))
    assert shown["source_is_known"] is False


def test_no_weights_are_shown_as_none(home, capsys):
    assert main(["weights", "show"]) == 0
    assert "no FetalCLIP weights" in capsys.readouterr().out
    assert main(["weights", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["imported"] is None


def test_weights_are_downloaded_imported_and_the_download_removed(checkpoint, home, capsys):
    handler = partial(SimpleHTTPRequestHandler, directory=str(checkpoint.parent))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/{checkpoint.name}"
        assert main(["weights", "download", "--url", url, "--json"]) == 0
        server.shutdown()
    record = json.loads(capsys.readouterr().out)
    assert record["source_name"] == checkpoint.name
    assert sorted(file.name for file in (home / "weights").iterdir()) == [
        "fetalclip-text.safetensors",
        "fetalclip-visual.safetensors",
        "weights.json",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["weights", "import", "none.pt"], "no such file or folder"),
        (["weights", "download", "--url", "file:///etc/hosts"], "must begin with https"),
        (["weights", "download", "--url", "http://127.0.0.1:9/x", "--sha256", "12"], "64 hex digits"),
        (["models", "show", "nothing"], "no model bundle 'nothing'"),
        (["models", "verify", "demo"], "no demo bundle"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(home, capsys, arguments, sentence):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_models_are_listed_shown_and_verified(published, capsys):
    assert main(["models", "list", "--json"]) == 0
    *shipped, entry = json.loads(capsys.readouterr().out)
    assert [one["spec"] for one in shipped] == ["abdomen", "head", "femur"]
    assert (entry["spec"], entry["current"], entry["base"]) == ("tiny@1.0", True, "included")
    assert main(["models", "list"]) == 0
    assert "* tiny@1.0" in capsys.readouterr().out
    assert main(["models", "show", published]) == 0
    assert "blocks 1/2/3/4" in capsys.readouterr().out
    assert main(["models", "show", published, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == 1
    assert main(["models", "verify", published, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    assert main(["models", "verify", published]) == 0
    assert "valid" in capsys.readouterr().out


@pytest.mark.parametrize(("cards", "told"), [(0, "cpu, fp32"), (1, "cuda (NVIDIA H200), fp32")])
def test_a_model_is_shown_with_what_it_is_computed_on(cards, told, published, capsys, monkeypatch):
    has_cards(monkeypatch, cards)
    assert main(["models", "show", published]) == 0
    assert f"computed on  {told}\n" in capsys.readouterr().out


def test_a_damaged_model_is_listed_with_its_error_and_does_not_verify(published, home, capsys):
    file = home / "models" / "tiny" / "1.0" / "head.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert main(["models", "verify", published]) == 2
    assert "damaged" in capsys.readouterr().err
    file.unlink()
    assert main(["models", "list"]) == 0
    assert "head.safetensors is missing" in capsys.readouterr().out


def test_asking_for_help_loads_neither_torch_nor_open_clip():
    code = (
        "import argparse, sys, fetaliqa.cli.weights as w, fetaliqa.cli.models as m\n"
        "w.configure(argparse.ArgumentParser()); m.configure(argparse.ArgumentParser())\n"
        "assert not {'torch', 'open_clip', 'peft'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
