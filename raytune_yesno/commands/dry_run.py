"""``tune --dry-run``: print the plan of a study, with estimates of its time and disk space."""

import os
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_yesno.commands.common import announce, read_data
from raytune_yesno.commands.display import Printer
from raytune_yesno.commands.output_folders import refuse_fresh_uri
from raytune_yesno.commands.plans import check_new_study
from raytune_yesno.commands.settings import build_plan, read_settings, refuse_flags
from raytune_yesno.config import build_config
from raytune_yesno.space import walk
from raytune_yesno.text import format_seconds

if TYPE_CHECKING:
    from raytune_yesno.config import Config
    from raytune_yesno.tasks.task import Data

_CHECKPOINTS_PER_TRIAL = 2  # of a trial that runs or is kept; the refit keeps two as well


def dry_run(options: Namespace, say: Printer) -> dict[str, Any]:
    """Print what ``tune`` would do; train one epoch to estimate the time. Nothing is kept.

    Raises:
        InputError: the settings are invalid, or the study is one to resume.
    """
    changes = ("resume", "add_trials", "retry", "top", "replay")
    refuse_flags(options, *changes, because="--dry-run plans a new study")
    if options.fresh:
        refuse_fresh_uri(options.out)
    settings = read_settings(options)
    plan = build_plan(settings, options)
    check_new_study(plan, options)
    data = read_data(settings, options, plan.config)
    slots = plan.limit_slots(_count_slots(plan.config, options))
    announce(options, "training one epoch to estimate the time")
    first = plan.build_algorithm().suggest(0, [])
    epoch_s, checkpoint_bytes = _measure(build_config(plan.config, first), data)
    epochs = plan.config.epochs
    rounds = -(-plan.num_trials // slots) - (-plan.num_final // slots) + 1  # the last: the refit
    total_s = epoch_s * epochs * rounds
    num_trials = plan.num_trials + plan.num_final
    disk = (
        checkpoint_bytes
        * _CHECKPOINTS_PER_TRIAL
        * (slots + 1 + min(plan.keep_checkpoints, num_trials))
    )
    final = f" and {plan.num_final} of the final round" if plan.num_final else ""
    names = list(dict.fromkeys(name for name, _, _ in walk(plan.space)))
    lines = [
        f"trials: {plan.num_trials}{final}, search {plan.search}, scheduler {plan.scheduler}",
        f"space: {len(names)} hyperparameters ({', '.join(names)})",
        f"slots: {slots}, workers per trial: {plan.config.min_workers}",
        f"epochs: {epochs} per trial, at most {num_trials * epochs} in all",
        f"time: at most {format_seconds(total_s)} at {epoch_s:.2g} s per epoch of the "
        "first trial (early stopping shortens it, other configs change it)",
        f"disk: about {disk / 1e6:.1f} MB for checkpoints while it runs",
    ]
    for line in lines:
        say(line)
    return {
        "trials": plan.num_trials,
        "final_trials": plan.num_final,
        "slots": slots,
        "epochs": epochs,
        "seconds": total_s,
        "epoch_seconds": epoch_s,
        "disk_bytes": disk,
    }


def _count_slots(config: "Config", options: Namespace) -> int:
    """Return how many trials fit at a time on the given cluster, or on this machine.

    Raises:
        InputError: not even one trial fits.
    """
    from raytune_yesno.cluster.session import count_fitting, describe_machine, ray_session

    if options.address or os.environ.get("RAY_ADDRESS"):
        with ray_session(options.address, num_cpus=options.num_cpus, num_gpus=options.num_gpus):
            return count_fitting(config)
    return count_fitting(config, describe_machine(options.num_cpus, options.num_gpus))


def _measure(config: "Config", data: "Data | None") -> tuple[float, int]:
    """Return the seconds of an epoch on one worker, and the bytes of a checkpoint."""
    from raytune_yesno.tasks.task import open_records

    with tempfile.TemporaryDirectory() as folder:
        record = next(open_records(config, data))
        record.save(Path(folder, "checkpoint"))
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        return record.metrics["seconds"], sum(path.stat().st_size for path in files)
