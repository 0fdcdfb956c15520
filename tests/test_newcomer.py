"""README's table "to add", walked from outside the package: a data set, a model, a callback and so on."""

import csv
from pathlib import Path

from command import alpl

OVERRIDES = (
    "data=digits",
    "~data.source",
    "+data.source={_target_: newcomer.Stripes, _partial_: true}",
    "~model",
    "+model={_target_: newcomer.BrightPixels, optimizer: {_target_: torch.optim.SGD, _partial_: true, lr: 0.1}}",
    "~callbacks",
    "+callbacks={mine: {_target_: newcomer.StepsOfTheFit}}",
    "acquisition={_target_: newcomer.FewStepsFirst}",
    "partner={_target_: alpl.modules.Partner, module: {_target_: newcomer.Constant, _partial_: true}, "
    "trainer: {_target_: newcomer.trainer, _partial_: true}}",
    "schedule.initial.size=12",
    "schedule.budget=6",
    "schedule.cycles=2",
    "trainer.max_epochs=3",
    "row=newcomer",
    "table=newcomer",
)


def test_one_of_each_from_outside_the_package(tmp_path: Path) -> None:
    result = alpl(tmp_path, *OVERRIDES)
    assert result.status == 0, result.err
    run = result.run_folder()
    with (run / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["num_labeled"] for row in rows] == ["12", "18", "24"]
    assert float(rows[-1]["test/accuracy"]) > 1 / 3
    assert (run / "cycle_00" / "steps.npy").exists() and (run / "cycle_00" / "partner.pt").exists()
