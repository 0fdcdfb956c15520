"""`alpl-data check FOLDER`: what a folder of one's own images holds, what is wrong with it, and how to run on it."""

from __future__ import annotations

import argparse
import csv
import json
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alpl.commands.messages import told
from alpl.errors import DataError
from alpl.machine.terminal import printable

_NUM_SHOWN = 20  # classes, and sizes, of which the most frequent are listed
_BUDGET = 20


def layout_of(folder: Path) -> list[str]:
    """Tell the layout of a folder by its files; give the overrides that read it.

    Raises:
        DataError: it is of none that is known.
    """
    if not folder.is_dir():
        raise DataError(f"FOLDER must be a folder of images, got {folder}")
    root = f"data.source.root={_quoted(str(folder))}"
    if yamls := [file for file in sorted(folder.glob("*.y*ml")) if _begins(file, "names")]:
        return ["data=own_yolo", root, *_unless(yamls[0].name, "data.yaml", "config")]
    if (folder / "JPEGImages").is_dir() and (folder / "Annotations").is_dir():
        return ["data=own_voc", root]
    places = [*sorted(folder.glob("*.json")), *sorted(folder.glob("annotations/*.json"))]
    if files := [file for file in places if _is_coco(file)]:
        name = files[0].relative_to(folder).as_posix()
        images = next((each for each in ("images", "train", "JPEGImages") if (folder / each).is_dir()), ".")
        return [
            "data=own_coco",
            root,
            *_unless(name, "annotations.json", "annotations"),
            *_unless(images, "images", "images"),
        ]
    if tables := [file for file in sorted(folder.glob("*.csv")) if _is_table(file)]:
        return ["data=own_table", root, *_unless(tables[0].name, "labels.csv", "table")]
    if any(path.is_dir() and not path.name.startswith(".") for path in folder.iterdir()):
        return ["data=own_classes", root]
    raise DataError(
        f"{folder} must hold a data.yaml (YOLO), JPEGImages and Annotations (VOC), a .json of COCO's, a .csv with "
        "image and label, or folders called as classes"
    )


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 1 where the data have problems, 2 and one line where they cannot be read at all."""
    options = _parser().parse_args(arguments)
    with told("alpl-data"):
        _check(options.folder)


def _check(folder: Path) -> None:
    from alpl.commands.sweep import compose_job  # here and below: they bring torch, which --help needs not
    from alpl.data.scenes import SceneDataModule

    layout = layout_of(folder)
    small = ["model=ssd_tiny"] if layout[0] in ("data=own_yolo", "data=own_voc", "data=own_coco") else []
    config = compose_job([*layout, *small])
    problems = ""
    try:
        data = _read(config, {})
    except DataError as error:
        problems = str(error)
        if not small:
            raise
        data = _read(config, {"bad": "skip_boxes"})
    is_detection = isinstance(data, SceneDataModule)
    lines = _objects(data) if is_detection else _classes(data)
    candidates, _ = data.take_targets()
    labeled = 0 if candidates.annotated is None else len(candidates.annotated)
    number = len(candidates.index) - labeled
    print(f"layout    {layout[0].removeprefix('data=own_')}")
    left = f", {len(data.excluded)} left out" if len(data.excluded) else ""
    num_test = len(data.splits.test)
    print(f"images    {labeled} labeled, {num_test} of the test set, {number} unlabeled{left}")
    print(printable("\n".join(lines)))
    print(printable(f"problems  {problems or 'none'}"))
    print(f"run       {_command(layout, number, is_detection=is_detection, skips=bool(problems))}")
    raise SystemExit(1 if problems else 0)


def _read(config: Any, options: dict[str, Any]) -> Any:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    source = options | ({"decoded": None} if "decoded" in config.data.source else {})  # a look leaves nothing behind
    data = instantiate(OmegaConf.merge(config.data, {"source": source}), _convert_="all")
    data.setup("fit")
    return data


def _objects(data: Any) -> list[str]:
    splits = data.splits
    table = splits.train_objects
    counted = Counter(splits.classes[label] for each in table for label in each.labels.tolist() if label >= 0)
    sizes = Counter(tuple(size) for size in splits.train.sizes.tolist())
    return [f"objects   {_most(counted)}", f"sizes     {_most({f'{w} x {h}': n for (h, w), n in sizes.items()})}"]


def _classes(data: Any) -> list[str]:
    from alpl.data.image_files import of_files, read_size

    splits = data.splits
    counted = Counter(splits.classes[label] for label in splits.train.targets.tolist() if label >= 0)
    found = of_files(lambda path: read_size(path, decode=False), splits.files)
    sizes = Counter(f"{size[1]} x {size[0]}" for size in found if not isinstance(size, str))
    return [f"classes   {_most(counted)}", f"sizes     {_most(sizes)}"]


def _most(counted: Any) -> str:
    shown = Counter(counted).most_common(_NUM_SHOWN)
    rest = f" and {len(counted) - _NUM_SHOWN} more" if len(counted) > _NUM_SHOWN else ""
    return ", ".join(f"{name} ({number})" for name, number in shown) + rest


def _command(layout: Sequence[str], unlabeled: int, *, is_detection: bool, skips: bool) -> str:
    """Give a command that fits the data; who has time trains a larger model, as the configs have it."""
    words = ["alpl", *layout, *(["data.source.bad=skip_boxes"] if skips else [])]
    if is_detection:
        words += ["model=ssd_tiny", "trainer.max_steps=2000", "acquisition=detection_entropy"]
    else:
        words += ["model=small_cifar", "trainer.max_epochs=30", "acquisition=margin"]
    if unlabeled:
        budget = min(_BUDGET, unlabeled)
        cycles = max(1, min(5, unlabeled // budget))
        words += ["oracle=person", f"schedule.budget={budget}", f"schedule.cycles={cycles}"]
    else:
        words += ["schedule.budget=null", "schedule.cycles=null"]
    return shlex.join(words)


def _unless(value: str, default: str, key: str) -> list[str]:
    return [] if value == default else [f"data.source.{key}={_quoted(value)}"]


def _quoted(text: str) -> str:
    """Quote a path for Hydra where it must be."""
    return text if all(each.isalnum() or each in "/._-" for each in text) else "'" + text.replace("'", "\\'") + "'"


def _begins(file: Path, key: str) -> bool:
    try:
        return any(line.startswith(f"{key}:") for line in file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return False


def _is_coco(file: Path) -> bool:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def _is_table(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return {"image", "label"} <= set(next(csv.reader(stream), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-data",
        description="Say what a folder of images holds, labeled and unlabeled, what is wrong with it, and which "
        "command runs on it.",
    )
    what = parser.add_subparsers(dest="what", required=True, metavar="check")
    check = what.add_parser("check", help="read all images and annotations")
    check.add_argument(
        "folder", type=Path, metavar="FOLDER", help="in VOC's, COCO's or YOLO's layout, class folders, a table"
    )
    return parser


if __name__ == "__main__":
    cli()
