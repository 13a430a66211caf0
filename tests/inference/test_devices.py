"""Which device is taken, and what is said where a card cannot be used."""

from __future__ import annotations

import logging

import pytest
import torch
from fake_cards import has_cards, has_unusable_cards

from fetaliqa.errors import OptionError
from fetaliqa.inference import choose_device, devices
from fetaliqa.registry import AssessmentService
from fetaliqa.training.provenance import environment

OLD_DRIVER = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by "
    "downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
)
TOLD = "CUDA cannot be used here (The NVIDIA driver on your system is too old (found version 11040))"
NO_KERNELS = "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be"


@pytest.fixture(autouse=True)
def nothing_said_yet():
    devices._say_once.cache_clear()


def test_auto_takes_the_cpu_where_the_driver_is_too_old_and_the_log_says_so_once(monkeypatch, caplog):
    has_unusable_cards(monkeypatch, OLD_DRIVER)
    with caplog.at_level(logging.WARNING):
        assert [choose_device(), choose_device("auto")] == [torch.device("cpu")] * 2
    assert [record.getMessage() for record in caplog.records] == [f"{TOLD}; computing on the CPU"]


def test_a_card_that_is_asked_for_and_cannot_be_used_is_refused_with_the_reason(monkeypatch):
    has_unusable_cards(monkeypatch, OLD_DRIVER)
    with pytest.raises(OptionError) as refused:
        choose_device("cuda")
    assert str(refused.value) == f"device 'cuda' cannot be used: {TOLD}; use cpu or auto"


def test_a_run_beside_a_card_that_cannot_be_used_is_recorded_without_it(monkeypatch):
    has_unusable_cards(monkeypatch, OLD_DRIVER)
    assert environment()["cuda_devices"] == []


@pytest.mark.parametrize("problem", ["Found no NVIDIA driver on your system.", "No CUDA GPUs are available"])
def test_a_machine_without_cards_is_nothing_to_speak_of(problem, monkeypatch, caplog):
    has_unusable_cards(monkeypatch, problem)
    with caplog.at_level(logging.WARNING):
        assert choose_device() == torch.device("cpu")
    assert caplog.records == []
    with pytest.raises(OptionError, match="this machine has 0 CUDA devices"):
        choose_device("cuda")


def test_a_pytorch_without_cuda_beside_a_driver_is_named(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    monkeypatch.setattr(devices, "DRIVER", tmp_path)
    with pytest.raises(OptionError, match=r"this PyTorch \(.*\) is built without CUDA; use cpu or auto"):
        choose_device("cuda:0")
    with caplog.at_level(logging.WARNING):
        assert choose_device() == torch.device("cpu")
    assert "built without CUDA; computing on the CPU" in caplog.text


def failing(message):
    def fail(*_, **__):
        raise RuntimeError(message)

    return fail


def test_a_card_without_kernels_in_this_pytorch_is_refused_and_not_taken_by_itself(monkeypatch, caplog):
    has_cards(monkeypatch, name="NVIDIA GeForce GTX 680")
    monkeypatch.setattr(devices, "_sound", set())
    monkeypatch.setattr(torch, "ones", failing(NO_KERNELS))
    message = (
        "cuda (NVIDIA GeForce GTX 680) cannot be used here (CUDA error: no kernel image is available for "
        "execution on the device)"
    )
    with pytest.raises(OptionError) as refused:
        choose_device("cuda")
    assert str(refused.value) == f"device 'cuda' cannot be used: {message}; use cpu or auto"
    with caplog.at_level(logging.WARNING):
        assert choose_device() == torch.device("cpu")
    assert caplog.messages == [f"{message}; computing on the CPU"]


def test_a_card_that_is_full_at_the_moment_is_taken_all_the_same(monkeypatch):
    has_cards(monkeypatch)
    monkeypatch.setattr(devices, "_sound", set())
    monkeypatch.setattr(torch, "ones", failing("CUDA error: out of memory"))
    assert choose_device() == choose_device("cuda") == torch.device("cuda")


def test_a_service_names_device_card_and_precision(random_bundle, monkeypatch):
    on_cpu = AssessmentService(random_bundle.directory, device="cpu").computed_on()
    assert on_cpu == {"device": "cpu", "card": None, "precision": "fp32"}
    has_cards(monkeypatch, 2)
    service = AssessmentService(random_bundle.directory, device="cuda:1")
    assert service.computed_on() == {"device": "cuda:1", "card": "NVIDIA H200", "precision": "fp32"}
    wished = AssessmentService(random_bundle.directory, device="cuda:1", precision="bf16")
    assert wished.computed_on()["precision"] == "bf16"
