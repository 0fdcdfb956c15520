"""Data sets, transforms, and the data modules that split them into pools."""

from alpl.data.base import AbstractPoolDataModule
from alpl.data.batch import Batch
from alpl.data.datamodule import ImageDataModule
from alpl.data.scenes import SceneDataModule
from alpl.data.sets import ImageSet, Splits
from alpl.data.source import AbstractDownloadedSource, AbstractSource
from alpl.data.task import Task

__all__ = [
    "AbstractDownloadedSource",
    "AbstractPoolDataModule",
    "AbstractSource",
    "Batch",
    "ImageDataModule",
    "ImageSet",
    "SceneDataModule",
    "Splits",
    "Task",
]
