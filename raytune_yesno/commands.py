"""What each command does: read what was asked, call the library, say what came out.

Each takes the parsed options and the stream of results, prints for people unless JSON was asked
for, and returns the JSON object.
"""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import yaml

from raytune_yesno.config import Config, build_config
from raytune_yesno.display import Display, describe, format_value
from raytune_yesno.errors import InputError, Interrupted, WorkError
from raytune_yesno.settings import (
    DEFAULT_DATA,
    SETTINGS_FILE,
    build_plan,
    given_flags,
    given_stop_conditions,
    read_settings,
    refuse_flags,
    resume_command,
    resume_settings,
)

if TYPE_CHECKING:
    from raytune_yesno.corpus import Corpus
    from raytune_yesno.logs import Log
    from raytune_yesno.plan import Plan
    from raytune_yesno.study import Study


def corpus_fetch(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Download YESNO."""
    from raytune_yesno.download import URL, cache_folder, fetch
    from raytune_yesno.folder import read_folder

    folder = Path(options.folder or cache_folder())
    display = Display()
    try:
        fetched = fetch(folder, url=options.url or URL, progress=display.show_bytes)
    finally:
        display.close()
    corpus = read_folder(folder)
    _say(options, results, "downloaded and verified" if fetched else "already here", folder)
    return _describe_corpus(corpus, folder)


def corpus_synthesize(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Write the built-in corpus."""
    from raytune_yesno.synthetic import synthesize, write_corpus

    corpus = synthesize(options.recordings, options.seed)
    folder = write_corpus(corpus, options.folder)
    _say(options, results, f"{len(corpus)} recordings in", folder)
    return _describe_corpus(corpus, folder)


def corpus_check(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Report what is wrong with a corpus, all at once."""
    from raytune_yesno.corpus import Corpus
    from raytune_yesno.download import find_yesno
    from raytune_yesno.folder import Problem, check_folder
    from raytune_yesno.sources import load_corpus

    data = options.folder or options.data
    corpus: Corpus | None = None
    problems: list[Problem] = []
    if data.split(":")[0] == "synthetic":
        corpus = load_corpus(data)
    else:
        folder = find_yesno(Display().show_bytes) if data == "yesno" else Path(data)
        corpus, problems = check_folder(folder)
    for problem in problems:
        _say(options, results, problem)
    result: dict[str, Any] = {"recordings": 0, "words": 0, "fingerprint": None}
    if corpus:
        result = _describe_corpus(corpus, None)
        notes = "".join(f", {note}" for note in corpus.notes)
        _say(
            options,
            results,
            f"{corpus.source}: {len(corpus)} good recordings, {corpus.num_words} words, "
            f"fingerprint {corpus.fingerprint}{notes}",
        )
    result["problems"] = [str(problem) for problem in problems]
    return {**result, "exit_code": 2 if problems else 0}


def corpus_show(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Look at one recording: waveform, sample rate, labels, and a picture."""
    from raytune_yesno.picture import draw_text, save_picture
    from raytune_yesno.sources import load_corpus

    corpus = load_corpus(options.folder or options.data, skip_bad=options.skip_bad)
    if not 0 <= options.number < len(corpus):
        raise InputError(f"there is no recording {options.number}: they are 0 to {len(corpus) - 1}")
    waveform, sample_rate, labels = corpus[options.number]
    if options.picture:
        save_picture(waveform, corpus.names[options.number], Path(options.picture))
    _say(
        options,
        results,
        f"Waveform: {waveform}\nSample rate: {sample_rate}\nLabels: {labels}\n\n"
        f"{draw_text(waveform, width=76)}",
    )
    return {
        **_describe_corpus(corpus, None),
        "name": corpus.names[options.number],
        "samples": waveform.shape[-1],
        "sample_rate": sample_rate,
        "labels": labels,
    }


def train(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Train one model."""
    from raytune_yesno.session import ray_session

    settings = read_settings(options)
    flags = given_flags(options, num_workers=options.num_workers)
    if options.resume:
        refuse_flags(options, "out")
        out = Path(options.resume).absolute()
        settings, config = resume_settings(out, settings, flags)
    else:
        out = _new_folder(options.out, "runs")
        config = build_config(settings["config"], flags)
    corpus = _load_corpus(settings, options, config)
    saved = {"data": settings.get("data", DEFAULT_DATA), "config": config.as_dict()}
    began = time.monotonic()
    display = Display()
    try:
        if config.num_workers:
            with ray_session(options.address, num_cpus=options.num_cpus, num_gpus=options.num_gpus):
                run = _run_training(config, corpus, out, saved, display)
        else:
            run = _run_training(config, corpus, out, saved, display)
    except Interrupted as stop:
        raise Interrupted(stop.signum, resume_command("train", out / SETTINGS_FILE)) from None
    finally:
        display.close()
    if run.diverged:
        raise WorkError(
            f"{out}: the loss is no longer a number after epoch {len(run.history)}; a smaller "
            "learning_rate or a clip_norm may help"
        )
    best = min(run.history, key=lambda metrics: metrics.get("valid_loss", 0.0))
    result: dict[str, Any] = {
        "checkpoint": str(run.best),
        "last": str(run.last),
        "metrics": best,
        "history": run.history,
        "seconds": time.monotonic() - began,
        "workers": config.num_workers,
    }
    _say(options, results, f"best epoch {best['epoch']}: {describe(best)} (validation part)")
    _say(options, results, f"checkpoint: {run.best}")
    if config.task == "sine" and not config.hidden_layers:
        result["result"] = _describe_polynomial(run.last)
        _say(options, results, result["result"])
    return result


def tune(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Search, refit, test; or train one trial of a study again."""
    if options.replay:
        return _replay(options, results)
    from raytune_yesno.cluster.storage import check_shared
    from raytune_yesno.logs import open_logs
    from raytune_yesno.session import ray_session
    from raytune_yesno.store import STORE

    settings = read_settings(options)
    plan, out = (_plan_resumed if options.resume else _plan_new)(settings, options)
    plan.check()
    logs = open_logs(options.logs, out)
    corpus = _load_corpus(settings, options, plan.config)
    began = time.monotonic()
    try:
        with ray_session(options.address, num_cpus=options.num_cpus, num_gpus=options.num_gpus):
            check_shared(str(out))
            if not plan.ordered and plan.num_trials > 1:
                _note("fast, but not the same run after run: who is first counts (see --ordered)")
            study, refit = _search_and_refit(plan, corpus, out, settings, options, logs)
    except Interrupted as stop:
        raise Interrupted(stop.signum, resume_command("tune", out / STORE)) from None
    if plan.config.use_gpu and "cpu" in set(study.epochs.get("device", ())):
        _note("--use-gpu: torch found no GPU, so trials were trained on CPUs")
    best, efficiency = study.best, study.efficiency
    assert best
    assert efficiency
    for line in _describe_study(study, refit):
        _say(options, results, line)
    return {
        "study": str(study.path),
        "trials": len(study.trial_list),
        "reason": study.reason,
        "errors": sum(trial.status == "failed" for trial in study.trial_list),
        "best": {
            "trial": best.number,
            "config": {**study.asked["config"], **best.best_point},
            "metrics": best.metrics,
        },
        "refit": refit,
        "efficiency": efficiency.efficiency,
        "efficiency_split": vars(efficiency),
        "seconds": time.monotonic() - began,
    }


def _replay(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Train one trial of a study again and compare the figures."""
    from raytune_yesno.replay import describe_versions, find_replayable, run_replay
    from raytune_yesno.session import count_fitting, ray_session
    from raytune_yesno.study import load
    from raytune_yesno.tune import check_corpus

    given = set(vars(options)) - {"replay", "out", "data", "skip_bad", "address", "num_cpus"}
    given -= {"num_gpus", "json", "debug", "run", "command"}
    refuse_flags(options, *sorted(given), because="--replay trains as the study did")
    folder, text = options.replay
    try:
        number = int(text)
    except ValueError:
        raise InputError(f"--replay: {text!r} is no trial's number; give STUDY TRIAL") from None
    study = load(Path(folder))
    trial, config = find_replayable(study, number)
    out = _new_folder(options.out, "runs")
    data = {"data": options.data or study.asked["data"]}
    corpus = _load_corpus(data, options, config)
    check_corpus(study, corpus)
    display = Display()
    try:
        with ray_session(options.address, num_cpus=options.num_cpus, num_gpus=options.num_gpus):
            count_fitting(config)
            replay = run_replay(
                study,
                number,
                corpus,
                out,
                on_epoch=lambda metrics: display.show_epoch(metrics, len(trial.epochs)),
            )
    finally:
        display.close()
    if replay.difference:
        versions = describe_versions(study)
        raise WorkError(
            f"trial {number} of {study.path} came out otherwise: {replay.difference}"
            + (f" ({versions})" if versions else "")
            + f"; its checkpoint: {replay.run.best}"
        )
    _say(options, results, f"trial {number}: all {len(trial.epochs)} epochs came out the same")
    _say(options, results, f"checkpoint: {replay.run.best}")
    return {
        "study": str(study.path.absolute()),
        "trial": number,
        "checkpoint": str(replay.run.best),
        "history": replay.run.history,
    }


def _plan_resumed(settings: dict[str, Any], options: Namespace) -> tuple["Plan", Path]:
    """Return the plan of the study that is to go on, and its folder."""
    from raytune_yesno.plan import Plan
    from raytune_yesno.stopping import StopConditions
    from raytune_yesno.study import load

    fixed = ("out", "config", "assignments", "epochs", "seed", "use_gpu", "trials", "search")
    refuse_flags(options, *fixed, "scheduler", "space", "workers_per_trial", "max_concurrent")
    refuse_flags(options, "warm_start", "ordered", "point")
    out = Path(options.resume).absolute()
    study = load(out)
    if study.refit and options.add_trials is None:
        raise InputError(
            f"{out}: this study is finished; there is nothing to resume (--add-trials N gives it "
            "N more)"
        )
    plan = Plan.from_study(study)
    # What ended the study before would end it again at once.
    kept = vars(plan.stop) if options.add_trials is None else {}
    plan = replace(plan, stop=StopConditions(**{**kept, **given_stop_conditions(options)}))
    if options.add_trials is not None:
        plan.extend(study, options.add_trials)
    settings["data"] = options.data or study.asked["data"]
    return plan, out


def _plan_new(settings: dict[str, Any], options: Namespace) -> tuple["Plan", Path]:
    """Return the plan of a new study, and its folder."""
    from raytune_yesno import warm_start
    from raytune_yesno.study import load_all

    out = _new_folder(options.out, "studies")
    if options.add_trials is not None:
        raise InputError("--add-trials: of which study? give --resume STUDY, too")
    plan = build_plan(settings, options)
    if options.warm_start:
        known = warm_start.gather(load_all(options.warm_start), plan.space)
        plan = replace(plan, warm_start=known)
        for line in warm_start.describe(known):
            _note(f"--warm-start: {line}")
    return plan, out


def _search_and_refit(
    plan: "Plan",
    corpus: "Corpus | None",
    out: Path,
    settings: Mapping[str, Any],
    options: Namespace,
    logs: "Sequence[Log]",
) -> tuple["Study", dict[str, Any]]:
    from raytune_yesno.logs import follow_study
    from raytune_yesno.tune import run_refit, run_search

    display = Display()
    try:
        with follow_study(logs, out, _note) as listen:
            study = run_search(
                plan,
                corpus,
                out,
                data=settings.get("data", DEFAULT_DATA),
                resume=bool(options.resume),
                add_trials=options.add_trials or 0,
                on_progress=display.show_search,
                listen=listen,
            )
    finally:
        display.close()
    if study.reason:
        _note(f"the search has ended: {study.reason}")
    best = study.best
    if best is None:
        raise WorkError(_explain_no_result(study))
    epochs = best.metrics["epoch"]
    _note(f"refitting trial {best.number} for {epochs} epochs")
    display = Display()
    try:
        refit = run_refit(
            study, corpus, on_epoch=lambda metrics: display.show_epoch(metrics, epochs)
        )
    finally:
        display.close()
    return study, refit


def _describe_study(study: "Study", refit: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that say what a study came to."""
    best, efficiency = study.best, study.efficiency
    assert best
    assert efficiency
    yield f"\nbest config (trial {best.number} of {len(study.trial_list)}):"
    for key, value in best.best_point.items():
        yield f"  {key}: {format_value(value)}"
    yield f"validation: {describe(best.metrics)}"
    if test := refit.get("test"):
        wrong = test["substitutions"] + test["insertions"] + test["deletions"]
        yield f"test: word error rate {test['wer']:.2%} ({wrong} of {test['words']} words)"
    yield (
        f"slots {efficiency.efficiency:.0%} in training, {efficiency.startup:.0%} starting, "
        f"{efficiency.reporting + efficiency.gaps:.0%} between epochs and trials, "
        f"{efficiency.tail:.0%} idle at the end"
    )
    yield f"study: {study.path}"
    yield f"checkpoint: {refit['checkpoint']}"


def evaluate(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Read a part of a corpus with a checkpoint's model and count the word errors."""
    from raytune_yesno.picture import format_ladder, save_ladder
    from raytune_yesno.recognizer import Recognizer, climb_ladder
    from raytune_yesno.recognizer import evaluate as evaluate_recognizer
    from raytune_yesno.sources import load_corpus

    recognizer = Recognizer.load(options.checkpoint)
    corpus = load_corpus(options.data, skip_bad=options.skip_bad, progress=Display().show_bytes)
    figures = evaluate_recognizer(recognizer, corpus, options.split)
    _say(
        options,
        results,
        f"word error rate {figures['wer']:.2%} on {figures['words']} words, part {options.split!r} "
        f"of {corpus.source}: {figures['substitutions']} substitutions, "
        f"{figures['insertions']} insertions, {figures['deletions']} deletions",
    )
    display = Display()
    by_snr = climb_ladder(recognizer, corpus, options.split, display.show_count)
    display.close()
    _say(options, results, "\n" + format_ladder(by_snr))
    if options.picture:
        save_ladder(by_snr, figures["wer"], Path(options.picture))
    return {
        **figures,
        "by_snr": by_snr,
        "split": options.split,
        "corpus": {"source": corpus.source, "fingerprint": corpus.fingerprint},
    }


def predict(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Read recordings with a checkpoint's model."""
    import torch

    from raytune_yesno.recognizer import Recognizer
    from raytune_yesno.recording import read_recording

    recognizer = Recognizer.load(options.checkpoint)
    files = []
    for path in options.files:
        samples = read_recording(sys.stdin.buffer if path == "-" else path)
        words = recognizer.transcribe(torch.from_numpy(samples))
        heard = " ".join(word.word for word in words) or "(nothing)"
        _say(options, results, f"{path}: {heard}" if len(options.files) > 1 else heard)
        for word in words:
            _say(
                options,
                results,
                f"  {word.start_s:6.2f} s  {word.end_s:6.2f} s  {word.word:<3}  "
                f"{word.confidence:.3f}",
            )
        name = path if path == "-" else str(Path(path).absolute())
        files.append({"path": name, "words": [word.as_dict() for word in words]})
    return {"files": files}


def report(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Write what studies say: leaderboard, table, web page."""
    from raytune_yesno.report.command import run_report

    return run_report(options, lambda *words: _say(options, results, *words), _note)


def doctor(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Look for what would stop or spoil a study, before it starts."""
    from raytune_yesno.doctor import Check, examine_cluster, examine_machine
    from raytune_yesno.session import ray_session

    checks: list[Check] = []

    def take(found: Iterator[Check]) -> None:
        for check in found:
            checks.append(check)
            _say(options, results, check)

    take(examine_machine(options.data))
    address = options.address or os.environ.get("RAY_ADDRESS")
    if address:
        try:
            with ray_session(address):
                take(examine_cluster(options.out))
        except InputError as error:
            take(iter([Check("cluster", "problem", str(error))]))
    else:
        said = "none asked for; `tune` starts one on this machine"
        take(iter([Check("cluster", "ok", said, "--address auto looks at the one that runs")]))
    ok = not any(check.status == "problem" for check in checks)
    return {"ok": ok, "checks": [vars(check) for check in checks], "exit_code": 0 if ok else 1}


def _say(options: Namespace, results: TextIO, *words: object) -> None:
    """Print a result for people, unless JSON was asked for: then it goes to standard error."""
    print(*words, file=sys.stderr if options.json else results, flush=True)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _describe_corpus(corpus: "Corpus", folder: Path | None) -> dict[str, Any]:
    where = {"folder": str(folder.absolute())} if folder else {}
    return {
        "recordings": len(corpus),
        "words": corpus.num_words,
        "fingerprint": corpus.fingerprint,
        "problems": [],
        **where,
    }


def _run_training(
    config: Config,
    corpus: "Corpus | None",
    out: Path,
    settings: dict[str, Any],
    display: Display,
) -> Any:
    from raytune_yesno.session import count_fitting
    from raytune_yesno.train import LAST, run_training

    if config.num_workers:
        count_fitting(config)
    out.mkdir(parents=True, exist_ok=True)
    (out / SETTINGS_FILE).write_text(yaml.safe_dump(settings, sort_keys=False))
    return run_training(
        config,
        corpus,
        out,
        resume=(out / LAST).exists(),  # there is none if the first epoch was cut off
        on_epoch=lambda metrics: display.show_epoch(metrics, config.epochs),
    )


def _load_corpus(
    settings: Mapping[str, Any], options: Namespace, config: Config
) -> "Corpus | None":
    """Read the corpus, once; None where the task has none."""
    if config.task != "yesno":
        return None
    from raytune_yesno.corpus import split_corpus
    from raytune_yesno.sources import load_corpus

    display = Display()
    data = settings.get("data", DEFAULT_DATA)
    corpus = load_corpus(data, skip_bad=options.skip_bad, progress=display.show_bytes)
    display.close()
    split_corpus(corpus, seed=config.seed)
    for note in corpus.notes:
        _note(f"{corpus.source}: {note}")
    return corpus


def _new_folder(out: str | None, kind: str) -> Path:
    """Return the folder to write: what was asked for, or one named by the time."""
    if out and "://" in out:
        raise InputError(
            f"--out {out}: give a folder, one that all machines reach; what it holds may be copied "
            "to such a storage afterwards, where `report` reads it"
        )
    folder = Path(out) if out else Path(kind) / time.strftime("%Y-%m-%d_%H-%M-%S")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"--out {folder}: it exists and is not empty; give a new folder, or --resume {folder}"
        )
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder}: {existing} is no folder that can be written to")
    return folder


def _describe_polynomial(checkpoint: Path) -> str:
    """Return the tutorial's last line: y = a + b x + c x^2 + d x^3."""
    from raytune_yesno.checkpoint import load_checkpoint

    weights = load_checkpoint(checkpoint).state_dict
    b, c, d = weights["0.weight"][0].tolist()
    return f"Result: y = {weights['0.bias'].item()} + {b} x + {c} x^2 + {d} x^3"


def _explain_no_result(study: Any) -> str:
    failed = [trial for trial in study.trial_list if trial.status == "failed"]
    cause = f"; the first failure: {failed[0].error}" if failed else ""
    return f"{study.path}: no trial came to a result{cause}"
