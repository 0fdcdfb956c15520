"""SYNTHIA-AL (Zolfaghari Bengar et al. 2019; thesis sec. 2.4): synthetic videos of driving, for active learning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from alpl.boxes.objects import DetectionSplits
from alpl.data.annotation_checks import make_splits
from alpl.data.annotations import AbstractAnnotatedFiles, Annotations
from alpl.data.videos import Reel, check_spacing
from alpl.errors import ConfigError, DataError
from alpl.machine.safe_xml import check_regular

CLASSES = ("car", "pedestrian", "cyclist")
LEFT_OUT = ("wheelchair", "bicycle", "truck", "van")
WHEELCHAIR = "wheelchair"
_NUM_COLUMNS = 15


class _Object(NamedTuple):
    """A line of KITTI's: type, and left, top, right and bottom in pixels from 0; or what is wrong with it."""

    name: str
    box: list[float]
    fault: str | None = None


@final
class SynthiaAL(AbstractAnnotatedFiles):
    """SYNTHIA-AL in the published layout: ``{train,test}/<scene>/<date>/{RGB,labels_kitti}/NNNNNN.{png,txt}``.

    A video is a recording (``<date>``); recordings without labels are empty, and left out. Types are compared in lower
    case. A frame without a line has no object.

    Args:
        root: the folder of ``train`` and ``test``.
        classes: types, in the order of the labels.
        left_out: types that are no class and are passed over; others are a problem.
        aliases: types that stand for another one, e.g. ``{bicycle: cyclist}``.
        labels: folder of the labels in a recording; the authors' own corrected ones are not published.
        wheelchair: whether test recordings with wheelchairs take part: 12 of 97 (thesis Table 2.1).
        spacing: see :class:`alpl.boxes.footage.Footage`; thesis sec. 2.5.2: 1.
        options: see :class:`alpl.data.annotations.AbstractAnnotatedFiles`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        root: str,
        classes: Sequence[str] = CLASSES,
        left_out: Sequence[str] = LEFT_OUT,
        aliases: Mapping[str, str] | None = None,
        labels: str = "labels_kitti",
        *,
        wheelchair: bool = False,
        spacing: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root = Path(root).expanduser()
        self.classes = tuple(name.lower() for name in classes)
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"data.source.classes must be different names, at least one, got {list(classes)}")
        self.left_out = frozenset(name.lower() for name in left_out) - set(self.classes)
        self.aliases = {name.lower(): other.lower() for name, other in (aliases or {}).items()}
        self.labels, self.wheelchair, self.spacing = labels, wheelchair, check_spacing(spacing)

    def load(self) -> DetectionSplits:
        """Read and check the annotations.

        Raises:
            DataError: files are missing, or annotations are bad and not to be skipped.
        """
        train, test = (Annotations(name, outside=self.outside) for name in ("train", "test"))
        reel = Reel()
        for recording in self._recordings("train"):
            reel.begin(recording.relative_to(self.root / "train").as_posix())
            for frame in _frames(recording):
                self._add(frame, self._objects(frame), "train", train)
                reel.add(_number(frame))
        for recording in self._recordings("test"):
            frames = [(frame, self._objects(frame)) for frame in _frames(recording)]
            if self.wheelchair or not any(_shows_wheelchair(objects) for _, objects in frames):
                for frame, objects in frames:
                    self._add(frame, objects, "test", test)
        return reel.wound(make_splits("SYNTHIA-AL", train, test, self.classes, self.policy), self.spacing)

    def _recordings(self, split: str) -> list[Path]:
        """Folders of recordings with labels, by scene, then by date as it is written."""
        folder = self.root / split
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such folder")
        found = [labels.parent for labels in sorted(folder.glob(f"*/*/{self.labels}")) if labels.is_dir()]
        if not found:
            raise DataError(f"{folder}: there is no recording (<scene>/<date>) with a folder {self.labels}")
        return found

    def _file(self, frame: Path) -> Path:
        return frame.parents[1] / self.labels / f"{frame.stem}.txt"

    def _objects(self, frame: Path) -> list[_Object] | DataError:
        """Read a frame's labels, or give why they cannot be read."""
        try:
            file = self._file(frame)
            check_regular(file)
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            return DataError("there is no such annotation")
        except (OSError, ValueError) as error:
            return DataError(f"cannot be read: {error}")
        return [_parsed(line.split(), f"line {number}") for number, line in enumerate(lines, 1) if line.strip()]

    def _add(self, frame: Path, objects: list[_Object] | DataError, split: str, into: Annotations) -> None:
        file = self._file(frame)
        row = into.add_image(frame.relative_to(self.root / split).as_posix(), frame, file, None)
        if isinstance(objects, DataError):
            into.fault(row, file, str(objects))
            return
        for each in objects:
            name = self.aliases.get(each.name, each.name)
            if name not in self.left_out:
                into.add_box(row, each.box, name, fault=each.fault)


def _frames(recording: Path) -> list[Path]:
    frames = sorted((recording / "RGB").glob("*.png"))
    if not frames:
        raise DataError(f"{recording / 'RGB'}: there is no such folder, or no frame (NNNNNN.png) in it")
    return frames


def _number(frame: Path) -> int:
    if not frame.stem.isdecimal():
        raise DataError(f"{frame}: the name of a frame must be its number")
    return int(frame.stem)


def _parsed(columns: list[str], where: str) -> _Object:
    try:
        numbers = [float(column) for column in columns[1:]]
        if len(columns) == _NUM_COLUMNS and all(map(math.isfinite, numbers[3:7])):
            return _Object(columns[0].lower(), numbers[3:7])
    except ValueError:
        pass
    what = f"{where} must be a type and {_NUM_COLUMNS - 1} numbers, got {' '.join(columns)[:100]!r}"
    return _Object(columns[0].lower(), [math.nan] * 4, what)


def _shows_wheelchair(objects: list[_Object] | DataError) -> bool:
    return not isinstance(objects, DataError) and any(each.name == WHEELCHAIR for each in objects)
