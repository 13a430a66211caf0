from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from app_harness import REPOSITORY, environment
from fake_cards import has_cards, has_unusable_cards

from fetaliqa.errors import FetalIQAError
from monailabel_app.lib.http.ids import is_id
from monailabel_app.lib.startup.conf import ServerConf
from monailabel_app.lib.tasks.inference_task import make_tasks
from monailabel_app.lib.tasks.retraining_task import RetrainTask


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("modles", "all"),
        ("models", "fetalclip_sge"),
        ("cache_gb", "many"),
        ("cache_gb", "-1"),
        ("max_upload_mb", "nan"),
        ("max_unpacked_mb", "0"),
        ("max_unpacked_mb", "large"),
        ("origins", "*"),
        ("deterministic", "perhaps"),
        ("train_batch", "-1"),
        ("train_batch", "half"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(key: str, value: str) -> None:
    with pytest.raises(FetalIQAError, match=key):
        ServerConf.from_conf({key: value})


def test_models_are_a_list_and_sizes_are_in_binary_units() -> None:
    conf = ServerConf.from_conf(
        {"models": "fetalclip_cls, fetalclip_seg", "cache_gb": "0.5", "max_upload_mb": "3"}
    )
    assert conf.models == ("fetalclip_cls", "fetalclip_seg")
    assert (conf.cache_bytes, conf.max_upload_bytes) == (512 * 1024**2, 3 * 1024**2)


def test_training_is_deterministic_unless_that_is_turned_off() -> None:
    assert ServerConf.from_conf({}).deterministic
    assert not ServerConf.from_conf({"deterministic": "false"}).deterministic


@pytest.mark.parametrize("device", ["cuda:1", "cuda:0"])
def test_one_card_by_its_number_trains_alone(device: str) -> None:
    assert ServerConf.from_conf({"device": device, "train_devices": "1"}).train_devices == 1
    assert ServerConf.from_conf({"device": "cuda", "train_devices": "2"}).train_devices == 2
    with pytest.raises(FetalIQAError) as refused:
        ServerConf.from_conf({"device": device, "train_devices": "2"})
    assert str(refused.value) == (
        f"--conf train_devices 2: --conf device {device} names one card; use device cuda to train on the first 2, "
        "or train_devices 1"
    )


def test_more_cards_to_train_on_than_there_are_keep_the_server_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has_cards(monkeypatch, 1)
    with pytest.raises(FetalIQAError) as refused:
        make_tasks(ServerConf.from_conf({"device": "cuda", "train_devices": "2"}))
    assert str(refused.value) == "--conf train_devices 2: this machine has 1 CUDA devices"


def test_the_server_says_why_a_model_is_not_computed_on_the_card(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    has_unusable_cards(monkeypatch, "The NVIDIA driver on your system is too old (found version 11040). Please")
    with caplog.at_level(logging.INFO, "monailabel_app"):
        make_tasks(ServerConf.from_conf({"bundle": "demo", "cache_gb": "0"}))
    (hardware,) = [message for message in caplog.messages if message.startswith("fetalclip_seg: demo")]
    reason = "as CUDA cannot be used here (The NVIDIA driver on your system is too old (found version 11040))"
    assert f"on cpu, {reason}, in fp32" in hardware
    with pytest.raises(FetalIQAError, match="device 'cuda' cannot be used: CUDA cannot be used here"):
        make_tasks(ServerConf.from_conf({"device": "cuda"}))


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_training_of_the_server_runs_on_what_its_settings_say(
    deterministic: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(
        "fetaliqa.retraining.pipeline.retrain", lambda *_, machine, **__: given.append(machine) or {}
    )
    settings = {"device": "cuda:1", "deterministic": str(deterministic).lower()}
    RetrainTask(tmp_path, ServerConf.from_conf(settings), lambda: False)({}, None)
    (machine,) = given
    assert (machine.accelerator, machine.index, machine.devices) == ("cuda", 1, 1)
    assert machine.deterministic is deterministic


def test_what_images_unpack_to_is_bounded_by_setting_or_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FETALIQA_MAX_UNPACKED_MB", raising=False)
    for memory, expected in ((64 << 30, 4 << 30), (8 << 30, 2 << 30), (1 << 30, 1 << 30)):
        monkeypatch.setattr("monailabel_app.lib.startup.conf.memory_bytes", lambda memory=memory: memory)
        assert ServerConf.from_conf({}).max_unpacked_bytes == expected
    monkeypatch.setenv("FETALIQA_MAX_UNPACKED_MB", "5")
    assert ServerConf.from_conf({}).max_unpacked_bytes == 5 << 20
    assert ServerConf.from_conf({"max_unpacked_mb": "7"}).max_unpacked_bytes == 7 << 20


@pytest.mark.parametrize("value", ["case_1", "A", "1.2.840.113", "a-b_c.d"])
def test_ordinary_names_are_ids(value: str) -> None:
    assert is_id(value)


@pytest.mark.parametrize(
    "value", ["", ".", "..", "a..b", "../a", "a/b", "-a", "a b", "a\n", "é", None, 3, "a" * 201]
)
def test_everything_else_is_not(value: object) -> None:
    assert not is_id(value)


def test_the_command_ends_with_one_sentence_when_it_cannot_start(tmp_path: Path) -> None:
    for folder in ("temporary", "home", "studies"):
        (tmp_path / folder).mkdir()
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "monailabel_app.serve",
            "--studies",
            str(tmp_path / "studies"),
            "--conf",
            "bundle",
            "no-such-bundle",
        ],
        cwd=REPOSITORY,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert "no-such-bundle" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
