"""Read a study, or any Ray Tune experiment: ``load``, ``load_all``, ``join_trials``."""

from raytune_yesno.study.load import load, load_all
from raytune_yesno.study.study import METRIC, Study, Trial, join_trials, name_studies

__all__ = ["METRIC", "Study", "Trial", "join_trials", "load", "load_all", "name_studies"]
