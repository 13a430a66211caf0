"""``fetaliqa weights``: download, import and show the FetalCLIP foundation-model weights."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from fetaliqa.cli.argument_types import existing
from fetaliqa.cli.progress_bars import moves

if TYPE_CHECKING:
    from fetaliqa.model.fetalclip_weights import WeightsRecord


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    download = actions.add_parser("download", help="download the published checkpoint and import it")
    download.add_argument("--url", help="address to download from (default: the authors' public repository)")
    download.add_argument("--sha256", help="expected SHA-256 of the file, 64 hex digits")
    download.add_argument("--keep", action="store_true", help="keep the downloaded .pt file after the import")
    import_ = actions.add_parser("import", help="import a checkpoint file")
    import_.add_argument("file", type=existing, help="FetalCLIP_weights.pt")
    show = actions.add_parser("show", help="show the imported weights")
    for action in (download, import_, show):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.model.fetalclip_weights import import_checkpoint, read_record

    if args.action == "download":
        record = _download(args)
    elif args.action == "import":
        record = import_checkpoint(args.file)
    else:
        imported = read_record()
        if imported is None:
            return _nothing(args.json)
        record = imported
    _print(record, args.json)
    return 0


def _download(args: argparse.Namespace) -> WeightsRecord:
    from tqdm import tqdm

    from fetaliqa.errors import OptionError
    from fetaliqa.model.fetalclip_weights import import_checkpoint
    from fetaliqa.model.tensor_hashes import SHA256_PATTERN
    from fetaliqa.model.user_folders import weights_folder
    from fetaliqa.model.weights_download import download, weights_url

    url = args.url or weights_url()
    if not url.startswith(("https://", "http://")):
        raise OptionError(f"{url!r} is not an address; it must begin with https:// or http://")
    if args.sha256 and not SHA256_PATTERN.fullmatch(args.sha256.lower()):
        raise OptionError(f"--sha256 {args.sha256!r} is not a hash; 64 hex digits are needed")
    target = weights_folder() / "FetalCLIP_weights.pt"
    with tqdm(unit="B", unit_scale=True, desc=target.name, file=sys.stderr) as bar:
        sha256 = download(url, target, sha256=args.sha256, progress=moves(bar))
    record = import_checkpoint(target, source_sha256=sha256)
    if not args.keep:
        target.unlink()
    return record


def _nothing(as_json: bool) -> int:
    from fetaliqa.model.user_folders import weights_folder

    if as_json:
        print(json.dumps({"imported": None, "folder": str(weights_folder())}))
    else:
        print(f"no FetalCLIP weights in {weights_folder()}; run `fetaliqa weights download` or `import FILE`")
    return 0


def _print(record: WeightsRecord, as_json: bool) -> None:
    from fetaliqa.model.json_records import to_json
    from fetaliqa.model.user_folders import weights_folder

    if as_json:
        values: dict[str, Any] = to_json(record)
        print(json.dumps({**values, "source_is_known": record.source_is_known, "folder": str(weights_folder())}))
        return
    print(f"folder         {weights_folder()}")
    print(f"imported       {record.imported} from {record.source_name} ({record.tensor_count} tensors)")
    print(f"source sha256  {record.source_sha256}")
    if record.source_is_known:
        print("               equals the hash that a third party recorded for the published file")
    else:
        print("               differs from the hash that a third party recorded for the published file")
    print(f"visual sha256  {record.visual_sha256} (content hash, used by bundles)")
