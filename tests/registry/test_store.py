from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fetaliqa.errors import BundleError, NotFoundError
from fetaliqa.model import Bundle, save_bundle
from fetaliqa.model.user_folders import SHIPPED
from fetaliqa.registry.model_store import (
    current_version,
    list_bundles,
    published_versions,
    resolve_bundle,
)
from fetaliqa.registry.publishing import publish_bundle, set_current


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FETALIQA_DEMO_MODEL", str(tmp_path / "demo"))
    return tmp_path / "home"


@pytest.fixture
def make(tiny_model, card_for, tmp_path):
    def saved(version: str, **changes) -> Bundle:
        card = replace(card_for(tiny_model), version=version, **changes)
        return save_bundle(tiny_model, card, tmp_path / f"made-{card.name}-{version}")

    return saved


def test_published_bundle_is_found_by_name_and_version(home, make):
    publish_bundle(make("1.0").directory)
    publish_bundle(make("1.1").directory)
    assert resolve_bundle("tiny") == home / "models" / "tiny" / "1.1"
    assert resolve_bundle("tiny@1.0") == home / "models" / "tiny" / "1.0"
    assert published_versions("tiny") == ["1.0", "1.1"]
    assert Bundle.open(resolve_bundle("tiny@1.0")).load_model() is not None


def test_a_version_is_published_once_and_never_changes(home, make):
    bundle = make("1.0")
    publish_bundle(bundle.directory)
    with pytest.raises(BundleError, match="published already"):
        publish_bundle(bundle.directory)


def test_current_goes_back_and_forth_between_versions(home, make):
    publish_bundle(make("1.0").directory)
    publish_bundle(make("2.0").directory, make_current=False)
    assert current_version("tiny") == "1.0"
    set_current("tiny", "2.0")
    assert resolve_bundle("tiny").name == "2.0"
    with pytest.raises(NotFoundError, match=r"tiny@3\.0"):
        set_current("tiny", "3.0")


def test_a_damaged_bundle_is_not_published(home, make):
    bundle = make("1.0")
    file = bundle.directory / "head.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BundleError, match="damaged"):
        publish_bundle(bundle.directory)
    assert [spec for spec, _ in list_bundles()] == list(SHIPPED)


def test_names_that_are_not_names_never_reach_outside_the_store(home, make, tmp_path):
    publish_bundle(make("1.0").directory)
    for spec in ("..", "tiny@../1.0", "../home/models", "tiny@", "@1.0", ""):
        with pytest.raises(NotFoundError):
            resolve_bundle(spec)
    with pytest.raises(NotFoundError):
        set_current("../tiny", "1.0")
    with pytest.raises(NotFoundError):
        resolve_bundle("tiny@9")


def test_reserved_names_are_refused(home, make):
    with pytest.raises(BundleError, match="reserved"):
        publish_bundle(make("1.0", name="demo").directory)
    with pytest.raises(BundleError, match="reserved"):
        publish_bundle(make("current").directory)


def test_paths_and_the_demo_are_found(home, make, tmp_path):
    bundle = make("1.0")
    assert resolve_bundle(bundle.directory) == bundle.directory
    assert resolve_bundle(str(bundle.directory)) == bundle.directory
    with pytest.raises(NotFoundError, match="demo"):
        resolve_bundle("demo")
    bundle.directory.rename(tmp_path / "demo")
    assert resolve_bundle("demo") == tmp_path / "demo"
    assert list_bundles()[len(SHIPPED) :] == [("demo", tmp_path / "demo")]


def test_unknown_name_lists_the_known_ones(home, make):
    publish_bundle(make("1.0").directory)
    with pytest.raises(NotFoundError, match=r"no model bundle 'other'.*demo, abdomen, head, femur, tiny"):
        resolve_bundle("other")
