import gc
from functools import partial

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from alpl.data.augment import Normalize
from alpl.data.datamodule import ImageDataModule
from alpl.data.long_tail import StepImbalance
from alpl.data.sets import ImageSet, Splits
from alpl.data.source import AbstractSource
from alpl.errors import ConfigError
from alpl.labeling.oracle import BenchmarkOracle
from alpl.pool import Pool

NUM_IMAGES, NUM_TEST, NUM_CLASSES = 60, 12, 4
normalize = Normalize([0.5], [0.25])


class Tiles(AbstractSource):
    """Image i shows the byte i; its class is drawn. Knows a root and a download, and how often it prepared."""

    def __init__(self, root="", download=False):
        self.root, self.download = root, download
        self.prepared = 0

    def prepare(self):
        self.prepared += 1

    def load(self):
        random = torch.Generator().manual_seed(1)
        targets = (torch.arange(NUM_IMAGES) % NUM_CLASSES)[torch.randperm(NUM_IMAGES, generator=random)]
        images = torch.arange(NUM_IMAGES + NUM_TEST, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 3, 3)
        classes = tuple(str(number) for number in range(NUM_CLASSES))
        train = ImageSet(images[:NUM_IMAGES].clone(), targets)
        return Splits(train, ImageSet(images[NUM_IMAGES:].clone(), torch.arange(NUM_TEST) % NUM_CLASSES), classes)


def _data(augment=(), **options):
    options = {"batch_size": 8, "eval_batch_size": 7, "seed": 0} | options
    data = ImageDataModule(Tiles, normalize, augment, **options)
    data.setup()
    return data


def _view(labeled, data=None, **options):
    """A data module whose pool has ``labeled``, and all true targets."""
    data = data or _data(**options)
    _, targets = data.take_targets()
    pool = Pool.create(data.num_images, torch.as_tensor(labeled), data.excluded)
    return data.with_pool(pool, BenchmarkOracle(targets).annotate(pool.labeled)), targets


def _reachable(root):
    """Every object that is reachable from ``root`` without passing through modules, classes or functions' globals."""
    seen, queue = {}, [root]
    while queue:
        thing = queue.pop()
        if id(thing) in seen or isinstance(thing, (type, type(gc))):
            continue
        seen[id(thing)] = thing
        inside = gc.get_referents(thing)
        code = getattr(thing, "__globals__", None)
        queue += [part for part in inside if part is not code]
        if isinstance(thing, torch.Tensor) and thing._base is not None:
            queue.append(thing._base)  # a view holds it where the collector does not look
    return seen.values()


def _holds(root, hidden, targets):
    """Whether an integer tensor within reach holds the hidden targets, by value, or their memory."""
    found = [torch.from_numpy(t) if isinstance(t, np.ndarray) else t for t in _reachable(root)]
    tensors = [t for t in found if isinstance(t, torch.Tensor) and not t.is_floating_point()]
    assert tensors, "the search must reach something"
    memory = targets.untyped_storage().data_ptr()
    return any(t.untyped_storage().data_ptr() == memory or _contains(t, targets[hidden]) for t in tensors)


def _contains(values, wanted):
    """Whether the wanted values stand in a vector in their order, maybe with others between them."""
    rest = iter(values.tolist() if values.ndim == 1 else ())
    return all(value in rest for value in wanted.tolist())


# --- no target of an unlabeled image


@pytest.mark.parametrize("labeled_fraction", [1.0, 0.5, "random"])
def test_no_hidden_target_is_within_reach_of_what_trains(labeled_fraction):
    view, targets = _view([3, 8, 41], labeled_fraction=labeled_fraction, validation=8)
    hidden = view.pool.unlabeled
    observing = view.observing(hidden)
    loaders = [view.train_dataloader(), view.labeled_dataloader(), view.tracking_dataloader(), view.val_dataloader()]
    for holder in (view, observing, observing.predict_dataloader(), view.test_dataloader(), *loaders):
        assert not _holds(holder, hidden, targets)


def test_the_search_for_targets_finds_what_is_there():
    data = _data()
    hidden, targets = torch.arange(10, 50), data.splits.train.targets
    assert _holds(data, hidden, targets)
    view, targets = _view([3, 8, 41], data)
    view.transform = lambda images, leak=[targets[hidden]]: images
    assert _holds(view, hidden, targets)
    for leak in (targets.view(6, 10)[0], targets.to(torch.uint8), targets[5:].clone(), targets[5:].clone().numpy()):
        view.transform = leak
        assert _holds(view, hidden, targets)


@pytest.mark.parametrize("labeled_fraction", [1.0, 0.5, "random"])
def test_batches_hold_the_targets_of_labeled_images_only(labeled_fraction):
    view, targets = _view([3, 8, 41, 42, 59], labeled_fraction=labeled_fraction)
    seen = set()
    for batch in view.train_dataloader():
        assert torch.equal(batch.labeled, torch.isin(batch.index, view.pool.labeled))
        assert torch.equal(batch.targets, targets[batch.index[batch.labeled]])
        assert torch.equal(batch.images[:, 0, 0, 0], batch.index.byte())
        seen |= set(batch.index.tolist())
    assert set(view.pool.labeled.tolist()) <= seen
    assert (seen == set(view.pool.labeled.tolist())) == (labeled_fraction == 1.0)


def test_tracking_and_prediction_give_images_without_targets_in_order():
    view, _ = _view([3, 8, 41])
    wanted = torch.tensor([41, 2, 3, 50])
    for loader, index in (
        (view.tracking_dataloader(), view.pool.unlabeled),
        (view.observing(wanted).predict_dataloader(), wanted),
    ):
        batches = list(loader)
        assert torch.equal(torch.cat([batch.index for batch in batches]), index)
        assert torch.equal(torch.cat([batch.images[:, 0, 0, 0] for batch in batches]), index.byte())
        assert not any(batch.labeled.any() or len(batch.targets) or batch.augment for batch in batches)


def test_test_images_are_observed_without_their_targets_and_never_augmented():
    data = _data(pool_transform="training")
    wanted = torch.tensor([4, 0])
    (batch,) = data.observing(wanted, "test").predict_dataloader()
    assert torch.equal(batch.index, wanted) and torch.equal(batch.images, data.splits.test.images[wanted])
    assert not (batch.labeled.any() or len(batch.targets) or batch.augment)


def test_targets_are_taken_once():
    data = _data()
    candidates, targets = data.take_targets()
    assert torch.equal(targets, Tiles().load().train.targets) and torch.equal(candidates.targets, targets)
    with pytest.raises(RuntimeError, match="taken once"):
        data.take_targets()


def test_views_do_not_change_their_origin():
    view, targets = _view([3, 8])
    other = view.with_pool(view.pool.reveal(torch.tensor([9])), targets[[3, 8, 9]])
    observing = view.observing(torch.tensor([5]))
    assert view.pool.labeled.tolist() == [3, 8] and other.pool.labeled.tolist() == [3, 8, 9]
    assert observing.pool is view.pool
    with pytest.raises(RuntimeError, match="observing"):
        view.predict_dataloader()


# --- splits


def test_evaluation_loaders_have_all_targets():
    view, targets = _view([3, 8, 41], validation=8)
    (validation,) = [torch.cat([batch.index for batch in view.val_dataloader()])]
    assert torch.equal(torch.cat([b.targets for b in view.val_dataloader()]), targets[validation])
    assert torch.equal(torch.cat([b.targets for b in view.labeled_dataloader()]), targets[[3, 8, 41]])
    test = list(view.test_dataloader())
    assert torch.cat([b.targets for b in test]).tolist() == [i % NUM_CLASSES for i in range(NUM_TEST)]
    assert torch.cat([b.images[:, 0, 0, 0] for b in test]).tolist() == list(range(NUM_IMAGES, NUM_IMAGES + NUM_TEST))
    assert all(b.labeled.all() for b in test)


@pytest.mark.parametrize(("validation", "number"), [(8, 8), (0.2, 12), ("20%", 12), (10, 10)])
def test_validation_images_are_balanced_and_outside_the_pool(validation, number):
    data = _data(validation=validation)
    targets = data.splits.train.targets
    counts = targets[data.excluded].bincount(minlength=NUM_CLASSES)
    assert data.num_validation == number == len(data.excluded)
    assert counts.max() - counts.min() <= number % NUM_CLASSES and counts.sum() == number
    candidates, _ = data.take_targets()
    assert sorted(candidates.index.tolist() + data.excluded.tolist()) == list(range(NUM_IMAGES))
    assert torch.equal(candidates.targets, targets[candidates.index])


def test_validation_is_drawn_by_the_seed():
    chosen = [_data(validation=8, seed=seed).excluded.tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_no_validation_gives_no_loader():
    view, _ = _view([3])
    assert view.val_dataloader() == [] and view.num_validation == 0


def test_a_long_tail_keeps_what_it_reserved_and_drops_the_rest_from_the_pool():
    long_tail = partial(StepImbalance, factor=0.5, reserved=8, seed=0)
    data = _data(long_tail=long_tail, validation=8)
    splits = long_tail(Tiles()).load()
    candidates, targets = data.take_targets()
    # 4 classes of 15: 2 reserved each; the last two keep round(13 / 2) = 7 of the others
    assert len(splits.excluded) == 2 * (13 - 7)
    validation = data.excluded[~torch.isin(data.excluded, splits.excluded)]
    assert targets[validation].bincount().tolist() == [2] * 4
    assert torch.equal(candidates.reserved, splits.reserved) and len(splits.reserved) == 8
    assert not torch.isin(splits.reserved, data.excluded).any()
    assert len(candidates.index) == NUM_IMAGES - 12 - 8


def test_setup_reads_once():
    data = _data()
    splits = data.splits
    data.setup("fit")
    assert data.splits is splits


# --- augmentation


def _plus_one_hundred(images):
    """Augmentations see bytes, as the data set holds them."""
    assert images.dtype == torch.uint8
    return images + 100


class _Recorder(LightningModule):
    """Trains nothing much; keeps what reaches each step."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"train": [], "val": [], "test": [], "predict": []}

    def training_step(self, batch, batch_idx):
        self.seen["train"].append(batch)
        return self.weight * 0

    def validation_step(self, batch, batch_idx):
        self.seen["val"].append(batch)

    def test_step(self, batch, batch_idx):
        self.seen["test"].append(batch)

    def predict_step(self, batch, batch_idx):
        self.seen["predict"].append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _quiet_trainer(folder, accelerator):
    return Trainer(
        accelerator=accelerator, devices=1, max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
        default_root_dir=folder,
    )  # fmt: skip


WITHOUT_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("accelerator", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, WITHOUT_CUDA])])
def test_only_training_batches_are_augmented_and_on_the_device_of_the_module(tmp_path, accelerator):
    devices = []

    def spy(images):
        devices.append(images.device.type)
        return _plus_one_hundred(images)

    view, _ = _view([3, 8, 41], augment=[spy], labeled_fraction=0.5, validation=8)
    module = _Recorder()
    _quiet_trainer(tmp_path, accelerator).fit(module, datamodule=view)
    _quiet_trainer(tmp_path, accelerator).test(module, datamodule=view, verbose=False)
    _quiet_trainer(tmp_path, accelerator).predict(module, datamodule=view.observing(torch.tensor([1, 2])))
    assert set(devices) == {accelerator} and len(devices) == len(module.seen["train"])
    images = Tiles().load().train.images
    for step, batches in module.seen.items():
        assert batches, step
        for batch in batches:
            assert batch.images.device.type == batch.index.device.type == batch.targets.device.type == accelerator
            raw = (
                images[batch.index.cpu()] if step != "test" else batch.index.cpu().byte().view(-1, 1, 1, 1) + NUM_IMAGES
            )
            expected = normalize((raw + 100 if step == "train" else raw).expand(-1, 1, 3, 3))
            torch.testing.assert_close(batch.images.cpu(), expected)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("has_norm", "expected"), [(False, [8, 1]), (True, [9])])
def test_no_batch_of_one_image_for_a_network_with_batch_norm(tmp_path, has_norm, expected):
    module = _Recorder()
    module.norm = torch.nn.BatchNorm2d(1) if has_norm else torch.nn.Identity()
    view, _ = _view(range(9))
    _quiet_trainer(tmp_path, "cpu").fit(module, datamodule=view)
    assert [len(batch.images) for batch in module.seen["train"]] == expected


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_labeled_share_of_one_image_is_refused_for_batch_norm(tmp_path):
    module = _Recorder()
    module.norm = torch.nn.BatchNorm2d(1)
    view, _ = _view(range(9), labeled_fraction=0.15)
    with pytest.raises(ConfigError, match=r"labeled_fraction must give each batch 2 labeled images, .* got 0\.15 of 8"):
        _quiet_trainer(tmp_path, "cpu").fit(module, datamodule=view)
    assert not module.seen["train"]


def test_transforms_are_applied_in_order():
    view, _ = _view([3, 8], augment=[lambda images: images + 1, lambda images: images * 2])
    (batch,) = view.train_dataloader()
    images = view.on_after_batch_transfer(batch, 0).images
    torch.testing.assert_close(images, normalize(((batch.index + 1) * 2).byte().view(-1, 1, 1, 1).expand(-1, 1, 3, 3)))


def test_loaders_do_not_draw_from_the_global_random_state():
    view, _ = _view([3, 8, 41], labeled_fraction=0.5)
    state = torch.get_rng_state()
    for loader in (view.train_dataloader(), view.tracking_dataloader(), view.test_dataloader()):
        list(loader)
    assert torch.equal(torch.get_rng_state(), state)


# --- settings


@pytest.mark.parametrize("name", ["batch_size", "eval_batch_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, None, "8"])
def test_batch_sizes_are_checked(name, value):
    with pytest.raises(ConfigError, match=rf"data\.{name} must be an int >= 1, got {value!r}"):
        _data(**{name: value})


@pytest.mark.parametrize("value", [0, 1.5, -0.5, "half", None, float("nan")])
def test_the_labeled_fraction_is_checked(value):
    with pytest.raises(ConfigError, match=r"data\.labeled_fraction must be in \(0, 1\] or 'random', got"):
        _data(labeled_fraction=value)


@pytest.mark.parametrize("value", [-1, 1.5, 61, "many", True])
def test_validation_is_checked(value):
    with pytest.raises(ConfigError, match=r"data\.validation must"):
        _data(validation=value)


def test_root_and_download_reach_the_source():
    data = ImageDataModule(Tiles, normalize, batch_size=8, seed=0, root="there", download=True)
    assert data.source.root == "there" and data.source.download
    data.prepare_data()
    assert data.source.prepared == 1
    assert ImageDataModule(Tiles, normalize, batch_size=8, seed=0).source.root == ""


@pytest.mark.parametrize("option", [{"root": "there"}, {"download": True}])
def test_a_source_without_a_root_refuses_one(option):
    class Rootless(Tiles):
        def __init__(self):
            super().__init__()

    with pytest.raises(ConfigError, match=r"data\.root and data\.download must fit the source: .*unexpected keyword"):
        ImageDataModule(Rootless, normalize, batch_size=8, seed=0, **option)


def test_what_comes_too_early_is_refused():
    data = ImageDataModule(Tiles, normalize, batch_size=8, seed=0)
    with pytest.raises(RuntimeError, match="set up first"):
        data.splits  # noqa: B018
    data.setup()
    with pytest.raises(RuntimeError, match="no pool yet"):
        data.train_dataloader()
