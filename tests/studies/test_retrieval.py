"""The retrieval study on planted scenes, and on a run from its command to its report."""

import csv
from types import SimpleNamespace

import pytest
import torch
from command import alpl

from alpl.boxes.objects import Objects
from alpl.commands import report, study
from alpl.errors import ConfigError
from alpl.predictions import Predictions
from alpl.runs.artefacts import check
from alpl.runs.journal import read_journal
from alpl.studies import Answers
from alpl.studies.study import retrieval
from alpl.studies.study.retrieval import Retrieval

NUMBER, CLASSES = 90, 5


class Gray(list):
    """Test images of one color, with names."""

    names = tuple(str(image) for image in range(NUMBER))


def answers(true=None, seed=0):
    """Scenes with any set of classes, frequent ones and rare ones; an object's feature is its class, a little moved."""
    draws = torch.Generator().manual_seed(seed)
    sets = torch.rand(NUMBER, CLASSES, generator=draws) < torch.tensor([0.85, 0.6, 0.3, 0.2, 0.1])
    sets[7] = False
    row, labels = sets.nonzero(as_tuple=True)
    features = torch.eye(CLASSES)[labels] + 0.05 * torch.randn(len(row), CLASSES, generator=draws)
    seen = Predictions(
        torch.arange(NUMBER), row, labels=labels, scores=torch.full((len(row),), 0.9), features=features,
        image_features=torch.randn(NUMBER, 4, generator=draws),
    )  # fmt: skip
    classes = [labels[row == image] for image in (range(NUMBER) if true is None else true)]
    objects = [Objects(torch.zeros(len(one), 4), one, torch.zeros(len(one), dtype=torch.bool)) for one in classes]
    images = Gray(torch.full((3, 6, 8), image, dtype=torch.uint8) for image in range(NUMBER))
    data = SimpleNamespace(splits=SimpleNamespace(test=images, test_objects=objects), classes="abcde")
    return Answers(seen, data, SimpleNamespace(seed=0), SimpleNamespace(image_layers=1), None, None)


def rhos(told):
    """Of CCMS and of the global similarity."""
    return [float(part.split()[-1]) for part in told.split(": ")[1].split(", ")]


def rows_of(folder):
    with (folder / "retrieval.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take their time, and one test looks at them."""
    for name in ("plot_correspondence", "plot_rows"):
        monkeypatch.setattr(retrieval, name, lambda *arguments: b"")


def test_planted_classes_are_found_by_ccms_and_by_nothing_else(tmp_path):
    of_ccms, of_global = rhos(Retrieval().write(answers(), tmp_path))
    assert of_ccms > 0.9 and abs(of_global) < 0.4
    rows = rows_of(tmp_path)
    assert list(rows[0]) == ["anchor", "similarity", "jaccard", "method"] and len(rows) == 2 * NUMBER
    assert [int(row["anchor"]) for row in rows] == [*range(NUMBER)] * 2
    empty = rows[7]  # images without detections resemble none
    assert (float(empty["similarity"]), float(empty["jaccard"])) == (0.0, 0.0)
    for name in ("correspondence.png", "gallery.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("undrawn")
def test_classes_of_other_images_are_not_found(tmp_path):
    shuffled = torch.randperm(NUMBER, generator=torch.Generator().manual_seed(3)).tolist()
    strange = answers(shuffled)
    assert abs(rhos(Retrieval().write(strange, tmp_path))[0]) < 0.35
    # but predicted ones are
    assert rhos(Retrieval(categories="predicted").write(strange, tmp_path))[0] > 0.9


@pytest.mark.usefixtures("undrawn")
def test_anchors_are_drawn_and_few_images_are_all_retrieved(tmp_path):
    told = Retrieval(anchors=5, neighbors=200).write(answers(), tmp_path)
    assert "over 5 anchors" in told and len(rows_of(tmp_path)) == 10
    first = rows_of(tmp_path)
    Retrieval(anchors=5, neighbors=200).write(answers(), tmp_path)
    assert rows_of(tmp_path) == first
    with pytest.raises(ConfigError, match="anchors must be <= 90 test images, got 91"):
        Retrieval(anchors=91).write(answers(), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"neighbors": 0}, "neighbors must be an int >= 1, got 0"),
        ({"anchors": True}, "anchors must be an int >= 1, got True"),
        ({"pictures": 1.5}, "pictures must be an int >= 1, got 1.5"),
        ({"categories": "all"}, "categories must be true or predicted, got 'all'"),
        ({"score_thresh": 2.0}, r"score_thresh must be in \[0, 1\], got 2.0"),
    ],
)
def test_errors(settings, message):
    with pytest.raises(ConfigError, match=message):
        Retrieval(**settings)


@pytest.mark.slow
def test_a_finished_run_is_studied_and_its_report_shows_it(tmp_path, capsys):
    short = ["trainer.max_epochs=1", "schedule.cycles=1", "model.acquisition.score_thresh=0.01", "table=studied"]
    run = alpl(tmp_path, "scale=smoke_retinanet", "method=random", *short).run_folder()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    study.cli(["retrieval", str(run), "score_thresh=0.0", "neighbors=5", "trainer.accelerator=cpu"])
    said = capsys.readouterr().out
    folder = run / "studies" / "retrieval"
    assert "Spearman's rho" in said and said.endswith(f"{folder}\n")
    assert {path.name for path in folder.iterdir()} == {"retrieval.csv", "correspondence.png", "gallery.png"}
    assert len(rows_of(folder)) == 2 * 16
    assert all(path.read_bytes() == content for path, content in before.items())
    check(run, read_journal(run / "journal.jsonl"))
    report.cli([str(tmp_path)])
    page = (tmp_path / "studied" / "report" / "index.html").read_text()
    assert "Studies of finished runs" in page and "random, retrieval, gallery" in page
    study.cli(["nearest", str(run), "score_thresh=0.0", "queries=2", "neighbors=3"])
    assert "2 queried objects of cycle 0 and 3 near to each" in capsys.readouterr().out
    assert (run / "studies" / "nearest" / "nearest.png").read_bytes().startswith(b"\x89PNG")
    (run / "cycle_00" / "model.pt").rename(tmp_path / "model.pt")
    with pytest.raises(SystemExit):
        study.cli(["nearest", str(run)])
    assert "model.pt is gone, so nobody can be asked" in capsys.readouterr().err
    first = rows_of(folder)
    study.cli(["retrieval", str(run), "score_thresh=0.0", "neighbors=5"])
    assert rows_of(folder) == first

    with pytest.raises(SystemExit) as end:
        study.cli(["retrieval", str(run), "data.sauce=1"])
    assert end.value.code == 2 and "sauce" in capsys.readouterr().err
