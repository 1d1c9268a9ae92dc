"""An option that would have no effect is refused, with its name."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.commands import Ended

from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.load import load_corpus
from raytune_yesno.training.loop import fit

OWN = ("evaluate", "c", "--task", "own.py:Own")
ONPREM = "cluster/onprem.yaml"


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        ((*OWN, "--split", "train"), "--split"),
        ((*OWN, "--conditions", "none"), "--conditions"),
        ((*OWN, "--wordless", "0"), "--wordless"),
        ((*OWN, "--min-confidence", "0"), "--min-confidence"),
        ((*OWN, "--picture", "p.png"), "--picture"),
        (("predict", "c", "--sample", "--raw", "0"), "--raw"),
        (("predict", "c", "--sample", "--stream"), "--stream"),
        (("corpus", "check", "here", "--data", "there"), "--data"),
        (("corpus", "show", "0", "here", "--data", "there"), "--data"),
        (("train", "--task", "sine", "--num-workers", "0", "--address", "auto"), "--address"),
        (("train", "--task", "sine", "--num-workers", "0", "--num-cpus", "0"), "--num-cpus"),
        (("train", "--task", "sine", "--num-workers", "0", "--num-gpus", "1"), "--num-gpus"),
        (("tune", "--dry-run", "--replay", "study", "0"), "--replay"),
        (("tune", "--replay", "study", "0", "--seed", "0"), "--seed"),
        (("tune", "--replay", "study", "0", "--fresh", "--out", "new"), "--fresh"),
        (("tune", "--replay", "study", "0", "--checkpoint-every", "5"), "--checkpoint-every"),
        (("tune", "--resume", "study", "--seed", "0"), "--seed"),
        (("launch", ONPREM, "--attach", "--shared", "there"), "--shared"),
        (("launch", ONPREM, "--down", "--keep"), "--keep"),
        (("launch", ONPREM, "--down", "--shared", "there"), "--shared"),
    ],
)
def test_an_option_without_effect_is_refused(
    words: tuple[str, ...], flag: str, run: Callable[..., Ended], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if words[0] != "launch":
        monkeypatch.chdir(tmp_path)
    ended = run(*words)
    assert ended.code == 2
    assert f"{flag}:" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_raw_samples_at_no_rate_are_refused(run: Callable[..., Ended], tmp_path: Path) -> None:
    config = build_config({"channels": (4,), "hidden_units": 8, "epochs": 1})
    next(fit(config, load_corpus("synthetic:10"))).save(tmp_path / "c")
    (tmp_path / "samples").write_bytes(bytes(32_000))
    ended = run("predict", str(tmp_path / "c"), "--raw", "0", str(tmp_path / "samples"))
    assert ended.code == 2
    assert "0 Hz" in ended.err
