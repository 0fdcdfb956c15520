"""Padded batches of random scenes, for tests of detectors that take images of any shape."""

import torch

from alpl.boxes.objects import Objects
from alpl.data.batch import Batch
from alpl.data.keep_ratio import KeepRatioResize
from alpl.data.scene_batches import FlatObjects, pad_images

NUM_CLASSES = 3
SIZES = [(150, 210), (300, 100), (96, 96), (90, 200)]


def images_of(sizes=SIZES, seed=1):
    """``UInt8[3 H W]`` of each size, noise."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]


def batch_of(images, labeled=None, objects=None, pseudo=None, resize=None):
    """Resize (to a shorter side of 120 where nothing is said) and pad; ``objects`` of the images that have targets."""
    resize = resize or KeepRatioResize(120, 200)
    padded, shapes = pad_images([resize(image) for image in images], 32)
    labeled = torch.ones(len(images), dtype=torch.bool) if labeled is None else torch.tensor(labeled)
    sizes = torch.tensor([image.shape[1:] for image in images])
    targets = FlatObjects.join(objects or [])
    return Batch(padded, torch.arange(len(images)) + 5, labeled, targets, False, sizes, pseudo, shapes)


def objects_of(number, seed, width=200, height=120, most=40):
    """Objects whose corners begin in the upper left of a scene, with sides of 8 to 8 + ``most`` pixels."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(number, 2, generator=generator) * torch.tensor([width * 0.6, height * 0.6])
    boxes = torch.cat([start, start + 8 + torch.rand(number, 2, generator=generator) * most], 1)
    labels = torch.randint(NUM_CLASSES, (number,), generator=generator)
    return Objects(boxes, labels, torch.zeros(number, dtype=torch.bool))


def freeze_norm(*networks):
    """Keep batch norm as in evaluation while the rest trains."""
    for network in networks:
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.eval()
