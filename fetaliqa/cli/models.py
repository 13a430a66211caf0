"""``fetaliqa models``: list, show, verify, export and publish model bundles, and the history of publications."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fetaliqa.cli import models_export
from fetaliqa.cli.argument_types import existing
from fetaliqa.cli.calibrate import calibrate_bundle, configure_calibration
from fetaliqa.measure.anatomy import ANATOMIES
from fetaliqa.model.user_folders import default_model

if TYPE_CHECKING:
    from fetaliqa.model import Bundle, BundleCard


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list shipped and published bundles")
    show = actions.add_parser("show", help="print a bundle's card")
    verify = actions.add_parser("verify", help="check hashes, load the model and run it")
    for action in (show, verify):
        action.add_argument("name", help="NAME, NAME@VERSION, or the path of a bundle folder")
    verify.add_argument("--weights", help="FetalCLIP weights file (default: the imported ones)")
    export = actions.add_parser("export", help="write a model in the format of other software")
    models_export.configure(export)
    incoming = actions.add_parser("import", help="host the segmentation network of a MONAI bundle")
    incoming.add_argument("folder", type=existing, metavar="BUNDLE", help="folder of the MONAI bundle")
    incoming.add_argument("--anatomy", required=True, choices=sorted(ANATOMIES), help="what the network outlines")
    incoming.add_argument("--name", help="name of the model (default: from the bundle's metadata)")
    incoming.add_argument("--version", help="its version (default: from the bundle's metadata)")
    publish = actions.add_parser("publish", help="publish a candidate, an earlier version, or a bundle folder")
    publish.add_argument("name", help="NAME@VERSION, or the path of a bundle folder")
    publish.add_argument("--force", action="store_true", help="publish a candidate that the gate rejected")
    publish.add_argument("--reason", default="", help="reason for the history; required with --force")
    configure_calibration(actions.add_parser("calibrate", help="calibrate a bundle's intervals on labelled cases"))
    back = actions.add_parser("rollback", help="restore the version in use before the current one")
    past = actions.add_parser("history", help="candidates, publications and rollbacks of a model, oldest first")
    for action in (back, past):
        action.add_argument("name", nargs="?", default="fetalclip_seg", help="default: fetalclip_seg")
    for action in (listing, show, verify, export, incoming, publish, back, past):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    if args.action == "list":
        return _list(args.json)
    if args.action == "show":
        return _show(args.name, args.json)
    if args.action == "verify":
        return _verify(args.name, args.weights, args.json)
    if args.action == "export":
        return models_export.run(args)
    if args.action == "import":
        return _import(args)
    if args.action == "publish":
        return _publish(args)
    if args.action == "calibrate":
        return calibrate_bundle(args)
    return {"rollback": _rollback, "history": _history}[args.action](args.name, args.json)


def _summary(spec: str, folder: Path, current: bool) -> dict[str, Any]:
    from fetaliqa.errors import BundleError
    from fetaliqa.model import Bundle

    summary: dict[str, Any] = {"spec": spec, "path": str(folder), "current": current}
    try:
        card = Bundle.open(folder).card
    except BundleError as problem:  # a damaged bundle is listed with its error
        return {**summary, "error": str(problem)}
    return {
        **summary,
        "name": card.name,
        "version": card.version,
        "task": card.task,
        "anatomy": card.anatomy,
        "architecture": card.architecture.name,
        "base": card.base.kind,
    }


def _list(as_json: bool) -> int:
    from fetaliqa.model.user_folders import models_folder
    from fetaliqa.registry.model_store import current_version, list_bundles

    bundles = []
    for spec, folder in list_bundles():
        name, _, version = spec.partition("@")
        bundles.append(_summary(spec, folder, bool(version) and current_version(name) == version))
    if as_json:
        print(json.dumps(bundles, indent=2))
        return 0
    if not bundles:
        print(f"no model bundles in {models_folder()}, and no demo bundle")
    for entry in bundles:
        mark = "*" if entry["current"] else " "
        summary = entry.get("error") or "  ".join(
            (
                f"{entry['task']:<14}",
                f"{entry['anatomy']:<8}",
                f"{entry['architecture']:<10}",
                f"base {entry['base']}",
            )
        )
        print(f"{mark} {entry['spec']:<32}  {summary}")
    return 0


def _show(name: str, as_json: bool) -> int:
    from fetaliqa.registry.model_store import resolve_bundle

    directory = resolve_bundle(name)
    # after the check: these load torch
    from fetaliqa.inference.student import open_student
    from fetaliqa.model import Bundle
    from fetaliqa.model.bundle_names import AUTO

    bundle = Bundle.open(directory)
    if as_json:
        print(json.dumps(bundle.card.to_json(), indent=2))
        return 0
    print(f"folder       {bundle.directory}")
    for label, text in (*_card_lines(bundle.card), ("computed on", _computed_on(bundle.card))):
        print(f"{label:<12} {text}")
    for line in _interval_lines(bundle):
        print(f"{'intervals':<12} {line}")
    for label, count in bundle.parameter_counts().items():
        print(f"{label:<12} {count:,} parameters")
    student = open_student(AUTO, bundle)
    if student is not None:
        search, outlines = student.screening.search, student.screening.outlines
        print(
            f"{'student':<12} finds {search['found']} of {search['sweeps']} best frames of held-out sweeps, "
            f"assessing {search['share_looked_at']:.1%} of the frames; {student.card.training_data.name}"
        )
        if outlines:
            print(
                f"{'':<12} screening finds {outlines['found']} of {outlines['positive_frames']} frames that "
                f"show the {bundle.card.anatomy}, assessing {outlines['share_looked_at']:.1%}"
            )
    return 0


def _interval_lines(bundle: Bundle) -> list[str]:
    from fetaliqa.measure.anatomy import anatomy_named
    from fetaliqa.measure.case_measurement import NOT_OF_LENGTHS

    calibration = bundle.intervals.calibration
    if anatomy_named(bundle.card.anatomy).is_line:
        return [f"none: {NOT_OF_LENGTHS}"]
    if calibration is None:
        return [f"none: {bundle.intervals.absent}"]
    kinds = (
        ("single images", calibration.still),
        ("frames of sweeps", calibration.sweep_frame),
        ("cases of sweeps", calibration.sweep_case),
    )
    return [
        f"{calibration.coverage:.0%} for {name}: {quantile.cases} cases, {quantile.data}"
        if quantile
        else f"none for {name}"
        for name, quantile in kinds
    ]


def _card_lines(card: BundleCard) -> list[tuple[str, str]]:
    from fetaliqa.model import DecoderConfig
    from fetaliqa.model.network_config import ForegroundConfig

    threshold = card.threshold
    pixels = threshold.min_foreground_pixels(card.architecture.vision.image_size)
    lines = [
        ("name", f"{card.name} {card.version}, {card.task} of the {card.anatomy}"),
        ("base", f"{card.base.kind}, sha256 {card.base.sha256}"),
    ]
    decoder = card.architecture.decoder
    if isinstance(decoder, DecoderConfig):
        taps = "/".join(map(str, decoder.taps))
        lines.append(("decoder", f"blocks {taps}, {decoder.init_filters} filters"))
    elif isinstance(decoder, ForegroundConfig):
        lines.append(("network", f"{card.architecture.name} of MONAI, {decoder.outputs} output channel(s)"))
    elif decoder is not None:
        lines.append(("decoder", f"feature pyramid, {decoder.pyramid_channels} channels"))
    if card.lora is not None:
        lines.append(
            ("adapter", f"rank {card.lora.rank}, alpha {card.lora.alpha}, on {', '.join(card.lora.targets)}")
        )
    lines += [
        (
            "threshold",
            f"outlines p > {threshold.probability}; frames p > {threshold.frame} on {pixels} pixels or more",
        ),
        ("trained on", f"{card.training_data.name} ({card.training_data.description})"),
        ("metrics", json.dumps(card.metrics) if card.metrics else "none recorded"),
        ("intended", card.intended_use),
        ("limits", card.limitations),
        ("licence", card.licence),
        ("created", card.created),
    ]
    return lines


def _computed_on(card: BundleCard) -> str:
    """Device, device name and precision of the model on this machine."""
    from fetaliqa.inference.devices import card_name, choose_device
    from fetaliqa.inference.precision import chosen_precision

    device = choose_device()
    device_name = card_name(device)
    precision = chosen_precision("auto", device, card.architecture.vision)
    return f"{device}{'' if device_name is None else f' ({device_name})'}, {precision}"


def _verify(name: str, weights: str | None, as_json: bool) -> int:
    from fetaliqa.model import Bundle
    from fetaliqa.model.bundle_verification import verify_bundle
    from fetaliqa.model.json_records import to_json
    from fetaliqa.registry.model_store import resolve_bundle

    bundle = Bundle.open(resolve_bundle(name))
    result = verify_bundle(bundle, weights)
    if as_json:
        print(
            json.dumps({"name": bundle.card.name, "version": bundle.card.version, "ok": True, **to_json(result)})
        )
        return 0
    print(f"{bundle.card.name} {bundle.card.version}: valid")
    print(f"  hashes of {', '.join(result.files)} match the card")
    print("  " + ", ".join(f"{label} {count:,}" for label, count in result.parameters.items()) + " parameters")
    print(f"  forward pass finite, logits {result.logit_range[0]:.3g} to {result.logit_range[1]:.3g}")
    return 0


def _import(args: argparse.Namespace) -> int:
    from fetaliqa.deployment.monai_import import import_monai
    from fetaliqa.registry.publishing import publish_bundle

    with tempfile.TemporaryDirectory() as folder:
        made = import_monai(
            args.folder, Path(folder) / "bundle", anatomy=args.anatomy, name=args.name, version=args.version
        )
        card = publish_bundle(made.directory).card
    if not args.json:
        print(f"imported as {card.name} {card.version}, which nobody here has evaluated; not for clinical use")
    return _in_use(card.name, card.version, True, args.json)


def _publish(args: argparse.Namespace) -> int:
    from fetaliqa.errors import OptionError
    from fetaliqa.model.bundle_names import CARD_FILE
    from fetaliqa.registry.publishing import publish, publish_bundle
    from fetaliqa.registry.refused_candidates import Override, checked_reason

    name = args.name
    model, at, version = name.partition("@")
    reason = checked_reason(args.reason)
    override = Override(_user(), reason) if args.force else None
    if (Path(name).expanduser() / CARD_FILE).is_file():
        card = publish_bundle(Path(name).expanduser(), override=override).card
        model, version, changed = card.name, card.version, True
    elif at:
        changed = publish(model, version, reason=reason or "published by hand", override=override)
    else:
        raise OptionError(f"{name!r} is neither NAME@VERSION nor a bundle folder; see `fetaliqa models history`")
    return _in_use(model, version, changed, args.json)


def _user() -> str:
    """The user's name, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "unknown user"


def _rollback(name: str, as_json: bool) -> int:
    from fetaliqa.registry.publishing import rollback

    return _in_use(name, rollback(name), True, as_json)


def _in_use(name: str, version: str | None, changed: bool, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"name": name, "version": version, "changed": changed}))
        return 0
    now = (
        f"no version is in use, {default_model()} is served" if version is None else f"version {version} is in use"
    )
    print(f"{name}: {now}" + ("" if changed else " (it was already)"))
    return 0


def _history(name: str, as_json: bool) -> int:
    from fetaliqa.registry.publishing import history

    lines = history(name)
    if as_json:
        print(json.dumps(lines, indent=2))
        return 0
    for line in lines:
        version = line["version"] or default_model()
        print(f"{line['time'][:19]}  {line['action']:<9}  {version:<6}  {line['reason']}".rstrip())
    return 0
