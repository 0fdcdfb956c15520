"""One's own images, some with boxes: in COCO's, VOC's or YOLO's layout. What has no annotation is the pool."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, final

from alpl.boxes.objects import DetectionSplits
from alpl.data.annotations import AbstractAnnotatedFiles, Annotations
from alpl.data.coco import read_split
from alpl.data.own import TEST_SHARE, check_share, images_below, make_own_splits, say
from alpl.data.voc import SHIFTS, VOCLayout
from alpl.data.yolo import YOLOLayout
from alpl.errors import ConfigError, DataError


class AbstractOwnBoxes(AbstractAnnotatedFiles):
    """Own images, some with annotations.

    Args:
        root: what the other paths are relative to.
        name: what messages call the data; by default their folder. Unlike the folder it is a part of a run's key.
        test_share: of the labeled images, held out where there is no test set; at least one.
        test_seed: of that draw; it is not the run's.
        verify_images: decode every image before training: what people collect has files that broke off.
        options: see :class:`alpl.data.annotations.AbstractAnnotatedFiles`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        root: str,
        *,
        name: str | None = None,
        test_share: float = TEST_SHARE,
        test_seed: int = 0,
        verify_images: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(verify_images=verify_images, **options)
        check_share(test_share)
        self.root = Path(root).expanduser()
        self.name = name or str(self.root)
        self.test_share, self.test_seed = test_share, test_seed

    @final
    def load(self) -> DetectionSplits:
        """Read and check all images and annotations.

        Raises:
            DataError: files are missing, no image is labeled, or annotations are bad and not to be skipped.
        """
        train, labeled, test, classes = self._read()
        share, seed = self.test_share, self.test_seed
        return make_own_splits(self.name, train, labeled, test, classes, self.policy, share=share, seed=seed)

    @abstractmethod
    def _read(self) -> tuple[Annotations, list[int], Annotations | None, Sequence[str]]:
        """Give all images but the test set's, which of them are labeled, the test set if there is one, the classes."""


@final
class OwnCOCO(AbstractOwnBoxes):
    """A folder of images and one file in COCO's format that knows some of them.

    Images that the file does not list are the pool. Of those that it lists without any annotation, which COCO's format
    leaves open, ``empty`` says what they are.

    Args:
        root: see :class:`AbstractOwnBoxes`.
        annotations: JSON file.
        images: the folder that its file names refer to.
        test_annotations: JSON file of the test images; None for none.
        test_images: the folder of these.
        empty: images that are listed without an annotation are unlabeled, or labeled as having no object.
        options: see :class:`AbstractOwnBoxes`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        root: str,
        annotations: str = "annotations.json",
        images: str = "images",
        test_annotations: str | None = None,
        test_images: str = "test",
        *,
        empty: Literal["unlabeled", "labeled"] = "unlabeled",
        **options: Any,
    ) -> None:
        super().__init__(root, **options)
        if empty not in ("unlabeled", "labeled"):
            raise ConfigError(f"data.source.empty must be unlabeled or labeled, got {empty!r}")
        self.train = self.root / annotations, self.root / images
        self.test = None if test_annotations is None else (self.root / test_annotations, self.root / test_images)
        self.empty = empty

    def _read(self) -> tuple[Annotations, list[int], Annotations | None, Sequence[str]]:
        train, classes = read_split(*self.train, "train", "as_written", outside=self.outside)
        with_boxes, listed = set(train.row), range(len(train.names))
        empty = len(train.names) - len(with_boxes)
        if empty:
            say(f"{self.name}: {empty} images are listed without annotations: {self.empty} (data.source.empty)")
        labeled = [row for row in listed if row in with_boxes or self.empty == "labeled"]
        test = read_split(*self.test, "test", "as_written", outside=self.outside)[0] if self.test else None
        known = {os.path.normpath(path) for path in (*train.paths, *(test.paths if test else ()))}
        for path in images_below(self.train[1]):
            if os.path.normpath(path) not in known:
                train.add_image(path.relative_to(self.train[1]).as_posix(), path, self.train[0], None)
        return train, labeled, test, classes


@final
class OwnVOC(AbstractOwnBoxes):
    """A folder of images and one of VOC's XML files.

    An image without a file is in the pool; a file without objects says that there is none.

    Args:
        root: see :class:`AbstractOwnBoxes`.
        images: folder of images.
        annotations: folder of XML files, called as the images.
        test_list: text file of test images, one name a line, which all have an XML file; where there is none, some
            are held out.
        classes: names in the order of the labels; None for all that are found, sorted.
        options: see :class:`AbstractOwnBoxes`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        root: str,
        images: str = "JPEGImages",
        annotations: str = "Annotations",
        test_list: str = "ImageSets/Main/test.txt",
        classes: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root, **options)
        if classes is not None and (not classes or len(set(classes)) != len(classes)):
            raise ConfigError(f"classes must be different names, at least one, or null, got {list(classes)}")
        self.images, self.annotations = self.root / images, self.root / annotations
        self.test_list = self.root / test_list
        self.classes = None if classes is None else tuple(classes)
        self.layout = VOCLayout(self.root, images, annotations)

    def _read(self) -> tuple[Annotations, list[int], Annotations | None, Sequence[str]]:
        train = Annotations("train", SHIFTS["as_written"], self.outside)
        files: dict[str, Path] = {}
        for path in images_below(self.images):
            other = files.setdefault(path.relative_to(self.images).with_suffix("").as_posix(), path)
            if other != path:
                raise DataError(f"{path}: an image must differ from others by more than its ending, there is {other}")
        if not self.annotations.is_dir():
            raise DataError(f"{self.annotations}: there is no such folder")
        written = {
            path.relative_to(self.annotations).with_suffix("").as_posix() for path in self.annotations.rglob("*.xml")
        }
        tested: set[str] = set()
        test = None
        if self.test_list.exists():
            test = Annotations("test", SHIFTS["as_written"], self.outside)
            self.layout.read(self.test_list, test)
            tested = {os.path.normpath(file) for file in test.files}
        labeled = []
        for name in sorted(files.keys() | written):
            if os.path.normpath(self.annotations / f"{name}.xml") in tested:
                continue
            if name in written:
                labeled.append(len(train.names))
                self.layout.read_one(name, train)
            else:
                train.add_image(files[name].name, files[name], files[name], None)
        found = sorted({*train.classes, *(test.classes if test else ())} - {""})
        return train, labeled, test, self.classes or found


@final
class OwnYOLO(AbstractOwnBoxes):
    """Ultralytics' layout: a yaml that names the classes and folders, and a text file of boxes for each labeled image.

    An image without such a file is in the pool, one with an empty file is labeled as having no object. The test set is
    the yaml's ``test``, else its ``val``, else some are held out; images of these that have no file are left out.

    Args:
        root: see :class:`AbstractOwnBoxes`.
        config: the yaml.
        options: see :class:`AbstractOwnBoxes`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(self, root: str, config: str = "data.yaml", **options: Any) -> None:
        super().__init__(root, **options)
        self.config = self.root / config

    def _read(self) -> tuple[Annotations, list[int], Annotations | None, Sequence[str]]:
        layout = YOLOLayout.read(self.config)
        train = Annotations("train", outside=self.outside)
        labeled = [layout.add(path, train) for path in layout.images(layout.train)]
        test = None
        if layout.test is not None:
            test = Annotations("test", outside=self.outside)
            images = layout.images(layout.test)
            with_file = [path for path in images if layout.labels_of(path).exists()]
            if len(with_file) < len(images):
                say(f"{self.name}: {len(images) - len(with_file)} test images have no labels and are left out")
            for path in with_file:
                layout.add(path, test)
        return train, [row for row, is_labeled in enumerate(labeled) if is_labeled], test, layout.classes
