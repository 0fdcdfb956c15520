"""The study of nearest objects on planted features."""

import csv
import json
from types import SimpleNamespace

import pytest
import torch

from alpl.acquisition.base import Query
from alpl.errors import ConfigError, DataError
from alpl.predictions import Predictions
from alpl.runs.run_folder import CycleFiles
from alpl.studies import Answers, Look
from alpl.studies.nearest_objects import nearest_objects
from alpl.studies.study.nearest import Nearest

INDEX = torch.tensor([3, 5, 8, 9])  # unlabeled images, of 10
ROW = torch.tensor([0, 0, 1, 1, 2, 3, 3])
PLACES = [0.0, 10.0, 1.0, 9.0, 4.0, 30.0, 2.0]  # on a line: the features
SCORES = [0.9, 0.8, 0.7, 0.6, 0.5, 0.01, 0.4]


@pytest.mark.parametrize("number", [2, 9])
def test_nearest_objects_are_those_of_a_loop(number):
    draws = torch.Generator().manual_seed(0)
    features = torch.randint(3, (40, 2), generator=draws).float()  # many ties
    row = torch.randint(8, (40,), generator=draws).sort().values
    for one in range(0, 40, 7):
        distances = [((features[n] - features[one]) ** 2).sum().sqrt().item() for n in range(40)]
        best = {}
        for n in sorted(range(40), key=lambda n: (distances[n], n)):
            if row[n] != row[one]:
                best.setdefault(int(row[n]), n)
        found = nearest_objects(features, row, one, number)
        assert found.objects.tolist() == list(best.values())[:number]  # 7 other images where 9 are wanted
        assert found.distance.tolist() == pytest.approx([distances[n] for n in best.values()][:number])
    assert not len(nearest_objects(features[:3], torch.zeros(3, dtype=torch.long), 0, 2).objects)


def answers(folder, decided=None):
    """Images 3, 5, 8, 9; the query is of 9, 3 and 5."""
    boxes = torch.tensor([[place, 0.0, place + 3, 4.0] for place in PLACES])
    seen = Predictions(
        INDEX, ROW, labels=torch.arange(7) % 2, scores=torch.tensor(SCORES), boxes=boxes,
        features=torch.tensor(PLACES)[:, None],
    )  # fmt: skip
    files = CycleFiles(folder / "cycle_00")
    files.gallery.mkdir(parents=True)
    Query(torch.tensor([9, 3, 5]), torch.zeros(3, dtype=torch.double)).save(files.query)
    if decided is not None:
        images = [
            {"index": image, "detections": [{"box": box.tolist(), "decided": n == decided[image]} for n, box in own]}
            for image, own in ((3, list(enumerate(boxes[:2]))), (9, list(enumerate(boxes[5:]))))
        ]
        (files.gallery / "gallery.json").write_text(json.dumps({"images": images}))
    images = [torch.zeros(3, 6, 40, dtype=torch.uint8)] * 10
    data = SimpleNamespace(splits=SimpleNamespace(train=images), classes=("even", "odd"))
    return Answers(seen, data, None, None, Look(0, "train", INDEX), files)


def rows(folder):
    with (folder / "nearest.csv").open(newline="") as file:
        return [(int(r["query"]), int(r["rank"]), int(r["index"]), float(r["distance"])) for r in csv.DictReader(file)]


def test_objects_of_the_highest_score_stand_for_a_query_that_values_none(tmp_path):
    told = Nearest(neighbors=2).write(answers(tmp_path), tmp_path)
    assert told.startswith("3 queried objects of cycle 0")
    assert rows(tmp_path) == [
        (0, 0, 9, 0.0), (0, 1, 5, 1.0), (0, 2, 3, 2.0),  # at 2: the other object of image 9 scores too low
        (1, 0, 3, 0.0), (1, 1, 5, 1.0), (1, 2, 9, 2.0),  # at 0
        (2, 0, 5, 0.0), (2, 1, 3, 1.0), (2, 2, 9, 1.0),  # at 1: the first of equal ones
    ]  # fmt: skip
    assert (tmp_path / "nearest.png").read_bytes().startswith(b"\x89PNG")


def test_the_object_that_decided_is_that_of_the_gallery(tmp_path):
    Nearest(neighbors=1, queries=2, score_thresh=0.0).write(answers(tmp_path, {3: 1, 9: 0}), tmp_path)
    assert rows(tmp_path) == [(0, 0, 9, 0.0), (0, 1, 3, 20.0), (1, 0, 3, 0.0), (1, 1, 5, 1.0)]


def test_errors(tmp_path):
    for settings, message in (
        ({"queries": 0}, "queries must be an int >= 1, got 0"),
        ({"cycle": -1}, "cycle must be an int >= 0, got -1"),
        ({"neighbors": 2.5}, "neighbors must be an int >= 1, got 2.5"),
    ):
        with pytest.raises(ConfigError, match=message):
            Nearest(**settings)
    journal = [{"cycle": 0, "stage": "select"}, {"cycle": 1, "stage": "test"}]
    with pytest.raises(ConfigError, match=r"cycle must be one with a query, of \[0\], got 1"):
        Nearest(cycle=1).look(SimpleNamespace(journal=journal), None)
    seen = answers(tmp_path)
    with pytest.raises(ConfigError, match=r"score_thresh must leave an object on a queried image, got 0\.95"):
        Nearest(score_thresh=0.95).write(seen, tmp_path)
    (seen.files.gallery / "gallery.json").write_text('{"images": [{}]}')
    with pytest.raises(DataError, match="must tell the boxes that decided: KeyError"):
        Nearest().write(seen, tmp_path)
