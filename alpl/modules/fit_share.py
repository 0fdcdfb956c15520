"""How much of a fit is done, for what changes in the course of it."""

from __future__ import annotations

from lightning.pytorch import LightningModule

from alpl.errors import ConfigError


def steps_of(module: LightningModule) -> tuple[int, int]:
    """Give the optimizer steps done and those of the whole fit, of the module's trainer.

    Raises:
        ConfigError: the fit has no end that is known in steps.
    """
    total = module.trainer.estimated_stepping_batches
    if total == float("inf"):
        raise ConfigError(
            "trainer.max_steps or trainer.max_epochs must be given where a loss follows the course of the training "
            f"(ramp, detach_after), got {module.trainer.max_steps} and {module.trainer.max_epochs}"
        )
    return min(module.trainer.global_step, int(total)), max(int(total), 1)
