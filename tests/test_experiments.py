"""Every experiment composes for every run of its sweep, and runs as a trial. The papers' tables: test_tables.py."""

import csv
from pathlib import Path

import hydra
import pytest
from command import alpl
from hydra import compose
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from alpl.commands.sweep import jobs_of
from alpl.config.compose import CONF, EXPERIMENTS, register_experiments
from alpl.config.composing import composing
from alpl.errors import ConfigError
from alpl.preflight.config import check_config

TABLES = sorted(str(path.relative_to(EXPERIMENTS).with_suffix("")) for path in EXPERIMENTS.rglob("*.yaml"))
# what models, data and acquisitions are made of: tested with them
PARTS = ("recipe", "layout", "head", "preprocess", "pair", "similarity", "size")
# Which rows a trial runs; of the tables that are not named here, their first row.
SAMPLE = {
    "quickstart": [],
    "quickstart_detection": [],
    "noris/table2": ["method=kcenter_objects,vaal_objects", "trainer.max_epochs=1"],
    "noris/table5": ["method=llal,noris_objects,dbal_objects", "trainer.max_epochs=1"],
    "noris/figure9": ["model.features.level=1", "trainer.max_epochs=1"],
    "noris_batch_size": ["data.batch_size=64"],
    "noris_scenes": ["method=cald", "trainer.max_epochs=1"],
    "noris/table7": ["method=cdal,dbal,llal_subset,noris"],
    "noris/table8": ["method=noris"],
    "ppal/table1": ["method=ppal_as_released,dcus_then_fpn", "trainer.max_epochs=1"],
    "ppal/table2": ["method=dcus_then_ccms", "acquisition.ratio=1", "trainer.max_epochs=1"],
    "ppal/table3": ["method=dcus_margin_then_ccms", "trainer.max_epochs=1"],
    "ppal/table4": ["method=random", "trainer.max_epochs=1"],
    "ppal/figure4a": ["method=cdal", "trainer.max_epochs=1"],
    "ppal/figure4c": ["method=dcus_then_ccms", "trainer.max_epochs=1"],
    "ppal/figure5_atss_voc": ["method=core_set", "trainer.max_epochs=1"],
    "ppal/figure5_ddod_voc": ["method=dcus_then_ccms", "trainer.max_epochs=1"],
    "ppal/figure5_fcos_voc": ["method=dcus_then_ccms", "trainer.max_epochs=1"],
    "ppal/figure6a": ["method=dcus_then_kl", "trainer.max_epochs=1"],
    "ppal/figure6b": ["method=dcus_then_ccms", "trainer.max_epochs=1"],
    "soft_teacher_digits": ["method=soft_teacher", "trainer.max_epochs=1"],
    "ppal/figure7_xi": ["callbacks.class_difficulty.xi=0", "trainer.max_epochs=1"],
    "thesis/table2_2": ["method=temporal_coherence", "trainer.max_epochs=1"],
    "thesis/figure3_8": ["method=two_models_dispersion_10,ceal_10"],
    "thesis/figure4_7": ["data.long_tail.factor=0.1", "method=entropy_pseudo_label_balanced"],
    "thesis/table3_1": ["method=all_data,dispersion,core_set"],
    "thesis/table4_1": ["data.long_tail.factor=0.3", "method=kcenter,kcenter_balanced"],
    "thesis/table4_2": ["data.long_tail.factor=0.1", "method=entropy_balanced_strong,entropy"],
    "thesis/table4_3": ["data.long_tail.factor=1", "method=bald,bald_balanced"],
    "thesis/table5_1": ["method=kcenter"],  # those that start from SimSiam: tests/test_self_trained.py
    "thesis/figure5_3": ["method=entropy", "schedule.initial.size=16"],
}
# of each of these, another's trial runs the same parts; that all their runs compose: test_tables.py
ALIKE = {"quickstart_video", "thesis/figure5_4", "thesis/figure5_5", "thesis/figure5_6"} | {
    f"ppal/{name}"
    for name in (
        "figure4b", "figure5_fcos_coco", "figure5_atss_coco", "figure5_ddod_coco", "figure7_alpha", "figure7_beta",
        "figure7_m0",
    )
} | {"thesis/figure3_9"}  # fmt: skip
TRIALS = {  # the papers' tables name theirs themselves
    "quickstart": "smoke_digits",
    "quickstart_detection": "smoke",
    "quickstart_video": "smoke_video",
    "noris_batch_size": "smoke_digits",
    "noris_scenes": "smoke_centernet",
    "soft_teacher_digits": "smoke_soft_teacher",
}


def trial_of(experiment: str) -> list[str]:
    """What makes a trial of an experiment: its scale, one seed, and some of its rows."""
    node = OmegaConf.load(EXPERIMENTS / f"{experiment}.yaml")
    scale = TRIALS.get(experiment) or OmegaConf.select(node, "report.trial", default="smoke")
    params = node.hydra.sweeper.params
    chosen = SAMPLE[experiment] if experiment in SAMPLE else [f"method={params.method.split(',')[0]}"]
    return [f"+experiment={experiment}", f"scale={scale}", "seed=0", *chosen]


def row_of(job: list[str]) -> str:
    names = dict(text.split("=", 1) for text in job)
    return names.get("method") or names["acquisition"]


def test_there_are_experiments() -> None:
    assert {"quickstart", "thesis/table3_1"} <= set(TABLES)
    assert (set(SAMPLE) | ALIKE) <= set(TABLES)


@pytest.mark.sample(1)
@pytest.mark.parametrize("experiment", TRIALS)  # the others: test_tables.py
def test_every_run_of_every_sweep_composes(experiment: str) -> None:
    jobs = jobs_of([f"experiment={experiment}"])
    assert len(jobs) > 1
    with composing():
        for job in jobs:
            check_config(compose("config", job))


# one row of a trial of each paper in the fast part, elezi's in test_elezi.py
FAST = {
    "thesis/table4_1": ["data.long_tail.factor=0.3", "method=kcenter_balanced"],
    "almdn/table1": ["method=head_gmm", "trainer.max_epochs=1"],
    "noris/table7": ["method=noris"],
    "ppal/table1": ["method=entropy_then_ccms", "trainer.max_epochs=1"],
}


@pytest.mark.parametrize("experiment", FAST)
def test_a_row_of_each_paper_runs_as_a_trial(tmp_path: Path, experiment: str) -> None:
    runs_as_a_trial(tmp_path, experiment, [*trial_of(experiment)[:3], *FAST[experiment]])


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiment",
    [name for name in TABLES if not name.startswith(("elezi/", "almdn/", "claims/")) and name not in ALIKE],
)
def test_every_experiment_runs_as_a_trial(tmp_path: Path, experiment: str) -> None:
    """All but those that are alike, and those whose rows test_elezi.py, test_almdn.py, test_almdn_protocol.py,
    test_claims.py run."""
    runs_as_a_trial(tmp_path, experiment, trial_of(experiment))


def runs_as_a_trial(tmp_path: Path, experiment: str, trial: list[str]) -> None:
    result = alpl(tmp_path, "-m", *trial)
    assert result.status == 0, result.err
    assert {folder.parent.name for folder in result.run_folders()} == {row_of(job) for job in jobs_of(["-m", *trial])}
    for folder in result.run_folders():
        assert (folder / "cycle_01" / "metrics.json").exists() or folder.parent.name == "all_data", folder
    assert (tmp_path / experiment / "report" / "index.html").exists()


@pytest.mark.slow
def test_the_page_names_rows_that_are_missing(tmp_path: Path) -> None:
    missing = ["~report.rows.vaal", "+report.missing={VAAL: not there today}"]  # no row of this table is
    table = ["+experiment=thesis/table3_1", "scale=smoke_digits", "seed=0", "method=margin", *missing]
    result = alpl(tmp_path, "-m", *table)
    page = (tmp_path / "thesis" / "table3_1" / "report" / "index.html").read_text()
    assert result.status == 0 and "90.44" in page
    assert "VAAL" in page and "not there today" in page


@pytest.mark.slow
def test_a_trial_keeps_the_imbalance_factors_apart(tmp_path: Path) -> None:
    factors = ["data.long_tail.factor=0.1,1", "method=entropy,entropy_balanced"]
    result = alpl(tmp_path, "-m", "+experiment=thesis/table4_1", "scale=smoke_long_tailed", "seed=0", *factors)
    assert result.status == 0 and len(result.run_folders()) == 4, result.err
    with (tmp_path / "thesis" / "table4_1" / "report" / "paper.csv").open(newline="") as file:
        rows = [[row[name] for name in ("row", "ours", "data", "column", "paper_mean")] for row in csv.DictReader(file)]
    for label, printed in (("IF=0.1", "0.54"), ("IF=1", "0.00")):
        ours = [f"{label} Entropy CB", "entropy_balanced less entropy", f"digits_long_tailed, {label}"]
        assert rows.count([*ours, "cycle_1", printed]) == 1, (ours, printed, rows)


def test_rows_are_what_the_papers_say() -> None:
    register_experiments()
    with composing():
        ppal = compose("config", ["experiment=ppal/table1", "method=entropy_then_ccms"])
        noris = compose("config", ["experiment=noris/table7", "method=noris"])
        balance = compose("config", ["experiment=thesis/table4_2", "method=entropy_balanced_strong"])
        half = compose("config", ["experiment=thesis/table5_1", "method=entropy"])
    assert (ppal.schedule.initial.size, ppal.schedule.budget, ppal.schedule.cycles) == ("5%", "2.5%", 6)
    assert (ppal.trainer.max_epochs, ppal.trainer.gradient_clip_val, ppal.data.batch_size) == (26, 35.0, 8)
    assert (ppal.model.optimizer.lr, ppal.model.scheduler.milestones) == (0.002, [20])
    assert (ppal.acquisition.ratio, ppal.acquisition.second.iterations) == (4.0, 100)
    assert (ppal.acquisition.first.reduction, ppal.acquisition.first.of) == ("sum", "auto")
    assert (noris.schedule.initial.size, noris.schedule.budget, noris.schedule.cycles) == (1000, 1000, 7)
    assert noris.warm_start and (noris.trainer.max_epochs, noris.model.optimizer.lr) == (50, 1e-3)
    assert noris.model.optimizer._target_ == "torch.optim.Adam"
    assert (noris.acquisition.variant, noris.acquisition.similarity, noris.acquisition.alpha) == (
        "sum",
        "gaussian",
        0.5,
    )
    assert (balance.model.scheduler.gamma, balance.model.scheduler.milestones) == (0.5, [60, 80])
    assert (balance.acquisition.weight, balance.schedule.budget, balance.data.long_tail.reserved) == (2.0, 2500, 0.1)
    assert (half.schedule.initial.size, half.schedule.budget, half.schedule.cycles) == ("10%", "10%", 4)
    assert half.schedule.initial._target_.endswith("BalancedInitial") and half.data.augment[0].scale == [0.08, 1.0]


def test_the_two_names_of_noris_row_for_detection_differ_in_the_metric_alone() -> None:
    """Tables 5 and 6 by the equations, Table 4 by the supplement, which says that they are one row."""
    written, supplement = (
        OmegaConf.load(CONF / "acquisition" / f"{name}.yaml") for name in ("noris_objects", "noris_euclidean_maximum")
    )
    assert (written.metric, supplement.metric) == ("squared_euclidean", "euclidean")
    assert OmegaConf.merge(written, {"metric": "euclidean"}) == supplement


def leaves() -> list[str]:
    return sorted(
        str(path.relative_to(CONF).with_suffix(""))
        for path in CONF.rglob("*.yaml")
        if path.parent != CONF and path.parent.name not in PARTS
    )


@pytest.mark.slow
@pytest.mark.parametrize("leaf", leaves())
def test_every_leaf_composes_and_names_what_exists(leaf: str) -> None:
    register_experiments()
    group, _, name = leaf.partition("/")
    # a leaf is of classification, of detection, of both, of a pyramid, of two stages, of a teacher, or of videos
    models = ("retinanet_tiny", "faster_rcnn_tiny", "soft_teacher_tiny")
    detectors = [["data=digit_scenes", f"model={model}"] for model in models]
    tasks = [[]] if group == "data" else [["data=digits"], ["data=digit_scenes"], *detectors, ["data=digit_videos"]]
    faults = []
    for task in tasks:
        faults.append(fault_of([*task, f"{group}={name}"]))
        if faults[-1] is None:
            return
    pytest.fail(f"{leaf} fits no task: {faults}")


SIZED = sorted(path.stem for path in (CONF / "partner" / "size").glob("*.yaml") if (CONF / "data" / path.name).exists())


@pytest.mark.slow
@pytest.mark.parametrize("data", [*SIZED, "cifar10"])  # the last: of no size of its own
def test_vaal_is_sized_for_the_data(data: str) -> None:
    register_experiments()
    with composing():
        size = compose("config", [f"data={data}", "method=vaal"]).partner.module.size
    small = {"cifar10": 32, "digits": 16, "digits_long_tailed": 16, "digit_scenes": 16, "digit_videos": 16}
    assert size == small.get(data, 64 if "tiny" in data else 256)


def fault_of(overrides: list[str]) -> str | None:
    try:
        with composing():
            config = compose("config", overrides)
        missing = OmegaConf.missing_keys(config)
    except (ConfigCompositionException, InterpolationResolutionError) as error:
        return str(error)
    if missing:
        with pytest.raises(ConfigError, match="must be given, the config leaves it open"):
            check_config(config)
        for key in missing:
            OmegaConf.update(config, key, "given")
    try:
        check_config(config)
    except ConfigError as error:
        return str(error)
    return None


def test_the_data_sets_choose_their_usual_partners() -> None:
    with composing():
        config = compose("config", ["data=cifar100_long_tailed"])
        model = hydra.utils.instantiate(config.model, num_classes=100, in_channels=3)
    assert config.trainer.max_epochs == 100 and config.schedule.budget == 2500
    assert sum(p.numel() for p in model.network.parameters()) == 11_220_132  # ResNet-18, CIFAR stem, 100 classes
