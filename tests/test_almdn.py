"""The seven tables of AL-MDN (Choi et al. 2021): rows, settings, and every row as a trial."""

import json
from functools import partial
from pathlib import Path

import configs
import pytest
import torch
from command import alpl
from configs import checked
from omegaconf import OmegaConf

from alpl.acquisition.base import Query
from alpl.pool import Pool

TRIALS = {f"table{number}": "smoke" for number in range(1, 6)} | {
    "table6": "smoke_faster_rcnn",
    "table7": "smoke_transfer",
    "figure4_acquire": "smoke",
    "figure4": "smoke",
}
TABLES = [name for name in TRIALS if name.startswith("table")]
BOX, CLASS = ["box_aleatoric", "box_epistemic"], ["class_aleatoric", "class_epistemic"]
GROUPS = {
    "box": BOX,
    "class": CLASS,
    "aleatoric": ["box_aleatoric", "class_aleatoric"],
    "epistemic": ["box_epistemic", "class_epistemic"],
    "all": BOX + CLASS,
}
SYMBOLS = {"box_aleatoric": "alb", "box_epistemic": "epb", "class_aleatoric": "alc", "class_epistemic": "epc"}


experiment = partial(configs.experiment, "almdn")
methods = partial(configs.methods, "almdn")


def printed_rows(table: str) -> set[str]:
    return {row for row, _ in configs.printed("almdn", table)}


@pytest.mark.parametrize("table", TABLES)
def test_every_printed_row_is_swept(table: str) -> None:
    report = experiment(table).report
    assert {report.rows[method] for method in methods(table)} == printed_rows(table)
    assert report.get("trial", "smoke") == TRIALS[table]


@pytest.mark.slow
def test_table2_is_all_14_aggregations() -> None:
    """Each method's types and join are those that its printed name spells."""
    rows = experiment("table2").report.rows
    spelled = {f"almdn_{name}": ([name], "max", f"u_{SYMBOLS[name]}") for name in SYMBOLS}
    for join in ("sum", "max"):
        for group, types in GROUPS.items():
            name = f"{join}({','.join(SYMBOLS[one] for one in types)})"
            name = f"{join}(alb,epb,alc,epc)" if group == "all" else name
            spelled[f"almdn_{join}_{group}"] = (types, join, name)
    assert len(spelled) == 14 and set(methods("table2")) == {"random", *spelled}
    for method, (types, join, name) in spelled.items():
        acquisition = checked("experiment=almdn/table2", f"method={method}").acquisition
        assert sorted(acquisition.types) == sorted(types), method
        assert len(types) == 1 or acquisition.join == join
        assert rows[method] == name
        assert (acquisition.reduction, acquisition.score_thresh) == ("max", 0.5)


@pytest.mark.slow
@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("table", "initial", "cycles"),
    [
        pytest.param("table2", 2000, 2, marks=pytest.mark.slow),
        ("table3", 2000, 2),
        pytest.param("table4", 2000, 2, marks=pytest.mark.slow),
        pytest.param("table5", 5000, 2, marks=pytest.mark.slow),
        ("figure4_acquire", 1000, 9),
    ],
)
def test_rows_that_query_compose_in_full_and_as_a_trial(table: str, initial: int, cycles: int) -> None:
    for method in methods(table):
        full = checked(f"experiment=almdn/{table}", f"method={method}")
        assert (full.schedule.initial.size, full.schedule.budget, full.schedule.cycles) == (initial, 1000, cycles)
        assert full.trainer.max_steps == 120_000 and full.data.batch_size == 32
        assert full.model.warmup.total_iters == 1000 and full.model.acquisition.nms_thresh == 0.45
        trial = checked(f"experiment=almdn/{table}", "scale=smoke", f"method={method}")
        assert trial.data.source._target_.endswith("DigitScenes") and trial.trainer.max_epochs == 3
        # what a row is stays what it is: a trial has the small network with the row's own heads
        for name in ("acquisition", "num_members", "model.network.classes", "model.network.boxes"):
            assert OmegaConf.select(full, name) == OmegaConf.select(trial, name), (method, name)
        assert full.model.network.boxes._target_.endswith("MixtureBoxes")


@pytest.mark.slow
def test_baselines_run_on_the_mixture_network() -> None:
    """Sec. 4.2: "by applying each sampling method to the proposed GMM architecture"."""
    for table in ("table4", "table5"):
        rows = {method: checked(f"experiment=almdn/{table}", f"method={method}") for method in methods(table)}
        heads = {method: row.model.network.classes._target_.rpartition(".")[2] for method, row in rows.items()}
        efficient = heads.pop("almdn_eff")
        assert set(heads.values()) == {"MixtureClasses"} and efficient == "EfficientMixtureClasses"
        for method in ("almdn_entropy", "almdn_mc_dropout", "almdn_ensemble"):
            assert rows[method].acquisition.reduction == "mean"  # "the average entropy on the classification head"
        dropout = rows["almdn_mc_dropout"].model
        assert (dropout.network.dropout, dropout.num_passes) == (0.1, 25)
        assert rows["almdn_ensemble"].num_members == 3 and rows["almdn_ensemble"].model.tested_members == "first"


@pytest.mark.slow
def test_table1_has_single_gaussians_and_mixtures_in_either_head() -> None:
    def components(method: str, data: str) -> tuple[int, int]:
        network = checked("experiment=almdn/table1", f"method={method}", f"data={data}").model.network
        return tuple(0 if head is None else head.components for head in (network.classes, network.boxes))  # type: ignore[return-value]

    for data, size in (("voc07", "100%"), ("coco2014", 5000)):
        found = {method: components(method, data) for method in methods("table1")}
        assert found == {
            "head_plain": (0, 0), "head_gaussian_box": (0, 1), "head_gmm_box": (0, 4), "head_gaussian_class": (1, 0),
            "head_gmm_class": (4, 0), "head_gmm": (4, 4), "head_eff": (4, 4),
        }  # fmt: skip
        config = checked("experiment=almdn/table1", "method=head_gmm", f"data={data}")
        assert config.schedule.budget is None and config.schedule.initial.size == size
        assert config.model.layout.min_sizes[0] == (30 if data == "voc07" else 21)


def test_table6_has_the_baseline_as_published() -> None:
    networks = {method: checked("experiment=almdn/table6", f"method={method}").model.network for method in
                methods("table6")}  # fmt: skip
    assert {method: network.background_boxes for method, network in networks.items()} == {
        "head_plain": True, "region_head_gmm": False, "region_head_eff": False,
    }  # fmt: skip
    assert networks["head_plain"].classes is None and networks["region_head_eff"].boxes.components == 4


@pytest.mark.slow
def test_table7_trains_other_detectors_on_the_sets_of_table4() -> None:
    params = experiment("table7").hydra.sweeper.params
    assert params["schedule.initial.row"] == "random,almdn_gmm,almdn_eff"
    assert set(str(params["schedule.initial.row"]).split(",")) <= set(methods("table4"))
    for method in methods("table7"):
        config = checked("experiment=almdn/table7", f"method={method}", "schedule.initial.row=almdn_gmm")
        assert config.model.network.get("classes") is None and config.schedule.budget is None
        assert (config.schedule.initial.table, config.schedule.initial.cycle) == ("almdn/table4", None)
    faster = checked("experiment=almdn/table7", "method=transfer_faster_rcnn", "schedule.initial.row=random")
    assert (faster.trainer.max_epochs, faster.data.batch_size) == (20, 4)


# --- trials


@pytest.mark.slow
def test_the_scoring_row_runs_from_its_command(tmp_path: Path) -> None:
    """One row of Table 2; low scores count, as a network of three epochs has no others."""
    settings = (
        "scale=smoke",
        "seed=0",
        "++acquisition.score_thresh=0",
        "method=almdn_box_aleatoric,almdn_class_epistemic",
    )
    result = alpl(tmp_path, "-m", "+experiment=almdn/table2", *settings)
    assert result.status == 0, result.err
    first, second = result.run_folders()
    galleries = [json.loads((one / "cycle_00" / "gallery" / "gallery.json").read_text()) for one in (first, second)]
    found = [detection for image in galleries[0]["images"] for detection in image["detections"]]
    assert found and all(len(detection["uncertainties"]) == 4 for detection in found)
    assert torch.equal(*(Pool.load(one / "cycle_00" / "pool.csv").cycle for one in (first, second)))
    # one trained network: rows that differ in the acquisition alone begin with the same weights
    assert len({(one / "cycle_00" / "metrics.json").read_text() for one in (first, second)}) == 1
    queries = [set(Query.load(one / "cycle_00" / "query.csv").index.tolist()) for one in (first, second)]
    assert queries[0] != queries[1]
    page = (tmp_path / "almdn" / "table2" / "report" / "index.html").read_text()
    assert all(row in page for row in printed_rows("table2")) and "box epistemic" in page


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tables, so that Table 7 finds what Table 4 acquired."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.slow
@pytest.mark.parametrize("table", ["table1", "table2", "table3", "table4", "table5", "table6", "table7"])
def test_all_rows_run_from_one_command(runs: Path, table: str) -> None:
    """The trial's command, after Table 1 with one epoch a cycle: what runs does not hang on how long it trains.

    Pictures of queried images are made of rows of Tables 1, 4, 6 and 7, which have all heads and passes that there are.
    """
    short = [] if table == "table1" else ["trainer.max_epochs=1"]
    short += ["gallery=0"] if table in ("table2", "table3", "table5") else []
    result = alpl(runs, "-m", f"+experiment=almdn/{table}", f"scale={TRIALS[table]}", "seed=0", *short)
    assert result.status == 0, result.err
    folders = [folder for folder in result.run_folders() if folder.parent.parent.name == table]
    if table == "table7":
        assert len(folders) == 6
    else:
        assert sorted(folder.parent.name for folder in folders) == sorted(methods(table))
        assert all((folder / "cycle_01" / "metrics.json").exists() for folder in folders)
    page = (runs / "almdn" / table / "report" / "index.html").read_text()
    assert all(row in page for row in printed_rows(table))
