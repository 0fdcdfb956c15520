"""Composes configs as the command does, without running anything; and what a paper's tables print and sweep."""

import csv

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from alpl.config.compose import EXPERIMENTS
from alpl.config.composing import composing
from alpl.preflight.config import check_config


def composed(*overrides: str) -> DictConfig:
    """The config of a command, unchecked."""
    with composing():
        return compose("config", list(overrides))


def checked(*overrides: str) -> DictConfig:
    """The config of a command, after the check that the command makes of it."""
    config = composed(*overrides)
    check_config(config)
    return config


def experiment(paper: str, table: str) -> DictConfig:
    """A table's experiment as written."""
    config = OmegaConf.load(EXPERIMENTS / paper / f"{table}.yaml")
    assert isinstance(config, DictConfig)
    return config


def methods(paper: str, table: str) -> list[str]:
    """The methods that a table's experiment sweeps."""
    return str(experiment(paper, table).hydra.sweeper.params.method).split(",")


def printed(paper: str, table: str) -> dict[tuple[str, str], tuple[str, str]]:
    """(row, column) -> (mean, deviation), as the paper prints them."""
    with (EXPERIMENTS / paper / f"{table}.paper.csv").open() as stream:
        return {(line["row"], line["column"]): (line["mean"], line["std"]) for line in csv.DictReader(stream)}
