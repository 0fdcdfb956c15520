"""The README's own acquisition works, word for word."""

import re
import shlex
from pathlib import Path

import pytest
from command import TINY, alpl

README = Path(__file__).parent.parent / "README.md"


def test_your_own_acquisition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = README.read_text().split("### Your own acquisition")[1]
    code, command = re.findall(r"```(?:python|bash)\n(.*?)```", section, flags=re.DOTALL)[:2]
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 15
    (tmp_path / "my_acquisition.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = shlex.split(command)
    assert words[:2] == ["PYTHONPATH=.", "alpl"]
    result = alpl(tmp_path / "runs", *words[2:], *TINY)
    assert result.status == 0, result.err
    assert result.run_folder().parent.name == "looks_like_8"
    assert (result.run_folder() / "cycle_00" / "query.csv").read_text().count("\n") == 21


def test_without_an_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    section = README.read_text().split("### Without an experiment")[1]
    (code,) = re.findall(r"```python\n(.*?)```", section.split("### Your own")[0], flags=re.DOTALL)
    found: dict[str, object] = {}
    exec(code, found)  # as a person pastes it
    assert len(set(found["query"].index.tolist())) == 20 and "tensor" in capsys.readouterr().out


def test_the_queries_of_the_readme_are_understood() -> None:
    from alpl.commands.query import _parser
    from alpl.querying import acquisition_of

    section = README.read_text().split("### Without an experiment")[1]
    lines = [line for line in section.split("```bash\n")[1].split("```")[0].splitlines() if line]
    assert len(lines) >= 4
    for line in lines:
        command, *words = shlex.split(line, comments=True)
        options = _parser().parse_args(words)
        acquisition_of(options.acquisition, options.settings)
        assert command == "alpl-query"


def test_the_commands_of_the_readme_compose() -> None:
    """Every `alpl` line of the README is accepted up to the point where data would be read."""
    from hydra import compose

    from alpl.config.composing import composing
    from alpl.preflight.config import check_config

    block = README.read_text().split("## Use")[1].split("```")[1]
    lines = [line for line in block.splitlines() if line.startswith("alpl ")]
    assert len(lines) >= 6
    for line in lines:
        words = [word.lstrip("+") for word in shlex.split(line, comments=True)[1:] if word != "-m"]
        single = [word.split(",")[0] if "(" not in word else "seed=0" for word in words]
        with composing():
            check_config(compose("config", single))
