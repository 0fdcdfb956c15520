"""`alpl-study`: ask a finished run's last model, and write what it says below the run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from alpl.commands.messages import check_settings, told


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 2 and one line where the run or a setting is refused."""
    options = _parser().parse_args(arguments)
    with told("alpl-study"):
        _run(options)


def _run(options: argparse.Namespace) -> None:
    from omegaconf import OmegaConf  # here and below: they bring torch, which --help needs not

    from alpl.machine.progress import quiet_libraries
    from alpl.studies import ask, study_of
    from alpl.studies.found import made_of, split_settings

    check_settings(options.settings)
    quiet_libraries()
    kind = study_of(options.study)
    own, others = split_settings(kind, options.settings)
    folder, line = ask(options.run, options.study, made_of(kind, own), OmegaConf.from_dotlist(others))
    print(f"{line}\n{folder}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-study",
        description="Ask a model of a finished run about images; what it says is written below the run, and the report "
        "of its table shows it.",
    )
    parser.add_argument("study", metavar="STUDY", help="retrieval, nearest, or another file of alpl/studies/study")
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="of the study, e.g. anchors=500; or of the run's config, e.g. data.source.root=/elsewhere",
    )
    return parser
