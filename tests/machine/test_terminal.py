import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("number", [1, 100_000])
def test_a_reader_that_has_enough_is_no_error(number):
    code = f"from alpl.commands.messages import told\nwith told('alpl-x'):\n    print('a' * {number})"
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")
