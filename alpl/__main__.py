"""`python -m alpl`, the same as the command `alpl`."""

from alpl.main import cli

cli()
