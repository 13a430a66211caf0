"""``fetaliqa data``: what it prints, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from acouslic_files import SPACING, stacks, write_set
from hc18_files import write_hc18

from fetaliqa.cli import main as entry
from fetaliqa.datasets.acouslic_layout import MASKS, Circumferences, write_circumferences, write_stack


@pytest.fixture
def fetaliqa(monkeypatch, capsys):
    """Run the command line; returns exit code, stdout, stderr."""
    monkeypatch.setattr(entry, "VERBS", {**entry.VERBS, "data": "fetch, check and split labelled data sets"})

    def call(*arguments):
        code = entry.main(["data", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def folder(tmp_path):
    return write_set(tmp_path / "set")


def test_a_sound_folder_is_called_sound_with_exit_code_0(fetaliqa, folder):
    code, out, err = fetaliqa("acouslic", folder)
    assert code == 0
    assert "2 cases of 2 subjects, 2 readable" in out
    assert out.splitlines()[-1] == "no problems"
    assert err == ""
    code, out, _ = fetaliqa("acouslic", folder, "--json")
    assert json.loads(out)["sound"] is True


def test_problems_are_listed_with_exit_code_1(fetaliqa, folder):
    (folder / MASKS / "a.mha").unlink()
    code, out, _ = fetaliqa("acouslic", folder)
    assert code == 1
    assert "a: no mask a.mha in stacked_fetal_abdomen" in out
    assert out.splitlines()[-1] == "1 problem(s)"
    code, out, _ = fetaliqa("acouslic", folder, "--json")
    assert code == 1
    assert json.loads(out)["problems"][0]["kind"] == "no-mask"


def test_a_doubled_table_is_a_problem_when_checked_and_an_error_when_split(fetaliqa, folder, tmp_path):
    none = (None,) * 5
    write_circumferences(
        folder, [Circumferences("a", "0", (520.0, *none)), Circumferences("b", "1", (600.0, *none))]
    )
    code, out, _ = fetaliqa("acouslic", folder)
    assert code == 1
    assert "version 1.0 of this table is doubled" in out
    code, out, err = fetaliqa("split", folder, "--out", tmp_path / "s.json")
    assert (code, out) == (2, "")
    assert "use version 1.1" in err


def test_a_download_is_unpacked_and_checked(fetaliqa, folder, tmp_path):
    (tmp_path / "served").mkdir()
    with zipfile.ZipFile(tmp_path / "served" / "a.zip", "w") as made:
        for path in folder.rglob("*"):
            made.write(path, path.relative_to(folder))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/a.zip"
        code, out, _ = fetaliqa("acouslic", tmp_path / "new", "--download", "--url", url, "--json")
        server.shutdown()
    assert code == 0
    assert json.loads(out)["download"]["checked"] == "crc32"
    assert json.loads(out)["readable"] == 2


def test_hc18_is_read_through(fetaliqa, tmp_path):
    write_hc18(tmp_path, ["001_HC", "001_2HC"])
    assert fetaliqa("hc18", tmp_path)[:2] == (0, "hc18         2 images of 1 subjects\nno problems\n")
    (tmp_path / "annotations" / "001_HC_Annotation.png").write_bytes(b"x")
    code, out, _ = fetaliqa("hc18", tmp_path, "--json")
    assert code == 1
    assert json.loads(out)["problems"] == ["001_HC_Annotation.png: not a readable image"]


def test_studies_are_counted_by_what_is_known(fetaliqa, tmp_path):
    frames, masks = stacks({1: 1, 5: 2})
    write_stack(tmp_path / "images" / "p.mha", frames, SPACING)
    write_stack(tmp_path / "labels" / "p.mha", masks, SPACING)
    record = {"schema": 1, "frames": {"1": {"state": "annotated"}, "2": {"state": "empty"}}}
    (tmp_path / "labels" / "p.frames.json").write_text(json.dumps(record))
    code, out, _ = fetaliqa("folder", tmp_path)
    assert code == 0
    assert "2 of 24 labelled: 1 optimal, 0 suboptimal, 1 empty" in out
    record["frames"]["5"] = {"state": "empty"}
    (tmp_path / "labels" / "p.frames.json").write_text(json.dumps(record))
    code, out, _ = fetaliqa("folder", tmp_path, "--json")
    assert code == 1
    assert json.loads(out)["problems"] == ["p: frame 5 was called empty, but has a mask"]


def test_phantoms_are_made(fetaliqa, tmp_path):
    options = ["--scale", "half", "--sweeps", "1", "--slots", "20"]
    assert fetaliqa("phantom", tmp_path / "out", *options)[0] == 0
    assert fetaliqa("acouslic", tmp_path / "out")[0] == 0


def test_a_split_is_written_once_and_never_overwritten(fetaliqa, tmp_path):
    write_hc18(tmp_path / "heads", [f"{k:03d}_HC" for k in range(20)])
    out = tmp_path / "split.json"
    code, text, _ = fetaliqa("split", tmp_path / "heads", "--out", out)
    assert code == 0
    assert "14 train, 2 validation, 4 test" in text
    assert "no subject in two parts" in text
    before = out.read_bytes()
    code, _, err = fetaliqa("split", tmp_path / "heads", "--out", out, "--seed", "1")
    assert code == 2
    assert "exists already" in err
    assert out.read_bytes() == before


def test_the_paper_s_method_says_what_leaks_and_that_these_are_not_its_parts(fetaliqa, tmp_path):
    write_hc18(tmp_path / "heads", [f"{k // 2:03d}_{k % 2}HC" for k in range(20)])
    code, out, err = fetaliqa("split", tmp_path / "heads", "--out", tmp_path / "p.json", "--method", "paper")
    assert code == 0
    assert "subjects in several parts" in out
    assert "the parts differ" in err


def test_the_paper_s_split_of_an_incomplete_folder_leaves_out_what_is_missing(fetaliqa, folder, tmp_path):
    (folder / MASKS / "a.mha").unlink()
    code, out, _ = fetaliqa("split", folder, "--out", tmp_path / "p.json", "--method", "paper", "--json")
    assert code == 0
    shown = json.loads(out)
    assert any("1 of 2 cases" in note for note in shown["notes"])
    assert sum(shown["splits"][0]["sizes"].values()) == 1
    (folder / MASKS / "b.mha").unlink()
    code, _, err = fetaliqa("split", folder, "--out", tmp_path / "q.json", "--method", "paper")
    assert code == 2
    assert "no case has its files" in err


def test_folds_are_numbered_files(fetaliqa, tmp_path):
    write_hc18(tmp_path / "heads", [f"{k:03d}_HC" for k in range(9)])
    options = ["--method", "kfold", "--folds", "3", "--json"]
    code, out, _ = fetaliqa("split", tmp_path / "heads", "--out", tmp_path / "f.json", *options)
    assert code == 0
    assert [Path(split["file"]).name for split in json.loads(out)["splits"]] == [
        "f-1.json",
        "f-2.json",
        "f-3.json",
    ]
    assert (tmp_path / "f-3.json").is_file()


def test_a_split_is_extended_with_new_cases_only(fetaliqa, tmp_path):
    names = [f"{k:03d}_HC" for k in range(12)]
    write_hc18(tmp_path / "heads", names[:8])
    fetaliqa("split", tmp_path / "heads", "--out", tmp_path / "old.json")
    write_hc18(tmp_path / "heads", names)
    code, _, _ = fetaliqa(
        "split", tmp_path / "heads", "--out", tmp_path / "new.json", "--extend", tmp_path / "old.json"
    )
    assert code == 0
    old, new = (json.loads((tmp_path / name).read_text()) for name in ("old.json", "new.json"))
    for part in ("train", "validation", "test"):
        assert set(old[part]) <= set(new[part])
    assert sum(len(new[part]) for part in ("train", "validation", "test")) == 12


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["acouslic", "nowhere"], "is this an ACOUSLIC-AI folder"),
        (["acouslic", "nowhere", "--sha256", "0"], "require --download"),
        (["acouslic", "nowhere", "--download", "--url", "ftp://x"], "must begin with https"),
        (["hc18", "nowhere"], "no such folder"),
        (["folder", "nowhere"], "no such folder"),
        (["split", "nowhere", "--out", "x.json"], "no such folder"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(fetaliqa, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    code, out, err = fetaliqa(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_asking_for_help_loads_no_arrays():
    code = (
        "import argparse, sys, fetaliqa.cli.data as d\n"
        "d.configure(argparse.ArgumentParser())\n"
        "assert not {'numpy', 'torch', 'cv2', 'tqdm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
