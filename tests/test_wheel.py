"""A wheel built from the tree works outside the checkout: its configs and experiments travel in it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_wheel_runs_an_experiment_elsewhere(tmp_path: Path) -> None:
    run = {"check": True, "capture_output": True, "text": True, "timeout": 300, "cwd": tmp_path}
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path / "wheel"), str(ROOT)], **run)
    (wheel,) = (tmp_path / "wheel").glob("alpl-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    templates = {"alpl/report/page/page.html.j2", "alpl/commands/matrix.html.j2"}
    assert {"alpl/conf/config.yaml", "alpl/experiments/thesis/table3_1.paper.csv", *templates} <= inside
    assert not [name for name in inside if name.startswith(("tests/", "conf/"))]
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], **run)
    environment = {**os.environ, "PYTHONPATH": str(site)}  # before the checkout that this environment may point to
    where = [sys.executable, "-c", "import alpl.config.compose as c; print(c.CONF)"]
    assert str(site) in subprocess.run(where, env=environment, **run).stdout
    command = ["+experiment=thesis/table3_1", "method=dispersion,margin", "data=digits", "model=digits_cnn",
               "trainer=digits", "trainer.max_epochs=1", "seed=0", "hydra.mode=MULTIRUN"]  # fmt: skip
    subprocess.run([sys.executable, "-m", "alpl", *command], env=environment, **run)
    page = (tmp_path / "runs" / "thesis" / "table3_1" / "report" / "index.html").read_text()
    assert "KCenterGreedy" in page and "90.74" in page  # the printed numbers came along
