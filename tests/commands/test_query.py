"""`alpl-query`: files in, rows and a CSV out."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from command import TINY, alpl
from PIL import Image

from alpl.acquisition import KCenter
from alpl.commands.query import cli
from alpl.querying import images, kept, select

FEATURES = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
LABELED = [4, 11, 2]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("features.npy", FEATURES)
    (tmp_path / "labeled.txt").write_text("# rows\n4\n11  # a note\n\n2\n")
    return tmp_path


def _refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        cli(arguments)
    assert end.value.code == 2
    text = capsys.readouterr().err
    assert text.startswith("alpl-query: error: ") and text.count("\n") == 1
    return text


KCENTER = ("--features", "features.npy", "--labeled", "labeled.txt", "--budget", "4", "--acquisition", "kcenter")


def test_it_prints_and_writes_what_select_chooses(files: Path, capsys) -> None:
    expected = select("kcenter", 4, features=FEATURES, labeled=LABELED)
    cli(KCENTER)
    shown = capsys.readouterr()
    assert [int(line) for line in shown.out.split()] == expected.index.tolist()
    assert shown.err == "4 of 27 unlabeled images, in order: query.csv\n"
    rows = list(csv.DictReader((files / "query.csv").open()))
    assert [int(row["index"]) for row in rows] == expected.index.tolist()
    assert [float(row["utility"]) for row in rows] == expected.utility.tolist()


def test_settings_names_and_shares(files: Path, capsys) -> None:
    (files / "names.txt").write_text("".join(f"image {number}.jpg\n" for number in range(30)))
    cli([*KCENTER[:-3], "10%", *KCENTER[-2:], "metric=cosine", "--names", "names.txt", "--out", "to/label.csv"])
    expected = select(KCenter("cosine"), 3, features=FEATURES, labeled=LABELED).index.tolist()
    assert capsys.readouterr().out.splitlines() == [f"image {number}.jpg" for number in expected]
    rows = list(csv.DictReader((files / "to" / "label.csv").open()))
    assert [row["name"] for row in rows] == [f"image {number}.jpg" for number in expected]


def test_a_csv_and_a_pool_of_a_run(files: Path, capsys) -> None:
    np.savetxt("features.csv", FEATURES, delimiter=",")
    (files / "pool.csv").write_text("# num_images=30 num_labeled=3\nindex,cycle\n4,0\n11,0\n2,1\n9,-2\n")
    cli(["--features", "features.csv", "--labeled", "pool.csv", "--budget", "26", "--acquisition", "kcenter"])
    printed = capsys.readouterr()
    assert sorted(map(int, printed.out.split())) == [row for row in range(30) if row not in (*LABELED, 9)]
    assert "26 of 26 unlabeled images" in printed.err


def test_excluded_images_are_those_of_the_pool_and_of_the_file(files: Path, capsys) -> None:
    (files / "pool.csv").write_text("# num_images=30 num_labeled=3\nindex,cycle\n4,0\n11,0\n2,1\n9,-2\n")
    (files / "excluded.txt").write_text("5\n")
    cli([*KCENTER[:3], "pool.csv", "--excluded", "excluded.txt", "--budget", "25", *KCENTER[-2:]])
    printed = capsys.readouterr()
    assert not {5, 9} & set(map(int, printed.out.split())) and "25 of 25 unlabeled images" in printed.err


def test_whole_numbers_and_vectors_of_a_csv(files: Path, capsys) -> None:
    posterior = np.random.default_rng(2).dirichlet(np.ones(3), 30)
    np.save("posterior.npy", posterior)
    expected = select("entropy_balanced", 4, posterior=posterior, labeled=LABELED, class_counts=[1, 2, 0])
    common = ("--posterior", "posterior.npy", "--class-counts", "counts.csv", *KCENTER[2:-1], "entropy_balanced")
    for text in ("1,2,0\n", "1\n2\n0\n"):
        (files / "counts.csv").write_text(text)
        cli(common)
        assert [int(line) for line in capsys.readouterr().out.split()] == expected.index.tolist()
    for text, message in (("1,2\n0,1\n", "Long[K], got shape [2, 2]"), ("1,0.5,0\n", "Long[K], got torch.float64")):
        (files / "counts.csv").write_text(text)
        assert f"class_counts must be {message}" in _refused(capsys, *common)


def test_names_are_counted_before_the_choice(files: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alpl.querying.select", lambda *_, **__: pytest.fail("it chose"))
    assert "labeled.txt must name 30 images" in _refused(capsys, *KCENTER, "--names", "labeled.txt")


def test_the_last_cycle_is_by_number_and_a_run_that_is_not_there_is_not_made(files: Path, capsys) -> None:
    for name in ("cycle_99", "cycle_100"):
        (files / "run" / name / "predictions" / "unlabeled").mkdir(parents=True)
    assert kept._files(files / "run", None).pool.parent.name == "cycle_100"
    text = _refused(capsys, "--run", "typo", "--budget", "3", "--acquisition", "random")
    assert "run must be the folder of a run, there is none at typo" in text and not (files / "typo").exists()


def test_photos_as_they_are_held_and_no_resource_forks(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (4, 3)).save(tmp_path / "photo.jpg", exif=turned)
    (tmp_path / "._photo.jpg").write_text("of macOS")
    assert images.image_files(tmp_path) == [tmp_path / "photo.jpg"]
    seen = images._prepared(tmp_path / "photo.jpg", lambda image: torch.tensor(image.size))
    assert seen.tolist() == [3, 4]


def test_parquet_where_pyarrow_is(files: Path, capsys) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({f"f{k}": FEATURES[:, k] for k in range(5)}), "features.parquet")
    cli(["--features", "features.parquet", *KCENTER[2:]])
    expected = select("kcenter", 4, features=FEATURES, labeled=LABELED).index.tolist()
    assert [int(line) for line in capsys.readouterr().out.split()] == expected


def test_parquet_where_pyarrow_is_not(files: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "reading features.parquet needs pyarrow" in _refused(capsys, "--features", "features.parquet", *KCENTER[2:])


def test_ragged_detections(files: Path, capsys) -> None:
    random = np.random.default_rng(1)
    row = np.repeat(np.arange(30), random.integers(0, 4, 30))
    ragged = {"row": row, "posterior": random.dirichlet(np.ones(4), len(row)), "scores": random.random(len(row))}
    np.savez("detections.npz", **ragged)
    common = ("--labeled", "labeled.txt", "--budget", "3", "--acquisition", "entropy_sum", "--form", "background")
    cli(["--detections", "detections.npz", "--num-images", "30", *common])
    expected = select("entropy_sum", 3, labeled=LABELED, num_images=30, form="background", **ragged).index.tolist()
    assert [int(line) for line in capsys.readouterr().out.split()] == expected
    assert "num_images must be given" in _refused(capsys, "--detections", "detections.npz", *common)
    np.savez("detections.npz", row=row, probs=ragged["posterior"])
    assert "there is an array probs" in _refused(capsys, "--detections", "detections.npz", *common)


def test_labels_for_class_balance(files: Path, capsys) -> None:
    posterior = np.random.default_rng(2).dirichlet(np.ones(3), 30)
    np.save("posterior.npy", posterior)
    (files / "labels.txt").write_text("0\n1\n1\n")
    cli(["--posterior", "posterior.npy", "--labels", "labels.txt", *KCENTER[2:-1], "entropy_balanced"])
    expected = select("entropy_balanced", 4, posterior=posterior, labeled=LABELED, labels=[0, 1, 1]).index.tolist()
    assert [int(line) for line in capsys.readouterr().out.split()] == expected


def _colors(folder: Path, number: int) -> None:
    (folder / "sub").mkdir(parents=True)
    for place in range(number):
        name = f"{place:02d}.PNG" if place % 2 else f"sub/{place:02d}.jpg"
        Image.new("RGB", (40 + place, 30), (place * 20, 255 - place * 20, 100)).save(folder / name)


@pytest.mark.slow
def test_images_of_a_folder_by_a_network_with_given_weights(files: Path, capsys) -> None:
    _colors(files / "photos", 7)
    torch.manual_seed(0)
    network = torchvision.models.get_model("resnet18", weights=None, num_classes=5)
    torch.save(network.state_dict(), "weights.pt")
    common = ("--acquisition", "max_herding", "--budget", "3")
    look = ("--images", "photos", "--model", "resnet18", "--weights", "weights.pt", "--save-features", "kept.npy")
    cli([*look, *common])
    names = sorted(path.relative_to(files / "photos") for path in (files / "photos").rglob("*.*"))
    printed = capsys.readouterr().out.splitlines()
    network.fc = torch.nn.Identity()
    prepare = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    with torch.no_grad():
        seen = [network.eval()(prepare(Image.open(files / "photos" / name).convert("RGB"))[None])[0] for name in names]
    np.testing.assert_allclose(np.load("kept.npy"), torch.stack(seen).numpy(), rtol=1e-4, atol=1e-5)
    expected = select("max_herding", 3, features=np.load("kept.npy")).index.tolist()
    assert printed == [str(names[row]) for row in expected]
    assert "must come with --model and without --features" in _refused(capsys, "--images", "photos", *common)
    torch.save({"conv1.weight": network.conv1.weight}, "weights.pt")
    assert "weights.pt must hold the weights of the network, there is no bn1" in _refused(capsys, *look, *common)
    (files / "photos" / "broken.jpg").write_text("no image")
    text = _refused(capsys, *look[:-4], "--weights", "none", *common)
    assert "broken.jpg must hold an image, and is broken or of something else" in text
    assert "must be a folder with images" in _refused(capsys, "--images", ".git", *look[2:], *common)


@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        ("resnet19", "none", "name must be a classification network of torchvision, got 'resnet19'"),
        ("resnet18", "IMAGENET9", "weights must be known to torchvision for resnet18, got 'IMAGENET9'"),
        ("timm/resnet18", "IMAGENET1K_V1", "weights of timm's networks must be DEFAULT, none or a file"),
    ],
)
def test_networks_that_are_not_there(files: Path, capsys, model, weights, message) -> None:
    _colors(files / "photos", 2)
    words = ("--images", "photos", "--acquisition", "max_herding", "--budget", "1")
    assert message in _refused(capsys, *words, "--model", model, "--weights", weights)


@pytest.mark.slow
def test_a_network_of_timm(files: Path, capsys) -> None:
    _colors(files / "photos", 3)
    look = ("--images", "photos", "--model", "timm/resnet18", "--weights", "none", "--save-features", "kept.npy")
    cli([*look, "--acquisition", "kcenter", "--budget", "2"])
    assert len(capsys.readouterr().out.splitlines()) == 2 and np.load("kept.npy").shape == (3, 512)
    text = _refused(capsys, *look[:3], "timm/no_such", *look[4:], *KCENTER[-4:])
    assert "name must be known to timm, got 'no_such'" in text


@pytest.mark.slow
def test_another_choice_from_what_a_run_kept(files: Path, capsys) -> None:
    result = alpl(files / "runs", *TINY, "acquisition=kcenter", "keep_predictions=true", "informativeness=false")
    folder = result.run_folder()
    queried = [int(row["index"]) for row in csv.DictReader((folder / "cycle_00" / "query.csv").open())]
    cli(["--run", str(folder), "--budget", str(len(queried)), "--acquisition", "kcenter"])
    assert [int(line) for line in capsys.readouterr().out.split()] == queried
    text = _refused(capsys, "--run", str(folder), "--budget", "3", "--acquisition", "bald")
    assert "Bald needs views [V I C], the run kept none; its acquisition did not need them" in text
    text = _refused(capsys, "--run", str(folder), "--budget", "3", "--acquisition", "random", "--labels", "x")
    assert "--run brings predictions and pool of its own, got --labels beside it" in text
    text = _refused(capsys, "--run", str(folder), "--cycle", "7", "--budget", "3", "--acquisition", "random")
    assert "keep_predictions=true keeps what a query saw" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("metric=manhattan",), "acquisition.metric must be one of euclidean, cosine, got manhattan"),
        (("metrik=cosine",), "metrik"),
        (("cosine",), "settings must be KEY=VALUE, got cosine"),
        (("--excluded", "none.txt"), "none.txt must be a file that holds a whole number a line, there is none"),
        (("--features", "features.txt"), "an array must be a file that ends in one of .npy, .csv, .parquet"),
        (("--labeled", "features.npy"), "labeled must be Long[L]"),
        (("--names", "labeled.txt"), "labeled.txt must name 30 images, one a line, got 5"),
        (("--save-features", "kept.npy"), "--save-features must come with --images, got kept.npy without it"),
        (("--model", "resnet18"), "--model must come with --images, got resnet18 without it"),
        (("--cycle", "0"), "--cycle must come with --run, got 0 without it"),
        (("--run", ".", "--form", "sigmoid"), "--run brings predictions and pool of its own"),
        (("--budget", "many"), "budget must be an int (images)"),
        (("--acquisition", "entropy"), "Entropy needs posterior [I C], which is not given"),
    ],
)
def test_what_is_refused_is_told_in_one_line(files: Path, capsys, arguments, message) -> None:
    assert message in _refused(capsys, *KCENTER, *arguments)
    assert not (files / "query.csv").exists()
