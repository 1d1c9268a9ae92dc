"""Studies in an object store, read through a real S3 interface on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno import cli
from raytune_yesno.errors import InputError
from raytune_yesno.store import STORE
from raytune_yesno.study import load

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


@pytest.mark.parametrize("place", ["studies/nothing", "nobody/first"])
def test_where_there_is_none_the_place_is_told(place: str, bucket: Any) -> None:
    with pytest.raises(InputError, match=f"s3://{place}"):
        load(f"s3://{place}")
