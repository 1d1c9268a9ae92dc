"""Studies in an object store, read through a real S3 interface on this machine."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from helpers.holding import BEAT_S, SETTLE_S, STALE_S, ask, holder, read_line
from helpers.hosts import wait_until

from raytune_yesno import cli
from raytune_yesno.errors import InputError
from raytune_yesno.files import lock
from raytune_yesno.files.remote import download
from raytune_yesno.study import load
from raytune_yesno.study.store import STORE
from raytune_yesno.tasks.speech.recognizer import Recognizer

pytest.importorskip("moto.server")
boto3 = pytest.importorskip("boto3")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    bucket = boto3.resource("s3").Bucket("studies")
    bucket.create()
    return bucket


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "first"
    folder.mkdir()
    events = [
        {"event": "study", "time": 1.0, "format": 1, "slots": 1, "config": {"task": "sine"}},
        {"event": "asked", "time": 2.0, "trial": 0, "point": {"learning_rate": 0.1}},
        {"event": "started", "time": 2.0, "trial": 0, "attempt": 1},
        *(
            {
                **{"event": "epoch", "time": 2.0 + epoch, "trial": 0, "attempt": 1},
                **{"epoch": epoch, "valid_loss": 1 / epoch, "seconds": 1.0},
                **{"host": "here", "pid": 1, "began": 1.0 + epoch, "ended": 2.0 + epoch},
            }
            for epoch in (1, 2)
        ),
        {"event": "ended", "time": 4.0, "trial": 0, "status": "done"},
    ]
    (folder / STORE).write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def test_a_study_in_a_bucket_is_the_study(folder: Path, bucket: Any) -> None:
    bucket.upload_file(str(folder / STORE), f"nightly/first/{STORE}")
    there, here = load("s3://studies/nightly/first"), load(folder)
    assert there.name == here.name
    assert there.trials.equals(here.trials)
    assert there.epochs.equals(here.epochs)


def test_its_report_is_written_here(
    folder: Path, bucket: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.upload_file(str(folder / STORE), f"nightly/first/{STORE}")
    out = tmp_path / "out"
    assert cli.main(["report", "s3://studies/nightly/first", "--out", str(out)]) == 0
    assert (out / "report.html").is_file()
    assert "secret" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("s3://nobody/first", "cannot be written to"),
        ("s3://studies/first?access_key=a&secret_key=hidden", "question mark"),
        ("nothing://studies/first", "cannot be reached"),
        ("nothing://me:hidden@studies/first", "cannot be reached"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_beforehand(
    place: str, complaint: str, bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["tune", "--data", "synthetic:10", "--trials", "1", "--out", place]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert "hidden" not in line


def test_a_study_that_is_there_is_not_written_over(
    folder: Path, bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.upload_file(str(folder / STORE), f"taken/{STORE}")
    place = "s3://studies/taken"
    assert cli.main(["tune", "--data", "synthetic:10", "--trials", "1", "--out", place]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "lacks" in line  # it has no settings to compare with
    there = bucket.Object(f"taken/{STORE}").get()["Body"].read()
    assert there == (folder / STORE).read_bytes()


@pytest.mark.parametrize("uri", ["s3://a/b?key=hidden&x=%", "nothing://me:hidden@a/b"])
def test_a_uri_that_cannot_be_read_is_named_without_its_keys(uri: str) -> None:
    with pytest.raises(InputError, match=f"^{uri[:5]}") as error:
        load(uri)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize("kind", ["study", "experiment"])
def test_a_name_that_leads_out_is_refused(kind: str, bucket: Any, tmp_path: Path) -> None:
    bucket.put_object(Key=f"bad/{kind}/../../../result.json", Body=b"{}")
    read = {"study": lambda place: download(place, tmp_path), "experiment": load}[kind]
    with pytest.raises(InputError, match="leads out of its folder"):
        read(f"s3://studies/bad/{kind}")


@pytest.mark.parametrize("place", ["studies/nothing", "nobody/first"])
def test_where_there_is_none_the_place_is_told(place: str, bucket: Any) -> None:
    with pytest.raises(InputError, match=f"s3://{place}"):
        load(f"s3://{place}")


@pytest.mark.usefixtures("bucket")
class TestTwoWriters:
    place = "s3://studies/locked/first"

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process agree with the holders on when a lock is stale."""
        monkeypatch.setattr(lock, "STALE_S", STALE_S)
        monkeypatch.setattr(lock, "BEAT_S", BEAT_S)
        monkeypatch.setattr(lock, "_SETTLE_S", SETTLE_S)

    def test_a_second_one_is_refused_and_takes_over_from_one_that_was_killed(self) -> None:
        with holder(self.place) as first:
            assert read_line(first) == "held"
            with pytest.raises(InputError, match=str(first.pid)), lock.hold(self.place, str):
                pass
            assert ask(first) == "held"
            first.kill()
            first.wait()
            with lock.hold(self.place, lambda line: pytest.fail(line)) as held:
                held.check()

    def test_of_several_that_start_at_once_one_gets_it(self) -> None:
        with ExitStack() as closing:
            processes = [closing.enter_context(holder(self.place)) for _ in range(3)]
            assert sorted(map(read_line, processes)) == ["held", "refused", "refused"]

    def test_one_elsewhere_without_a_sign_of_life_is_taken_over(self) -> None:
        with holder(self.place, kernel="elsewhere") as first:
            assert read_line(first) == "held"
            first.kill()
            first.wait()
        with lock.hold(self.place, str) as held:
            held.check()


@pytest.mark.cluster
@pytest.mark.usefixtures("bucket")
class TestStudyWrittenThere:
    """`tune --out s3://…`, on one machine; the checkpoints travel through the interface, too."""

    def tune(self, *words: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "raytune_yesno", "tune", "--json", *words],
            capture_output=True,
            text=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def test_it_has_the_same_result_as_in_a_folder(self, bucket: Any, tmp_path: Path) -> None:
        # Population based training copies checkpoints, so it is the hardest on a storage.
        plan = "--data synthetic:10 --trials 2 --epochs 3 --search random --scheduler pbt"
        words = [*plan.split(), "--set", "channels=4,8", "--set", "hidden_units=16"]
        here = self.tune(*words, "--out", str(tmp_path / "here"))
        there = self.tune(*words, "--out", "s3://studies/there/first")
        assert there["study"] == "s3://studies/there/first"
        assert there["refit"]["checkpoint"] == "s3://studies/there/first/refit/last"
        assert there["refit"]["test"] == here["refit"]["test"]
        compared = ["trial", "epoch", "train_loss", "valid_loss", "learning_rate"]
        one, other = load(here["study"]).epochs[compared], load(there["study"]).epochs[compared]
        assert one.equals(other)
        assert any(trial.mutations for trial in load(there["study"]).trial_list)
        keys = {file.key for file in bucket.objects.filter(Prefix="there/first/")}
        assert f"there/first/{STORE}" in keys
        assert not [key for key in keys if "/trials/" in key or "/.ray/" in key]
        assert Recognizer.load("s3://studies/there/first/refit/last").checkpoint.refit

    @pytest.mark.slow
    def test_a_killed_one_is_resumed_elsewhere(self, bucket: Any) -> None:
        place = "s3://studies/killed/first"
        plan = "--data synthetic:10 --trials 4 --epochs 60 --search random --scheduler fifo"
        words = [*plan.split(), "--set", "channels=4,8", "--set", "hidden_units=16"]
        process = subprocess.Popen(
            [sys.executable, "-m", "raytune_yesno", "tune", *words, "--out", place],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        key = f"killed/first/{STORE}"
        try:
            wait_until(
                lambda: [*bucket.objects.filter(Prefix=key)] and len(load(place).epochs) > 20,
                "epochs in the bucket",
                every_s=0.5,
            )
            assert process.poll() is None
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with Ray, as when a head is lost
            process.wait()
        before = load(place)
        told = self.tune("--resume", place)
        assert told["study"] == place
        assert (told["trials"], told["errors"]) == (4, 0)
        after = load(place)
        assert after.refit
        for trial in before.trial_list:
            if trial.status != "running":
                assert after.trial_list[trial.number].epochs == trial.epochs
        for trial in after.trial_list:
            assert [epoch["epoch"] for epoch in trial.epochs] == list(
                range(1, len(trial.epochs) + 1)
            )
