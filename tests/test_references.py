"""What texts, configs and scripts name of the project is there: a move that forgot one is found here, on no cluster."""

import importlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULE = re.compile(r"(?<![\w/.@-])alpl(?:\.[A-Za-z_]\w*)+")
FILE = re.compile(r"(?<![\w/.<{}-])(?:alpl|conf|tests|experiments|slurm)/[\w./-]+\.(?:py|yaml|csv|md|sbatch)\b")
# files of runs, of users, and of the installed package, which stand in texts beside those of the repository
ELSEWHERE = ("alpl/conf/", "alpl/experiments/", "tests/golden/")
OLD_NAMES = {ROOT / "alpl/config/versions.py", ROOT / "tests/config/test_versions.py", Path(__file__)}


def files() -> list[Path]:
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / line for line in found.splitlines() if not line.startswith("tests/golden/")]
    return [path for path in paths if path.suffix in {".py", ".yaml", ".md", ".sbatch", ".toml"} and path.exists()]


def is_there(name: str) -> bool:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def missing(text: str) -> list[str]:
    modules = [name for name in MODULE.findall(text) if not is_there(name)]
    paths = [path for path in FILE.findall(text) if not path.startswith(ELSEWHERE) and not (ROOT / path).exists()]
    return modules + paths


def test_what_is_missing_is_seen() -> None:
    text = "run alpl.jobs and alpl.commands.jobs; see alpl/interruption.py, conf/config.yaml, alpl.pool.Pool.cycles"
    assert missing(text) == ["alpl.jobs", "alpl.pool.Pool.cycles", "alpl/interruption.py"]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_texts_configs_and_scripts_name_what_is_there() -> None:
    found = {str(path.relative_to(ROOT)): missing(path.read_text()) for path in files() if path not in OLD_NAMES}
    assert {path: names for path, names in found.items() if names} == {}
