"""The comparison of studies, computed once for the page and the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from raytune_yesno.report.attainment import Attainment, measure_attainment
from raytune_yesno.report.study_groups import Difference, Group, compare_groups, group_studies
from raytune_yesno.study import Study, name_studies


@dataclass(frozen=True)
class Comparison:
    """How studies compare. The tests take time: each tries up to 10,000 assignments.

    Attributes:
        names: a name per study.
        groups: the studies that are repetitions of each other.
        differences: the differences between the groups.
        attained: what each group attains in two objectives; empty for a single study.
    """

    names: Sequence[str]
    groups: Sequence[Group]
    differences: Sequence[Difference]
    attained: Sequence[Attainment]


def compare_studies(studies: Sequence[Study]) -> Comparison:
    """Return the comparison of one or more studies."""
    groups = group_studies(studies)
    attained = measure_attainment(studies, groups) if len(studies) > 1 else []
    return Comparison(name_studies(studies), groups, compare_groups(groups), attained)
