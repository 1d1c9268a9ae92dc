"""`predict` on recordings of any length, and what `evaluate` reports."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from raytune_yesno import cli
from raytune_yesno.checkpoint import Checkpoint, save_checkpoint
from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.evaluation import WORDLESS
from raytune_yesno.tasks.speech.networks import build_network
from raytune_yesno.tasks.speech.settings import as_speech
from raytune_yesno.tasks.speech.synthetic import synthesize

CORPUS = synthesize(10)


def make_checkpoint(folder: Path, **settings: object) -> Path:
    """Save a network that knows nothing, and so hears much."""
    config = as_speech(build_config({"channels": (4, 8), "hidden_units": 16, **settings}))
    torch.manual_seed(1)
    state_dict = build_network(config).state_dict()
    state_dict["fc2.weight"] *= 30  # so that no class always wins
    save_checkpoint(Checkpoint(config, {}, 1, [{"epoch": 1}], False, state_dict), folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("made") / "checkpoint")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of 90 s: longer than a block."""
    file = tmp_path_factory.mktemp("recording") / "long.wav"
    waveform = np.concatenate([CORPUS.waveform(n % 10) for n in range(40)])[: 90 * 8000]
    soundfile.write(file, waveform, 8000, "PCM_16")
    return file


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a command and returns its standard output."""

    def run(*arguments: object) -> str:
        assert cli.main([str(argument) for argument in arguments]) == 0, capfd.readouterr().err
        return capfd.readouterr().out

    return run


def words_of(out: str) -> list[dict[str, Any]]:
    words: list[dict[str, Any]] = json.loads(out.splitlines()[-1])["files"][0]["words"]
    return words


def give(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


class TestPredict:
    def test_a_stream_has_the_words_of_the_whole(
        self, checkpoint: Path, recording: Path, run: Callable[..., str]
    ) -> None:
        whole = words_of(run("predict", checkpoint, recording, "--json"))
        stream = words_of(run("predict", checkpoint, recording, "--stream", "--json"))
        assert len(whole) > 20
        places = [
            [(word["word"], word["start_s"], word["end_s"]) for word in words]
            for words in (whole, stream)
        ]
        assert places[0] == places[1]

    def test_raw_samples_are_read_as_the_recording(
        self,
        checkpoint: Path,
        recording: Path,
        run: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        whole = words_of(run("predict", checkpoint, recording, "--json"))
        give(soundfile.read(recording, dtype="int16")[0].astype("<i2").tobytes(), monkeypatch)
        assert words_of(run("predict", checkpoint, "-", "--raw", "8000", "--json")) == whole

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_a_stream_with_its_last_words(
        self,
        number: int,
        checkpoint: Path,
        recording: Path,
        run: Callable[..., str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        spoken = soundfile.read(recording, frames=20 * 1920, dtype="int16")[0]
        soundfile.write(tmp_path / "spoken.wav", spoken, 8000)
        whole = words_of(run("predict", checkpoint, tmp_path / "spoken.wav", "--stream", "--json"))

        class Microphone(io.RawIOBase):
            """Sound until the signal, which arrives while the command waits for more."""

            sound = io.BytesIO(spoken.astype("<i2").tobytes())

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any) -> int:
                if not (count := self.sound.readinto(buffer)):
                    signal.raise_signal(number)
                return count

        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Microphone())))
        handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            code = cli.main(
                ["predict", str(checkpoint), "-", "--stream", "--raw", "8000", "--json"]
            )
        finally:
            for each, handler in handlers.items():
                signal.signal(each, handler)
        assert code == 128 + number
        said = capfd.readouterr()
        assert words_of(said.out) == whole
        assert len(whole) > 2
        assert sum(" s  " in line for line in said.err.splitlines()) == len(whole)

    @pytest.mark.parametrize(
        ("data", "rate", "reason"), [(b"abc", 8000, "16 bit"), (b"", 8000, "no samples"),
                                     (b"abcd", 10, "10 Hz")]
    )  # fmt: skip
    def test_bad_raw_samples_are_named(
        self,
        data: bytes,
        rate: int,
        reason: str,
        checkpoint: Path,
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        give(data, monkeypatch)
        assert cli.main(["predict", str(checkpoint), "-", "--raw", str(rate)]) == 2
        assert reason in capfd.readouterr().err

    @pytest.mark.long
    def test_words_are_printed_before_the_stream_ends(
        self, checkpoint: Path, recording: Path
    ) -> None:
        command = [
            sys.executable,
            "-m",
            "raytune_yesno",
            "predict",
            checkpoint,
            "-",
            "--stream",
        ]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        ) as process:
            assert process.stdin
            assert process.stdout
            # Half of the recording goes in; its header promises all of it.
            process.stdin.write(recording.read_bytes()[: 45 * 16_000])
            process.stdin.flush()
            early = [process.stdout.readline() for _ in range(5)]
            process.stdin.close()
            process.stdout.read()
        assert all(line.split()[4] in (b"yes", b"no") for line in early)
        assert process.returncode == 2  # the rest is missing

    def test_min_confidence_leaves_words_out(
        self, checkpoint: Path, recording: Path, run: Callable[..., str]
    ) -> None:
        every = words_of(run("predict", checkpoint, recording, "--min-confidence", 0, "--json"))
        middle = sorted(word["confidence"] for word in every)[len(every) // 2]
        some = words_of(run("predict", checkpoint, recording, "--min-confidence", middle, "--json"))
        assert 0 < len(some) < len(every)
        assert {word["start_s"] for word in some} <= {word["start_s"] for word in every}
        assert min(word["confidence"] for word in some) >= middle - 1e-4

    @pytest.mark.parametrize("value", ["1.1", "-0.1", "nan", "x"])
    def test_min_confidence_is_a_probability(
        self, value: str, checkpoint: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            cli.main(["predict", str(checkpoint), "-", f"--min-confidence={value}"])
        assert ended.value.code == 2
        assert "--min-confidence" in capfd.readouterr().err

    @pytest.mark.long
    @pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
    def test_memory_does_not_grow_with_the_recording(
        self, checkpoint: Path, tmp_path: Path
    ) -> None:
        # Not getrusage's peak: it begins with that of the process that starts this one.
        program = (
            "import re, sys; from raytune_yesno import cli\n"
            "for recording in sys.argv[2:]:\n"
            "    cli.main(['predict', sys.argv[1], recording])\n"
            "    print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[0])"
        )
        recordings = []
        for minutes in (2, 30):
            waveform = np.resize(CORPUS.samples, minutes * 60 * 8000)
            recordings.append(tmp_path / f"{minutes}.wav")
            soundfile.write(recordings[-1], waveform, 8000, "PCM_16")
        ended = subprocess.run(
            [sys.executable, "-c", program, checkpoint, *recordings],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        peaks_kb = [int(kb) for kb in re.findall(r"VmHWM:\s+(\d+) kB", ended.stdout)]
        # The samples alone of the longer one are 56 MB as float32.
        assert peaks_kb[1] - peaks_kb[0] < 40_000

    def test_features_of_the_whole_recording_cannot_stream(
        self, recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        old = make_checkpoint(tmp_path / "old", features="recording")
        assert cli.main(["predict", str(old), str(recording), "--stream"]) == 2
        assert "--stream" in capfd.readouterr().err
        assert cli.main(["predict", str(old), str(recording)]) == 0


@pytest.fixture(scope="module")
def evaluated(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], str]:
    """Return the JSON object of ``evaluate``, and what people are shown."""
    picture = tmp_path_factory.mktemp("picture") / "rates.png"
    command = [
        *(sys.executable, "-m", "raytune_yesno", "evaluate", checkpoint, "--json"),
        *("--data", "synthetic:10", "--conditions", "noise,speed,codec", "--wordless", "5"),
        *("--picture", picture),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert picture.read_bytes().startswith(b"\x89PNG")
    return json.loads(ended.stdout), ended.stderr


class TestEvaluate:
    @pytest.mark.long
    def test_json_holds_the_rates_of_each_condition(
        self, evaluated: tuple[dict[str, Any], str]
    ) -> None:
        result, _ = evaluated
        noise = [row for row in result["conditions"] if row["group"] == "noise"]
        assert [row["wer"] for row in result["by_snr"]] == [row["wer"] for row in noise]
        assert {row["kind"] for row in result["conditions"]} == {
            *("white", "pink", "babble", "speed", "codec")
        }
        for row in (result, *result["conditions"], *result["groups"].values()):
            low, high = row["wer_interval"]
            assert low <= row["wer"] <= high
            assert low < high

    @pytest.mark.long
    def test_json_holds_false_alarms_calibration_and_cost(
        self, evaluated: tuple[dict[str, Any], str]
    ) -> None:
        result, _ = evaluated
        assert [row["sound"] for row in result["wordless"]["sounds"]] == [*WORDLESS]
        assert 0 <= result["calibration"]["ece"] <= 1
        assert result["cost"].keys() == {"parameters", "multiply_adds_per_s", "real_time_factor"}
        assert result["rejection"].keys() == {"min_confidence", "right", "wrong"}

    @pytest.mark.long
    def test_people_see_groups_apart(self, evaluated: tuple[dict[str, Any], str]) -> None:
        _, shown = evaluated
        groups = [line for line in shown.splitlines() if "training" in line]
        assert len(groups) >= 2
        assert "not seen in training" in shown
        assert "real-time factor" in shown

    def test_unknown_condition_is_refused_before_anything_is_read(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["evaluate", "nowhere", "--conditions", "humm"]) == 2
        assert "'hum'" in capfd.readouterr().err


def test_options_may_stand_between_files() -> None:
    words = ["predict", "model", "a.wav", "--min-confidence", "0.5", "b.wav"]
    assert cli.build_parser().parse_args(words).files == ["a.wav", "b.wav"]
