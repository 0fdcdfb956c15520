"""Every detection run counts the objects that it paid for, pseudo-labels or not; classification has none."""

import csv
from pathlib import Path

import pytest
from command import TINY, alpl
from omegaconf import open_dict

from alpl.commands.sweep import compose_job
from alpl.experiment import make_experiment
from alpl.pool import Pool


@pytest.mark.slow
def test_labeled_objects_are_counted_without_pseudo_labels(tmp_path: Path) -> None:
    result = alpl(tmp_path, "scale=smoke", "method=random", "trainer.max_epochs=1")
    assert result.status == 0, result.err
    folder = result.run_folder()
    lines = list(csv.DictReader((folder / "metrics.csv").open()))
    config = compose_job(["scale=smoke", "method=random"])
    with open_dict(config):
        del config["hydra"]
    data = make_experiment(config).data
    data.setup("fit")
    _, objects = data.take_targets()
    for cycle, line in enumerate(lines):
        labeled = Pool.load(folder / f"cycle_{cycle:02d}" / "pool.csv").labeled
        expected = sum(int((~each.difficult).sum()) for each in objects[labeled])
        assert int(line["num_labeled_objects"]) == expected > len(labeled)
        assert "num_pseudo_objects" not in line
    assert len(lines) == 2


def test_classification_counts_images_only(tmp_path: Path) -> None:
    folder = alpl(tmp_path, *TINY).run_folder()
    assert "num_labeled_objects" not in (folder / "metrics.csv").read_text()
