"""What the works claim: each experiment composes, sweeps the rows and seeds of its claims, and one runs to its page."""

import csv
from pathlib import Path
from typing import Any

import pytest
from command import alpl
from hydra import compose

from alpl.commands.paper_figures import figure_names
from alpl.config.compose import EXPERIMENTS
from alpl.config.composing import composing
from alpl.config.yaml_files import read_mapping
from alpl.preflight.config import check_config
from alpl.report.read.paper import joined_reports

CLAIMS = sorted(path.stem for path in (EXPERIMENTS / "claims").glob("*.yaml"))


def node_of(name: str) -> dict[str, Any]:
    return read_mapping(EXPERIMENTS / "claims" / f"{name}.yaml")


@pytest.mark.parametrize("name", CLAIMS)
def test_rows_and_seeds_of_claims_are_those_of_the_sweep_which_has_random_too(name: str) -> None:
    node = node_of(name)
    params, claims = node["hydra"]["sweeper"]["params"], joined_reports([node["report"]]).claims
    methods, seeds = params["method"].split(","), [int(seed) for seed in params["seed"].split(",")]
    assert claims and node["table"] == f"claims/{name}" and "random" in methods
    for claim in claims:
        assert {claim.row, claim.than} <= set(methods) and list(claim.seeds) == seeds and len(seeds) >= 5
        assert min(claim.seeds) >= 10  # those below are for the search of a regime


def test_claims_are_no_figures_of_a_paper() -> None:
    assert CLAIMS and not {f"claims/{name}" for name in CLAIMS} & set(figure_names())


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_every_row_composes(name: str) -> None:
    with composing():
        for method in node_of(name)["hydra"]["sweeper"]["params"]["method"].split(","):
            check_config(compose("config", [f"experiment=claims/{name}", f"method={method}"]))


@pytest.mark.slow
def test_a_trial_of_a_claim_runs_to_its_page(tmp_path: Path) -> None:
    """Two of its planned seeds are too few to judge, and the page says so."""
    trial = ["scale=smoke_digits", "method=dispersion,entropy", "seed=10,11", "trainer.max_epochs=2"]
    result = alpl(tmp_path, "-m", "+experiment=claims/dispersion", *trial)
    assert result.status == 0, result.err
    (path,) = tmp_path.rglob("claims.csv")
    with path.open() as stream:
        lines = {line["claim"]: line for line in csv.DictReader(stream)}
    line = lines["dispersion above entropy"]
    assert line["verdict"] == "cannot tell" and line["missing"] == "12 13 14 15 16 17"
    assert len(line["differences"].split()) == 2 and float(line["seconds"]) > 0
    assert ">Claims</h2>" in (path.parent / "index.html").read_text()
