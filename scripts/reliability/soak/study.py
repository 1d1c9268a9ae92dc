"""A long study under faults, and whether anything grows with it."""

import hashlib
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared import align_table

from raytune_yesno.study import load
from reliability.chaos.campaign import Campaign
from reliability.chaos.compare import find_differing, find_miscounted
from reliability.chaos.kinds import FAULTS
from reliability.chaos.study import SMALL, Study
from reliability.soak.watch import FIGURES, measure, measure_disk, summarize

MIX = {
    "trial killed": 12,
    "trial stopped": 4,
    "checkpoint damaged": 4,
    "node killed": 2,
    "driver killed": 1,
    "interrupted": 1,
}
"""The faults, and how often each is drawn."""
COMPARED = 100  # of the first trials, with those of a study left alone
_SAMPLE_S = 10.0
# Trials at random and unscheduled: the first ones are the same however many follow.
_SETTINGS = ("--data", "synthetic:20", "--search", "random", "--scheduler", "fifo", *SMALL)


def soak(
    campaign: Campaign, trials: int, every_s: float, deadline: float
) -> Iterator[dict[str, Any]]:
    """Run the study; yield a line a sample, a line a fault, and at the end one with the problems.

    Args:
        every_s: mean time between a recovery and the next fault.
        deadline: on the monotonic clock; no fault is injected later.
    """
    draw = random.Random(f"{campaign.seed} soak")
    place = campaign.work / "soak"
    place.mkdir()
    alone = _build_study(campaign, place / "alone", COMPARED)
    alone.begin()
    problems = alone.finish()
    before = campaign.cluster.list_temporary()
    study = _build_study(campaign, place / "study", trials)
    began = time.monotonic()
    study.begin()
    kept: list[tuple[int, str]] = []
    try:
        while study.command.is_running:
            yield _sample(study, began)
            moment = time.monotonic() + min(draw.expovariate(1 / every_s), _SAMPLE_S)
            study.command.wait_until(lambda moment=moment: time.monotonic() > moment, 60)
            if time.monotonic() > deadline or not study.events():
                continue
            kept.append(_digest(study.records))
            if line := _inject(study, draw):
                yield line
                if not line["recovered"]:
                    break
        problems += study.finish()
    finally:
        study.end()
    yield _sample(study, began)
    problems += find_miscounted(study.out, trials)
    problems += find_differing(load(study.out), load(alone.out), min(trials, COMPARED))[1]
    if any(_digest(study.records, length) != (length, digest) for length, digest in kept):
        problems.append("earlier records changed")
    yield {"trials": trials, "problems": problems + campaign.find_left(before)}


def _build_study(campaign: Campaign, out: Path, trials: int) -> Study:
    return Study(campaign.cluster, out, campaign.seed, trials=trials, epochs=2, settings=_SETTINGS)


def _inject(study: Study, draw: random.Random) -> dict[str, Any] | None:
    """Inject one fault and wait until the study has recovered; None where there was none to hit."""
    (fault,) = draw.choices(list(MIX), list(MIX.values()))
    began = time.monotonic()
    line = {"fault": fault, "recovered": True, "lost": 0, "problems": list[str]()}
    try:
        recovered = FAULTS[fault](study, draw)
        if recovered is None:
            return None
        study.await_recovery(recovered)
    except TimeoutError as error:
        line |= {"recovered": False, "problems": [str(error)]}
    return {**line, "seconds": round(time.monotonic() - began, 2)}


def _sample(study: Study, began: float) -> dict[str, Any]:
    ended = sum(event["event"] == "ended" for event in study.events())
    disk = measure_disk(study=study.out, cluster=study.cluster.folder)
    return {
        "seconds": round(time.monotonic() - began, 1),
        "ended": ended,
        "taken": {**measure(study.cluster, study.command.process.pid), "disk": disk},
    }


def _digest(file: Path, length: int | None = None) -> tuple[int, str]:
    """Return the length and the digest of a file's whole lines, or of its first bytes."""
    data = file.read_bytes()
    length = data.rfind(b"\n") + 1 if length is None else length
    return length, hashlib.sha256(data[:length]).hexdigest()


def format_growth(results: list[dict[str, Any]]) -> str:
    """Return a Markdown table of what was taken as the trials went by."""
    samples = [line for line in results if "taken" in line]
    if not samples:
        return ""
    rows = []
    for role in sorted({role for sample in samples for role in sample["taken"]}):
        figures = FIGURES if role != "disk" else tuple(samples[-1]["taken"]["disk"])
        for figure in figures:
            quarters = summarize(samples, role, figure)
            if any(math.isnan(value) for value in quarters):
                continue
            rows.append((f"{role}: {figure}", *(f"{value:,.1f}" for value in quarters)))
    return align_table(
        (f"of {samples[-1]['ended']:,} trials", "25–50 %", "50–75 %", "75–100 %"), rows
    )
