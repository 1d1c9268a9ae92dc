"""`export`: a file that runs without this package and hears the same words."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from raytune_yesno.checkpoint import Checkpoint, save_checkpoint
from raytune_yesno.cli import main
from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.calibrate import Calibration
from raytune_yesno.tasks.speech.decode import Decoding
from raytune_yesno.tasks.speech.export import export
from raytune_yesno.tasks.speech.features import FEATURES, find_levels, pad_silence
from raytune_yesno.tasks.speech.networks import build_network
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.tasks.speech.settings import as_speech
from raytune_yesno.tasks.speech.synthetic import synthesize

EXAMPLE = Path(__file__).parents[2] / "scripts/examples/recognize_onnx.py"
WORDS = ("eins", "zwei", "東")
CORPUS = synthesize(4)
LENGTHS = (640, 4001, 24_000, 40_123)


def make_checkpoint(folder: Path, **settings: object) -> Path:
    """Save an untrained network whose outputs vary, with a calibration that rejects some words."""
    small = {"hidden_units": 16, "channels": (4, 8)} if settings["model"] == "cnn" else {}
    config = as_speech(build_config({**small, **settings}))
    torch.manual_seed(1)
    state_dict = build_network(config, len(WORDS)).state_dict()
    last = [name for name in state_dict if name.endswith("weight")][-1]
    state_dict[last] *= 20
    state_dict[last.replace("weight", "bias")][0] -= 2  # blank does not always win
    corpus = {"source": "here", "fingerprint": "f00d", "vocabulary": " ".join(WORDS)}
    calibration = {"slope": 0.8, "offset": -0.3, "threshold": 0.3}
    calibration |= {"reach": 2.0, "level_weight": 0.7, "weak_share": 0.5}
    made = Checkpoint(config, corpus, 1, [{"epoch": 1}], False, state_dict, calibration=calibration)
    save_checkpoint(made, folder)
    return folder


def check(recognizer: Recognizer, waveform: torch.Tensor, logp: Any, levels: Any) -> None:
    with torch.no_grad():
        feature_FT = pad_silence(recognizer.extract(waveform))
        expected_PC = recognizer.model(feature_FT[None, None])[0]
    np.testing.assert_allclose(logp, expected_PC, atol=2e-3)
    np.testing.assert_allclose(levels, find_levels(feature_FT), atol=1e-4)


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("model", ["tdnn", "dstdnn", "bcresnet", "cnn", "mlp"])
def test_torchscript_gives_the_same_probabilities_at_any_length(
    tmp_path: Path, model: str, features: str
) -> None:
    folder = make_checkpoint(tmp_path / "made", model=model, features=features)
    out = tmp_path / "model.pt"
    assert main(["export", str(folder), "--format", "torchscript", "--out", str(out)]) == 0
    texts = {"about.json": ""}
    loaded: Any = torch.jit.load(str(out), _extra_files=texts)
    assert json.loads(json.loads(texts["about.json"])["vocabulary"]) == ["<blank>", *WORDS]
    recognizer = Recognizer.load(folder)
    for length in LENGTHS:
        waveform = torch.from_numpy(CORPUS.samples[:length].copy())[None]
        check(recognizer, waveform, *(output.detach() for output in loaded(waveform)))


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_a_model_of_any_dtype_is_exported_in_float32(tmp_path: Path, dtype: str) -> None:
    recognizer = Recognizer.load(make_checkpoint(tmp_path / "made", model="tdnn", dtype=dtype))
    before = [weights.dtype for weights in recognizer.model.parameters()]
    out = tmp_path / "model.pt"
    export(recognizer, "torchscript", out)
    assert [weights.dtype for weights in recognizer.model.parameters()] == before
    loaded: Any = torch.jit.load(str(out))
    assert {weights.dtype for weights in loaded.parameters()} == {torch.float32}
    waveform = torch.from_numpy(CORPUS.samples[:24_000].copy())[None]
    outputs = [output.detach() for output in loaded(waveform)]
    assert {output.dtype for output in outputs} == {torch.float32}
    check(recognizer, waveform, *outputs)


def test_the_suffix_tells_the_format(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = str(make_checkpoint(tmp_path / "made", model="tdnn"))
    out = str(tmp_path / "model.pt")
    assert main(["export", folder, "--out", out, "--json"]) == 0
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["format"] == "torchscript"
    torch.jit.load(out)
    assert main(["export", folder, "--out", out, "--format", "onnx"]) == 2
    assert "--format onnx" in capfd.readouterr().err


@pytest.mark.parametrize("out", ["/", "made"])
def test_a_folder_is_no_file(
    tmp_path: Path, out: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = make_checkpoint(tmp_path / "made", model="tdnn")
    assert main(["export", str(folder), "--out", out, "--format", "torchscript"]) == 2
    assert "a folder" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        ("tdnn", "float64"),
        ("bcresnet", "float32"),
        pytest.param("cnn", "float32", marks=pytest.mark.slow),
    ],
)
def test_onnx_gives_the_same_probabilities_and_words(
    tmp_path: Path, model: str, dtype: str
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = make_checkpoint(tmp_path / "made", model=model, dtype=dtype)
    out = tmp_path / "model.onnx"
    assert main(["export", str(folder), "--out", str(out)]) == 0
    session = onnxruntime.InferenceSession(out)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["vocabulary"]) == ["<blank>", *WORDS]
    assert about["sample_rate"] == "8000"
    recognizer = Recognizer.load(folder)
    for length in LENGTHS:
        waveform = torch.from_numpy(CORPUS.samples[:length].copy())[None]
        check(recognizer, waveform, *session.run(None, {"waveform": waveform.numpy()}))
    files, words = [], []
    for n in range(len(CORPUS)):
        files.append(tmp_path / f"{n}.wav")
        soundfile.write(files[-1], CORPUS.waveform(n), 8000, "PCM_16")
        samples = soundfile.read(files[-1], dtype="float32")[0]
        heard = recognizer.transcribe(torch.from_numpy(samples))
        words.append(" ".join(word.word for word in heard) or "(nothing)")
    command = [sys.executable, str(EXAMPLE), str(out), *map(str, files)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [line.partition(": ")[2] for line in printed.splitlines()] == words
    assert len({*words}) > 1 or model == "cnn"
    assert "raytune" not in EXAMPLE.read_text()


@pytest.mark.parametrize("positions", [1, 2, 5, 40])
def test_the_example_decodes_any_probabilities_as_predict_does(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    positions: int,
) -> None:
    """Also a weak word at the first position, as in a recording of less than 0.1 s."""
    calibration = Calibration(0.8, -0.3, 0.1, Decoding(2, 0.7, 0.5))
    texts = {"vocabulary": json.dumps(["<blank>", *WORDS]), "sample_rate": "8000"}
    texts |= {"min_samples": "640", "calibration": json.dumps(calibration.as_dict())}
    outputs: list[torch.Tensor] = []
    session = SimpleNamespace(
        get_modelmeta=lambda: SimpleNamespace(custom_metadata_map=texts),
        run=lambda *_: [output.numpy() for output in outputs],
    )
    fake = SimpleNamespace(InferenceSession=lambda _: session)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    soundfile.write(tmp_path / "1.wav", np.zeros(800), 8000)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "model.onnx", str(tmp_path / "1.wav")])
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        logits_PC = 2 * torch.randn(positions, 1 + len(WORDS), generator=generator)
        logits_PC[:, 0] += 2
        outputs[:] = logits_PC.log_softmax(1), torch.rand(positions, generator=generator)
        heard = [
            WORDS[word.label]
            for word in calibration.decoding.decode(*outputs)
            if calibration.confidence(word.confidence) >= calibration.threshold
        ]
        runpy.run_path(str(EXAMPLE))
        assert capsys.readouterr().out.split() == heard


def test_a_missing_package_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    folder = make_checkpoint(tmp_path / "made", model="tdnn")
    assert main(["export", str(folder), "--out", str(tmp_path / "model.onnx")]) == 2
    assert "pip install" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = make_checkpoint(tmp_path / "made", model="tdnn")
    out = tmp_path / "nowhere" / "model.pt"
    assert main(["export", str(folder), "--format", "torchscript", "--out", str(out)]) == 2
    assert str(out) in capfd.readouterr().err
