"""Bad checkpoints, with wrong and with right digests."""

import io
import json
import pickle
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch

from raytune_yesno.checkpoint import (
    DESCRIPTION,
    Checkpoint,
    describe_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.networks import build_network
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.tasks.speech.settings import as_speech
from raytune_yesno.training.loop import build_optimizer, fit
from reliability.fuzz.kind import Kind
from reliability.fuzz.mutations import mutate_bytes, mutate_json

CONFIG = build_config({"channels": (2, 3), "hidden_units": 4})


@dataclass(frozen=True)
class Input:
    """A checkpoint's files, and whether their digests are recomputed."""

    files: dict[str, bytes]
    described: bool = False


def good_checkpoints(folder: Path) -> list[Input]:
    torch.manual_seed(0)
    model = build_network(as_speech(CONFIG))
    optimizer = build_optimizer(CONFIG, model)
    model(torch.randn(1, 1, 28, 40)).sum().backward()
    optimizer.step()
    checkpoint = Checkpoint(
        config=CONFIG,
        corpus={"source": "here", "fingerprint": "0123456789abcdef"},
        epoch=2,
        history=[{"epoch": n, "train_loss": 1 / n, "valid_loss": 1.0} for n in (1, 2)],
        refit=False,
        state_dict=model.state_dict(),
        optimizer=optimizer.state_dict(),
        versions={"torch": "0"},
    )
    save_checkpoint(checkpoint, folder / "yesno")
    next(fit(build_config({"task": "sine", "epochs": 1, "batch_size": 500}))).save(folder / "sine")
    return [
        Input({path.name: path.read_bytes() for path in (folder / name).iterdir()})
        for name in ("yesno", "sine")
    ]


def damage_checkpoint(random: Random, whole: Input) -> Input:
    files = dict(whole.files)
    name = random.choice(list(files))
    described = whole.described or random.random() < 0.8
    if name == DESCRIPTION:
        files[name] = mutate_json(random, files[name])
    elif random.random() < 0.4:
        files[name] = _damage_tensors(random, files[name])
    elif random.random() < 0.6:
        files[name] = _damage_pickle(random, files[name])
    elif random.random() < 0.1:
        del files[name]
    else:
        files[name] = mutate_bytes(random, files[name])
    return replace(whole, files=files, described=described)


def _damage_tensors(random: Random, data: bytes) -> bytes:
    """Replace a tensor, a number or a list by another value."""
    try:
        tree = torch.load(io.BytesIO(data), weights_only=True)
    except Exception:
        return mutate_bytes(random, data)
    with io.BytesIO() as file:
        try:
            torch.save(_change(random, tree), file)
        except Exception:
            return mutate_bytes(random, data)
        return file.getvalue()


def _change(random: Random, tree: Any) -> Any:
    if isinstance(tree, dict) and tree and random.random() < 0.9:
        key = random.choice(list(tree))
        changed = dict(tree)
        if random.random() < 0.15:
            changed[random.choice((0, "x", 10**30))] = changed.pop(key)
        else:
            changed[key] = _change(random, tree[key])
        return changed
    if isinstance(tree, list) and tree and random.random() < 0.9:
        at = random.randrange(len(tree))
        return [*tree[:at], _change(random, tree[at]), *tree[at + 1 :]]
    others: tuple[Any, ...] = (
        *(None, {}, [], "x", 3, -1, 1e308, float("nan"), torch.tensor(float("nan"))),
        *(torch.zeros(1).expand(10**12), torch.zeros(1).expand(10**5, 10**5), torch.zeros(0)),
        *(torch.zeros(2, 2, dtype=torch.complex64), torch.zeros(3, dtype=torch.int8)),
        *(torch.eye(2).to_sparse(), torch.zeros(2, 2, 2, 2, 2), torch.zeros(2, device="meta")),
        *(torch.zeros(3, dtype=torch.bool), torch.full((4,), 1e38), torch.zeros(2).double()),
    )
    return random.choice(others)


def _damage_pickle(random: Random, data: bytes) -> bytes:
    """Damage a member of torch's ZIP archive, whose checksums are then right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old, io.BytesIO() as file:
            names = old.namelist()
            target = random.choice([name for name in names if name.endswith("data.pkl")] + names)
            with zipfile.ZipFile(file, "w") as new:
                for name in names:
                    content = old.read(name)
                    if name == target:
                        content = mutate_bytes(random, content, PICKLE_WORDS)
                    new.writestr(name, content)
            return file.getvalue()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError):
        return mutate_bytes(random, data)


PICKLE_WORDS = (
    *(b"cos\nsystem\n", b"c__builtin__\neval\n", b"ctorch\nload\n", b"R", b"b", b"o", b"i", b"0"),
    *(b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nSize\n", b"Q"),
    *(
        b"\x8a\x08" + b"\x7f" * 8,
        b"J\xff\xff\xff\x7f",
        b"J\x00\x00\x00\x80",
        b"K\xff",
        b"M\xff\xff",
    ),
    *(b"X\xff\xff\xff\xff", b"B\xff\xff\xff\x7f", b"(" * 50, b"]" * 50, b"2" * 50, b"h\x00", b"."),
    pickle.dumps(2**70),
)


def try_checkpoint(given: Input, folder: Path) -> str | None:
    for name, data in given.files.items():
        (folder / name).write_bytes(data)
    if given.described:
        _describe(folder)
    checkpoint = load_checkpoint(folder)
    if checkpoint.config.task == "yesno":
        recognizer = Recognizer(checkpoint)
        recognizer.transcribe(torch.zeros(1, 4000))
        said = given.files[DESCRIPTION]
        if checkpoint.config != build_config(json.loads(said)["config"]):
            return "another config"
    else:
        config = replace(checkpoint.config, epochs=checkpoint.epoch + 1, batch_size=500)
        for _ in fit(config, resume=checkpoint):
            break
    _ = checkpoint.metrics, checkpoint.corpus.get("fingerprint")
    return None


def _describe(folder: Path) -> None:
    """Recompute the digests, if there is a file to hold them."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        description.pop("sha256", None)
        describe_checkpoint(description, folder)
    except Exception:
        return


KINDS: tuple[Kind, ...] = (
    Kind(
        "checkpoints",
        good_checkpoints,
        damage_checkpoint,
        try_checkpoint,
        ("raytune_yesno.checkpoint", "torch._weights_only_unpickler"),
    ),
)
