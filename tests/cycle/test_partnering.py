"""A partner is trained and asked in stages of its own, and the task's model does not notice."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command import alpl
from test_resume import contents, harness, only_run

from alpl.errors import ConfigError
from alpl.modules.partner import Partner
from alpl.pool import Pool

RUN = (
    "data=digits",
    "schedule.initial.size=40",
    "schedule.budget=20",
    "schedule.cycles=2",
    "trainer.max_epochs=2",
    "num_threads=1",
    "data.labeled_fraction=0.5",
)
PARTNER = (
    "acquisition={_target_: labeled_or_not.LeastLabeled}",
    "partner={_target_: alpl.modules.partner.Partner, "
    "module: {_target_: labeled_or_not.LabeledOrNot, _partial_: true}, "
    "trainer: {_target_: labeled_or_not.trainer, _partial_: true}}",
)


def test_a_partner_is_fitted_and_asked(tmp_path: Path) -> None:
    result = alpl(tmp_path, *RUN, *PARTNER, "row=partner", "keep_predictions=true")
    assert result.status == 0, result.err
    run = result.run_folder()
    entries = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    stages = [entry["stage"] for entry in entries if entry.get("cycle") == 0]
    assert [stage for stage in stages if stage != "predict"] == ["fit", "test", "fit_partner", "ask_partner", "select"]
    pool = Pool.load(run / "cycle_00" / "pool.csv")
    with (run / "cycle_00" / "query.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    asked = run / "cycle_00" / "predictions" / "partner"
    assert len(rows) == 20 and all(0 <= float(row["utility"]) <= 1 for row in rows)
    index, answers = np.load(asked / "index.npy"), np.load(asked / "labeledness.npy")
    assert index.tolist() == pool.unlabeled.tolist()
    best = set(index[np.argsort(answers)[:20]].tolist())
    assert {int(row["index"]) for row in rows} == best  # the least labeled looking ones


@pytest.mark.slow
def test_the_tasks_model_is_the_same_with_and_without(tmp_path: Path) -> None:
    with_it = alpl(tmp_path / "with", *RUN, *PARTNER, "row=x").run_folder()
    without = alpl(tmp_path / "without", *RUN, "acquisition=entropy", "row=x").run_folder()
    for name in ("model.pt", "metrics.json", "epochs.csv"):
        assert (with_it / "cycle_00" / name).read_bytes() == (without / "cycle_00" / name).read_bytes(), name


def test_an_acquisition_without_its_partner_is_refused(tmp_path: Path) -> None:
    result = alpl(tmp_path, *RUN, PARTNER[0], "row=x")
    assert result.status == 2 and "LeastLabeled needs LABELEDNESS" in result.err and "a partner does" in result.err


def test_refuses_what_is_no_partner() -> None:
    with pytest.raises(ConfigError, match=r"partner\.module must make an AbstractPartner"):
        Partner(torch.nn.Linear, None)


@pytest.mark.slow
def test_killed_at_random_moments_equals_undisturbed(tmp_path: Path) -> None:
    overrides = [*RUN, *PARTNER, "row=x", "checkpoint_every_s=0"]
    assert harness(tmp_path / "whole", 0, 1.0, *overrides)["status"] == 0
    outcome = harness(tmp_path / "killed", 6, 0.5, *overrides)
    whole, killed = only_run(tmp_path / "whole"), only_run(tmp_path / "killed")
    assert outcome["status"] == 0 and outcome["killed"] >= 2, outcome
    assert contents(killed).keys() == contents(whole).keys()
    different = [name for name, data in contents(whole).items() if contents(killed)[name] != data]
    assert [name for name in different if name != "config.yaml"] == []
