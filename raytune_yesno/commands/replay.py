"""``tune --replay``: train one trial of a study again and compare its metrics with the record."""

from argparse import Namespace
from functools import partial
from typing import Any

from raytune_yesno.commands.common import read_data
from raytune_yesno.commands.display import Display, Printer
from raytune_yesno.commands.output_folders import open_folder
from raytune_yesno.commands.settings import check_task, refuse_flags
from raytune_yesno.config import Config
from raytune_yesno.errors import InputError, WorkError, one_line
from raytune_yesno.task_registry import TASKS
from raytune_yesno.text import plural

_ALLOWED = {
    *("replay", "task", "out", "data", "skip_bad", "address", "num_cpus", "num_gpus"),
    *("no_report", "quiet", "json", "debug", "run", "command"),
}
"""Options that may be given; those not named here set what the record of the study holds."""


def replay(options: Namespace, say: Printer) -> dict[str, Any]:
    """Train one trial of a study again and compare its metrics with the record."""
    from raytune_yesno.cluster.session import count_fitting, ray_session
    from raytune_yesno.study import load
    from raytune_yesno.tasks.task import check_same_data, left_out_bad
    from raytune_yesno.tuning.replay import describe_versions, find_replayable, run_replay

    given = set(vars(options)) - _ALLOWED
    refuse_flags(options, *sorted(given), because="--replay uses the settings of the study")
    folder, text = options.replay
    try:
        number = int(text)
    except ValueError:
        raise InputError(f"--replay: {text!r} is not a trial number; give STUDY TRIAL") from None
    if options.task:
        TASKS.trust(options.task)
    study = load(folder)
    check_task(options.task, str(study.config.get("task", Config.task)), folder)
    trial, config = find_replayable(study, number)
    settings = {
        "data": options.data or study.settings["data"],
        "skip_bad": options.skip_bad or left_out_bad(study.settings.get("corpus")),
    }
    data = read_data(settings, options, config)
    check_same_data(data, study.settings.get("corpus", {}), f"{study.path}: this study")
    with (
        Display(quiet=options.quiet) as display,
        open_folder(options.out, "runs") as out,
        ray_session(options.address, num_cpus=options.num_cpus, num_gpus=options.num_gpus),
    ):
        count_fitting(config)
        show = partial(display.show_epoch, epochs=len(trial.epochs), objective=config.objective)
        outcome = run_replay(study, number, data, out.path, on_epoch=show)
    if outcome.difference:
        versions = describe_versions(study)
        raise WorkError(
            f"trial {number} of {study.path} was not reproduced: {outcome.difference}"
            + (f" ({versions})" if versions else "")
            + f"; its checkpoint: {outcome.run.best}"
        )
    say(
        f"trial {number}: all {plural(len(trial.epochs), 'epoch')} reproduced",
    )
    say(one_line(f"checkpoint: {outcome.run.best}"))
    return {
        "study": str(study.path.absolute()),
        "trial": number,
        "checkpoint": str(outcome.run.best),
        "history": outcome.run.history,
    }
