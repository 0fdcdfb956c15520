"""`alpl-study`: what it refuses, in one line."""

from pathlib import Path

import pytest
from command import TINY, alpl

from alpl.commands.study import cli
from alpl.studies import AbstractStudy, study_names, study_of


def refused(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as end:
        cli([str(each) for each in arguments])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_every_file_is_a_study_by_its_name() -> None:
    assert "retrieval" in study_names()
    assert all(issubclass(study_of(name), AbstractStudy) for name in study_names())


def test_what_is_no_study_no_setting_or_no_run_is_refused(tmp_path: Path, capsys) -> None:
    assert "got 'retrival'; did you mean 'retrieval'?" in refused(capsys, "retrival", tmp_path)
    assert "settings must be KEY=VALUE, got fast" in refused(capsys, "retrieval", tmp_path, "fast")
    assert "neighbors must be an int >= 1, got 0" in refused(capsys, "retrieval", tmp_path, "neighbors=0")
    assert "which has no config.yaml" in refused(capsys, "retrieval", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_of_a_classifier_or_an_unfinished_one_is_refused(tmp_path: Path, capsys) -> None:
    run = alpl(tmp_path, *TINY).run_folder()
    assert "RUN must be of a detector" in refused(capsys, "retrieval", run)
    journal = run / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))
    assert "finished run" in refused(capsys, "retrieval", run)
