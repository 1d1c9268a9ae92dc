import functools
import gzip
import hashlib
import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from filelock import FileLock

from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech import download
from raytune_yesno.tasks.speech.download import CHECKSUM, URL, fetch
from raytune_yesno.tasks.speech.load import load_corpus


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def archive_of_size(size: int) -> bytes:
    """Return an archive with an entry that states a size."""
    entry = member("waves_yesno/0_1.wav")
    entry.size = size
    return gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


@functools.cache
def good_archive() -> bytes:
    noise = np.random.default_rng(0).normal(size=(2, 16000)) * 0.1
    files = []
    for name, samples in zip(("0_1", "1_0"), noise, strict=True):
        stream = io.BytesIO()
        soundfile.write(stream, samples, 8000, format="WAV")
        files.append((member(f"waves_yesno/{name}.wav"), stream.getvalue()))
    folder = (member("waves_yesno", tarfile.DIRTYPE), b"")
    return tar_of(folder, *files, (member("waves_yesno/README"), b"no recording"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Server(ThreadingHTTPServer):
    """Serve one body, and keep each request's Range header and the bytes it was sent."""

    content = b""
    ranges = True  # whether it knows Range
    wrong_range = False  # whether it answers with another range than was asked for
    cut_after: int | None = None  # bytes of a body after which it hangs up
    status = 200
    asked: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server, asked = self.server, self.headers["Range"]
        server.asked.append(asked)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if start and start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            first = start - 1 if server.wrong_range else start
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut_after])


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.content, server.asked = good_archive(), []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def url_of(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/waves_yesno.tar.gz"


def fetch_from(server: Server, folder: Path, **options: object) -> bool:
    return fetch(folder, url_of(server), sha256(good_archive()), **options)  # type: ignore[arg-type]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


PART = "waves_yesno.tar.gz.part"


def test_downloads_and_unpacks(server: Server, tmp_path: Path) -> None:
    heard: list[tuple[int, int | None]] = []
    done = fetch_from(server, tmp_path / "new", progress=lambda *now: heard.append(now))
    assert done is True
    assert names_in(tmp_path / "new") == ["waves_yesno"]
    assert names_in(tmp_path / "new" / "waves_yesno") == ["0_1.wav", "1_0.wav", "README"]
    assert load_corpus(str(tmp_path / "new")).names == ("0_1", "1_0")
    assert heard[-1] == (len(good_archive()), len(good_archive()))
    assert heard == sorted(heard)


def test_does_nothing_where_a_good_corpus_is(server: Server, tmp_path: Path) -> None:
    assert fetch_from(server, tmp_path) is True
    assert fetch_from(server, tmp_path) is False
    assert len(server.asked) == 1


def test_does_not_touch_a_damaged_corpus(server: Server, tmp_path: Path) -> None:
    fetch_from(server, tmp_path)
    (tmp_path / "waves_yesno" / "0_1.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"damaged \(0_1\.wav: empty file\): remove it"):
        fetch_from(server, tmp_path)
    assert len(server.asked) == 1


def test_resumes_where_the_last_download_broke_off(server: Server, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(good_archive()[:1000])
    fetch_from(server, tmp_path)
    assert server.asked == ["bytes=1000-"]
    assert names_in(tmp_path) == ["waves_yesno"]


def test_two_commands_download_once(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        done = [pool.submit(fetch_from, server, tmp_path) for _ in range(2)]
        assert sorted(each.result() for each in done) == [False, True]
    assert len(server.asked) == 1
    assert names_in(tmp_path) == ["waves_yesno"]


def test_the_download_of_another_command_is_shown(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LOOK_EVERY_S", 0.01)
    (tmp_path / PART).write_bytes(good_archive()[:1000])
    heard: list[tuple[int, int | None]] = []
    was_heard = threading.Event()

    def hear(*now: int | None) -> None:
        heard.append(now)  # type: ignore[arg-type]
        was_heard.set()

    with ThreadPoolExecutor() as pool:
        with FileLock(tmp_path / ".waves_yesno.lock"):
            done = pool.submit(fetch_from, server, tmp_path, progress=hear)
            assert was_heard.wait(60)
            assert heard[0] == (1000, None)
            assert not server.asked
        assert done.result()
    assert names_in(tmp_path) == ["waves_yesno"]


def test_restarts_where_the_server_knows_no_ranges(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / PART).write_bytes(good_archive()[:1000])
    fetch_from(server, tmp_path)
    assert server.asked == ["bytes=1000-"]
    assert load_corpus(str(tmp_path)).names == ("0_1", "1_0")


def test_restarts_where_the_server_sends_another_range(server: Server, tmp_path: Path) -> None:
    server.wrong_range = True
    (tmp_path / PART).write_bytes(good_archive()[:1000])
    fetch_from(server, tmp_path)
    assert server.asked == ["bytes=1000-", None]


@pytest.mark.parametrize("size", [1000, 10**6])
def test_restarts_where_the_part_is_of_something_else(
    server: Server, tmp_path: Path, size: int
) -> None:
    (tmp_path / PART).write_bytes(b"x" * size)  # shorter and longer than the archive
    fetch_from(server, tmp_path)
    assert server.asked == [f"bytes={size}-", None]
    assert load_corpus(str(tmp_path)).names == ("0_1", "1_0")


def test_takes_a_part_that_is_whole(server: Server, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(good_archive())
    fetch_from(server, tmp_path)
    assert server.asked == [f"bytes={len(good_archive())}-"]


def test_resumes_by_itself_when_the_connection_breaks(server: Server, tmp_path: Path) -> None:
    server.cut_after = len(good_archive()) // 2 + 1
    fetch_from(server, tmp_path)
    assert server.asked == [None, f"bytes={server.cut_after}-"]
    assert load_corpus(str(tmp_path)).names == ("0_1", "1_0")


def test_gives_up_on_a_connection_that_keeps_breaking(server: Server, tmp_path: Path) -> None:
    server.cut_after = 100
    with pytest.raises(InputError, match="after 300 bytes"):
        fetch_from(server, tmp_path)
    assert (tmp_path / PART).read_bytes() == good_archive()[:300]
    server.cut_after = None
    fetch_from(server, tmp_path)
    assert server.asked[-1] == "bytes=300-"


def test_unpacks_nothing_with_the_wrong_checksum(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=f"wrong checksum: {sha256(good_archive())}, not {CHECKSUM}"
    ):
        fetch(tmp_path, url_of(server))
    assert names_in(tmp_path) == []


def test_stops_at_a_body_over_the_limit(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_ARCHIVE_BYTES", 1000)
    with pytest.raises(InputError, match="more than 1000 bytes"):
        fetch_from(server, tmp_path)


def test_names_the_servers_answer(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(InputError, match="404 Not Found"):
        fetch_from(server, tmp_path)


def test_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,  # accepts, and never says a word
        pytest.raises(InputError, match="timed out"),
    ):
        fetch(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}/x.tar.gz")


def test_uses_an_archive_that_was_brought_by_hand(tmp_path: Path) -> None:
    archive = tmp_path / "waves_yesno.tar.gz"
    archive.write_bytes(good_archive())
    assert fetch(tmp_path, "http://127.0.0.1:9/", sha256(good_archive())) is True
    assert names_in(tmp_path) == ["waves_yesno", "waves_yesno.tar.gz"]


def test_refuses_another_archive_brought_by_hand(tmp_path: Path) -> None:
    (tmp_path / "waves_yesno.tar.gz").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"waves_yesno\.tar\.gz has the wrong checksum"):
        fetch(tmp_path)
    assert names_in(tmp_path) == ["waves_yesno.tar.gz"]


class TestUntrustedArchives:
    @pytest.mark.parametrize(
        ("evil", "what"),
        [
            (member("../outside.wav"), "leaves its folder"),
            (member("waves_yesno/../../outside.wav"), "leaves its folder"),
            (member("/tmp/outside.wav"), "leaves its folder"),
            (member("C:\\outside.wav"), "leaves its folder"),
            (member("waves_yesno/0.wav", tarfile.SYMTYPE, "/etc/passwd"), "link or a device"),
            (
                member("waves_yesno/0.wav", tarfile.LNKTYPE, "waves_yesno/0_1.wav"),
                "link or a device",
            ),
            (member("waves_yesno/0.wav", tarfile.CHRTYPE), "link or a device"),
            (member("waves_yesno/0.wav", tarfile.FIFOTYPE), "link or a device"),
            (member("elsewhere/0.wav"), "no waves_yesno in it"),
        ],
    )
    def test_leave_nothing_behind(
        self, server: Server, tmp_path: Path, evil: tarfile.TarInfo, what: str
    ) -> None:
        server.content = tar_of((evil, b""))
        with pytest.raises(InputError, match=what):
            fetch(tmp_path / "in", url_of(server), sha256(server.content))
        assert names_in(tmp_path) == ["in"]
        assert not (tmp_path / "in" / "waves_yesno").exists()

    @pytest.mark.parametrize(
        "content",
        [
            b"no gzip at all",
            good_archive()[:2000],
            gzip.compress(b"no tar" * 1000),
            archive_of_size(-(1 << 27)),
            archive_of_size(1 << 70),
        ],
        # The bytes hold the time.
        ids=["no gzip", "cut off", "no tar", "negative size", "size beyond any file"],
    )
    def test_may_be_damaged(self, server: Server, tmp_path: Path, content: bytes) -> None:
        server.content = content
        with pytest.raises(InputError, match="is damaged"):
            fetch(tmp_path, url_of(server), sha256(content))
        assert not (tmp_path / "waves_yesno").exists()

    def test_may_not_swell_beyond_the_limit(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(download, "MAX_UNPACKED_BYTES", 10**6)
        server.content = tar_of((member("waves_yesno/0.wav"), bytes(10**7)))
        assert len(server.content) < 10**5
        with pytest.raises(InputError, match="holds more than 1000000 bytes"):
            fetch(tmp_path, url_of(server), sha256(server.content))

    def test_may_not_have_entries_beyond_the_limit(self, server: Server, tmp_path: Path) -> None:
        entries = [(member(f"waves_yesno/{n}"), b"") for n in range(download.MAX_ENTRIES + 1)]
        server.content = tar_of(*entries)
        with pytest.raises(InputError, match="more than 1000 entries"):
            fetch(tmp_path, url_of(server), sha256(server.content))
        assert not (tmp_path / "waves_yesno").exists()


def test_a_first_use_downloads_into_the_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("YESNO_ROOT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(download, "URL", url_of(server))
    monkeypatch.setattr(download, "CHECKSUM", sha256(good_archive()))
    assert load_corpus("yesno").names == ("0_1", "1_0")
    assert names_in(tmp_path) == ["raytune-yesno"]


def test_without_network_and_folder_both_ways_out_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("YESNO_ROOT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(download, "URL", "http://127.0.0.1:9/")
    with pytest.raises(InputError, match=r"point YESNO_ROOT at its folder, or .* --data synthetic"):
        load_corpus("yesno")


def test_the_archive_is_the_one_that_torchaudio_knows() -> None:
    from torchaudio.datasets.yesno import _RELEASE_CONFIGS

    assert _RELEASE_CONFIGS["release1"]["url"] == URL
    assert _RELEASE_CONFIGS["release1"]["checksum"] == CHECKSUM
