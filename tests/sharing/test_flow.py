"""Flow as a product: made once, gone on with after a kill, another one for other frames; and read by an acquisition."""

import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command import alpl
from forked import Forked
from shared_runs import contents

from alpl.boxes import Footage
from alpl.config.flow import FlowConfig
from alpl.data.digit_videos import DigitVideos
from alpl.data.scenes import SceneDataModule
from alpl.errors import ConfigError
from alpl.motion import AbstractFlowEstimator, BlockMatching, RaftFlow
from alpl.runs.products import fault_of
from alpl.sharing.flow import Flow, flow_of

RUN = [
    "scale=smoke_video", "acquisition=temporal_coherence", "trainer.max_epochs=1", "data.source.num_videos=3",
    "data.source.length=[6,8]", "schedule.initial.size=6", "schedule.budget=4", "data.source.num_test_videos=1",
    "acquisition.ranking.score_thresh=0.2", "gallery=0",
]  # fmt: skip
KILL = Path(__file__).parents[1] / "kill_at_renames.py"


class Counting(AbstractFlowEstimator):
    """The brightness of both frames; may be killed before its n-th call."""

    def __init__(self, most=10**6, height=None, batch_size=4):
        super().__init__(height, batch_size)
        self.calls, self.most, self.loads = 0, most, 0

    def load(self):
        self.loads += 1

    def flow(self, first, second):
        self.calls += 1
        if self.calls > self.most:
            raise KeyboardInterrupt
        pooled = [torch.nn.functional.avg_pool2d(each.mean(1, keepdim=True), 8) for each in (first, second)]
        return torch.cat(pooled, 1)


@pytest.fixture(scope="module")
def data():
    made = SceneDataModule(
        DigitVideos(num_videos=3, num_test_videos=1, length=(5, 7), size=32), lambda *a: a, lambda a: a, batch_size=2,
        seed=0,
    )  # fmt: skip
    made.setup()
    return made


def flow(data, cache, estimator, content=None, heard=lambda text: None):
    config = FlowConfig(cache, content or {"_target_": "test"})
    return Flow(estimator, config, data, data.fingerprint(), torch.device("cpu"), heard)


def files(made):
    return {path.name: path.read_bytes() for path in made.folder.glob("*.npy")}


def test_each_pair_of_frames_both_ways(data, tmp_path):
    found = flow(data, tmp_path, Counting()).get()
    footage, images = data.footage, data.training_images
    for video in range(3):
        kept = np.load(found.folder / f"{video:06d}.npy")
        frames = footage.order[footage.video[footage.order] == video]
        assert kept.shape == (len(frames) - 1, 2, 2, 4, 4) and kept.dtype == np.float16
        for pair, (one, other) in enumerate(zip(frames[:-1].tolist(), frames[1:].tolist(), strict=True)):
            values = [float(images[image].float().mean(0)[:8, :8].mean()) for image in (one, other)]
            assert kept[pair, 0, :, 0, 0] == pytest.approx(values, rel=1e-2)
            assert kept[pair, 1, :, 0, 0] == pytest.approx(values[::-1], rel=1e-2)


def test_killed_it_goes_on_and_leaves_the_same(data, tmp_path):
    whole = Counting()
    undisturbed = files(flow(data, tmp_path / "one", whole).get())
    kills = 0
    for most in (0, 3, 5, 5):  # what is done of a video is lost, the videos before it are not
        broken = Counting(most)
        try:
            flow(data, tmp_path / "two", broken).get()
        except KeyboardInterrupt:
            kills += 1
            assert not list((tmp_path / "two" / "flow").glob("[!.]*")), "nothing that is not whole"
    assert kills >= 3
    last = Counting()
    assert files(flow(data, tmp_path / "two", last).get()) == undisturbed and last.calls < whole.calls
    again = Counting()
    assert files(flow(data, tmp_path / "two", again).get()) == undisturbed and again.calls == again.loads == 0


def test_other_settings_and_frames_are_another_product(data, tmp_path):
    first = flow(data, tmp_path, Counting())
    assert flow(data, tmp_path, Counting(), {"_target_": "other"}).name != first.name
    assert flow(data, tmp_path, Counting(batch_size=1)).name == first.name
    footage = data.footage
    other = SceneDataModule(data.source, data.augment, data.resize, batch_size=2, seed=0)
    other._splits = replace(data.splits, footage=Footage(footage.video, footage.frame + 1, footage.names))
    assert flow(other, tmp_path, Counting()).name != first.name
    objects = [each[:0] for each in data.splits.train_objects]
    other._splits = replace(data.splits, train_objects=objects)
    assert flow(other, tmp_path, Counting()).name == first.name, "what is annotated has no part in it"


def test_the_size_of_a_batch_changes_nothing(data, tmp_path):
    one, other = (files(flow(data, tmp_path / str(n), Counting(batch_size=n)).get()) for n in (1, 4))
    assert one == other


def test_gaps_left_out_frames_and_single_frames(data):
    footage = Footage(torch.tensor([0, 0, 0, 0]), torch.tensor([0, 1, 3, 4]), ("a",))
    found = flow_of(Counting(), data.training_images, footage, torch.arange(4), torch.device("cpu"))
    assert [bool(np.isnan(each).all()) for each in found] == [False, True, False]
    assert len(flow_of(Counting(), data.training_images, footage, torch.tensor([2]), torch.device("cpu"))) == 0


def test_flow_of_scaled_frames_is_in_pixels_of_the_original(data):
    class Right(Counting):
        def flow(self, first, second):
            assert first.shape[2:] == (64, 64)
            return torch.tensor([6.0, 2.0]).view(1, 2, 1, 1).expand(len(first), 2, 8, 8)

    found = flow_of(Right(height=64), data.training_images, data.footage, torch.arange(3), torch.device("cpu"))
    assert found[:, :, :, 0, 0].tolist() == [[[3, 1]] * 2] * 2


def test_what_cannot_work_ends_before_any_training(data, tmp_path):
    with pytest.raises(ConfigError, match=r"motion\.weights must be known to torchvision"):
        flow(data, tmp_path, RaftFlow(weights="C_T_V9"))
    still = SceneDataModule(data.source, data.augment, data.resize, batch_size=2, seed=0)
    still._splits = replace(data.splits, footage=None)
    with pytest.raises(ConfigError, match="motion must be null on data that are no videos"):
        flow(still, tmp_path, BlockMatching())


def test_needs_that_nobody_meets(tmp_path):
    refused = alpl(tmp_path, "scale=smoke_video", "acquisition=temporal_coherence", "~motion")
    assert refused.status != 0 and "MOTION" in refused.err and "motion=raft_small" in refused.err
    refused = alpl(tmp_path, "scale=smoke", "acquisition=random_spaced")
    assert refused.status != 0 and "FOOTAGE" in refused.err and "digit_videos" in refused.err


def test_a_run_estimates_it_once_and_another_takes_it(tmp_path):
    first = alpl(tmp_path, *RUN).run_folder()
    journal = [json.loads(line) for line in (first / "journal.jsonl").read_text().splitlines()]
    noted = [entry for entry in journal if entry["stage"] == "motion"]
    assert [entry["cycle"] for entry in noted] == [0] and fault_of(tmp_path / ".cache" / noted[0]["product"]) is None
    made = (tmp_path / ".cache" / noted[0]["product"] / "product.json").stat().st_mtime_ns
    assert alpl(tmp_path, *RUN, "acquisition.ranking.count=fn").status == 0
    assert (tmp_path / ".cache" / noted[0]["product"] / "product.json").stat().st_mtime_ns == made
    assert len(list((tmp_path / ".cache" / "flow").glob("[!.]*"))) == 1


@pytest.mark.slow
def test_killed_at_every_file_equals_undisturbed(tmp_path):
    """Of a whole run, the flow's files among them."""
    small = [*RUN, "checkpoint_every_s=0", "share_first_cycle=false"]
    alone = alpl(tmp_path / "alone", *small).run_folder()
    process = Forked(str(KILL), "--", f"paths.runs={tmp_path / 'killed'}", *small, env=os.environ, joined=True)
    try:
        text, _ = process.communicate(timeout=500)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, text
    statuses = json.loads(text.splitlines()[-1])
    assert statuses[-1] == 0 and set(statuses[:-1]) == {signal.SIGKILL}
    (killed,) = (tmp_path / "killed" / "digit_videos").glob("*/*")
    assert contents(killed) == contents(alone)
    one, other = ({path.name: path.read_bytes() for path in sorted((runs / ".cache/flow").glob("*/*.npy"))}
                  for runs in (tmp_path / "alone", tmp_path / "killed"))  # fmt: skip
    assert one == other and len(one) == 3
