"""The command line: bad input ends in one clear line, before any training; locks; a user's own acquisition."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from command import TINY, alpl
from data.fake.tiny_imagenet import make_tiny_imagenet

BAD = {
    "misspelt key": (["data.batchsize=3"], "Could not override 'data.batchsize'"),
    "misspelt key behind +": (["+model.netwrk=3"], "model.netwrk: .* did you mean 'network'"),
    "misspelt key of an optimizer": (["+model.optimizer.momentun=1"], "momentun: .* did you mean 'momentum'"),
    "unknown key": (["+acquisitions=3"], "unknown config key 'acquisitions'; did you mean 'acquisition'"),
    "unknown acquisition": (["acquisition=entrophy"], r"'acquisition/entrophy'; did you mean acquisition/entropy\?$"),
    "class that cannot be imported": (["acquisition._target_=my.Thing"], "acquisition._target_ must name.*'my.Thing'"),
    "need that nobody provides": (
        ["acquisition=bald", "model.network.dropout=0"],
        "Bald needs VIEWS, which neither the model Classifier .*model.network.dropout above 0",
    ),
    "need without its callback": (["acquisition=dispersion", "callbacks=none"], "Dispersion needs HISTORY.*callbacks"),
    "budget larger than the pool": (["schedule.budget=2000"], r"schedule.budget\[0\] must come to 1 to 1198 images"),
    "budgets that together exceed the pool": (["schedule.budget=400"], "30 initial images and budgets of .* 2030"),
    "missing data folder": (["data=cifar10", "data.root=/nowhere"], "CIFAR10: there is no folder /nowhere/"),
    "wrong amount": (["schedule.initial.size=1.5"], "schedule.initial.size must be an int"),
    "value that a constructor refuses": (["model.network.dropout=2"], r"dropout must be in \[0, 1\), got 2"),
    "value that the optimizer refuses": (["model.optimizer.lr=fast"], "model.optimizer or model.scheduler refuses"),
    "value that the trainer refuses": (["trainer.precision=64x"], "trainer refuses .*'64x'"),
    "seed that is no int": (["seed=first"], "seed must be an int, got 'first'"),
    "batch size": (["data.batch_size=0"], "data.batch_size must be an int >= 1, got 0"),
    "labeled fraction": (["data.labeled_fraction=half"], "data.labeled_fraction must be in .*'half'"),
    "ensemble of none": (["num_members=0"], "num_members must be >= 1, got 0"),
    "no epoch": (["trainer.max_epochs=0"], "trainer.max_epochs must be an int > 0"),
    "no end": (["trainer.max_epochs=-1", "model.scheduler=null"], "trainer.max_steps must be > 0"),
    "switch that is none": (["warm_start=flase"], "warm_start must be true or false, got 'flase'"),
    "flag that the loop sets": (["+trainer.callbacks=[]"], "trainer.callbacks must not be set"),
    "classes that the data says": (["+model.num_classes=5"], "model.num_classes must not be set"),
    "classes of the network": (["+model.network.num_classes=5"], "model.network.num_classes must not be set"),
    "channels of the backbone": (["+model.network.backbone.in_channels=3"], "backbone.in_channels must not be set"),
    "outputs of a detector": (
        ["data=digit_scenes", "model=ssd_tiny", "+model.network.num_outputs=5"],
        "model.network.num_outputs must not be set",
    ),
    "dropout of a detector's backbone": (
        ["data=digit_scenes", "model=ssd_tiny", "+model.network.backbone.dropout=0.5"],
        "model.network.backbone.dropout must not be set",
    ),
    "outputs of two stages": (
        ["data=digit_scenes", "model=faster_rcnn_tiny", "+model.network.num_outputs=5"],
        "model.network.num_outputs must not be set",
    ),
    "classes of the metric": (
        ["data=digit_scenes", "model=ssd_tiny", "+model.metric.num_classes=5"],
        "model.metric.num_classes must not be set",
    ),
    "weights that are not there": (
        [
            "data=digit_scenes",
            "+data.source.num_train=60",
            "+data.source.num_test=8",
            "schedule.initial.size=16",
            "schedule.budget=8",
            "model=ssd300_vgg16",
            "paths.data=/nowhere",
        ],
        "model.network.backbone.weights must be a file, got /nowhere/vgg16.*model=ssd_tiny",
    ),
    "argument of an acquisition": (["acquisition=noris", "acquisition.alpha=2"], "error: acquisition.alpha must be in"),
    "argument of an inner part": (
        [
            "acquisition._target_=alpl.acquisition.Medoids",
            "+acquisition.similarity={_target_:alpl.acquisition.GlobalSimilarity,num_layers:0}",
        ],
        "error: acquisition.similarity.num_layers must be >= 1, got 0$",
    ),
    "misspelt group": (["acqusition=entropy"], r"'acqusition'; did you mean acquisition\?$"),
    "misspelt inner key": (["trainer.max_epoch=3"], r"'trainer.max_epoch'; did you mean trainer.max_epochs\?$"),
    "key like none": (["zzz=1"], "'zzz'; known: acquisition, callbacks, .*, warm_start$"),
    "key of a part": (["batch_size=3"], r"'batch_size'; did you mean data.batch_size\?$"),
    "argument that is not set": (["trainer.fast_dev_run=1"], r"To append to your config use \+trainer.fast_dev_run=1$"),
    "choice of another kind": (["data=image_folder"], "Available options in 'data': .*voc_folder"),
    "no choice": (["data=null"], "error: data must be the name of a choice, got null$"),
    "null in a sweep": (["-m", "pseudo_labels=null,ceal"], "pseudo_labels must not have null among its choices"),
    "experiment without its key": (["quickstart"], r"KEY=VALUE, got 'quickstart'; did you mean \+experiment=quicks"),
    "letters that Hydra wants quoted": (["row=rög"], "row must be quoted .* 'row=\"rög\"'$"),
    "bytes that are no text": (["row=\udcff"], r"an override must be text in UTF-8, got row=\\udcff$"),
    "range of seeds": (["seed=0..3"], r"seed must be an int, got '0..3'; several make a sweep: -m seed=0,1 or "),
    "more than all": (["schedule.budget=150%"], r"'10%' \(at most 100%\), got '150%'"),
    "value in the place of a part": (
        ["schedule.initial=100000"],
        "schedule.initial must be a part .*, got 100000; ",
    ),
    "part of another library": (
        ["data.source._target_=torchvision.datasets.CIFAR10"],
        "data.source must be a part of the kind alpl.data.source.AbstractSource, got torchvision.datasets.CIFAR10$",
    ),
    "backbone that says no width": (
        ["model.network.backbone._target_=torch.nn.Identity"],
        "error: model.network.backbone must make a module with .* num_features .*, got Identity with None$",
    ),
    "backbone that takes no channels": (
        ["model.network.backbone._target_=torch.nn.Flatten"],
        "error: model.network.backbone must take what the framework gives it, in_channels: ",
    ),
    "need of detections": (["acquisition=ccms"], "FEATURES, .*; no classifier does"),
    "need of a module that is not there": (["acquisition=predicted_loss"], "PREDICTED_LOSS, .*method=llal"),
    "choice like none": (["acquisition=zzz"], "Available options in 'acquisition': .*entropy"),
    "row outside the runs": (["row=../elsewhere"], "row must be a name"),
    "labeled fraction without room": (["data.labeled_fraction=0.01"], "must leave room for labeled and unlabeled"),
    "unknown experiment": (["+experiment=thesis/table9"], "there are .*thesis/table3_1"),
    "command line that cannot be parsed": (["schedule.budget=[20,30"], "no viable alternative"),
    "detector on classification data": (
        ["data=digits", "model=ssd_tiny"],
        "one task, got data for classification .*detection",
    ),
    "classifier on scenes": (
        ["data=digit_scenes", "model=digits_cnn"],
        "one task, got data for detection .*classification",
    ),
}


SLOW = ("outputs of two stages", "dropout of a detector's backbone", "classes of the metric", "outputs of a detector")


def bad() -> list[Any]:
    """A detector is made for some, and its images are read."""
    return [
        pytest.param(*case, id=name, marks=[pytest.mark.slow] if name in SLOW else []) for name, case in BAD.items()
    ]


@pytest.mark.parametrize("overrides, message", bad())
def test_bad_input_is_one_line_and_a_status(tmp_path: Path, overrides, message) -> None:
    result = alpl(tmp_path, *overrides)
    assert result.status == 2
    (line,) = result.err.splitlines()
    assert line.startswith("alpl: error: ")
    assert re.search(message, line), line
    assert not list(tmp_path.rglob("*.pt")) and not list(tmp_path.rglob("journal.jsonl"))


def test_the_versions_are_ours_and_those_of_the_libraries(tmp_path: Path) -> None:
    result = alpl(tmp_path, "--version")
    lines = [line.split() for line in result.out.splitlines()]
    assert result.status == 0 and [name for name, _ in lines] == ["alpl", "torch", "lightning", "hydra-core"]
    assert lines[1][1] == torch.__version__.partition("+")[0] or lines[1][1] == torch.__version__


def test_runs_that_cannot_be_made_name_their_key(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for runs in (tmp_path / "file" / "runs", tmp_path / "runs"):
        (tmp_path / "runs").mkdir(exist_ok=True)
        (tmp_path / "runs" / "digits").touch()  # hydra can make its folder there, the run cannot
        result = alpl(runs)
        assert result.status == 2 and re.fullmatch(
            f"alpl: error: paths.runs must be a folder that can be made and written to, got {runs}[^ ]*: .+",
            result.err.strip(),
        ), result.err


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    make_tiny_imagenet(tmp_path / "data")
    image = sorted((tmp_path / "data").rglob("*.JPEG"))[0]
    image.write_bytes(image.read_bytes()[:100])
    result = alpl(tmp_path / "runs", "data=tiny_imagenet", f"data.root={tmp_path / 'data'}")
    assert result.status == 2 and image.name in result.err and len(result.err.splitlines()) == 1, result.err


@pytest.fixture
def own_acquisitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_acquisitions.py").write_text(
        textwrap.dedent(
            """
            import torch
            from alpl.acquisition import AbstractAcquisition, AbstractRanking, Query

            class NotANumber(AbstractRanking):
                def utility(self, context):
                    utility = torch.rand(len(context.pool.unlabeled))
                    utility[3] = torch.nan
                    return utility

            class LateNaN(AbstractRanking):
                def utility(self, context):
                    value = torch.nan if context.pool.num_images > 40 else 0.0
                    return torch.full((len(context.pool.unlabeled),), value)

            class Undeclared(AbstractRanking):
                def utility(self, context):
                    return context.posterior.probs[:, 0]

            class TooMany(AbstractAcquisition):
                def select(self, context):
                    return Query(context.pool.unlabeled[: context.budget + 1], torch.zeros(context.budget + 1))

            class NoAcquisition:
                pass

            class Twice(AbstractAcquisition):
                def select(self, context):
                    index = context.pool.unlabeled[:1].repeat(context.budget)
                    return Query(index, torch.zeros(context.budget))
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.sample(2)
@pytest.mark.usefixtures("own_acquisitions")
@pytest.mark.parametrize(
    "name, message",
    [
        ("NotANumber", "NotANumber.utility must be finite, got 1 NaN"),
        ("Twice", "must not repeat an image"),
        ("TooMany", "must choose 3 images, got 4"),
        ("Undeclared", "the acquisition must declare Need.POSTERIOR"),
        ("NoAcquisition", "acquisition must be an AbstractAcquisition, got own_acquisitions.NoAcquisition"),
    ],
)
def test_an_acquisition_that_breaks_its_contract_is_named_before_any_training(tmp_path: Path, name, message) -> None:
    result = alpl(tmp_path / "runs", f"acquisition._target_=own_acquisitions.{name}", *TINY)
    assert result.status == 2 and len(result.err.splitlines()) == 1 and message in result.err, result.err
    assert not list((tmp_path / "runs").rglob("journal.jsonl"))


@pytest.mark.usefixtures("own_acquisitions")
def test_an_acquisition_that_fails_on_real_predictions_ends_in_one_line(tmp_path: Path) -> None:
    result = alpl(tmp_path / "runs", "acquisition._target_=own_acquisitions.LateNaN", *TINY)
    assert result.status == 1 and "LateNaN.utility must be finite" in result.err.splitlines()[-1]
    (error,) = (tmp_path / "runs").rglob("error.txt")
    assert "Traceback" in error.read_text() and "LateNaN" in error.read_text().splitlines()[-1]
    assert error.parent.parent.name == "LateNaN"  # named by its class, not by the yaml that it took the place of


HOLD = """
import sys, time
from pathlib import Path
from alpl.runs.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_in_use_is_refused_and_a_dead_lock_taken_over(tmp_path: Path) -> None:
    folder = alpl(tmp_path, *TINY).run_folder()
    lines = (folder / "journal.jsonl").read_text().splitlines()
    (folder / "journal.jsonl").write_text("\n".join(lines[:-1]) + "\n")  # not finished any more
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        refused = alpl(tmp_path, *TINY)
        assert refused.status == 2
        assert f"run folder is in use by process {holder.pid}" in refused.err and str(folder) in refused.err
    finally:
        holder.kill()
        holder.wait()
    again = alpl(tmp_path, *TINY)
    assert again.status == 0
    assert f"took over the lock of process {holder.pid}" in again.err


def test_the_run_goes_on_after_a_failure_and_forgets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alpl.acquisition import RandomSampling

    def fail(self, context):
        if context.pool.num_images > 40:  # not in the rehearsal
            raise RuntimeError("out of luck")
        return torch.zeros(len(context.pool.unlabeled))

    with monkeypatch.context() as patch:
        patch.setattr(RandomSampling, "utility", fail)
        failed = alpl(tmp_path, *TINY)
    assert failed.status == 1 and "alpl: error: RuntimeError: out of luck" in failed.err
    folder = next(tmp_path.rglob("run.json")).parent
    assert "out of luck" in (folder / "error.txt").read_text()
    assert alpl(tmp_path, *TINY).status == 0
    assert not (folder / "error.txt").exists()
