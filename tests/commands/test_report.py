import io
import subprocess
import sys

import pytest
from fake_runs import make_run

from alpl.commands.report import cli


def test_the_default_is_every_table_under_runs(tmp_path, monkeypatch, capsys):
    for table in ("digits", "thesis/table3_1"):
        make_run(tmp_path / "runs", table, "random")
    monkeypatch.chdir(tmp_path)
    cli([])
    pages = [tmp_path / "runs" / table / "report" / "index.html" for table in ("digits", "thesis/table3_1")]
    assert capsys.readouterr().out.splitlines() == [str(page) for page in pages]
    assert all(page.exists() for page in pages)


def test_a_single_run_folder_will_do(tmp_path):
    folder = make_run(tmp_path / "runs", "thesis/table3_1", "random")
    cli([str(folder)])
    assert (tmp_path / "runs" / "thesis" / "table3_1" / "report" / "index.html").exists()


def test_a_row_of_the_tables_name_does_not_mislead(tmp_path):
    cli([str(make_run(tmp_path / "runs", "digits", "digits"))])
    assert (tmp_path / "runs" / "digits" / "report" / "index.html").exists()


def test_one_table_and_out(tmp_path):
    for table in ("a", "b"):
        make_run(tmp_path / "runs", table, "random")
    cli([str(tmp_path / "runs"), "--table", "b", "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "index.html").exists()
    assert not (tmp_path / "runs" / "b" / "report").exists()
    cli([str(tmp_path / "runs"), "--out", str(tmp_path / "all")])
    assert (tmp_path / "all" / "a" / "index.html").exists() and (tmp_path / "all" / "b" / "index.html").exists()


def test_several_roots_are_joined(tmp_path):
    for seed in (0, 1):
        make_run(tmp_path / f"machine{seed}", "t", "random", seed=seed)
    cli([str(tmp_path / "machine0"), str(tmp_path / "machine1"), "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "table.csv").read_text().splitlines()[1].endswith(",2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "runs must be an existing folder, got nowhere"),
        (["empty"], "RUNS must hold run folders (with a run.json), got none in empty"),
        (["runs", "--table", "v"], "--table must be one of t, u, got v"),
        (["moved"], "--out must be given: no run of t lies in a folder of that name"),
        (
            ["evil", "runs", "--out", "out"],
            "table must be a relative name to become a folder of --out, got ../up",
        ),
    ],
)
def test_errors_are_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for table in ("t", "u"):
        make_run(tmp_path / "runs", table, "random")
    make_run(tmp_path / "elsewhere", "t", "random").rename(tmp_path / "moved")
    make_run(tmp_path / "evil", "../up", "random").parents[1].rename(tmp_path / "evil")
    with pytest.raises(SystemExit) as error:
        cli(arguments)
    assert error.value.code == 2
    assert capsys.readouterr().err == f"alpl-report: error: {message}\n"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path, capsys):
    make_run(tmp_path / "runs", "t", "random")
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as error:
        cli([str(tmp_path / "runs"), "--out", str(tmp_path / "file" / "out")])
    assert error.value.code == 2
    assert capsys.readouterr().err == f"alpl-report: error: {tmp_path}/file/out: Not a directory\n"


def test_letters_that_the_terminal_lacks_are_no_fault(tmp_path, monkeypatch):
    make_run(tmp_path / "rüns", "t", "random")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    cli([str(tmp_path / "rüns")])
    out.flush()
    assert b"/r?ns/t/report" in out.buffer.getvalue()


def test_it_starts_without_torch_and_without_pyplot(tmp_path):
    folder = make_run(tmp_path / "runs", "t", "dispersion", informativeness=True)
    script = f"import sys; from alpl.commands.report import cli; cli([{str(folder)!r}])\n"
    script += "print([name for name in ('torch', 'lightning', 'matplotlib.pyplot') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
