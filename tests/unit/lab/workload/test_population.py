"""Who may write which point, and in which version."""

from collections import Counter
from contextlib import ExitStack
from random import Random

from aeterna_cli.lab.workload.population import Population


def test_a_point_is_never_taken_twice_at_once() -> None:
    population, random = Population(), Random(1)  # noqa: S311 - not for secrets
    population.prepared(30)
    for _ in range(50):
        with ExitStack() as stack:
            taken = [stack.enter_context(population.taken(random)).number for _ in range(20)]
            assert len(set(taken)) == 20


def test_versions_grow_by_one_over_deletes_and_new_inserts_and_the_size_stays() -> None:
    population, random = Population(), Random(2)  # noqa: S311 - not for secrets
    population.prepared(200)
    versions: Counter[int] = Counter(dict.fromkeys(range(200), 1))
    alive = dict.fromkeys(range(200), True)
    kinds: Counter[str] = Counter()
    for moment in range(5000):
        with population.taken(random) as work:
            for kind in work.kinds:
                assert alive.get(work.number, False) == (kind != "insert")
                one = population.intend(work.number, kind, moment)
                assert one.version == versions[work.number] + 1
                versions[work.number] = one.version
                population.acknowledged(one)
                alive[work.number] = one.alive
                kinds[kind] += 1
    assert min(kinds[kind] for kind in ("insert", "update", "payload", "delete")) > 200
    assert 50 < sum(alive.values()) < 800


def test_what_was_set_aside_is_not_written_again_but_read() -> None:
    population, random = Population(), Random(3)  # noqa: S311 - not for secrets
    population.prepared(3)
    for number in range(3):
        population.set_aside(number)
    numbers = set()
    for _ in range(50):
        with population.taken(random) as work:
            numbers.add(work.number)
    assert not numbers & {0, 1, 2}
    seen = [population.glimpse(random) for _ in range(1000)]
    assert {one.number for one in seen if one} == {0, 1, 2}


def test_a_glimpse_tells_what_is_on_its_way() -> None:
    population = Population()
    population.prepared(1)
    one = population.intend(0, "delete", 5)
    seen = population.look(0)
    assert (seen.started, seen.certain, seen.deleted) == (2, 1, 2)
    population.acknowledged(one)
    assert population.look(0).certain == 2
