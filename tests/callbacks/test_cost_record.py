"""What a run's network costs: counted exactly, measured once, and without a trace in the results."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from command import TINY, alpl
from lightning.pytorch import Trainer

from alpl.callbacks import cost_record
from alpl.callbacks.cost_record import CostRecord
from alpl.data.augment import Normalize
from alpl.data.datamodule import ImageDataModule
from alpl.data.digits import Digits
from alpl.errors import DataError
from alpl.modules.classifier import Classifier
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.small_cnn import SmallCnn
from alpl.pool import Pool
from alpl.predictions import Need
from alpl.runs.network_cost import NetworkCost

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec")


def make_module():
    torch.manual_seed(0)
    return Classifier(
        partial(ClassificationNetwork, partial(SmallCnn, widths=(4, 8)), dropout=0.3), 10, 1,
        optimizer=partial(torch.optim.SGD, lr=0.1),
    )  # fmt: skip


def run_test(folder, module, *callbacks):
    data = ImageDataModule(Digits, Normalize([0.3], [0.4]), batch_size=16, eval_batch_size=500, seed=0)
    data.setup()
    _, targets = data.take_targets()
    trainer = Trainer(
        accelerator="cpu", devices=1, callbacks=list(callbacks), logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, default_root_dir=folder,
    )  # fmt: skip
    view = data.with_pool(Pool.create(1198, torch.arange(30)), targets[:30])
    trainer.test(module, datamodule=view, verbose=False)
    return module.results


def record(folder, module, needs=Need.POSTERIOR):
    results = run_test(folder, module, CostRecord(folder / "cost.json", needs, torch.tensor([7])))
    return NetworkCost.load(folder / "cost.json"), results


class Clock:
    """Stands still but while the module predicts a single image (the test's batches are larger)."""

    def __init__(self, monkeypatch, module, durations):
        self.now, self.asked, left = 0.0, [], iter(durations)
        predict = module.predict_batch

        def slow(batch, needs):
            if len(batch.images) == 1:
                self.asked.append((tuple(batch.images.shape), batch.index.tolist(), needs, module.training))
                self.now += next(left)
            return predict(batch, needs)

        monkeypatch.setattr(module, "predict_batch", slow)
        monkeypatch.setattr(cost_record, "time", SimpleNamespace(perf_counter=lambda: self.now))


def test_parameters_are_counted_and_frozen_ones_apart(tmp_path):
    module = make_module()
    first = next(module.network.parameters())
    first.requires_grad = False
    cost, _ = record(tmp_path, module)
    assert cost.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert cost.trainable == cost.parameters - first.numel() > 0
    assert (cost.height, cost.width, cost.precision, cost.needs) == (8, 8, "32-true", "POSTERIOR")
    assert cost.device.endswith(f"{torch.get_num_threads()} thread") and cost.forward_seconds > 0


def test_the_fastest_turn_counts_and_the_first_does_not(tmp_path, monkeypatch):
    module = make_module()
    clock = Clock(monkeypatch, module, [0.01, 0.30, 0.25, 0.20, 0.40, 0.21, 0.22, 0.24])
    cost, _ = record(tmp_path, module, Need.VIEWS)
    assert cost.forward_seconds == pytest.approx(0.20) and cost.turns == 7
    # the pool's image alone, in evaluation mode, with what the acquisition needs
    assert clock.asked == [((1, 1, 8, 8), [7], Need.VIEWS, False)] * 8


@pytest.mark.parametrize(
    ("durations", "turns", "fastest"), [([10.0, 8.0], 1, 8.0), ([0.5, 0.9, 0.8, 0.7, 0.95], 4, 0.7)]
)
def test_slow_networks_get_fewer_turns(tmp_path, monkeypatch, durations, turns, fastest):
    module = make_module()
    Clock(monkeypatch, module, durations)
    cost, _ = record(tmp_path, module)
    assert (cost.turns, cost.forward_seconds) == (turns, pytest.approx(fastest))


def test_the_results_of_the_test_are_the_same_with_it(tmp_path):
    cost, with_it = record(tmp_path, make_module(), Need.VIEWS)
    assert with_it == run_test(tmp_path, make_module()) and cost.needs == "VIEWS"


def test_only_the_first_process_measures(tmp_path):
    recorder = CostRecord(tmp_path / "cost.json", Need.NOTHING, torch.tensor([0]))
    recorder.on_test_end(SimpleNamespace(is_global_zero=False), make_module())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_measures_in_its_first_cycle_and_counts_all_members(tmp_path: Path, monkeypatch) -> None:
    calls = []
    measure = CostRecord.on_test_end
    monkeypatch.setattr(CostRecord, "on_test_end", lambda self, *args: (calls.append(self.needs), measure(self, *args)))
    one = NetworkCost.load(alpl(tmp_path / "one", *TINY, "trainer.max_epochs=1").run_folder() / "cost.json")
    result = alpl(tmp_path / "two", *TINY, "trainer.max_epochs=1", "method=ensemble_bald", "num_members=2")
    assert result.status == 0, result.err
    two = NetworkCost.load(result.run_folder() / "cost.json")
    assert two.parameters == 2 * one.parameters > 0 and (one.needs, two.needs) == ("NOTHING", "VIEWS")
    assert len(calls) == 2  # of two cycles each
    assert (result.run_folder() / "cycle_01" / "metrics.json").exists()


def test_where_nothing_is_queried_nothing_is_needed(tmp_path: Path) -> None:
    result = alpl(tmp_path, "schedule=all_data", "trainer.max_epochs=1", "acquisition=entropy")
    assert result.status == 0, result.err
    assert NetworkCost.load(result.run_folder() / "cost.json").needs == "NOTHING"


# --- the file

COST = NetworkCost(1000, 900, 0.25, 7, 300, 400, "VIEWS", "a GPU", "bf16-mixed")


def test_a_cost_is_read_as_it_was_written(tmp_path):
    COST.save(tmp_path / "cost.json")
    assert NetworkCost.load(tmp_path / "cost.json") == COST


@pytest.mark.parametrize(
    "change",
    [{"parameters": None}, {"forward_seconds": 0}, {"forward_seconds": "nan"}, {"trainable": 1001}, {"device": ...}],
    ids=str,
)
def test_what_cannot_be_is_refused(tmp_path, change):
    COST.save(tmp_path / "cost.json")
    about = json.loads((tmp_path / "cost.json").read_text()) | change
    (tmp_path / "cost.json").write_text(json.dumps({key: value for key, value in about.items() if value is not ...}))
    with pytest.raises(DataError, match=r"cost\.json must hold"):
        NetworkCost.load(tmp_path / "cost.json")
