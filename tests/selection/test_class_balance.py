"""Class-balanced selection against brute force, and what is promised about its bound."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpl.selection import class_balance, exchange_search
from alpl.selection.balance_dual import raise_dual
from alpl.selection.balanced_kcenter import balanced_kcenter
from alpl.selection.class_balance import balanced_choice, class_targets, l1_score, objective
from alpl.selection.exchange import Exchange
from alpl.selection.pseudo_label_balance import pseudo_label_choice


def draw(number, num_classes, seed, ties=False):
    random = torch.Generator().manual_seed(seed)
    if ties:  # few values, so that many images are alike
        probs = torch.randint(1, 3, (number, num_classes), generator=random).double()
        probs /= probs.sum(1, keepdim=True)
    else:
        probs = (torch.randn(number, num_classes, generator=random).double() * 2).softmax(-1)
    cost = torch.xlogy(probs, probs).sum(1)
    counts = torch.randint(0, 4, (num_classes,), generator=random)
    return cost, probs, counts


def best_by_trying(cost, probs, targets, weight, budget):
    """Eq. 4.8, every choice."""
    values = []
    for choice in itertools.combinations(range(len(cost)), budget):
        value = sum(float(cost[i]) for i in choice)
        for c in range(len(targets)):
            value += weight * abs(float(targets[c]) - sum(float(probs[i, c]) for i in choice))
        values.append(value)
    return min(values)


def test_targets_by_hand():
    # 12 labeled images and 8 more make 20: 5 of each of 4 classes; class 0 has more already
    assert class_targets(torch.tensor([7, 4, 1, 0]), 8).tolist() == [0, 1, 4, 5]
    # Eq. 4.5: a balanced start
    assert class_targets(torch.tensor([3, 3]), 5).tolist() == [2.5, 2.5]


def small_cases(first, count):
    """Pools of one image to seven, one class to four, b = 1 and b = N among them, a third with ties."""
    for seed in range(first, first + count):
        number, num_classes = 1 + seed % 7, 1 + seed // 7 % 4
        cost, probs, counts = draw(number, num_classes, seed, ties=seed % 3 == 0)
        budget, weight = [1, number, 1 + seed % number][seed // 3 % 3], [0.0, 0.3, 1.0, 3.0][seed // 5 % 4]
        targets = class_targets(counts, budget)
        yield cost, probs, targets, weight, budget, best_by_trying(cost, probs, targets, weight, budget)


def test_small_pools_are_solved_to_the_optimum():
    for *case, expected in small_cases(0, 1000):
        found = balanced_choice(*case)
        assert found.objective == pytest.approx(expected, abs=1e-6) and found.gap <= 1e-6
        assert len(found.index.unique()) == len(found.index) == case[-1]
        assert objective(*case[:-1], found.index) == pytest.approx(found.objective, abs=1e-9)


@pytest.mark.slow
def test_the_bound_of_the_dual_holds_and_the_search_finds_nearly_every_optimum(monkeypatch):
    """Without the exact solver: never above the optimum, which brute force knows; the choice never below it."""
    monkeypatch.setattr(class_balance, "EXACT_UP_TO", 0)
    monkeypatch.setattr(exchange_search, "_DESCENTS", 4)
    missed = 0
    for *case, expected in small_cases(1000, 1000):
        found = balanced_choice(*case, num_steps=60)
        assert found.bound <= expected + 1e-7 and found.objective >= expected - 1e-7
        assert len(found.index.unique()) == len(found.index) == case[-1]
        missed += found.objective > expected + 1e-6
    assert missed <= 10


@pytest.mark.slow
@pytest.mark.parametrize(("number", "num_classes", "budget", "weight"), [(2000, 10, 200, 1.0), (3000, 30, 300, 2.0)])
def test_larger_pools_come_close(number, num_classes, budget, weight, monkeypatch):
    monkeypatch.setattr(exchange_search, "_DESCENTS", 20)
    cost, probs, counts = draw(number, num_classes, 0)
    targets = class_targets(counts, budget)
    found = balanced_choice(cost, probs, targets, weight, budget)
    again = balanced_choice(cost, probs, targets, weight, budget)
    assert torch.equal(found.index, again.index) and 0 <= found.gap < 0.003
    plain = cost.argsort()[:budget]
    assert found.objective < objective(cost, probs, targets, weight, plain)


def exchange_of(number, num_classes, budget, seed, weight=1.0, border=100, multipliers=None):
    """An exchange from the plain ranking, and Eq. 4.8 of its present choice."""
    cost, probs, counts = draw(number, num_classes, seed)
    targets = class_targets(counts, budget)
    order = cost.argsort(stable=True)
    zeros = torch.zeros(num_classes, dtype=torch.double) if multipliers is None else multipliers
    search = Exchange(cost, probs, targets, weight, order[:budget], zeros, border)
    return search, lambda index=None: objective(cost, probs, targets, weight, search.index if index is None else index)


def pairs(search, number):
    """Every exchange of the present choice."""
    index = search.index
    for place, enters in itertools.product(range(len(index)), set(range(number)) - set(index.tolist())):
        other = index.clone()
        other[place] = enters
        yield other


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("how", ["settle", "descend"])
def test_exchanges_end_where_none_helps(seed, how):
    search, value = exchange_of(14, 3, 5, seed)
    before, start = search.value, value()
    search.settle() if how == "settle" else search.descend(1.0, 14, 200)  # wide enough for all pairs
    assert search.value - before == pytest.approx(value() - start, abs=1e-9)  # what it keeps up to date is what it is
    assert value() <= start and len(search.index.unique()) == 5
    assert all(value(other) >= value() - 1e-8 for other in pairs(search, 14))


@pytest.mark.slow
def test_the_first_exchange_is_the_best_of_all():
    """With every pair measured, and with few of them, whose products must rank them well enough."""
    for seed, (width, measured) in itertools.product(range(30), [(40, 2000), (12, 20)]):
        search, value = exchange_of(40, 6, 12, seed, weight=3.0)
        least = min(value(other) for other in pairs(search, 40))
        state, start = search.state, value()
        pair = search._best_pair(1.0, width, measured)
        if pair is None:
            assert least >= start - 1e-8
            continue
        search._swap(*pair)
        gained = (start - value()) / (start - least)
        assert gained == pytest.approx(1, abs=1e-7) if measured == 2000 else gained > 0.5
        search.restore(state)
        assert value() == start


def test_a_toll_puts_off_what_lies_far_from_the_border():
    """Eq. 4.8 with the reduced costs counted t times falls at every toll, and dearer images move at the last only."""
    search, value = exchange_of(300, 8, 60, 3, weight=2.0, border=200)
    cost, _, _ = draw(300, 8, 3)
    plain = cost.argsort(stable=True)[:60]

    def spent():
        return float(cost[search.index].sum() - cost[plain].sum())

    seen = []
    for toll in (1000.0, 10.0, 1.0):
        before = value() + (toll - 1) * spent()
        search.descend(toll, 50, 50)
        assert value() + (toll - 1) * spent() <= before + 1e-9
        seen.append(spent())
    assert 0 <= seen[0] < 0.2 * seen[2]


def test_shaking_moves_only_what_is_next_to_the_border_and_is_repeatable():
    search, _ = exchange_of(300, 8, 60, 3, border=50)
    cost, _, _ = draw(300, 8, 3)
    order = cost.argsort(stable=True)
    state, drawn = search.state, []
    for seed in (0, 0, 1):
        search.restore(state)
        search.shake(10, 20, torch.Generator().manual_seed(seed))
        index = set(search.index.tolist())
        assert set(order[:40].tolist()) <= index <= set(order[:80].tolist()) and len(index) == 60
        assert len(index - set(order[:60].tolist())) == 10
        drawn.append(index)
    assert drawn[0] == drawn[1] != drawn[2]


def test_only_images_at_the_border_move():
    search, _ = exchange_of(400, 8, 50, 3, weight=2.0, border=5)
    cost, _, _ = draw(400, 8, 3)
    order = cost.argsort(stable=True)
    search.settle()
    assert set(order[:45].tolist()) <= set(search.index.tolist()) <= set(order[:55].tolist())


def test_classes_that_cannot_be_balanced_do_not_hide_those_that_can(monkeypatch):
    """Class 0 is in excess whatever is chosen; the others still come into balance."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 6, generator=random).double() * 2
    logits[:, 0] += 3
    probs = logits.softmax(-1)
    cost, targets = torch.xlogy(probs, probs).sum(1), torch.tensor([0.0, *[35.0] * 5]).double()
    monkeypatch.setattr(exchange_search, "_DESCENTS", 20)
    found = balanced_choice(cost, probs, targets, 2.0, 200)
    lack = targets - probs[found.index].sum(0)
    assert abs(float(raise_dual(cost, probs, targets, 2.0, 200, 300).multipliers[0])) == pytest.approx(2.0, abs=1e-2)
    assert float(lack[0]) < -10 and float(lack[1:].abs().max()) < 0.5 and found.gap < 2e-3


@pytest.mark.slow
def test_descents_better_the_rounding_of_the_dual(monkeypatch):
    """The more of them the better, and the same in every run."""
    cost, probs, counts = draw(3000, 30, 0)
    targets = class_targets(counts, 300)
    dual = raise_dual(cost, probs, targets, 2.0, 300, 600)
    first = objective(cost, probs, targets, 2.0, dual.choice)
    values = []
    for number in (1, 30):
        monkeypatch.setattr(exchange_search, "_DESCENTS", number)
        found = [balanced_choice(cost, probs, targets, 2.0, 300) for _ in range(2)]
        assert torch.equal(found[0].index, found[1].index) and found[0].bound == dual.bound
        values.append(found[0].objective)
    assert dual.bound < values[1] < values[0] < first
    assert values[1] - dual.bound < 0.6 * (first - dual.bound)


def test_the_search_ends_at_a_gap_or_where_descents_no_longer_pay(monkeypatch):
    monkeypatch.setattr(exchange_search, "_PATIENCE", 3)
    cost, probs, counts = draw(400, 10, 0)
    targets = class_targets(counts, 40)
    once = balanced_choice(cost, probs, targets, 2.0, 40, enough=1.0)
    long = balanced_choice(cost, probs, targets, 2.0, 40, enough=0.0)
    assert once.descents == 1 and 3 < long.descents < 40 and long.gap <= once.gap
    between = balanced_choice(cost, probs, targets, 2.0, 40, enough=(once.gap + long.gap) / 2)
    assert between.gap <= (once.gap + long.gap) / 2 and between.descents <= long.descents


def test_when_descents_no_longer_pay(monkeypatch):
    monkeypatch.setattr(exchange_search, "_PATIENCE", 2)
    # of 10 above the bound, 1 % is 0.1
    for lowest, expected in (
        ([10.0] * 2, False),
        ([10.0] * 3, True),
        ([10.0, 10.0, 9.8], False),
        ([20.0, 10, 9.95, 9.95], True),
    ):
        assert exchange_search._no_longer_pays([1000 + value for value in lowest], 1000.0) == expected, lowest


@pytest.mark.slow
def test_without_weight_it_is_the_ranking_and_with_much_it_is_balance():
    cost, probs, counts = draw(300, 4, 1)
    targets = class_targets(counts, 40)
    assert balanced_choice(cost, probs, targets, 0.0, 40).index.tolist() == sorted(cost.argsort()[:40].tolist())
    lacks = [
        float((targets - probs[balanced_choice(cost, probs, targets, w, 40).index].sum(0)).abs().sum())
        for w in (0.0, 0.1, 10.0)
    ]
    assert lacks[0] >= lacks[1] >= lacks[2] and lacks[2] < 0.1 * lacks[0] + 1


@pytest.mark.parametrize("budget", [0, 6])
def test_nothing_and_everything(budget):
    cost, probs, counts = draw(6, 3, 2)
    found = balanced_choice(cost, probs, class_targets(counts, budget), 1.0, budget)
    assert found.index.tolist() == list(range(budget)) and found.gap == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": -1.0}, "weight must be"),
        ({"weight": math.nan}, "weight must be"),
        ({"budget": 9}, r"budget must be in \[0, 6\]"),
        ({"num_steps": 0}, "num_steps must be >= 1, got 0"),
        ({"enough": -0.1}, "enough must be >= 0, got -0.1"),
        ({"cost": torch.zeros(5)}, "must be"),
        ({"probs": torch.full((6, 3), math.nan)}, "probs must be finite"),
    ],
)
def test_bad_values_are_named(change, message):
    cost, probs, counts = draw(6, 3, 2)
    arguments = {"cost": cost, "probs": probs, "targets": class_targets(counts, 2), "weight": 1.0, "budget": 2}
    with pytest.raises(ValueError, match=message):
        balanced_choice(**(arguments | change))


def test_targets_of_no_class_or_of_a_negative_budget_are_errors():
    with pytest.raises(ValueError, match=r"counts must be Long\[C\] of at least one class, got shape \[0\]"):
        class_targets(torch.zeros(0, dtype=torch.long), 2)
    with pytest.raises(ValueError, match="budget must be >= 0, got -1"):
        class_targets(torch.tensor([1, 2]), -1)


# --- Algorithm 2


def balanced_kcenter_slowly(features, centers, probs, targets, weight, budget):
    """Algorithm 2, line by line."""
    points, picks, distances = features.double().tolist(), [], []
    near = [list(map(float, c)) for c in centers.tolist()]
    for _ in range(budget):
        best, least = None, math.inf
        for j in range(len(points)):
            if j in picks:
                continue
            d = min((math.dist(points[j], c) for c in near), default=0.0)
            norm = sum(
                abs(float(targets[c]) - float(probs[j, c]) - sum(float(probs[i, c]) for i in picks))
                for c in range(len(targets))
            )
            if -d + weight * norm < least:
                best, least, distance = j, -d + weight * norm, d
        picks.append(best)
        distances.append(distance)
        near.append(points[best])
    return picks, distances


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_greedy_picks_are_those_of_the_obvious_algorithm(data):
    """On one axis with whole distances, and with probabilities in quarters: every sum is exact, ties are ties."""
    number = data.draw(st.integers(1, 12))
    num_classes = data.draw(st.integers(1, 4))
    features = torch.tensor(data.draw(st.lists(st.integers(0, 6), min_size=number, max_size=number)))[:, None].float()
    centers = torch.tensor(data.draw(st.lists(st.integers(0, 6), max_size=3)), dtype=torch.float32)[:, None]
    probs = torch.zeros(number, num_classes, dtype=torch.double)
    for row, cuts in enumerate(data.draw(st.lists(st.integers(0, 4095), min_size=number, max_size=number))):
        for digit in range(4):  # four quarters, each of some class
            probs[row, (cuts >> 3 * digit) % 8 % num_classes] += 0.25
    targets = torch.tensor(
        data.draw(st.lists(st.sampled_from([0, 0.5, 1, 2, 3.25]), min_size=num_classes, max_size=num_classes))
    )
    weight = data.draw(st.sampled_from([0.0, 0.5, 2.0]))
    budget = data.draw(st.integers(0, number))
    picks, distances = balanced_kcenter(features, centers, probs, targets, weight, budget)
    expected, expected_distances = balanced_kcenter_slowly(features, centers, probs, targets, weight, budget)
    assert picks.tolist() == expected and distances.tolist() == expected_distances


@pytest.mark.sample(5)
@pytest.mark.parametrize("seed", range(20))
def test_greedy_picks_on_real_numbers(seed):
    random = torch.Generator().manual_seed(seed)
    features, centers = torch.randn(60, 5, generator=random), torch.randn(4, 5, generator=random)
    _, probs, counts = draw(60, 6, seed)
    targets = class_targets(counts, 15)
    picks, _ = balanced_kcenter(features, centers, probs, targets, 0.7, 15)
    expected, _ = balanced_kcenter_slowly(features, centers, probs, targets, 0.7, 15)
    assert picks.tolist() == expected


# --- the comparison, and the score


def test_equal_fractions_go_to_the_first_class():
    """Targets 7/3, 1/3, 10/3 leave one place to three equal fractions, which rounding tells apart."""
    labels = torch.arange(3).repeat_interleave(4)
    chosen = pseudo_label_choice(torch.zeros(12), labels, torch.tensor([7.0, 1.0, 10.0]).double() / 3, 6)
    assert labels[chosen].bincount(minlength=3).tolist() == [3, 0, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"utility": torch.tensor([0.0, float("nan")])}, "utility must be finite"),
        ({"labels": torch.tensor([0, 2])}, r"labels must be in \[0, 2\), got 0 to 2"),
        ({"labels": torch.tensor([0])}, r"must be \[N\], \[N\] and \[C\].*got \[2\], \[1\] and \[2\]"),
        ({"targets": torch.tensor([1.0, -1.0])}, "targets must be finite and >= 0, got"),
        ({"targets": torch.tensor([])}, "with C > 0"),
    ],
)
def test_pseudo_label_choice_checks_its_arguments(change, message):
    given = {"utility": torch.zeros(2), "labels": torch.tensor([0, 1]), "targets": torch.ones(2)}
    with pytest.raises(ValueError, match=message):
        pseudo_label_choice(**(given | change), budget=1)


def test_pseudo_label_choice_by_hand():
    utility = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    assert pseudo_label_choice(utility, labels, torch.tensor([1.0, 1.0, 1.0]), 3).tolist() == [0, 3, 5]
    # class 2 has one image for two places: the best of the rest fills up
    assert pseudo_label_choice(utility, labels, torch.tensor([1.0, 0.0, 2.0]), 3).tolist() == [0, 1, 5]
    # 1.5 and 1.5: the remainder goes to the first class
    assert pseudo_label_choice(utility, labels, torch.tensor([1.5, 1.5, 0.0]), 3).tolist() == [0, 1, 3]
    # every class has enough: evenly
    assert pseudo_label_choice(utility, labels, torch.zeros(3), 3).tolist() == [0, 3, 5]


@pytest.mark.slow
@settings(max_examples=1000)
@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=15), st.lists(st.floats(0, 9), min_size=3, max_size=3), st.data()
)
def test_pseudo_label_choice_takes_what_it_can(labels, targets, data):
    budget = data.draw(st.integers(0, len(labels)))
    utility = torch.tensor(
        data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=len(labels), max_size=len(labels)))
    )
    chosen = pseudo_label_choice(utility, torch.tensor(labels), torch.tensor(targets), budget)
    assert len(chosen.unique()) == budget == len(chosen)
    values = utility[chosen].tolist()
    assert values == sorted(values, reverse=True)
    for label in range(3):  # within a class the best were taken
        own = [i for i in range(len(labels)) if labels[i] == label]
        taken = [i for i in own if i in chosen.tolist()]
        assert sorted(taken) == sorted(sorted(own, key=lambda i: (-float(utility[i]), i))[: len(taken)])


@given(st.lists(st.integers(0, 20), min_size=2, max_size=8).filter(any))
def test_l1_score_is_its_equation(counts):
    b, c = sum(counts), len(counts)
    worst = [b] + [0] * (c - 1)
    ratio = sum(abs(n - b / c) for n in counts) / sum(abs(n - b / c) for n in worst)
    assert l1_score(torch.tensor(counts)) == pytest.approx(ratio) and 0 <= ratio <= 1 + 1e-9


def test_l1_score_of_nothing_and_of_one_class():
    assert l1_score(torch.tensor([4])) == 0.0
    with pytest.raises(ValueError, match="counts must hold an image"):
        l1_score(torch.tensor([0, 0]))
