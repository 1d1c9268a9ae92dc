"""The command ``train``: train one model."""

import contextlib
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from raytune_yesno.commands.common import (
    announce,
    read_data,
    remark_on_data,
    with_resume_hint,
)
from raytune_yesno.commands.display import Display, Printer, describe
from raytune_yesno.commands.next_steps import suggest_uses
from raytune_yesno.commands.output_folders import advise_on_others, is_begun, open_folder
from raytune_yesno.commands.recorded_run import (
    SETTINGS_FILE,
    read_recorded,
    resume_settings,
    select_fixed,
)
from raytune_yesno.commands.settings import (
    DEFAULT_DATA,
    check_task,
    config_help,
    declare_settings,
    given_flags,
    read_settings,
    read_space,
    read_task_name,
    refuse_data,
    refuse_flags,
)
from raytune_yesno.config import Config, build_config
from raytune_yesno.errors import InputError, WorkError, escape_controls
from raytune_yesno.files.atomic import replace_file
from raytune_yesno.study.store import name_command
from raytune_yesno.task_registry import TASKS

if TYPE_CHECKING:
    from raytune_yesno.training.run import Run


def train(options: Namespace, say: Printer) -> dict[str, Any]:
    """Train one model, or resume its training; return the JSON object."""
    if options.help_config:
        return _list_keys(options, say)
    announce(options, "loading PyTorch and Ray")
    if options.resume:
        refuse_flags(options, "out", "fresh")
    if options.fresh:  # renames earlier work, which a wrong setting should not
        refuse_data(options, _build_config(read_settings(options), options).task)
    with open_folder(
        options.out, "runs", resume=options.resume, record=SETTINGS_FILE, fresh=options.fresh
    ) as folder:
        out = folder.path
        settings, config = _read_config(options, out)
        data = read_data(settings, options, config)
        from raytune_yesno.training.run import run_training

        began = time.monotonic()
        with (
            Display(quiet=options.quiet) as display,
            with_resume_hint("train", out / SETTINGS_FILE, task=config.task),
            _workers(config, out, options),
        ):
            resume = _has_checkpoint(config, out)
            _record_settings(out, settings, config)
            remark_on_data(data, config)
            announce(options, "starting the workers" if config.num_workers else "training")
            run = run_training(
                config,
                data,
                out,
                resume=resume,
                on_epoch=lambda epoch: display.show_epoch(epoch, config.epochs, config.objective),
                note=display.remark,
            )
        return _finish(run, config, out, say, began)


def _list_keys(options: Namespace, say: Printer) -> dict[str, Any]:
    """Print the config keys of a task."""
    say(text := config_help(read_task_name(options)))
    return {"help": text}


def _build_config(settings: Mapping[str, Any], options: Namespace) -> Config:
    declaration = declare_settings(settings, options, read_space(settings, options) or {})
    return build_config(settings["config"], given_flags(options), declaration=declaration)


def _read_config(options: Namespace, out: Path) -> tuple[dict[str, Any], Config]:
    """Return the settings and the config of a run: new ones, or those recorded in its folder."""
    if options.resume:
        if options.task:
            TASKS.trust(options.task)
        _, before = read_recorded(out)
        check_task(options.task, before.task, str(out))
        settings = read_settings(options, before)
        return resume_settings(out, settings, given_flags(options))
    settings = read_settings(options)
    config = _build_config(settings, options)
    if is_begun(out, SETTINGS_FILE):
        recorded, before = read_recorded(out)
        now = {"data": settings.get("data", DEFAULT_DATA), **select_fixed(config)}
        begun_with = {"data": recorded["data"], **select_fixed(before)}
        if _has_trained(out):
            from raytune_yesno.tuning.continuation import check_same_settings, compare

            advice = advise_on_others("train", str(out), before.task)
            check_same_settings(compare(now, begun_with), f"--out {out}", advice)
            settings = {"skip_bad": recorded.get("skip_bad"), **settings}
    return settings, config


@contextlib.contextmanager
def _workers(config: Config, out: Path, options: Namespace) -> Iterator[None]:
    """Use the Ray cluster of a run with workers; check that they fit.

    Raises:
        InputError: the cluster has no room for them, or without workers, there is no GPU here or a
            cluster is asked for.
    """
    from raytune_yesno.cluster.session import check_utf8, count_fitting, ray_session
    from raytune_yesno.training.loop import require_accelerator

    if not config.num_workers:
        here = "a run without workers trains in this process"
        refuse_flags(options, "address", "num_cpus", "num_gpus", because=here)
        require_accelerator(config)
        yield
        return
    check_utf8(str(out))
    announce(options, "connecting to Ray" if options.address else "starting Ray")
    with ray_session(options.address, num_cpus=options.num_cpus, num_gpus=options.num_gpus):
        count_fitting(config)
        yield


def _has_trained(out: Path) -> bool:
    """Return whether a run has a checkpoint; one interrupted in its first epoch has none."""
    from raytune_yesno.training.resume import BEST, LAST

    return any((out / name).exists() for name in (LAST, BEST))


def _has_checkpoint(config: Config, out: Path) -> bool:
    """Return whether a run has a checkpoint to resume.

    Raises:
        InputError: it has trained more epochs than the config asks for.
    """
    from raytune_yesno.training.resume import count_epochs, find_resumable

    if not _has_trained(out):
        return False
    if config.epochs < (trained := count_epochs(find_resumable(out)[0])):
        raise InputError(
            f"epochs: {out} has trained {trained} epochs, more than {config.epochs}; give at "
            f"least {trained}, or start a new run"
        )
    return True


def _record_settings(out: Path, settings: Mapping[str, Any], config: Config) -> None:
    """Write the settings of a run into its folder, from which it is resumed."""
    out.mkdir(parents=True, exist_ok=True)
    saved = {
        "data": settings.get("data", DEFAULT_DATA),
        "config": config.as_dict(),
        **name_command(),
    }
    if settings.get("skip_bad"):
        saved["skip_bad"] = True
    with replace_file(out / SETTINGS_FILE) as part:  # a kill must not leave half a file
        part.write_text(yaml.safe_dump(saved, sort_keys=False))


def _finish(run: "Run", config: Config, out: Path, say: Printer, began: float) -> dict[str, Any]:
    """Print the result of a run and return the JSON object."""
    from raytune_yesno.training.resume import find_best

    if run.diverged:
        raise WorkError(
            f"{out}: the loss is not finite after epoch {len(run.history)}; try a smaller "
            "learning_rate or a clip_norm"
        )
    best = find_best(config.objective, run.history)
    result: dict[str, Any] = {
        "checkpoint": str(run.best),
        "last": str(run.last),
        "metrics": best,
        "history": run.history,
        "seconds": time.monotonic() - began,
        # For an elastic run, the workers of its last epoch.
        "workers": run.history[-1].get("world_size") if config.is_elastic else config.num_workers,
    }
    figures = describe(best, config.objective)
    say(f"best epoch {best['epoch']}: {figures} (validation part)")
    say(escape_controls(f"checkpoint: {run.best}"))
    if lines := _describe_model(config, run.last):
        result["result"] = "\n".join(lines)
        say(result["result"])
    if uses := list(suggest_uses(config.task, str(run.best))):
        say("\n  ".join(["next:", *uses]))
    return result


def _describe_model(config: Config, checkpoint: Path) -> list[str]:
    """Return the lines with which the task describes a trained model."""
    from raytune_yesno.checkpoint import load_checkpoint

    say_more = config.declaration.describe_model
    return list(say_more(config, load_checkpoint(checkpoint).state_dict)) if say_more else []
