"""`alpl-query`: who to label next, from arrays that any model made; no experiment, no training."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpl.commands.messages import check_settings, told
from alpl.errors import ConfigError, DataError

if TYPE_CHECKING:
    from alpl.acquisition import Query

_ARRAYS = ("features", "posterior", "views", "logits", "history", "class_counts", "difficulty", "sizes")


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 2 and one line where a file or a setting is refused."""
    options = _parser().parse_args(arguments)
    with told("alpl-query"):
        _run(options)


def _run(options: argparse.Namespace) -> None:
    check_settings(options.settings)
    from alpl.machine.progress import quiet_libraries  # here and below: they bring torch, which --help needs not
    from alpl.querying import acquisition_of

    quiet_libraries()
    acquisition = acquisition_of(options.acquisition, options.settings)
    try:
        query, names, unlabeled = (_of_arrays if options.run is None else _of_run)(options, acquisition)
    except (ConfigError, DataError):
        raise
    except ValueError as error:  # what the acquisition does not take of the arrays
        raise ConfigError(str(error)) from error
    _write(options.out, query, names)
    print(f"{len(query.index)} of {unlabeled} unlabeled images, in order: {options.out}", file=sys.stderr)


def _of_arrays(options: argparse.Namespace, acquisition: Any) -> tuple[Query, list[str] | None, int]:
    """The query, names where there are some, and U."""
    import numpy as np

    from alpl.querying import files, select
    from alpl.querying.arrays import ARGUMENTS
    from alpl.querying.select import images_with

    _check_read(options)
    arrays: dict[str, Any] = {
        name: files.read_numbers(path, ARGUMENTS[name].kind)
        for name in _ARRAYS
        if (path := getattr(options, name)) is not None
    }
    if options.images is not None:
        arrays["features"] = _image_features(options)
    if options.detections is not None:
        arrays |= files.read_detections(options.detections)
    labeled, excluded = files.read_labeled(options.labeled)
    if options.excluded is not None:
        more = files.read_whole_numbers(options.excluded)
        excluded = np.concatenate([more, excluded[~np.isin(excluded, more)]]) if len(excluded) else more
    arrays = _one_dimensional(arrays)
    number = images_with(arrays, options.num_images)
    names = _names(options, number)  # before the choice, which may take hours
    labels = None if options.labels is None else files.read_whole_numbers(options.labels)
    query = select(
        acquisition,
        _amount(options.budget),
        labeled=labeled,
        labels=labels,
        excluded=excluded,
        num_images=options.num_images,
        form=options.form or "softmax",
        seed=options.seed,
        **arrays,
    )
    return query, names, number - len(labeled) - len(excluded)


def _image_features(options: argparse.Namespace) -> Any:
    """``Float[N F]`` of a folder's images, by the network that is asked for."""
    from alpl.machine.files import write_array
    from alpl.querying.images import image_features, make_backbone

    if options.features is not None or options.model is None:
        raise ConfigError("--images must come with --model and without --features")
    weights = None if options.weights == "none" else options.weights or "DEFAULT"
    found = image_features(_image_files(options), *make_backbone(options.model, weights)).numpy()
    if options.save_features is not None:
        write_array(options.save_features, found)
    return found


def _image_files(options: argparse.Namespace) -> list[Path]:
    from alpl.querying.images import image_files

    return image_files(options.images)


def _of_run(options: argparse.Namespace, acquisition: Any) -> tuple[Query, list[str] | None, int]:
    """The query, names where there are some, and U."""
    from alpl.querying.kept import pool_of_run, select_from_run

    brought = (*_ARRAYS, "images", "detections", "labeled", "labels", "excluded", "form", "num_images")
    others = [name for name in brought if getattr(options, name) is not None]
    if others:
        raise ConfigError(
            f"--run brings predictions and pool of its own, got --{others[0].replace('_', '-')} beside it"
        )
    _check_read(options)
    names = None
    if options.names is not None:
        names = _names(options, pool_of_run(options.run, options.cycle).num_images)
    query, pool = select_from_run(
        acquisition, _amount(options.budget), options.run, cycle=options.cycle, seed=options.seed
    )
    return query, names, len(pool.unlabeled)


def _one_dimensional(arrays: dict[str, Any]) -> dict[str, Any]:
    """A file of one column or one row is a vector where one is expected; other shapes are left to be refused."""
    from alpl.querying.arrays import ARGUMENTS

    vectors = {name for name, argument in ARGUMENTS.items() if len(argument.axes.split()) == 1}
    return {
        name: value.ravel() if name in vectors and value.ndim == 2 and 1 in value.shape else value
        for name, value in arrays.items()
    }


def _check_read(options: argparse.Namespace) -> None:
    """Refuse an option that says something of another one which is not there."""
    for names, other in (
        (("model", "weights", "save_features"), "images"),
        (("labels",), "labeled"),
        (("cycle",), "run"),
    ):
        if getattr(options, other) is not None:
            continue
        if found := [name for name in names if getattr(options, name) is not None]:
            value = getattr(options, found[0])
            raise ConfigError(f"--{found[0].replace('_', '-')} must come with --{other}, got {value} without it")


def _amount(text: str) -> int | float | str:
    """An int is images, a number with a point a fraction, the rest (``5%``) is read as a schedule's."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _names(options: argparse.Namespace, number: int) -> list[str] | None:
    from alpl.querying.files import read_names

    if options.names is None and options.images is not None:
        return [str(path.relative_to(options.images)) for path in _image_files(options)]
    return None if options.names is None else read_names(options.names, number)


def _write(path: Path, query: Query, names: list[str] | None) -> None:
    """Write the query, and print an image a line: its name, or its row where there are no names."""
    from alpl.machine.files import whole_file

    index = query.index.tolist()
    if names is None:
        query.save(path)
        print("\n".join(map(str, index)))
        return
    with whole_file(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["rank", "index", "utility", "name"])
        for rank, (image, utility) in enumerate(zip(index, query.utility.tolist(), strict=True)):
            writer.writerow([rank, image, repr(utility), names[image]])
    print("\n".join(names[image] for image in index))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-query",
        description="Print and write which images to label next, chosen from arrays that any model made (one row for "
        "each of the N images, labeled ones among them; .npy, .csv or, with pyarrow, .parquet), or from the "
        "predictions that a run kept. Nothing is trained.",
    )
    add = parser.add_argument
    add("settings", nargs="*", metavar="KEY=VALUE", help="of the acquisition: metric=cosine")
    add(
        "--acquisition",
        required=True,
        metavar="NAME",
        help="as of `alpl acquisition=NAME`, or a class of your own (PYTHONPATH=. where its file lies here)",
    )
    add("--budget", required=True, metavar="B", help="images to choose: 100, 0.05 or 5%% of those that take part")
    for name, what in (
        ("features", "[N F] of images"),
        ("posterior", "[N C] class probabilities"),
        ("views", "[V N C] of dropout passes or of an ensemble's members (.npy)"),
        ("logits", "[N C] before the softmax"),
        ("history", "[E N] predicted labels after each epoch"),
        ("class-counts", "[K] what is labeled of each class"),
        ("difficulty", "[K] how hard each class was"),
        ("sizes", "[N 2] height and width of images"),
    ):
        add(f"--{name}", type=Path, metavar="FILE", help=what)
    add(
        *("--detections",),
        type=Path,
        metavar="FILE",
        help="ragged: an .npz with row [I] (of which image each detection is), and of posterior, views, classes, "
        "scores, boxes, object_features what the acquisition needs",
    )
    add("--images", type=Path, metavar="FOLDER", help="of images, instead of features, for a network to look at:")
    add("--model", metavar="NAME", help="of torchvision's (resnet50) or timm's (timm/vit_small_patch14_dinov2.lvd142m)")
    add(
        *("--weights",),
        metavar="W",
        help="of that network: DEFAULT (the default) or another name of torchvision's, fetched where they are not "
        "cached; a file with a state dict; none",
    )
    add("--save-features", type=Path, metavar="FILE", help="keep them (.npy), for --features the next time")
    add("--form", metavar="FORM", help="of probabilities: softmax (default), background, sigmoid")
    add("--labeled", type=Path, metavar="FILE", help="rows of labeled images, one a line, or a pool.csv of a run")
    add("--labels", type=Path, metavar="FILE", help="their classes, one a line, in the same order")
    add("--excluded", type=Path, metavar="FILE", help="rows of images that take no part, one a line")
    add("--num-images", type=int, metavar="N", help="where no array has one row an image")
    add("--run", type=Path, metavar="RUN", help="a run's folder instead of arrays (keep_predictions=true)")
    add("--cycle", type=int, metavar="C", help="of that run (default: the last with predictions)")
    add("--names", type=Path, metavar="FILE", help="the images' names, one a line, to print instead of rows")
    add("--seed", type=int, default=0, metavar="S", help="of all draws (default: 0)")
    add("--out", type=Path, default=Path("query.csv"), metavar="FILE", help="rank, index, utility (default: query.csv)")
    return parser
