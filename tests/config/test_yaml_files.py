"""A broken config file is one line that names it, in every command that reads configs."""

import re
import shutil
import subprocess
import sys

import cloudpickle
import pytest
from command import alpl
from hydra.core.singleton import Singleton

from alpl.commands import jobs, status
from alpl.commands.paper_rows import table_status
from alpl.config.compose import EXPERIMENTS
from alpl.config.yaml_files import read_mapping, register_files
from alpl.errors import ConfigError, DataError
from alpl.report.read.paper import joined_reports

BROKEN = {
    "a syntax error": (b"a: [1\nb: 2\n", "must hold a config as YAML in UTF-8: .* line 2"),
    "a tab": (b"a:\n\tb: 2\n", "must hold a config as YAML in UTF-8: "),
    "not UTF-8": (b"a: \xff\n", "must hold a config as YAML in UTF-8: .*utf-8"),
    "a null byte": (b"a: \0\n", "must hold a config as YAML in UTF-8: "),
    "a list": (b"- a\n- b\n", "must hold a mapping of names to values, got a list"),
    "a number": (b"5\n", "must hold a config as YAML in UTF-8: "),
    "a broken interpolation": (b"a: ${b\n", "must hold a config as YAML in UTF-8: "),
    "defaults of another type": (b"defaults: 5\n", r"must have a list of choices \(group: name\) as defaults, got 5"),
    "a default of another type": (b"defaults: [5]\n", r"must have a list of choices \(group: name\) as defaults"),
}


def own(tmp_path, group, content):
    path = tmp_path / "conf" / group / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content, message", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named(tmp_path, content, message):
    path = own(tmp_path, "experiment", content)
    with pytest.raises(ConfigError) as caught:
        read_mapping(path)
    assert re.match(f"{re.escape(str(path))} {message}", str(caught.value)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content, message", BROKEN.values(), ids=BROKEN)
def test_the_command_ends_in_one_line(tmp_path, content, message):
    path = own(tmp_path, "acquisition", content)
    result = alpl(tmp_path / "runs", f"--config-dir={tmp_path / 'conf'}", "acquisition=mine")
    (line,) = result.err.splitlines()
    assert result.status == 2 and re.match(f"alpl: error: {re.escape(str(path))} {message}", line)


@pytest.mark.parametrize("command", [status.cli, jobs.cli], ids=["alpl-status", "alpl-jobs"])
def test_reading_commands_end_in_one_line(tmp_path, capsys, command, monkeypatch):
    from alpl.config.group_folders import GroupFolders

    path = own(tmp_path, "", BROKEN["a syntax error"][0])
    monkeypatch.setattr(GroupFolders, "folders", {"experiment": path.parent})
    monkeypatch.setattr("alpl.config.composing.register_experiments", lambda: None)
    with pytest.raises(SystemExit) as end:
        command(["experiment=mine"])
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and f"error: {path} must hold a config as YAML" in line


@pytest.mark.parametrize(
    "content, message",
    [
        (b"repot: {}\n", "unknown config key 'repot'; did you mean 'report'?"),
        (b"report: 5\n", "report must be a mapping, got 5"),
        (b"report: [a]\n", "report must be a mapping, got ['a']"),
    ],
)
def test_what_stands_at_the_top_level_is_checked(tmp_path, content, message):
    path = own(tmp_path, "method", b"# @package _global_\n" + content)
    result = alpl(tmp_path / "runs", f"--config-dir={tmp_path / 'conf'}", "method=mine")
    assert (result.status, result.err) == (2, f"alpl: error: {path}: {message}\n")
    path.write_bytes(b"# @package _global_\nreport: null\nacquisition: 5\n")
    assert "report" not in alpl(tmp_path / "runs", f"--config-dir={tmp_path / 'conf'}", "method=mine").err


# --- what an experiment says of its table

REPORTS = {
    "report must map": 5,
    "report.rows must be a mapping, got \\['a'\\]": {"rows": ["a"]},
    "report.columns must be a mapping, got \\[1\\]": {"columns": [1]},
    "report.cycles must be a mapping, got 3": {"cycles": 3},
    "report.cycles must map numbers": {"cycles": {"last": "x"}},
    "report.unprinted must be a list": {"unprinted": "a"},
    "report.scale must be a number, got 'half'": {"scale": "half"},
    "report.tolerance must be a number": {"tolerance": {"a": 1}},
    "report.paper_seeds must be a number": {"paper_seeds": [3]},
}


@pytest.mark.parametrize("message, report", REPORTS.items(), ids=REPORTS)
def test_a_value_of_another_type_is_named(message, report):
    with pytest.raises(DataError, match=f"^{message}"):
        joined_reports([report])


def test_the_page_of_tables_names_the_experiment(tmp_path):
    (tmp_path / "thesis").mkdir()
    shutil.copy(EXPERIMENTS / "thesis" / "table5_1.paper.csv", tmp_path / "thesis")
    path = tmp_path / "thesis" / "table5_1.yaml"
    path.write_text("table: thesis/table5_1\nreport: 5\n")
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: report must map its keys to values"):
        table_status("thesis/table5_1", tmp_path)
    path.write_bytes(b"report: [\n")
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))} must hold a config as YAML"):
        table_status("thesis/table5_1", tmp_path)


_JOB = """
import pickle, sys
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.singleton import Singleton
Singleton.set_state(pickle.load(sys.stdin.buffer))  # registers Hydra's own sources, too
print(SourcesRegistry.instance().types["file"].__qualname__)
"""


def test_jobs_that_submitit_starts_read_files_alike():
    register_files()
    state = cloudpickle.dumps(Singleton.get_state())
    job = subprocess.run([sys.executable, "-c", _JOB], input=state, capture_output=True, check=False)
    assert job.stdout.decode().strip() == "YamlFiles", job.stderr.decode()


def test_a_file_that_changed_is_read_again(tmp_path):
    path = own(tmp_path, "acquisition", b"_target_: alpl.acquisition.Margin\n")
    command = (tmp_path / "runs", "--cfg", "job", f"--config-dir={tmp_path / 'conf'}", "acquisition=mine")
    assert "alpl.acquisition.Margin" in alpl(*command).out
    path.write_bytes(b"_target_: alpl.acquisition.Entropy\n")
    assert "alpl.acquisition.Entropy" in alpl(*command).out
