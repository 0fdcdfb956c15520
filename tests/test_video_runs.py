"""Whole runs on videos: no object of an unlabeled frame reaches temporal coherence."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command import alpl

from alpl.boxes.objects import DetectionSplits, Objects, ObjectTable
from alpl.data.digit_videos import DigitVideos
from alpl.pool import Pool

RUN = [
    "scale=smoke_video", "acquisition=temporal_coherence", "trainer.max_epochs=2", "acquisition.ranking.count=both",
    "acquisition.ranking.score_thresh=0.05", "gallery=0", "data.source.num_videos=3", "schedule.initial.size=8",
    "schedule.budget=4",
]  # fmt: skip


def scramble(monkeypatch: pytest.MonkeyPatch, kept: torch.Tensor) -> None:
    """Give every training frame but ``kept`` other objects, as if the annotations had them."""
    load = DigitVideos.load

    def scrambled(self: DigitVideos) -> DetectionSplits:
        splits = load(self)
        keep = set(kept.tolist())
        objects = [each if n in keep else _wrong(each) for n, each in enumerate(splits.train_objects)]
        joined = Objects(*(torch.cat([getattr(o, name) for o in objects]) for name in ("boxes", "labels", "difficult")))
        return replace(splits, train_objects=ObjectTable(joined, torch.tensor([len(each) for each in objects])))

    monkeypatch.setattr(DigitVideos, "load", scrambled)


def _wrong(objects: Objects) -> Objects:
    return Objects((objects.boxes / 2)[1:], ((objects.labels + 3) % 10)[1:], objects.difficult[1:])


@pytest.mark.slow
def test_objects_of_unlabeled_frames_reach_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = alpl(tmp_path / "true", *RUN).run_folder()
    scramble(monkeypatch, kept=Pool.load(true / "cycle_01" / "pool.csv").labeled)
    wrong = alpl(tmp_path / "wrong", *RUN).run_folder()
    names = [path.relative_to(true) for path in sorted(true.rglob("cycle_*/*")) if path.suffix in (".csv", ".pt")]
    assert {name.name for name in names} >= {"model.pt", "query.csv", "pool.csv"}
    for name in names:
        assert (true / name).read_bytes() == (wrong / name).read_bytes(), name
    utilities = [line.split(",")[2] for line in (true / "cycle_00" / "query.csv").read_text().splitlines()[1:]]
    assert max(map(float, utilities)) > 0, "a detector that finds nothing would show nothing"
    # the scrambling was real: the oracle that answers, and an acquisition that may look, would see other objects
    source = DigitVideos(num_videos=3, num_test_videos=1, length=(8, 12))
    now = source.load().train_objects
    monkeypatch.undo()
    before = source.load().train_objects
    assert sum(len(one) != len(other) for one, other in zip(now, before, strict=True)) >= 4
