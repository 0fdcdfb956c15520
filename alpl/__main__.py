"""`python -m alpl`, the same as the command `alpl`."""

from alpl.commands.main import cli

cli()
