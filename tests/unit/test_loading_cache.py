"""`load_model`: one network per weights, device and format, shared until it is freed."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import masklet
from masklet.errors import CheckpointError, DeviceError, InputError
from masklet.models.sam2 import SAM2
from masklet.weights.loading import find_weights, free_models, load_model
from masklet.weights.registry import packaged_weights


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("MASKLET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MASKLET_OFFLINE", "1")
    free_models()
    yield
    free_models()


def test_nano_needs_nothing_and_is_ready_to_run() -> None:
    model = masklet.load_model(device="cpu", dtype="float32")
    assert isinstance(model, SAM2)
    assert model.spec.name == "nano"
    assert (model.device, model.dtype, model.training) == (torch.device("cpu"), torch.float32, False)
    features = model.encode_image(torch.zeros(1, 3, 256, 256))
    assert features.embedding_bchw.shape == (1, 128, 16, 16)
    assert not features.embedding_bchw.requires_grad


def test_the_same_request_gets_the_same_network() -> None:
    model = load_model("nano", device="cpu", dtype="float32")
    assert load_model("NANO", device=torch.device("cpu"), dtype=torch.float32) is model
    assert load_model(checkpoint=packaged_weights("nano"), device="cpu", dtype="fp32") is model
    other = load_model("nano", device="cpu", dtype="bfloat16")
    assert other is not model
    assert other.dtype == torch.bfloat16
    assert load_model("nano", device="cpu", dtype="float32") is model


def test_many_threads_get_one_network() -> None:
    start = threading.Barrier(6)
    models: list[SAM2] = []

    def ask() -> None:
        start.wait()
        models.append(load_model("nano", device="cpu", dtype="float32"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(models) == 6
    assert len({id(model) for model in models}) == 1


def test_freeing_gives_the_memory_back() -> None:
    reference = weakref.ref(load_model("nano", device="cpu", dtype="float32"))
    load_model("nano", device="cpu", dtype="bfloat16")
    assert free_models() == 2
    gc.collect()
    assert reference() is None
    assert free_models() == 0


def test_a_checkpoint_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(packaged_weights("nano").read_bytes())
    first = load_model("large", checkpoint=path, device="cpu", dtype="float32")  # the size comes from the file
    assert first.spec.name == "nano"
    assert load_model(checkpoint=str(path), device="cpu", dtype="float32") is first
    os.utime(path, ns=(1, 1))
    assert load_model(checkpoint=path, device="cpu", dtype="float32") is not first


def test_a_link_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "link.safetensors").symlink_to(packaged_weights("nano"))
    linked = load_model(checkpoint=tmp_path / "link.safetensors", device="cpu", dtype="float32")
    assert linked is load_model("nano", device="cpu", dtype="float32")


def test_a_released_model_that_is_not_here() -> None:
    with pytest.raises(CheckpointError) as caught:
        load_model("tiny", device="cpu")
    message = str(caught.value)
    assert "sam2.1_hiera_tiny.pt" in message
    assert os.environ["MASKLET_HOME"] in message
    assert "--model nano" in message


def test_wrong_requests() -> None:
    with pytest.raises(InputError, match="huge"):
        load_model("huge")
    with pytest.raises(DeviceError):
        load_model("nano", device="toaster")
    with pytest.raises(DeviceError):
        load_model("nano", device="cpu", dtype="int8")
    with pytest.raises(CheckpointError, match="no weights file"):
        load_model(checkpoint="nowhere.pt", device="cpu")
    assert free_models() == 0


def test_packaged_weights_are_found_by_name() -> None:
    assert find_weights("nano", download=False) == packaged_weights("nano")


OUT_OF_MEMORY = """
import resource, sys
from masklet.weights.loading import load_model
from masklet.errors import DeviceMemoryError
model = load_model("nano", device="cpu", dtype="float32")  # everything is imported and warm
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 300_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    load_model(checkpoint=sys.argv[1], device="cpu", dtype="float32")
except DeviceMemoryError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's limits on memory")
def test_out_of_memory_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "large.pt"
    torch.save(_zeros("sam2.1_large"), path)
    result = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(masklet.__file__).parents[1])},
    )
    assert "sam2.1-large doesn't fit into the memory of cpu" in result.stdout
    assert "--model nano" in result.stdout


def _zeros(name: str) -> dict[str, torch.Tensor]:
    """Weights of a size that take no room in a file: every tensor is a view of a single zero."""
    import json

    shapes = json.loads((Path(__file__).parents[1] / "parity" / "state_dict_keys.json").read_text())[name]
    return {key: torch.zeros(1).expand(shape) for key, shape in shapes.items()}
