"""Records the golden runs again, all or those that are named: ``python tests/golden/record.py [NAME ...]``.

Only after a change that is meant to change picks; the commit says why.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from command import alpl
from runs import FOLDER, RUNS, environment, overrides_of, record_of


def main() -> None:
    """Run them all, as some follow others, and write the records of those that are asked for."""
    names = sys.argv[1:] or list(RUNS)
    with tempfile.TemporaryDirectory() as temporary:
        for name in RUNS:
            begin = time.perf_counter()
            result = alpl(Path(temporary), *overrides_of(name))
            if result.status:
                raise SystemExit(f"{name}: {result.err}")
            (folder,) = (Path(temporary) / "golden" / name).iterdir()
            print(f"{name}: {time.perf_counter() - begin:.1f} s")
            if name in names:
                text = json.dumps(record_of(folder), indent=1)
                (FOLDER / f"{name}.json").write_text(text + "\n")
    (FOLDER / "environment.json").write_text(json.dumps(environment(), indent=1) + "\n")


if __name__ == "__main__":
    main()
