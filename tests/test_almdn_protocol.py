"""AL-MDN (Choi et al. 2021) beyond its rows: training of Fig. 4 and Table 7, costs of the baselines, whole replays."""

from pathlib import Path

import pytest
import torch
from command import alpl
from configs import checked, methods

from alpl.acquisition.base import Query
from alpl.boxes.priors import COCO_300, VOC_300, PriorLayout
from alpl.networks.loss_prediction import LossPrediction
from alpl.networks.mixture_heads import MixtureBoxes, MixtureClasses
from alpl.networks.ssd import Ssd
from alpl.networks.vgg import Vgg16ReducedFc
from alpl.pool import Pool


@pytest.mark.slow
def test_figure4_is_trained_as_llal_trains() -> None:
    """Sec. 4.2: "the same open-source and setting used in [40]", and "the same baseline", a plain SSD."""
    for method in methods("almdn", "figure4"):
        config = checked("experiment=almdn/figure4", f"method={method}")
        assert (config.trainer.max_epochs, config.trainer.max_steps, config.data.batch_size) == (300, -1, 32)
        assert (list(config.model.scheduler.milestones), config.model.scheduler_interval) == ([240], "epoch")
        assert config.model.optimizer.lr == 0.001 and config.model.get("warmup") is None
        assert config.model.network.classes is None and config.model.network.boxes is None
        assert (config.schedule.initial.size, config.schedule.budget, config.schedule.cycles) == (1000, 1000, 9)
        # "the same design mentioned in Tab. 4": what counts as an object, too
        table4 = checked("experiment=almdn/table4", f"method={'random' if 'replay' in method else method}")
        assert config.model.acquisition == table4.model.acquisition, method
        assert (config.num_members, config.model.network.dropout) == (table4.num_members, table4.model.network.dropout)
        trial = checked("experiment=almdn/figure4", "scale=smoke", f"method={method}")
        assert (trial.trainer.max_epochs, trial.model.scheduler) == (3, None), method


@pytest.mark.slow
def test_ssds_of_table7_warm_up_like_all_others() -> None:
    """Sec. 4: "We use a learning rate warm-up strategy for the first 1,000 iterations"."""
    for method in ("transfer_vgg16", "transfer_resnet34", "transfer_resnet50"):
        ours = checked("experiment=almdn/table7", f"method={method}", "schedule.initial.row=random").model
        theirs = checked("experiment=almdn/table1", "method=head_plain").model
        for name in ("warmup", "scheduler", "scheduler_interval", "optimizer", "evaluation"):
            assert ours[name] == theirs[name], (method, name)
        assert ours.warmup.total_iters == 1000
    assert ours.network.backbone.depth == 50  # of the last one: the row's own network, not the recipe's


def test_released_heads_are_named_row_by_row() -> None:
    """What README.md says: a head from the command line stands above a row's own."""
    released = ("experiment=almdn/table4", "model=ssd300_vgg16_gmm_as_released", "model/head@model.network=")
    for method, head in (("almdn_gmm", "gmm_as_released"), ("almdn_eff", "eff_as_released")):
        network = checked(*released[:2], released[2] + head, f"method={method}").model.network
        assert network.classes.epistemic == network.boxes.density == network.boxes.encoding == "as_released"
        assert ("noise" in network.classes) == (method == "almdn_gmm")
    both = checked(*released[:2], released[2] + "gmm_as_released", "method=almdn_eff").model.network
    assert both.classes._target_.endswith(".MixtureClasses")


@pytest.mark.parametrize(
    ("layout", "num_outputs", "llal", "ensemble"), [(VOC_300, 21, 52.71, 157.05), (COCO_300, 81, 116.87, 349.52)]
)
def test_baselines_have_the_printed_numbers_of_parameters(
    layout: PriorLayout, num_outputs: int, llal: float, ensemble: float
) -> None:
    """Tables 4 and 5; for the ensemble Table 5 prints 349.53, three times the rounded number of one network."""
    with torch.device("meta"):
        network = Ssd(
            Vgg16ReducedFc, num_outputs, layout.boxes_per_cell, classes=MixtureClasses(), boxes=MixtureBoxes()
        )
        beside = LossPrediction(network.backbone.map_channels)
    one, added = (sum(p.numel() for p in module.parameters()) for module in (network, beside))
    assert (round((one + added) / 1e6, 2), round(3 * one / 1e6, 2)) == (llal, ensemble)


@pytest.mark.slow
def test_figure4_follows_every_query(tmp_path: Path) -> None:
    """Low scores count, as networks of one epoch have no others, and without objects all rows would draw alike."""
    trial = ("scale=smoke", "seed=0", "schedule.cycles=2", "schedule.budget=6", "trainer.max_epochs=1")
    acquire = alpl(tmp_path, "-m", "+experiment=almdn/figure4_acquire", *trial, "++acquisition.score_thresh=0")
    assert acquire.status == 0, acquire.err
    replay = alpl(tmp_path, "-m", "+experiment=almdn/figure4", *trial, "method=replay_almdn_gmm,replay_almdn_eff")
    assert replay.status == 0, replay.err

    def folder_of(table: str, row: str) -> Path:
        (folder,) = (tmp_path / "almdn" / table / row).iterdir()
        return folder

    chosen = []
    for row in ("almdn_gmm", "almdn_eff"):
        theirs, ours = folder_of("figure4_acquire", row), folder_of("figure4", f"replay_{row}")
        queries = [[one / f"cycle_0{cycle}" / "query.csv" for one in (theirs, ours)] for cycle in range(2)]
        assert all(first.read_text() == second.read_text() for first, second in queries)
        pools = [Pool.load(one / "cycle_02" / "pool.csv").cycle for one in (theirs, ours)]
        assert torch.equal(*pools) and sorted(pools[0].unique().tolist()) == [-1, 0, 1, 2]
        assert (ours / "cycle_02" / "metrics.json").exists()
        chosen.append([Query.load(first).index.tolist() for first, _ in queries])
    assert all(gmm != eff for gmm, eff in zip(*chosen, strict=True))


@pytest.mark.slow
def test_the_four_detectors_of_table7_train_on_an_acquired_set(tmp_path: Path) -> None:
    """At their own size, for two steps from scratch; the trial's rows are two small detectors."""
    acquire = alpl(tmp_path, "-m", "+experiment=almdn/table4", "scale=smoke", "seed=0", "method=random")
    assert acquire.status == 0, acquire.err
    short = ("trainer.max_epochs=-1", "trainer.max_steps=2", "data.batch_size=2", "data.source.num_test=2", "seed=0")
    scratch = ("scale=smoke_transfer", "schedule.initial.row=random", "++model.network.backbone.weights=null")
    ssds = "method=transfer_vgg16,transfer_resnet34,transfer_resnet50"
    small = ("data.resize.min_size=128", "data.augment.min_size=128")  # a sixth of the pixels, of Faster R-CNN alone
    for rows in ((ssds,), ("method=transfer_faster_rcnn", *(f"++{one}" for one in small))):
        result = alpl(tmp_path, "-m", "+experiment=almdn/table7", *scratch, *short, *rows)
        assert result.status == 0, result.err
    runs = [folder for folder in result.run_folders() if folder.parent.parent.name == "table7"]
    assert sorted(folder.parent.name for folder in runs) == sorted(methods("almdn", "table7"))
    (theirs,) = (tmp_path / "almdn" / "table4" / "random").iterdir()
    bought = Pool.load(theirs / "cycle_01" / "pool.csv").labeled
    assert all(torch.equal(Pool.load(one / "cycle_00" / "pool.csv").labeled, bought) for one in runs)
