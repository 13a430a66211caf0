"""Options are validated once; cached assessments are whole, bounded and safe."""

from __future__ import annotations

import json
import multiprocessing
import os
import time

import numpy as np
import pytest
import torch

from fetaliqa.errors import OptionError
from fetaliqa.inference import Predictor
from fetaliqa.inference.assessment_cache import (
    STALE_SECONDS,
    AssessmentCache,
    KnownContent,
    cache_key,
    file_identity,
    pack_masks,
    unpack_masks,
)
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.sweep import Grid


@pytest.mark.parametrize(
    "request_",
    [
        {"top_n": 0},
        {"top_n": True},
        {"top_n": "many"},
        {"top_n": 2.5},
        {"top_n": float("inf")},
        {"sweeps": []},
        {"sweeps": [-1]},
        {"sweeps": {"a": 1}},
        {"frames": [5, 5]},
        {"frames": [1]},
        {"frames": "0-10"},
        {"threshold": 0},
        {"threshold": 1.5},
        {"threshold": "nan"},
        {"threshold": [0.5]},
        {"sweep_count": 0},
    ],
)
def test_a_wrong_option_is_refused_by_name(request_):
    with pytest.raises(OptionError, match=next(iter(request_))):
        AssessOptions.from_request(request_)


def test_options_are_read_and_other_keys_ignored():
    options = AssessOptions.from_request(
        {
            "sweeps": [2, "1", 1],
            "frames": [0, 140],
            "top_n": 3,
            "threshold": "0.4",
            "label_tag": "x",
            "sweep_count": 6,
        }
    )
    assert options == AssessOptions((1, 2), (0, 140), 3, 0.4, 6)
    assert json.dumps(options.as_dict())


def test_masks_survive_packing():
    masks = (np.random.default_rng(0).random((5, 13, 9)) > 0.7).astype(np.uint8)
    masks[[1, 3]] = 0
    np.testing.assert_array_equal(unpack_masks(pack_masks(masks)), masks)
    assert len(pack_masks(masks)["mask_frames"]) == 3


def test_an_entry_comes_back_as_it_was_stored(tmp_path):
    cache = AssessmentCache(tmp_path)
    masks = np.eye(6, dtype=np.uint8)[None].repeat(2, axis=0)
    cache.put("a" * 64, {"best": 3, "text": "größer"}, masks)
    record, packed = cache.get("a" * 64)
    assert record == {"best": 3, "text": "größer"}
    np.testing.assert_array_equal(unpack_masks(packed), masks)
    assert cache.get("b" * 64) is None


@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"not an archive", lambda content: content[:-30]])
def test_a_damaged_entry_is_a_miss_and_goes_away(tmp_path, damage):
    cache = AssessmentCache(tmp_path)
    cache.put("k", {"x": 1}, np.ones((1, 4, 4), np.uint8))
    path = cache._entry("k")
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("k") is None
    assert not path.exists()


def test_no_flipped_byte_inside_an_entry_is_more_than_a_miss(tmp_path):
    cache = AssessmentCache(tmp_path)
    record, masks = {"x": list(range(300))}, np.random.default_rng(0).integers(0, 2, (3, 40, 40), dtype=np.uint8)
    cache.put("k", record, masks)
    path = cache._entry("k")
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        entry = cache.get("k")
        assert entry is None


def test_the_longest_unused_entry_goes_first_when_the_folder_is_full(tmp_path):
    cache = AssessmentCache(tmp_path)
    noise = np.random.default_rng(0).integers(0, 2, (4, 256, 256), dtype=np.uint8)
    keys = [cache_key(name) for name in ("old", "middle", "new")]
    for age, key in enumerate(keys):
        cache.put(key, {}, noise)
        os.utime(cache._entry(key), (1000 + age, 1000 + age))
    cache.get(keys[0])  # used again: now the freshest
    size = cache._entry(keys[2]).stat().st_size
    cache.max_bytes = int(2.5 * size)
    cache.trim()
    assert [cache.get(key) is not None for key in keys] == [True, False, True]


def test_files_that_are_not_the_cache_s_own_are_never_removed(tmp_path):
    """A user may name any folder as the cache folder, a home folder too."""
    foreign = [tmp_path / name for name in (".bashrc", ".profile.bak", "case.mha", "results.assessment", "a" * 64)]
    for path in foreign:
        path.write_bytes(b"mine")
        os.utime(path, (1000, 1000))
    (tmp_path / f"{'b' * 64}.masks.mha").mkdir()
    (tmp_path / ".ssh").mkdir()
    left_by_a_dead_process = tmp_path / f".{'c' * 40}.x1y2_z.assessment"
    left_by_a_dead_process.write_bytes(b"half")
    os.utime(left_by_a_dead_process, (time.time() - STALE_SECONDS - 9,) * 2)
    cache = AssessmentCache(tmp_path, max_bytes=1)
    cache.put(cache_key("new"), {}, np.zeros((1, 4, 4), np.uint8))
    assert all(path.read_bytes() == b"mine" for path in foreign)
    assert (tmp_path / ".ssh").is_dir()
    assert not left_by_a_dead_process.exists()
    assert cache.get(cache_key("new")) is None


def test_a_file_is_known_again_until_it_changes(tmp_path):
    cache = AssessmentCache(tmp_path / "cache")
    path = tmp_path / "case.mha"
    path.write_bytes(b"ElementDataFile = LOCAL\none")
    identity = file_identity(path, None)
    assert cache.known_content(identity) is None
    grid = Grid((0.3, 0.4, 1.0), (1.0, 2.0, 3.0), (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0), 3)
    content = KnownContent("hash", "case", grid, ("a note",))
    cache.remember_content(identity, content)
    assert cache.known_content(file_identity(path, None)) == content
    assert cache.known_content(file_identity(path, 6)) is None
    path.write_bytes(b"ElementDataFile = LOCAL\ntwo")
    assert cache.known_content(file_identity(path, None)) is None
    assert file_identity(tmp_path, None) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("case.mhd", b"ElementDataFile = LOCAL\n"),
        ("case.mha", b"ElementDataFile = case.raw\n"),
        ("case.nrrd", b"NRRD0004\ndata file: case.raw\n\n"),
        ("case.nrrd", b"no header"),
    ],
)
def test_a_header_whose_pixels_may_lie_elsewhere_is_never_taken_for_known(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert file_identity(tmp_path / name, None) is None


def _hammer(directory, number):
    cache = AssessmentCache(directory, max_bytes=60_000)
    random = np.random.default_rng(number)
    for _ in range(40):
        key = cache_key(int(random.integers(6)))
        entry = cache.get(key)
        if entry is not None and entry[0] != {"key": key}:
            os._exit(3)
        cache.put(key, {"key": key}, random.integers(0, 2, (2, 200, 200), dtype=np.uint8))
    os._exit(0)


def test_two_processes_can_share_a_small_cache(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_hammer, args=(tmp_path, number)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    AssessmentCache(tmp_path, max_bytes=60_000).trim()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert 0 < sum(sizes) <= 60_000


def test_keys_depend_on_every_part():
    assert cache_key(1, "a") != cache_key(1, "b") != cache_key("1", "b")
    assert cache_key({"a": 1, "b": 2}) == cache_key({"b": 2, "a": 1})


def test_views_are_averaged_and_any_other_number_is_refused(random_bundle):
    frames = np.random.default_rng(0).integers(0, 255, (2, 40, 40)).astype(np.uint8)
    numbers = np.arange(2)

    def answer(views, pictures):
        predictor = Predictor(random_bundle, "cpu", views=views)
        return next(predictor.predict(np.ascontiguousarray(pictures), numbers)).probabilities

    one, two, four = (answer(views, frames) for views in (1, 2, 4))
    mirrored = answer(1, frames[:, :, ::-1]).flip(-1)
    torch.testing.assert_close(two, (one + mirrored) / 2)
    upside = answer(2, frames[:, ::-1]).flip(-2)
    torch.testing.assert_close(four, (two + upside) / 2)
    with pytest.raises(OptionError, match="3 views of a frame; 1, 2, 4 are possible"):
        Predictor(random_bundle, "cpu", views=3)
