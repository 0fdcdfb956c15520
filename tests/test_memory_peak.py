"""What a call takes at its peak is measured, and not the pages of files that come with it."""

import pytest
from forked import Forked
from memory_peak import STATUS

CODE = """
import mmap
import torch
from memory_peak import peak_of
torch.ones(1)
with open(torch.__path__[0] + "/lib/libtorch_cpu.so", "rb") as stream:
    library = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
def call():
    sum(library[place] for place in range(0, 2**24, 4096))
    torch.ones(2**21).sum()
    torch.ones(2**20).sum()
print(peak_of(call), peak_of(lambda: None))
"""


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's record of a process")
def test_what_a_call_takes_and_gives_back_is_seen_and_pages_of_files_are_not() -> None:
    process = Forked("-c", CODE)
    out, err = process.communicate(60)
    assert process.returncode == 0, err
    peak, nothing = map(int, out.split())
    assert 8 * 2**20 <= peak < 8.5 * 2**20 and nothing < 2**18
