import json

import pytest
from fake_detection import make_detection_run, make_gallery

from alpl.report.drawn import gallery
from alpl.report.drawn.gallery import galleries
from alpl.report.read.aggregate import group
from alpl.runs.results import find_runs


def parts_of(root):
    notes = []
    return galleries(group(find_runs([root])), notes), notes


def test_the_objects_that_counted_come_first_and_the_deciding_one_before_all(tmp_path):
    folder = make_detection_run(tmp_path, "t", "elezi", gallery=True)
    parts, notes = parts_of(tmp_path)
    assert [(p.label, p.data, p.seed, p.cycle, p.num_queried, p.values_objects) for p in parts] == [
        ("elezi", "voc0712", 0, 0, 10, True), ("elezi", "voc0712", 0, 1, 10, True),
    ]  # fmt: skip
    first, second, third = parts[0].pictures
    assert [(box.name, box.score, box.value, box.decided) for box in first.boxes] == [
        ("train", 0.6, 0.75, True), ("car", 0.9, 0.25, False),
    ]  # fmt: skip
    assert (first.boxes[0].x, first.boxes[0].y, first.boxes[0].width, first.boxes[0].height) == (70, 12, 30, 38)
    assert (first.num_counted, first.num_detections, first.index, first.rank) == (2, 3, 0, 0)
    assert [(box.name, box.value) for box in second.boxes] == [("dog", None)] and second.num_counted == 0
    assert third.boxes == () and third.num_detections == 0 and third.utility == 0.25
    assert first.jpeg == (folder / "cycle_00" / "gallery" / "000.jpg").read_bytes()
    assert notes == []


def test_a_query_without_values_shows_the_highest_scores(tmp_path):
    folder = make_detection_run(tmp_path, "t", "pl", num_cycles=2, gallery=True)
    make_gallery(folder / "cycle_00" / "gallery", values_objects=False)
    (part,) = parts_of(tmp_path)[0]
    assert not part.values_objects
    assert [box.score for box in part.pictures[0].boxes] == [0.9, 0.6, 0.2]
    assert not any(box.decided for box in part.pictures[0].boxes)


def test_the_page_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "MAX_PICTURES", 7)
    for row in ("a", "b"):
        for seed in range(2):
            folder = make_detection_run(tmp_path, "t", row, seed=seed, num_cycles=6, gallery=True)
            for cycle in range(5):
                make_gallery(folder / f"cycle_{cycle:02d}" / "gallery", number=9)
    parts, notes = parts_of(tmp_path)
    assert [(part.label, part.seed, part.cycle) for part in parts] == [(r, 0, c) for r in "ab" for c in (0, 2, 4)]
    assert [len(part.pictures) for part in parts] == [1] * 6 and notes == []
    monkeypatch.setattr(gallery, "MAX_PICTURES", 4)
    parts, notes = parts_of(tmp_path)
    assert len(parts) == 4 and notes == ["galleries of 2 queries are left out to keep the page small"]
    monkeypatch.setattr(gallery, "MAX_PICTURES", 99)
    assert {len(part.pictures) for part in parts_of(tmp_path)[0]} == {gallery.PER_QUERY}


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.pop("images"),
        lambda about: about["images"][0].update(file="../000.jpg/none.jpg"),
        lambda about: about["images"][0]["detections"][0].update(label=7),
        lambda about: about["images"][0]["detections"][0].update(box=[1, 2, 3]),
    ],
)
def test_a_broken_gallery_is_named_and_left_out(tmp_path, change):
    folder = make_detection_run(tmp_path, "t", "elezi", gallery=True) / "cycle_00" / "gallery"
    about = json.loads((folder / "gallery.json").read_text())
    change(about)
    (folder / "gallery.json").write_text(json.dumps(about))
    parts, notes = parts_of(tmp_path)
    assert [part.cycle for part in parts] == [1]
    assert len(notes) == 1 and f"the gallery {folder} is left out" in notes[0]


def test_a_file_outside_the_gallery_is_not_read(tmp_path):
    folder = make_detection_run(tmp_path, "t", "elezi", gallery=True) / "cycle_00" / "gallery"
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    about = json.loads((folder / "gallery.json").read_text())
    about["images"][0]["file"] = str(tmp_path / "secret.jpg")
    (folder / "gallery.json").write_text(json.dumps(about))
    assert [part.cycle for part in parts_of(tmp_path)[0]] == [1]
