"""Options are validated once; cached assessments are whole, bounded and safe."""

from __future__ import annotations

import json
import multiprocessing
import os

import numpy as np
import pytest

from fetaliqa.errors import OptionError
from fetaliqa.inference.cache import AssessmentCache, cache_key, pack_masks, unpack_masks
from fetaliqa.inference.options import AssessOptions


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


@pytest.mark.parametrize("damage", [b"", b"not an archive", None])
def test_a_damaged_entry_is_a_miss_and_goes_away(tmp_path, damage):
    cache = AssessmentCache(tmp_path)
    cache.put("k", {"x": 1}, np.ones((1, 4, 4), np.uint8))
    path = cache._entry("k")
    path.write_bytes(path.read_bytes()[:-30] if damage is None else damage)
    assert cache.get("k") is None
    assert not path.exists()


def test_the_longest_unused_entry_goes_first_when_the_folder_is_full(tmp_path):
    cache = AssessmentCache(tmp_path)
    noise = np.random.default_rng(0).integers(0, 2, (4, 256, 256), dtype=np.uint8)
    for age, key in enumerate(("old", "middle", "new")):
        cache.put(key, {}, noise)
        os.utime(cache._entry(key), (1000 + age, 1000 + age))
    cache.get("old")  # used again: now the freshest
    size = cache._entry("new").stat().st_size
    cache.max_bytes = int(2.5 * size)
    cache.trim()
    assert [cache.get(key) is not None for key in ("old", "middle", "new")] == [True, False, True]


def test_a_file_is_known_again_until_it_changes(tmp_path):
    cache = AssessmentCache(tmp_path / "cache")
    path = tmp_path / "case.mha"
    path.write_bytes(b"one")
    identity = cache.identity(path, None)
    assert cache.known_content(identity) is None
    cache.remember_content(identity, "hash", "case")
    assert cache.known_content(cache.identity(path, None)) == ("hash", "case")
    assert cache.known_content(cache.identity(path, 6)) is None
    path.write_bytes(b"two")
    assert cache.known_content(cache.identity(path, None)) is None
    assert cache.identity(tmp_path, None) is None


def _hammer(directory, number):
    cache = AssessmentCache(directory, max_bytes=60_000)
    random = np.random.default_rng(number)
    for _ in range(40):
        key = f"k{random.integers(6)}"
        found = cache.get(key)
        if found is not None and found[0] != {"key": key}:
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


def test_keys_depend_on_every_part():
    assert cache_key(1, "a") != cache_key(1, "b") != cache_key("1", "b")
    assert cache_key({"a": 1, "b": 2}) == cache_key({"b": 2, "a": 1})
