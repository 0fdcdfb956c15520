"""The head of the page: when the runs ran, and with what."""

from fake_runs import make_run

from alpl.machine.files import read_json, write_json, write_text
from alpl.report.read.facts import facts
from alpl.runs.results import find_runs


def configure(folder, **groups):
    about = read_json(folder / "run.json")
    write_json(folder / "run.json", about | {"config": about["config"] | groups})


def test_days_and_settings_of_the_runs(tmp_path):
    for seed, (first, last, epochs) in enumerate([("2026-01-02", "2026-01-03", 40), ("2026-01-01", "2026-01-01", 20)]):
        folder = make_run(tmp_path, "t", "random", seed=seed)
        write_text(folder / "run.log", f"{first} 10:00:00,000 INFO begins\n{last} 11:00:00,000 INFO ends\n  a trace\n")
        model = {"_target_": "alpl.modules.classifier.Classifier"}
        schedule = {"initial": {"size": 30}, "budget": 20, "cycles": 5}
        configure(folder, model=model, schedule=schedule, trainer={"max_epochs": epochs})
    assert facts(find_runs([tmp_path])) == [
        ("Ran", "2026-01-01 to 2026-01-03"),
        ("Model", "Classifier"),
        ("Epochs a fit", "40; 20"),
        ("Initial set", "30"),
        ("Budget a query", "20"),
        ("Queries", "5"),
    ]


def test_what_no_run_tells_is_left_out(tmp_path):
    make_run(tmp_path, "t", "random")
    assert facts(find_runs([tmp_path])) == []


def test_many_values_are_counted(tmp_path):
    for seed in range(6):
        configure(make_run(tmp_path, "t", "random", seed=seed), trainer={"max_epochs": seed})
    assert facts(find_runs([tmp_path])) == [("Epochs a fit", "0; 1; 2; 3 and 2 more")]
