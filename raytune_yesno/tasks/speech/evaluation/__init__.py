"""Measurements of ``evaluate``: word errors by condition, false alarms, calibration and cost.

Error rates, false alarms and calibration errors have 95 % intervals. Nothing here is used in
training, so that conditions and sounds stay unseen.
"""

from raytune_yesno.tasks.speech.evaluation.calibration import measure_calibration
from raytune_yesno.tasks.speech.evaluation.cost import measure_cost
from raytune_yesno.tasks.speech.evaluation.false_alarms import (
    WORDLESS,
    WORDLESS_RMS,
    alarm_rate,
    build_wordless,
    measure_wordless,
)
from raytune_yesno.tasks.speech.evaluation.robustness import (
    ConditionResult,
    describe_conditions,
    describe_groups,
    describe_noise,
    measure_conditions,
    select_conditions,
)
from raytune_yesno.tasks.speech.evaluation.word_errors import (
    Reading,
    describe_words,
    evaluate,
    measure_rejection,
    read_part,
    summarize,
    wer_interval,
)

__all__ = [
    "WORDLESS",
    "WORDLESS_RMS",
    "ConditionResult",
    "Reading",
    "alarm_rate",
    "build_wordless",
    "describe_conditions",
    "describe_groups",
    "describe_noise",
    "describe_words",
    "evaluate",
    "measure_calibration",
    "measure_conditions",
    "measure_cost",
    "measure_rejection",
    "measure_wordless",
    "read_part",
    "select_conditions",
    "summarize",
    "wer_interval",
]
