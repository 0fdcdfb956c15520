"""Figures of studies are shown as they were drawn: of each row those of its first run that was studied."""

from types import SimpleNamespace

from alpl.report.drawn.figure.studies import draw


def test_each_row_shows_its_first_studied_run(tmp_path):
    for run, names in {"a0": (), "a1": ("one/x", "one/y", "two/z"), "a2": ("one/x",), "b0": ()}.items():
        (tmp_path / run).mkdir()
        for name in names:
            path = tmp_path / run / "studies" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{run} {name}".encode())
    rows = {"first": ["a0", "a1", "a2"], "second": ["b0"]}
    variants = [
        SimpleNamespace(label=label, runs=[SimpleNamespace(folder=tmp_path / run) for run in runs])
        for label, runs in rows.items()
    ]
    assert draw(SimpleNamespace(recorded=variants)) == {
        "first, one, x": b"a1 one/x",
        "first, one, y": b"a1 one/y",
        "first, two, z": b"a1 two/z",
    }
