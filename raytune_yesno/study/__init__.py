"""Read studies and Ray Tune experiments.

Example:
    >>> from raytune_yesno.study import load
    >>> study = load("studies/first")  # doctest: +SKIP
    >>> study.best.metrics, study.trials.head()  # doctest: +SKIP
"""

from raytune_yesno.study.load import load, load_all
from raytune_yesno.study.study import Study, join_trials, name_studies
from raytune_yesno.study.trial import Trial

__all__ = ["Study", "Trial", "join_trials", "load", "load_all", "name_studies"]
