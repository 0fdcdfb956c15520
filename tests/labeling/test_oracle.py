import pytest
import torch

from alpl.labeling.oracle import BenchmarkOracle


def test_it_answers_in_the_order_of_the_question():
    oracle = BenchmarkOracle(torch.tensor([7, 5, 9, 5]))
    assert oracle.annotate(torch.tensor([3, 0, 2, 0])).tolist() == [5, 7, 9, 7]
    assert oracle.annotate(torch.tensor([], dtype=torch.long)).tolist() == []


def test_an_answer_is_a_copy():
    targets = torch.tensor([7, 5])
    BenchmarkOracle(targets).annotate(torch.tensor([0, 1])).zero_()
    assert targets.tolist() == [7, 5]


@pytest.mark.parametrize(("index", "shown"), [([0, -1], r"\[-1\]"), ([4, 1, 5], r"\[4, 5\]")])
def test_an_index_outside_the_data_set_is_an_error(index, shown):
    with pytest.raises(ValueError, match=rf"index must lie in \[0, 4\), got {shown}"):
        BenchmarkOracle(torch.zeros(4, dtype=torch.long)).annotate(torch.tensor(index))


@pytest.mark.parametrize("index", [torch.tensor([1.7]), torch.tensor([True, False])])
def test_what_is_no_index_is_an_error(index):
    with pytest.raises(ValueError, match=r"index must be Long\[n\], got torch"):
        BenchmarkOracle(torch.tensor([7, 5])).annotate(index)
