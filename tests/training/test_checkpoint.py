import dataclasses
import json
import os
import pickle
import random
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.builders import CONFIG, Attack, describe_again, make_checkpoint
from torch import nn

from raytune_yesno.checkpoint import (
    DESCRIPTION,
    RESUME,
    STATE_DICT,
    Checkpoint,
    UnusableCheckpoint,
    copy_checkpoint,
    load_checkpoint,
    load_optimizer,
    save_checkpoint,
)
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.files.atomic import replace_folder
from raytune_yesno.tasks.speech.networks import build_network
from raytune_yesno.training.loop import build_optimizer, fit
from raytune_yesno.versions import library_versions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a saved checkpoint."""
    save_checkpoint(make_checkpoint(), tmp_path / "last")
    return tmp_path / "last"


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    for key in dataclasses.fields(Checkpoint):
        ours, theirs = (getattr(checkpoint, key.name) for checkpoint in (one, other))
        if key.name in ("state_dict", "optimizer"):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        else:
            assert ours == theirs, key.name


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as raised:
        load_checkpoint(folder)
    return str(raised.value)


class TestRoundTrip:
    def test_gives_back_what_was_saved(self, folder: Path) -> None:
        assert_same(load_checkpoint(folder), make_checkpoint())

    def test_of_a_corpus_in_a_folder_whose_name_is_not_utf8(self, tmp_path: Path) -> None:
        corpus = {**make_checkpoint().corpus, "source": os.fsdecode(b"aufnahmen-\xe4")}
        save_checkpoint(dataclasses.replace(make_checkpoint(), corpus=corpus), tmp_path / "last")
        assert "aufnahmen" in load_checkpoint(tmp_path / "last").corpus["source"]

    def test_without_an_optimiser(self, tmp_path: Path) -> None:
        slim = dataclasses.replace(make_checkpoint(), optimizer=None)
        save_checkpoint(slim, tmp_path / "slim")
        assert not (tmp_path / "slim" / RESUME).exists()
        assert_same(load_checkpoint(tmp_path / "slim"), slim)

    def test_the_weights_are_a_plain_state_dict(self, folder: Path) -> None:
        model = build_network(CONFIG)
        state_dict = torch.load(folder / STATE_DICT, weights_only=True)
        model.load_state_dict(state_dict, strict=True)
        torch.testing.assert_close(state_dict, make_checkpoint().state_dict, rtol=0, atol=0)

    def test_the_description_tells_a_reader_all_else(self, folder: Path) -> None:
        description = json.loads((folder / DESCRIPTION).read_text())
        assert (
            description["metrics"] == description["history"][-1] == {"epoch": 2, "train_loss": 0.5}
        )
        assert build_config(description["config"]) == CONFIG
        assert description["corpus"]["fingerprint"] == "0123456789abcdef"
        assert description["versions"] == {"torch": "0"}

    def test_versions_are_noted_where_none_are_given(self, tmp_path: Path) -> None:
        save_checkpoint(dataclasses.replace(make_checkpoint(), versions={}), tmp_path / "last")
        versions = load_checkpoint(tmp_path / "last").versions
        assert versions == library_versions()
        assert versions["torch"] == torch.__version__.partition("+")[0]

    def test_of_a_training_run(self, tmp_path: Path) -> None:
        for record in fit(build_config({"task": "sine", "epochs": 2, "optimizer": "adam"})):
            record.save(tmp_path / "last")
        assert_same(
            load_checkpoint(tmp_path / "last"),
            dataclasses.replace(record.checkpoint(), versions=library_versions()),
        )


class TestReplacing:
    def test_takes_the_earlier_ones_place(self, folder: Path) -> None:
        save_checkpoint(make_checkpoint(epoch=3), folder)
        assert_same(load_checkpoint(folder), make_checkpoint(epoch=3))
        assert [path.name for path in folder.parent.iterdir()] == ["last"]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755

    def test_leaves_no_file_of_the_earlier_one(self, folder: Path) -> None:
        save_checkpoint(dataclasses.replace(make_checkpoint(), optimizer=None), folder)
        assert load_checkpoint(folder).optimizer is None

    @pytest.mark.parametrize(
        "broken",
        [
            {"state_dict": {"weight": lambda: "not to be pickled"}},
            {"optimizer": {"state": lambda: "not to be pickled"}},
            {"history": [{"epoch": object()}]},
        ],
        ids=lambda broken: next(iter(broken)),
    )
    def test_a_failure_while_writing_leaves_the_earlier_one(
        self, folder: Path, broken: dict[str, Any]
    ) -> None:
        with pytest.raises((TypeError, AttributeError, InputError, pickle.PicklingError)):
            save_checkpoint(dataclasses.replace(make_checkpoint(epoch=3), **broken), folder)
        assert_same(load_checkpoint(folder), make_checkpoint())
        assert [path.name for path in folder.parent.iterdir()] == ["last"]

    def test_an_interrupt_while_writing_leaves_the_earlier_one(self, folder: Path) -> None:
        def write_half() -> None:
            with replace_folder(folder) as new:
                (new / DESCRIPTION).write_text("{")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_half()
        assert_same(load_checkpoint(folder), make_checkpoint())
        assert [path.name for path in folder.parent.iterdir()] == ["last"]

    def test_the_earlier_one_stays_until_the_new_one_is_whole(self, folder: Path) -> None:
        with replace_folder(folder) as new:
            (new / "half").touch()
            assert_same(load_checkpoint(folder), make_checkpoint())
        assert [path.name for path in folder.iterdir()] == ["half"]

    def test_makes_the_folders_above(self, tmp_path: Path) -> None:
        save_checkpoint(make_checkpoint(), tmp_path / "a" / "b" / "last")
        assert load_checkpoint(tmp_path / "a" / "b" / "last").epoch == 2


class TestDamage:
    @pytest.mark.parametrize("name", [STATE_DICT, RESUME, DESCRIPTION])
    @pytest.mark.parametrize("share", [0, 0.3, 0.9])
    def test_a_truncated_file_is_named_in_one_line(
        self, folder: Path, name: str, share: float
    ) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])
        message = refusal(folder)
        assert message.startswith(f"{folder}: the checkpoint is damaged (")
        assert "\n" not in message

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            (DESCRIPTION, b"\xff\xfe\x00"),
            (DESCRIPTION, b"[]"),
            (DESCRIPTION, b"{}"),
            (DESCRIPTION, b'{"config": []}'),
            (STATE_DICT, b"\x80\x02N."),
            (STATE_DICT, b"no archive"),
        ],
    )
    def test_a_file_of_something_else_is_named_too(
        self, folder: Path, name: str, content: bytes
    ) -> None:
        (folder / name).write_bytes(content)
        message = refusal(folder)
        assert message.startswith(f"{folder}: the checkpoint is damaged (")
        assert "\n" not in message

    @pytest.mark.parametrize("name", [STATE_DICT, RESUME, DESCRIPTION])
    def test_a_flipped_bit_anywhere_is_noticed(self, folder: Path, name: str) -> None:
        data = (folder / name).read_bytes()
        draw = random.Random(name)
        for _ in range(60):
            at, bit = draw.randrange(len(data)), 1 << draw.randrange(8)
            flipped = bytearray(data)
            flipped[at] ^= bit
            if name == DESCRIPTION and bytes([data[at], flipped[at]]).isspace():
                continue  # JSON means the same
            (folder / name).write_bytes(flipped)
            assert refusal(folder).startswith(f"{folder}: the checkpoint is damaged ("), (at, bit)

    def test_one_without_digests_is_damage(self, folder: Path) -> None:
        description = json.loads((folder / DESCRIPTION).read_text())
        del description["sha256"]
        (folder / DESCRIPTION).write_text(json.dumps(description))
        assert "digests" in refusal(folder)

    def test_so_are_missing_weights(self, folder: Path) -> None:
        (folder / STATE_DICT).unlink()
        assert refusal(folder).startswith(f"{folder}: the checkpoint is damaged (")

    def test_an_epoch_without_history_is_damage(self, folder: Path) -> None:
        describe_again(folder, history=[])
        assert refusal(folder).startswith(f"{folder}: the checkpoint is damaged (")

    def test_a_config_of_another_version_is_told_by_its_key(self, folder: Path) -> None:
        describe_again(folder, config={**CONFIG.as_dict(), "channel": [3]})
        message = refusal(folder)
        assert message.startswith(f"{folder / DESCRIPTION}: unknown key 'channel'; did you mean")

    def test_a_damaged_one_is_not_copied_over_a_whole_one(
        self, folder: Path, tmp_path: Path
    ) -> None:
        damaged = tmp_path / "damaged"
        copy_checkpoint(folder, damaged)
        assert_same(load_checkpoint(damaged), make_checkpoint())
        (damaged / STATE_DICT).write_bytes((damaged / STATE_DICT).read_bytes()[:-9])
        with pytest.raises(UnusableCheckpoint, match="damaged: the checkpoint is damaged"):
            copy_checkpoint(damaged, folder)
        assert_same(load_checkpoint(folder), make_checkpoint())
        assert {path.name for path in tmp_path.iterdir()} == {"last", "damaged"}

    def test_a_folder_without_a_checkpoint(self, folder: Path, tmp_path: Path) -> None:
        assert f"did you mean {folder}?" in refusal(tmp_path)
        assert "no checkpoint here" in refusal(tmp_path / "nowhere")
        (tmp_path / "empty").mkdir()
        assert "give the folder" in refusal(tmp_path / "empty")
        refit = tmp_path / "study/refit/last"
        copy_checkpoint(folder, refit)
        assert f"did you mean {refit}?" in refusal(tmp_path / "study")


@pytest.mark.parametrize("name", [STATE_DICT, RESUME])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_not_run(folder: Path, name: str, zipped: bool) -> None:
    mark = folder.parent / "attacked"
    torch.save({"fc1.weight": Attack(mark)}, folder / name, _use_new_zipfile_serialization=zipped)
    describe_again(folder)
    assert refusal(folder).startswith(f"{folder}: the checkpoint is damaged (")
    assert not mark.exists()
    torch.load(folder / name, weights_only=False)
    assert mark.exists()  # the attack would have worked


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_an_optimiser_continues_with_the_options_of_its_config(name: str) -> None:
    """Population-based training changes them with the point that a trial copies."""

    def build(**changes: float) -> torch.optim.Optimizer:
        config = build_config({"optimizer": name, **changes})
        torch.manual_seed(0)
        model = nn.Linear(2, 1)
        model(torch.ones(2)).backward()
        return build_optimizer(config, model)

    first = build(momentum=0.9, weight_decay=0.01)
    first.step()
    checkpoint = dataclasses.replace(make_checkpoint(), optimizer=first.state_dict())
    other = build(momentum=0.5, weight_decay=0.1)
    wanted = {key: value for key, value in other.param_groups[0].items() if key != "params"}
    load_optimizer(other, checkpoint)
    assert {key: other.param_groups[0][key] for key in wanted} == wanted
    assert other.state_dict()["state"].keys() == first.state_dict()["state"].keys() != set()
