import base64
import hashlib
import io
import re
import shutil
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from fake_detection import make_cycle_paper, make_detection_run, make_detection_sweep, mean_value
from fake_runs import accuracy, make_paper, make_run, make_sweep
from PIL import Image

from alpl.report import summary, write_report
from alpl.runs.results import find_runs

TABLE = "thesis/table3_1"


class Page(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def values(self, tag, attribute):
        return [attrs[attribute] for name, attrs in self.tags if name == tag and attribute in attrs]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    root = tmp_path_factory.mktemp("sweep")
    make_sweep(root / "runs", report=make_paper(root / "experiments"))
    write(root)
    return root


def write(root, table=TABLE):
    out = root / "runs" / table / "report"
    return write_report(table, find_runs([root / "runs"]), out, root / "experiments")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_file_is_there(sweep):
    names = set(contents(sweep / "runs" / TABLE / "report"))
    assert names == {
        "index.html", "table.csv", "table.md", "table.tex", "seconds.csv", "paper.csv", "cost.csv",
        "comparison.csv", "comparison.md",
        "curves_digits.png", "informativeness_digits.png", "histograms_digits_entropy.png",
        "histograms_digits_random.png", "histograms_digits_dispersion-lr-0.02.png",
    }  # fmt: skip


def test_the_same_runs_give_the_same_bytes(sweep):
    out = sweep / "runs" / TABLE / "report"
    before = contents(out)
    shutil.rmtree(out)
    write(sweep)
    assert contents(out) == before


def test_the_page_asks_nobody_and_runs_its_own_script_alone(sweep):
    html = (sweep / "runs" / TABLE / "report" / "index.html").read_text(encoding="utf-8")
    page = Page(html)
    assert {"link", "iframe"}.isdisjoint(tag for tag, _ in page.tags)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    (policy,) = [value for value in page.values("meta", "content") if "default-src" in value]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and policy.endswith(f"script-src 'sha256-{digest}'")
    assert "://" not in script and "fetch" not in script
    sources = page.values("img", "src")
    assert len(sources) == 5
    for source in sources:
        head, data = source.split(",")
        assert head == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size[0] > 900
    assert len(page.values("img", "alt")) == 5
    assert "url(" not in (sweep / "runs" / TABLE / "report" / "index.html").read_text(encoding="utf-8")
    assert "width=device-width, initial-scale=1" in page.values("meta", "content")


def test_links_lead_to_the_run_folders(sweep):
    out = sweep / "runs" / TABLE / "report"
    links = Page((out / "index.html").read_text(encoding="utf-8")).values("a", "href")
    folders = {(out / unquote(link)).resolve() for link in links if not link.startswith("#")}
    assert folders == {run.folder for run in find_runs([sweep / "runs"])}
    assert all((folder / "run.json").exists() for folder in folders)


def test_the_page_says_what_is_partial_failed_and_best(sweep):
    html = (sweep / "runs" / TABLE / "report" / "index.html").read_text(encoding="utf-8")
    text = Page(html).text
    assert "19: 17 finished, 1 unfinished, 1 failed" in text
    assert "2 of 19 runs did not finish" in text
    assert "bald on digits, seed 0: ValueError: p must be in (0, 1), got <2>" in text
    assert "missing: needs a mixed-integer solver" in text
    assert "0123456789abcdef0123456789abcdef01234567" in text
    oracle = 100 * sum(accuracy("oracle", 4, seed) for seed in range(3)) / 3
    assert re.search(rf"<td>{oracle:.2f} ± ", html)  # the best mean, but not beyond chance: it is not bold


def test_the_page_begins_with_what_came_out_and_its_contents(sweep):
    html = (sweep / "runs" / TABLE / "report" / "index.html").read_text(encoding="utf-8")
    page = Page(html)
    assert 'class="result">On digits, ' in html[: html.index("<h2")]
    places = [link.removeprefix("#") for link in page.values("a", "href") if link.startswith("#")]
    assert places == page.values("h2", "id") and len(places) == html.count("<h2") > 4


def test_runs_can_be_told_apart_by_the_script(sweep):
    page = Page((sweep / "runs" / TABLE / "report" / "index.html").read_text(encoding="utf-8"))
    lines = [attrs for tag, attrs in page.tags if tag == "tr" and "data-row" in attrs]
    runs = find_runs([sweep / "runs"])
    assert [(line["data-data"], line["data-seed"], line["data-status"]) for line in lines] == [
        (run.data, str(run.seed), run.status) for run in runs
    ]
    assert {"dispersion (lr=0.02)", "dispersion (lr=0.1)", "bald"} < {line["data-row"] for line in lines}
    assert {"row", "data", "seed", "status"} == {*page.values("select", "name"), *page.values("input", "name")}


def test_only_a_page_with_the_papers_numbers_speaks_of_them(tmp_path):
    make_run(tmp_path / "runs", "t", "random")
    assert "paper" not in write(tmp_path, "t").read_text(encoding="utf-8").partition("<body>")[2]


def test_a_finished_sweep_is_not_called_partial(tmp_path):
    make_run(tmp_path / "runs", "t", "random")
    text = Page(write(tmp_path, "t").read_text(encoding="utf-8")).text
    assert "1: 1 finished" in text and "partial" not in text
    assert not (tmp_path / "runs" / "t" / "report" / "paper.csv").exists()


def test_names_cannot_bring_markup_into_the_page(tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    make_run(tmp_path / "runs", "t", evil, data="<b>data", informativeness=True, error=evil)
    page = Page(write(tmp_path, "t").read_text(encoding="utf-8"))
    assert all("onerror" not in attrs for _, attrs in page.tags)
    assert evil in page.text


@pytest.mark.slow
def test_names_that_give_the_same_file_name_keep_apart(tmp_path):
    for row in ("a b", "a-b", "a+b"):
        make_run(tmp_path / "runs", "t", row, informativeness=True)
    names = contents(write(tmp_path, "t").parent)
    found = sorted(name for name in names if name.startswith("histograms_digits_a-b"))
    assert found == [f"histograms_digits_a-b{end}.png" for end in ("-2", "-3", "")]


def test_a_table_without_a_finished_cycle_still_gets_a_page(tmp_path):
    make_run(tmp_path / "runs", "t", "random", done=0)
    page = write(tmp_path, "t")
    assert "No cycle is finished yet." in Page(page.read_text(encoding="utf-8")).text
    assert not list(page.parent.glob("*.png"))


def test_a_broken_recording_is_named_and_left_out(tmp_path):
    for seed in (0, 1):
        folder = make_run(tmp_path / "runs", "t", "entropy", seed=seed, informativeness=True)
    (folder / "cycle_00" / "informativeness" / "correct.npy").write_bytes(b"no array")
    page = write(tmp_path, "t")
    assert f"{folder.name}: the recording of cycle 0 is left out" in Page(page.read_text(encoding="utf-8")).text
    assert (page.parent / "informativeness_digits.png").exists()


def test_a_missing_paper_table_is_named_and_the_rest_is_written(tmp_path):
    make_run(tmp_path / "runs", "t", "random", report={"paper": "thesis/none.csv"})
    page = write(tmp_path, "t")
    assert "must be a file that holds the paper's table" in Page(page.read_text(encoding="utf-8")).text
    assert (page.parent / "table.csv").exists()


def test_only_all_data_is_a_table_too(tmp_path):
    make_run(tmp_path / "runs", "t", "all_data", num_cycles=1, all_data=True)
    assert (write(tmp_path, "t").parent / "curves_digits.png").exists()


def test_environments_that_differ_are_counted(tmp_path):
    for seed in range(3):
        folder = make_run(tmp_path / "runs", "t", "random", seed=seed)
    path = folder / "environment.json"
    path.write_text(path.read_text().replace("2.15.0", "2.11.0"))
    text = Page(write(tmp_path, "t").read_text(encoding="utf-8")).text
    assert "2.11.0 (1 run); 2.15.0 (2 runs)" in text


def test_other_tables_are_left_out(tmp_path):
    make_run(tmp_path / "runs", "t", "random")
    make_run(tmp_path / "runs", "u", "elsewhere")
    assert "elsewhere" not in write(tmp_path, "t").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"runs must hold a run of table 'v', got \['t', 'u'\]"):
        write(tmp_path, "v")


def test_summary_is_plain_text(sweep):
    text = summary(find_runs([sweep / "runs"]))
    assert text.startswith(f"{TABLE}: 17 of 19 runs are finished\n")
    values = [100 * accuracy("random", 0, seed) for seed in range(3)]
    assert re.search(rf"^random +{sum(values) / 3:.2f} ± \d\.\d\d ", text, re.MULTILINE)
    assert text.splitlines()[-1] == "failed: bald on digits, seed 0: ValueError: p must be in (0, 1), got <2>"


def test_summary_of_several_tables_has_a_part_for_each(tmp_path):
    for table in ("u", "t"):
        make_run(tmp_path, table, "random")
    heads = [line for line in summary(find_runs([tmp_path])).splitlines() if "finished" in line]
    assert heads == ["t: 1 of 1 runs are finished", "u: 1 of 1 runs are finished"]


def test_the_page_has_verdicts_with_their_rule_and_the_acquisitions_compared(sweep):
    html = (sweep / "runs" / TABLE / "report" / "index.html").read_text(encoding="utf-8")
    text = " ".join(Page(html).text.split())
    assert '<span class="trend"' in html and "Not reproduced: the interval does not contain 0" in text
    assert "digits: test accuracy (%) from 40 to 120 labeled images, against random" in text
    assert "too few seeds (1)" in text


def test_the_page_says_what_the_experiments_sweep_lacks(tmp_path):
    plan = {"method": ["random", "bald"], "seed": ["0", "1"]}
    make_run(tmp_path / "runs", "t", "random", planned=plan)
    page = write(tmp_path, "t")
    text = " ".join(Page(page.read_text(encoding="utf-8")).text.split())
    assert "digits: random has 1 of 2 seeds, missing: 1 (not begun)." in text and "digits: not begun: bald." in text
    assert "- digits: not begun: bald.\n" in (page.parent / "table.md").read_text()


def test_runs_of_another_setting_are_told_on_the_page(tmp_path):
    report = make_paper(tmp_path / "experiments")
    for seed in range(3):
        make_run(tmp_path / "runs", "t", "random", seed=seed, report=report, changes=("model.lr=1 (2)",))
    text = " ".join(Page(write(tmp_path, "t").read_text(encoding="utf-8")).text.split())
    assert "random: not the experiment's setting" in text and "model.lr=1 (2)" in text


# --- detection


@pytest.fixture(scope="module")
def detection(tmp_path_factory):
    root = tmp_path_factory.mktemp("detection")
    make_detection_sweep(root / "runs", report=make_cycle_paper(root / "experiments"))
    return write(root, "elezi/table1").parent


def test_detection_adds_its_files(detection):
    names = {path.name for path in detection.iterdir()}
    assert {"paper.csv", "classes.csv", "pseudo_labels.csv", "index.html"} <= names
    assert {name for name in names if name.endswith(".png")} == {
        "curves_voc0712.png", "curves_digit_scenes.png", "pseudo_labels_voc0712.png", "pseudo_labels_digit_scenes.png",
        "classes_voc0712.png", "classes_digit_scenes.png", "class_gains_voc0712.png",
    }  # fmt: skip


def test_the_page_sets_cycles_beside_the_papers(detection):
    text = " ".join(Page((detection / "index.html").read_text(encoding="utf-8")).text.split())
    assert "Dashed, with hollow marks: the paper's numbers" in text
    assert "Beside the paper: voc0712" in text and "Beside the paper: digit_scenes" in text
    assert text.count("these runs about digit_scenes") == 1
    ours = 100 * sum(mean_value("random", 2, seed) for seed in range(3)) / 3
    assert f"{ours:.2f} ± 1.00 (n=3)" in text and f"{ours - 66.33:+.2f}" in text


def test_the_page_shows_what_was_queried(detection):
    html = (detection / "index.html").read_text(encoding="utf-8")
    page = Page(html)
    pictures = page.values("image", "href")
    assert len(pictures) == 2 * 2 * 3  # two rows, two queries, three images
    for source in pictures:
        head, data = source.split(",")
        assert head == "data:image/jpeg;base64" and Image.open(io.BytesIO(base64.b64decode(data))).size == (160, 120)
    text = " ".join(page.text.split())
    assert "No object counted: none of 1 detections." in text and "No object counted: no detection at all." in text
    assert "train, score 0.60, value 0.75 decided" in text and "car, score 0.90, value 0.25" in text
    assert "&lt;scene 0&gt;" in html and "<scene" not in html
    decided = [attrs for tag, attrs in page.tags if tag == "rect" and attrs["stroke"] == "#ff8a1f"]
    assert [attrs["x"] for attrs in decided] == ["70.0"] * 4
    assert {"link", "iframe"}.isdisjoint(tag for tag, _ in page.tags)


def test_a_metric_that_nobody_measured_is_told(tmp_path):
    report = {**make_cycle_paper(tmp_path / "experiments"), "metric": "map75", "colums": 3}
    make_detection_run(tmp_path / "runs", "t", "random", report=report)
    text = Page(write(tmp_path, "t").read_text(encoding="utf-8")).text
    assert "voc0712: no run measured map75, so test/map is shown" in text
    assert "the experiment's report has an unknown key: colums" in text


def test_the_named_metric_is_the_one_of_all_tables(tmp_path):
    report = {**make_cycle_paper(tmp_path / "experiments"), "metric": "map50"}
    make_detection_run(tmp_path / "runs", "t", "random", report=report)
    page = write(tmp_path, "t")
    value = f"{100 * (mean_value('random', 2, 0) + 0.1):.2f}"
    assert "test map50 (%)" in page.read_text(encoding="utf-8")
    assert value in (page.parent / "table.md").read_text() and value in summary(find_runs([tmp_path / "runs"]))
