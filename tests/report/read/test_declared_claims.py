import pytest

from alpl.errors import DataError
from alpl.report.read.claims import Claim, read_claims

ENTRY = {"row": "dispersion", "than": "entropy", "difference": 0.01, "seeds": [5, 6, 7]}


def test_claims_are_read_in_their_order() -> None:
    found = read_claims({"b": ENTRY, "a": {**ENTRY, "at": "area", "metric": "map"}})
    assert found[0] == Claim("b", "dispersion", "entropy", 0.01, (5, 6, 7))
    assert (found[1].name, found[1].at, found[1].metric) == ("a", "area", "map")
    assert read_claims(None) == ()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"than": "dispersion"}, "than must be another row"),
        ({"difference": 0}, r"difference must be a finite number > 0, got 0"),
        ({"difference": True}, "difference must be"),
        ({"difference": float("nan")}, "difference must be"),
        ({"seeds": []}, "seeds must be at least one"),
        ({"seeds": [1, 1]}, "seeds must be at least one seed and each named once"),
        ({"seeds": "1,2"}, "seeds must be a list"),
        ({"at": "best"}, "at .if not area. must be last, mean"),
        ({"seed": 1}, "must have difference, row, seeds, than"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, object], named: str) -> None:
    with pytest.raises(DataError, match=rf"report\.claims\.mine.*{named}|report\.claims\.mine\.{named}"):
        read_claims({"mine": {**ENTRY, **changed}})


def test_claims_without_names_are_refused() -> None:
    with pytest.raises(DataError, match=r"report\.claims must map"):
        read_claims([ENTRY])
