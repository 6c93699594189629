"""Saving and loading weights: a round trip changes nothing, and every kind of bad file raises a clear error."""

import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from safetensors.torch import load_file, save_file
from threshnet_tests.strategies import small_networks

from threshnet import InputError, NetworkSpec, checkpoint
from threshnet.checkpoint import SPEC_KEY, import_original, load_weights, save_weights
from threshnet.named import dense_block, harmonic_block
from threshnet.network import ThreshNet, build

SPEC = NetworkSpec((dense_block(2, 4, 8, pool=True), harmonic_block(4, 6, 10)), classes=5)


@pytest.fixture
def model() -> ThreshNet:
    torch.manual_seed(1)
    return build(SPEC)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=small_networks())
def test_weights_survive_a_round_trip(tmp_path: Path, spec: NetworkSpec) -> None:
    model = build(spec)
    save_weights(model, tmp_path / "w.safetensors")
    again = load_weights(tmp_path / "w.safetensors")
    assert again.spec == spec
    assert not again.training
    theirs = again.state_dict()
    assert list(theirs) == list(model.state_dict())
    assert all(torch.equal(value, theirs[key]) for key, value in model.state_dict().items())
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_second_save_replaces_the_first(tmp_path: Path, model: ThreshNet) -> None:
    file = tmp_path / "w.safetensors"
    save_weights(build(SPEC), file)
    save_weights(model, file)
    assert torch.equal(load_weights(file).state_dict()["stem_conv1.weight"], model.state_dict()["stem_conv1.weight"])
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.safetensors: no such weights file"):
        load_weights(tmp_path / "nowhere.safetensors")


def test_a_folder_is_not_a_weights_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path.name}: not a regular file"):
        load_weights(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\xff" * 100])
def test_a_file_in_another_format_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"w\.safetensors: damaged or not a safetensors file") as caught:
        load_weights(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path: Path, model: ThreshNet, keep: float) -> None:
    file = tmp_path / "w.safetensors"
    save_weights(model, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(InputError, match=r"w\.safetensors: damaged"):
        load_weights(file)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, f"its metadata has no '{SPEC_KEY}'"),
        ({"format": "pt"}, f"its metadata has no '{SPEC_KEY}'"),
        ({SPEC_KEY: "{"}, f"its metadata '{SPEC_KEY}' is not a network"),
        ({SPEC_KEY: "[]"}, "is not a network .*must be a table"),
        ({SPEC_KEY: json.dumps({**SPEC.to_json(), "classes": 1})}, "is not a network .*classes = 1"),
        ({SPEC_KEY: json.dumps({**SPEC.to_json(), "classes": 6})}, "its tensors do not match its spec .*head_linear"),
    ],
)
def test_bad_metadata_is_named(tmp_path: Path, model: ThreshNet, metadata: dict[str, str] | None, message: str) -> None:
    save_file(dict(model.state_dict()), tmp_path / "w.safetensors", metadata=metadata)
    with pytest.raises(InputError, match=f"w.safetensors: .*{message}") as caught:
        load_weights(tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)


def test_a_missing_tensor_is_named(tmp_path: Path, model: ThreshNet) -> None:
    file = tmp_path / "w.safetensors"
    save_weights(model, file)
    state = load_file(file)
    del state["head_linear.bias"]
    save_file(state, file, metadata={SPEC_KEY: json.dumps(SPEC.to_json())})
    with pytest.raises(InputError, match=r"do not match its spec .*head_linear\.bias"):
        load_weights(file)


def test_a_wrong_dtype_is_named(tmp_path: Path, model: ThreshNet) -> None:
    state = model.state_dict() | {"head_linear.bias": torch.zeros(5, dtype=torch.float64)}
    save_file(state, tmp_path / "w.safetensors", metadata={SPEC_KEY: json.dumps(SPEC.to_json())})
    with pytest.raises(InputError, match=r"w\.safetensors: head_linear\.bias has dtype 'F64', must be F32"):
        load_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("more", [1, 2**30])
def test_extra_bytes_are_named_and_never_read(tmp_path: Path, model: ThreshNet, more: int) -> None:
    file = tmp_path / "w.safetensors"
    save_weights(model, file)
    os.truncate(file, file.stat().st_size + more)
    with pytest.raises(InputError, match=r"w\.safetensors: damaged .*the network needs [\d,]+ bytes"):
        load_weights(file)


@pytest.mark.parametrize("header", [b"[]", b"3", b'{"a": 1}', b"[" * 10**5, b"\xff"])
def test_a_malformed_header_is_named(tmp_path: Path, header: bytes) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputError, match=r"w\.safetensors: damaged or not a safetensors file"):
        load_weights(file)


def test_a_weights_file_is_opened_once(tmp_path: Path, model: ThreshNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes that are loaded are those that were checked, even if another file takes its place meanwhile."""
    file = tmp_path / "w.safetensors"
    save_weights(model, file)

    def build_and_delete(spec: NetworkSpec) -> ThreshNet:
        file.unlink()
        return build(spec)

    monkeypatch.setattr(checkpoint, "build", build_and_delete)
    assert torch.equal(load_weights(file).state_dict()["head_linear.bias"], model.state_dict()["head_linear.bias"])


def test_originals_are_matched_by_order_not_by_name(model: ThreshNet) -> None:
    state = {f"base.{i}": value for i, value in enumerate(model.state_dict().values())}
    again = import_original(SPEC, state).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items())


def test_an_original_of_another_length_is_refused(model: ThreshNet) -> None:
    state = dict(model.state_dict())
    entries = len(state)
    del state["head_linear.bias"]
    with pytest.raises(InputError, match=f"state_dict has {entries - 1} entries, this network has {entries}"):
        import_original(SPEC, state)


def test_an_original_of_another_shape_is_refused(model: ThreshNet) -> None:
    state = {f"original.{key}": value for key, value in model.state_dict().items()}
    state["original.head_linear.weight"] = torch.zeros(5, 11)
    message = r"entry 'original.head_linear.weight' has shape \(5, 11\), 'head_linear.weight' needs \(5, 10\)"
    with pytest.raises(InputError, match=message):
        import_original(SPEC, state)
