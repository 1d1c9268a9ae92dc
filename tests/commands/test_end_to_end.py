"""One small study from end to end: search, refit, test, report, a prediction."""

import json
from pathlib import Path

import pytest
from helpers.commands import finish, start

from raytune_yesno.tasks.speech.synthetic import synthesize, write_corpus

pytestmark = pytest.mark.smoke


def test_a_study_is_tuned_reported_and_used(tmp_path: Path) -> None:
    out, log = tmp_path / "study", tmp_path / "log"
    corpus = write_corpus(synthesize(10), tmp_path / "corpus")
    options = ("--data", str(corpus), "--trials", "3", "--epochs", "2", "--num-cpus", "2")
    tuned = finish(start("tune", *options, "--out", str(out), "--json", log=log), log)
    assert tuned.code == 0, tuned.err
    assert tuned.json["trials"] == 3
    assert tuned.json["errors"] == 0
    assert tuned.json["refit"]["test"]["words"] == 40
    assert tuned.json["refit"]["test_says"] in Path(tuned.json["report"]).read_text()
    checkpoint = tuned.json["refit"]["checkpoint"]
    assert Path(checkpoint).is_dir()

    reported = finish(start("report", str(out), "--json", log=log), log)
    assert reported.code == 0, reported.err
    assert reported.json["trials"] == 3
    assert "<html" in Path(reported.json["html"]).read_text()

    recording = min(corpus.rglob("*.wav"))
    heard = finish(start("predict", checkpoint, str(recording), "--json", log=log), log)
    assert heard.code == 0, heard.err
    assert len(json.loads(heard.out)["files"]) == 1
