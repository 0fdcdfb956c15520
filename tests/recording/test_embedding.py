"""What a t-SNE of selections is made of: what is kept, that it changes nothing, and which rows share coordinates."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command import TINY, alpl

from alpl.acquisition import Query
from alpl.errors import ConfigError
from alpl.machine.files import read_array, write_array
from alpl.predictions import Predictions
from alpl.recording.embedding import record_embedding
from alpl.report.drawn.embedding import MOST_OTHERS, MOST_QUERIED, Recording, _groups, _joined, _sizes, project


def predictions(number=50, features=4):
    index = torch.arange(3, 3 + 2 * number, 2)  # dataset indices with gaps
    values = torch.randn(number, features, generator=torch.Generator().manual_seed(0))
    return Predictions(index, torch.arange(number), image_features=values)


def test_the_sample_and_all_queried_images_are_kept(tmp_path: Path) -> None:
    seen = predictions()
    query = Query(torch.tensor([101, 5, 43]), torch.rand(3), torch.arange(50.0))
    record_embedding(tmp_path / "e", query, seen, limit=10, seed=1)
    one = Recording.load(tmp_path / "e")
    assert one.index[one.chosen].tolist() == [101, 5, 43] and 10 <= len(one.index) <= 13
    assert (np.diff(one.index) > 0).all()
    places = (one.index - 3) // 2
    np.testing.assert_array_equal(one.features, seen.image_features[places].numpy())
    np.testing.assert_array_equal(one.utility, places)  # the utility of image u was u


def test_the_sample_is_the_same_for_every_acquisition_and_another_for_another_seed(tmp_path: Path) -> None:
    kept = {}
    for name, query, seed in [("a", [5], 1), ("b", [7], 1), ("c", [5], 2)]:
        record_embedding(
            tmp_path / name, Query(torch.tensor(query), torch.zeros(1)), predictions(), limit=10, seed=seed
        )
        kept[name] = set(read_array(tmp_path / name / "index.npy").tolist())
        assert not (tmp_path / name / "utility.npy").exists()
    assert kept["a"] ^ kept["b"] <= {5, 7}
    assert kept["a"] != kept["c"]


def test_everything_is_kept_where_the_pool_is_small(tmp_path: Path) -> None:
    seen = predictions()
    record_embedding(tmp_path / "e", Query(seen.index[:2], torch.zeros(2)), seen, limit=1000, seed=0)
    assert read_array(tmp_path / "e" / "index.npy").tolist() == seen.index.tolist()


def test_bad_input(tmp_path: Path) -> None:
    query = Query(torch.tensor([5]), torch.zeros(1))
    with pytest.raises(ConfigError, match="limit must be >= 1, got 0"):
        record_embedding(tmp_path / "e", query, predictions(), limit=0, seed=0)
    with pytest.raises(ValueError, match="image_features"):
        record_embedding(tmp_path / "e", query, Predictions(torch.tensor([5]), torch.tensor([0])), limit=1, seed=0)
    for stranger in (4, 999):
        with pytest.raises(ValueError, match="predictions are of"):
            record_embedding(
                tmp_path / "e", Query(torch.tensor([stranger]), torch.zeros(1)), predictions(), limit=1, seed=0
            )
    assert not (tmp_path / "e").exists()


def recording(index, features, chosen=(0,)):
    return Recording(np.asarray(index), np.asarray(features, dtype=np.float32), np.asarray(chosen), None)


def test_rows_of_one_model_share_coordinates() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(60, 3))
    other = draw.normal(size=(60, 3))
    rows = {
        "a": recording(range(40), features[:40]),
        "b": recording(range(20, 60), features[20:] * (1 + 1e-5)),  # another machine
        "c": recording(range(40), other[:40]),
        "few in common": recording(range(35, 60), features[35:]),
    }
    assert [list(group) for group in _groups(rows)] == [["a", "b"], ["c"], ["few in common"]]
    index, joined = _joined([rows["a"], rows["b"]])
    assert index.tolist() == list(range(60))
    np.testing.assert_allclose(joined, features, rtol=1e-4)


def test_a_figure_of_a_large_pool_is_bounded_and_keeps_what_was_queried_first() -> None:
    number = MOST_OTHERS + 3 * MOST_QUERIED
    chosen = np.arange(2 * MOST_QUERIED)[::-1]
    index, _ = _joined([recording(range(number), np.zeros((number, 2)), chosen)])
    assert set(chosen[:MOST_QUERIED]) <= set(index.tolist())
    assert not set(chosen[MOST_QUERIED:]) & set(index.tolist())
    assert len(index) == MOST_QUERIED + MOST_OTHERS - max(0, MOST_OTHERS - (number - len(chosen)))


def test_dots_grow_with_the_utility_where_it_tells_images_apart() -> None:
    index, place = np.array([1, 3, 5, 7, 9]), np.arange(4)
    values = np.array([0.1, 7.0, 0.1, 8.0])
    one = Recording(index[:4], np.zeros((4, 2)), place[:1], values)
    assert _sizes(index, one).tolist() == [4, 14, 4, 24, 12]  # image 9 is another row's
    assert (
        set(_sizes(index, replace(one, utility=np.zeros(4)))) == set(_sizes(index, replace(one, utility=None))) == {12}
    )


def test_clusters_stay_together_and_the_same_features_give_the_same_places() -> None:
    draw = np.random.default_rng(0)
    features = np.concatenate([draw.normal(20 * k, 1, size=(30, 8)) for k in range(3)]).astype(np.float32)
    places = project(features)
    centers = places.reshape(3, 30, 2).mean(1)
    nearest = ((places[:, None] - centers[None]) ** 2).sum(-1).argmin(1)
    assert nearest.tolist() == [0] * 30 + [1] * 30 + [2] * 30
    np.testing.assert_array_equal(places, project(features))


@pytest.mark.parametrize(
    "name, array, message",
    [
        ("chosen", np.array([99]), "chosen .* in \\[0, n\\)"),
        ("features", np.zeros((2, 3), np.float32), "features .n F."),
        ("utility", np.zeros(7), "a utility for each image"),
        ("features", np.full((52, 4), np.nan, np.float32), "finite"),
    ],
)
def test_a_broken_recording_is_refused(tmp_path: Path, name: str, array, message: str) -> None:
    from alpl.errors import DataError

    seen = predictions()
    record_embedding(tmp_path / "e", Query(seen.index[:2], torch.zeros(2), torch.zeros(50)), seen, limit=99, seed=0)
    if array.shape == (52, 4):
        array = array[: len(seen.index)]
    write_array(tmp_path / "e" / f"{name}.npy", array)
    with pytest.raises(DataError, match=message):
        Recording.load(tmp_path / "e")


@pytest.mark.slow
def test_a_sweep_that_keeps_features_chooses_the_same_and_its_report_has_the_figure(tmp_path: Path) -> None:
    sweep = ["-m", *TINY, "acquisition=random,entropy"]
    plain, kept = tmp_path / "plain", tmp_path / "kept"
    assert alpl(plain, *sweep).status == 0 and alpl(kept, *sweep, "embedding=30").status == 0
    queries = {path.relative_to(plain): path.read_text() for path in plain.rglob("query.csv")}
    assert len(queries) == 2, "the key does not change, nor what is chosen"
    assert {path.relative_to(kept): path.read_text() for path in kept.rglob("query.csv")} == queries
    assert not list(plain.rglob("embedding"))
    report = kept / "digits" / "report"
    assert (report / "embedding_digits.png").exists() and not (report / "embedding_digits-2.png").exists()
    assert "Where the queries lie on digits" in (report / "index.html").read_text()
    for folder in kept.rglob("embedding"):
        one = Recording.load(folder)
        with (folder.parent / "query.csv").open() as stream:
            assert one.index[one.chosen].tolist() == [int(line["index"]) for line in csv.DictReader(stream)]


def test_a_negative_number_is_refused(tmp_path: Path) -> None:
    result = alpl(tmp_path, *TINY, "embedding=-1")
    assert result.status == 2 and "embedding must be >= 0, got -1" in result.err
