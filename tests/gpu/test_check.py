"""The check that is carried to a GPU, tried without one."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import check

HERE = Path(__file__).parent


def _check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(HERE / "check"), *arguments], capture_output=True, text=True, timeout=550, env=_environment()
    )


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHON": sys.executable}


@pytest.mark.slow
def test_all_sections_end_in_a_line_and_nothing_is_measured(tmp_path: Path) -> None:
    done = _check("--device", "cpu", "--tiny", "--limit", "2400", "--out", str(tmp_path), "--data", str(tmp_path))
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    logs = {path.name: path.read_text()[-2000:] for path in tmp_path.glob("*.log")}
    assert [line["section"] for line in lines] == list(check.SHARES), (done.stderr, logs)
    assert {line["status"] for line in lines} == {"dry_run"}, (lines, logs)
    assert done.returncode == 0
    by_section = {line["section"]: line for line in lines}
    assert by_section["throughput"]["fit"]["alpl"] > 0 and by_section["throughput"]["predict"]["bare"] > 0
    assert all(method["same"] for method in by_section["selection"]["methods"].values())
    assert [row["row"] for row in by_section["table"]["rows"]] == ["random"]
    assert not list(tmp_path.glob("*.measured.csv"))
    assert [json.loads(line) for line in (tmp_path / "check.jsonl").read_text().splitlines()] == lines


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_nothing_is_begun(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["check", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        check.main()
    assert "no CUDA device, so nothing can be measured" in capsys.readouterr().err and not (tmp_path / "out").exists()


TESTED = {"passed": 3, "failed": 0, "error": 0, "skipped": 0}


@pytest.mark.parametrize(
    ("section", "status", "told", "is_real", "expected"),
    [
        ("tests", 0, TESTED, True, "measured"),
        ("tests", 0, TESTED | {"passed": 0, "skipped": 3}, True, "failed"),
        ("tests", 0, TESTED | {"passed": 0, "skipped": 3}, False, "dry_run"),
        ("tests", 1, TESTED | {"failed": 1}, True, "failed"),
        ("tests", None, TESTED, True, "out_of_time"),
        ("throughput", 0, {"fit": {}}, True, "measured"),
        ("throughput", 0, {"fit": {}}, False, "dry_run"),
        ("throughput", 0, {}, True, "failed"),
        ("throughput", 2, {"fit": {}}, True, "failed"),
        ("table", 0, {"rows": []}, True, "failed"),
        ("table", None, {"rows": [1]}, True, "out_of_time"),
        ("table", 0, {"rows": [1]}, True, "measured"),
    ],
)
def test_only_what_was_measured_is_called_so(section, status, told, is_real, expected) -> None:
    assert check.status_of(section, status, told, is_real=is_real) == expected


def test_what_pytest_says_is_counted() -> None:
    text = "...\n2 passed, 1 skipped, 40 deselected, 3 warnings in 12.34s\n"
    told = check.told_by("tests", text, Namespace())
    assert told == {"passed": 2, "failed": 0, "error": 0, "skipped": 1}
    assert check.told_by("tests", "1 failed, 2 errors in 0.1s", Namespace())["error"] == 2
    assert check.told_by("throughput", 'x\n{"fit": 1}\n', Namespace()) == {"fit": 1}


def test_a_section_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    status, text, seconds = check.run(
        [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"], tmp_path / "log", 2.0
    )
    assert status is None and seconds < 30 and text in ("", "begun\n")


def test_the_measured_numbers_have_the_papers_names() -> None:
    rows = [
        {
            "row": "dispersion",
            "data": "cifar10",
            "accuracy": 0.91234,
            "device": "NVIDIA H200",
            "precision": "bf16-mixed",
            "commit": None,
            "seconds": 321.5,
        },
    ]
    assert check.measured_csv(rows, "abc").splitlines() == [
        "row,column,mean,std,seeds,device,precision,commit,seconds",
        "Dispersion,CIFAR10 acc,91.23,,1,NVIDIA H200,bf16-mixed,abc,321.5",
    ]
