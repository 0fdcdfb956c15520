"""What a call takes is measured, and not the pages of files that come with it."""

import pytest
from forked import Forked
from resident_peak import CLEAR

CODE = """
import mmap, sys
import torch
from resident_peak import peak_of
torch.ones(1)
with open(torch.__path__[0] + "/lib/libtorch_cpu.so", "rb") as stream:
    library = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
calls = []
def call():
    calls.append(torch.ones(2**21).sum())
    if len(calls) == 1:
        sum(library[place] for place in range(0, 2**24, 4096))
print(peak_of(call), len(calls))
"""


@pytest.mark.slow
@pytest.mark.skipif(not CLEAR.exists(), reason="needs Linux's record of the resident peak")
def test_a_call_that_brought_pages_of_files_is_made_again() -> None:
    process = Forked("-c", CODE)
    out, err = process.communicate(60)
    assert process.returncode == 0, err
    peak, num_calls = map(int, out.split())
    assert 7.75 * 2**20 < peak < 8.5 * 2**20 and num_calls >= 2  # the system counts pages by the dozen
