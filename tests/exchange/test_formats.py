"""Every format: what is asked is no answer, answers come back as they were, foreign names and files do no harm."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from asked_tasks import CLASSES, make_answers, make_tasks

from alpl.errors import ConfigError, DataError
from alpl.exchange import FORMATS, Answer, Item, Tasks, check_replies, export, read_replies

PLACES = {
    "csv": "tasks.csv", "label_studio": "label_studio.json", "cvat": "cvat.xml", "coco": "coco.json",
    "voc": "voc/Annotations", "yolo": "yolo",
}  # fmt: skip
CASES = [(name, kind) for name, one in FORMATS.items() for kind in one.kinds]
WITHOUT_DIFFICULT = ("yolo",)
WITHOUT_PERSON = ("yolo",)


def read_back(folder: Path, name: str, tasks: Tasks, earlier: dict[int, Answer] | None = None) -> dict[int, Answer]:
    return check_replies(read_replies(folder / PLACES[name], tasks), tasks, earlier or {})


def kept(answer: Answer, name: str) -> Answer:
    """What of an answer a format can hold."""
    items = tuple(replace(item, difficult=False) if name in WITHOUT_DIFFICULT else item for item in answer.items)
    by = ("", None) if name in WITHOUT_PERSON else (answer.annotator, answer.seconds)
    return Answer(answer.index, items, answer.name, *by)


@pytest.mark.parametrize("name, kind", CASES)
def test_answers_come_back_and_what_is_asked_is_none(tmp_path: Path, name: str, kind: str) -> None:
    tasks = make_tasks(tmp_path / "images", kind)
    export(tasks, tmp_path / "asked", formats=(name,))
    assert read_back(tmp_path / "asked", name, tasks) == {}
    answers = make_answers(tasks)
    export(tasks, tmp_path / "answered", answers, (name,))
    assert read_back(tmp_path / "answered", name, tasks) == {i: kept(each, name) for i, each in answers.items()}
    assert (tmp_path / "asked" / "images" / tasks.tasks[0].name).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name, kind", CASES)
def test_each_task_says_where_it_comes_from(tmp_path: Path, name: str, kind: str) -> None:
    tasks = make_tasks(tmp_path / "images", kind)
    export(tasks, tmp_path / "asked", formats=(name,))
    place = tmp_path / "asked" / PLACES[name]
    files = [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [place]
    text = "\n".join(path.read_text() for path in files)
    for task in tasks.tasks:
        assert str(task.index) in text and str(tasks.why(task)) in text
    assert tasks.run in text


@pytest.mark.parametrize("name", ["csv", "label_studio", "cvat", "coco", "voc"])
def test_tasks_of_another_run_are_refused(tmp_path: Path, name: str) -> None:
    tasks = make_tasks(tmp_path / "images")
    other = replace(tasks, run="00000000")
    export(other, tmp_path / "answered", make_answers(other), (name,))
    with pytest.raises(DataError, match=r"nothing was taken.*another run \(00000000\)"):
        read_back(tmp_path / "answered", name, tasks)


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path / "images", "classes")
    export(tasks, tmp_path / "answered", make_answers(tasks), ("csv",))
    with (tmp_path / "answered" / "tasks.csv").open() as stream:
        cells = [cell for line in csv.reader(stream) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert "'=SUM(A1)" in cells and "'=me" in cells


def test_a_csv_of_ones_own_needs_two_columns(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path / "images", "classes")
    (tmp_path / "mine.csv").write_text("\ufeffimage,label\npic 0&.png,car\npic 1&,'quoted\npic 2&.png,\n")
    found = check_replies(read_replies(tmp_path / "mine.csv", tasks), tasks, {})
    assert [(each.name, each.items[0].label) for each in found.values()] == [
        ("pic 0&.png", "car"),
        ("pic 1&.png", "'quoted"),
    ]


def studio(tasks: Tasks, *annotations: dict) -> list[dict]:
    data = {"index": tasks.tasks[0].index, "run": tasks.run, "name": tasks.tasks[0].name}
    return [{"id": 7, "data": data, "annotations": list(annotations)}]


def choice(label: str, **about: object) -> dict:
    return {"result": [{"type": "choices", "value": {"choices": [label]}}], **about}


@pytest.mark.parametrize(
    "annotations, label",
    [
        ([choice("car", was_cancelled=True)], None),
        ([{"result": []}], None),
        ([choice("car", updated_at="2026-01-02", id=1), choice("'quoted", updated_at="2026-01-01", id=2)], "car"),
        ([choice("car", updated_at="2026-01-01", id=1), choice("'quoted", updated_at="2026-01-01", id=2)], "'quoted"),
        (
            [choice("car", updated_at="2026-01-01", ground_truth=True), choice("'quoted", updated_at="2026-01-09")],
            "car",
        ),
        (
            [choice("car", updated_at="2026-01-01"), choice("'quoted", updated_at="2026-01-09", was_cancelled=True)],
            "car",
        ),
    ],
)
def test_skipped_empty_and_twice_annotated_tasks_of_label_studio(
    tmp_path: Path, annotations: list[dict], label: str | None
) -> None:
    tasks = make_tasks(tmp_path / "images", "classes")
    (tmp_path / "export.json").write_text(json.dumps(studio(tasks, *annotations)))
    found = check_replies(read_replies(tmp_path / "export.json", tasks), tasks, {})
    assert [each.items[0].label for each in found.values()] == ([] if label is None else [label])


def test_an_empty_annotation_of_label_studio_says_that_there_is_no_object(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path / "images")
    (tmp_path / "export.json").write_text(json.dumps(studio(tasks, {"result": [], "completed_by": {"email": "a@b"}})))
    (answer,) = check_replies(read_replies(tmp_path / "export.json", tasks), tasks, {}).values()
    assert answer.items == () and answer.annotator == "a@b"


def test_the_interface_of_label_studio_names_all_classes(tmp_path: Path) -> None:
    export(make_tasks(tmp_path / "images"), tmp_path / "asked", formats=("label_studio",))
    view = ElementTree.parse(tmp_path / "asked" / "label_studio.xml")
    assert tuple(each.get("value") for each in view.iter("Label")) == CLASSES


def test_files_that_tools_wrote_anew_are_answers_by_name(tmp_path: Path) -> None:
    """CVAT, COCO and VOC without our words: all that they hold counts, whatever it scores."""
    tasks = make_tasks(tmp_path / "images")
    box = '<box label="car" source="file" occluded="0" xtl="1" ytl="2" xbr="3" ybr="4" z_order="0"/>'
    (tmp_path / "cvat.xml").write_text(
        f'<annotations><image id="9" name="job/pic 0&amp;.png">{box}</image></annotations>'
    )
    coco = {
        "images": [{"id": 1, "file_name": "a/pic 0&.png"}, {"id": 2, "file_name": "pic 1&.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 2, 2], "score": 0.9}],
        "categories": [{"id": 5, "name": "car"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    edges = "<xmin>2</xmin><ymin>3</ymin><xmax>3</xmax><ymax>4</ymax>"
    (tmp_path / "pic 0&.xml").write_text(
        f"<annotation><object><name>car</name><bndbox>{edges}</bndbox></object></annotation>"
    )
    said = (Item("car", (1.0, 2.0, 3.0, 4.0)),)
    for name, expected in (("cvat.xml", {100: said}), ("coco.json", {100: said, 99: ()}), ("pic 0&.xml", {100: said})):
        found = check_replies(read_replies(tmp_path / name, tasks), tasks, {})
        assert {index: each.items for index, each in found.items()} == expected, name


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("a.csv", "image,label\npic 9.png,(none)\n", "no image 'pic 9.png'"),
        ("a.csv", "index,label,x1,y1,x2,y2\n100,truck,1,1,2,2\n", "no class 'truck'"),
        ("a.csv", "index,label,x1,y1,x2,y2\n100,car,1,1,99,2\n", "lies outside the image of 40 x 30"),
        ("a.csv", "index,label,x1,y1,x2,y2\n100,car,5,1,5,2\n", "has no area"),
        ("a.csv", "index,label,x1,y1,x2,y2\n100,car,nan,1,5,2\n", "not finite"),
        ("a.csv", "index,label,x1,y1,x2,y2\n100,car,1,1,,2\n", "must be numbers"),
        ("a.csv", "index,label\n55,(none)\n", "no image 55"),
        ("a.csv", "index,image,label\n100,pic 1&.png,(none)\n", "is called 'pic 0&.png'"),
        ("a.csv", "name\n1\n", "must be a CSV file with the columns label"),
        ("a.json", "[{}]", "JSON-MIN"),
        ("a.json", "{}", "images, annotations and categories"),
        ("a.xml", "<!DOCTYPE a []><annotations/>", "document type"),
        ("a.xml", '<annotations><image name="pic 0&amp;.png"><polygon label="car"/></image></annotations>', "polygon"),
        ("pic 0&.txt", "9 0.5 0.5 0.1 0.1\n", r"a class in \[0, 4\)"),
        ("a.txt", "0 0.5 0.5 0.1 0.1\n", "no image 'a'"),
        ("a.zip", "", "unpacked first"),
    ],
)
def test_what_is_no_answer_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    tasks = make_tasks(tmp_path / "images")
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        check_replies(read_replies(tmp_path / name, tasks), tasks, {})


def test_formats_that_do_not_hold_classes(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path / "images", "classes")
    with pytest.raises(ConfigError, match="formats of classes must be of csv, label_studio, cvat, got yolo"):
        export(tasks, tmp_path / "asked", formats=("yolo",))
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match="which holds no classes"):
        read_replies(tmp_path / "a.txt", tasks)


def test_answers_of_earlier_cycles_are_passed_over_and_changed_ones_refused(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path / "images")
    answers = make_answers(tasks)
    later = replace(tasks, tasks=tasks.tasks[-1:])
    export(tasks, tmp_path / "again", answers, ("csv",))
    assert read_back(tmp_path / "again", "csv", later, answers) == {}
    answers[100] = replace(answers[100], items=())
    with pytest.raises(DataError, match="answered otherwise in an earlier cycle"):
        read_back(tmp_path / "again", "csv", later, answers)


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if "boxes" in one.kinds])
def test_files_with_earlier_cycles_in_any_order_are_taken(tmp_path: Path, name: str) -> None:
    tasks = make_tasks(tmp_path / "images")
    answers = make_answers(tasks)
    later = replace(tasks, tasks=tasks.tasks[-1:])
    turned = {index: replace(each, items=each.items[::-1]) for index, each in answers.items()}
    export(tasks, tmp_path / "again", answers, (name,))
    last = later.tasks[0].index
    earlier = {index: each for index, each in turned.items() if index != last}
    assert [*read_back(tmp_path / "again", name, later, earlier)] == [last] * (last in answers)


def test_classes_in_the_order_of_a_tool(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path / "images")
    for file in ("classes.txt", "obj.names"):
        folder = tmp_path / file.partition(".")[0]
        folder.mkdir()
        (folder / file).write_text("\ufeff" + "\n".join(reversed(CLASSES)) + "\n", encoding="utf-8")
        (folder / f"{tasks.tasks[0].stem}.txt").write_text("0 .5 .5 .2 .2\n")
        (found,) = check_replies(read_replies(folder, tasks), tasks, {}).values()
        assert [item.label for item in found.items] == [CLASSES[-1]]


@pytest.mark.parametrize("seconds", ["nan", "inf", "-5"])
def test_seconds_are_numbers_of_seconds(tmp_path: Path, seconds: str) -> None:
    tasks = make_tasks(tmp_path / "images", "classes")
    (tmp_path / "a.csv").write_text(f"index,label,seconds\n100,car,{seconds}\n")
    with pytest.raises(DataError, match="seconds must be finite and at least 0, got"):
        check_replies(read_replies(tmp_path / "a.csv", tasks), tasks, {})


def test_lines_of_an_image_by_its_index_or_name(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path / "images")
    box = "car,1,2,3,4"
    lines = ["index,image,label,x1,y1,x2,y2", f"100.0,pic 0&.png,{box}", f"100.0,,{box}", f",pic 0&.png,{box}"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert len(check_replies(read_replies(tmp_path / "a.csv", tasks), tasks, {})[100].items) == 3
    (tmp_path / "a.csv").write_text("\n".join([*lines[:2], f"100.0,pic 1&.png,{box}"]))
    with pytest.raises(DataError, match=r"the lines of an image must have one name, got 'pic 0&\.png', 'pic 1&\.png'"):
        check_replies(read_replies(tmp_path / "a.csv", tasks), tasks, {})
    (tmp_path / "a.csv").write_text("\n".join([lines[0], f"x,,{box}"]))
    with pytest.raises(DataError, match="index must be a whole number, got 'x'"):
        check_replies(read_replies(tmp_path / "a.csv", tasks), tasks, {})


def test_two_files_that_differ_about_an_image(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path / "images", "classes")
    for name, label in (("a.csv", "car"), ("b.csv", "'quoted")):
        (tmp_path / name).write_text(f"index,label\n100,{label}\n")
    one, other = (read_replies(tmp_path / name, tasks) for name in ("a.csv", "b.csv"))
    assert len(check_replies([*one, *one], tasks, {})) == 1
    with pytest.raises(DataError, match="two answers that differ"):
        check_replies([*one, *other], tasks, {})
