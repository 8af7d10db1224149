"""`masklet doctor`: what this machine can do, for a user who wonders and for a bug report."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from masklet import __version__
from masklet.errors import MaskletError

_CPU_FEATURES = {
    "AVX2": "avx2",
    "AVX-512": "avx512f",
    "AVX-512 BF16": "avx512_bf16",
    "AVX-512 VNNI": "avx512_vnni",
    "AMX tiles": "amx_tile",
    "AMX BF16": "amx_bf16",
}
_ENCODERS = {
    "libx264": "H.264: overlay.mp4",
    "libx265": "H.265",
    "prores_ks": "ProRes, with alpha in 4444",
    "libvpx-vp9": "VP9: WebM with alpha",
    "libsvtav1": "AV1",
    "ffv1": "FFV1, lossless",
    "qtrle": "QuickTime Animation, lossless with alpha",
    "gif": "GIF",
    "png": "PNG",
    "aac": "AAC sound",
}
_DECODERS = ("h264", "hevc", "vp9", "av1", "prores", "mjpeg", "ffv1")
_PACKAGES = ("numpy", "opencv-python-headless", "openexr", "pillow", "pycocotools", "pydantic", "safetensors")
_OPTIONAL = {
    "fastapi": "the studio",
    "uvicorn": "the studio",
    "websockets": "the studio",
    "matplotlib": "plots of evaluations",
    "tensorboardX": "curves of training runs",
}


@dataclass
class DoctorReport:
    """Sections of named facts, and what is wrong."""

    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def section(self, title: str) -> dict[str, Any]:
        return self.sections.setdefault(title, {})


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, for a bug report.")] = False,
) -> None:
    """Show what this machine can do: processor, PyTorch, GPU, video codecs, weights.

    Ends with exit code 1 where something is missing that masklet needs.

    Examples: `masklet doctor`, `masklet doctor --json > report.json`
    """
    report = examine()
    if as_json:
        typer.echo(json.dumps({**report.sections, "problems": report.problems}, indent=2, default=str))
    else:
        _show(report)
    if report.problems:
        raise typer.Exit(1)


def examine() -> DoctorReport:
    """Look at everything that decides what masklet can do here."""
    report = DoctorReport()
    system = report.section("System")
    system["masklet"] = __version__
    system["Python"] = f"{platform.python_version()} ({platform.python_implementation()})"
    system["system"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    _examine_torch(report)
    _examine_video(report)
    _examine_packages(report)
    _examine_models(report)
    return report


def _examine_torch(report: DoctorReport) -> None:
    cpu = report.section("Processor")
    cpu["name"] = _cpu_name()
    cpu["logical cores"] = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        cpu["cores we may use"] = len(os.sched_getaffinity(0))
    try:
        import torch
    except (ImportError, OSError) as error:
        report.problems.append(f"PyTorch can't be imported ({error}); install it again: pip install torch")
        return
    flags = _cpu_flags(torch)
    cpu.update({name: flag in flags for name, flag in _CPU_FEATURES.items()})

    section = report.section("PyTorch")
    section["version"] = torch.__version__
    section["kernels for"] = torch.backends.cpu.get_cpu_capability()
    section["threads"] = f"{torch.get_num_threads()} in an operation, {torch.get_num_interop_threads()} between"
    section["oneDNN"] = torch.backends.mkldnn.is_available()
    section["MKL"] = torch.backends.mkl.is_available()

    devices = report.section("Devices")
    devices["CUDA"] = _cuda(torch)
    devices["MPS (Apple)"] = torch.backends.mps.is_available()
    try:
        from masklet.runtime import pick_device, pick_dtype

        device = pick_device(None)
        devices["used by default"] = f"{device} in {str(pick_dtype(None, device)).removeprefix('torch.')}"
    except MaskletError as error:
        report.problems.append(str(error))


def _cuda(torch: Any) -> Any:
    if not torch.cuda.is_available():
        return False if torch.version.cuda else "no (this PyTorch is built without CUDA)"
    names = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        names.append(f"{properties.name}, {properties.total_memory / 1e9:.1f} GB")
    return f"{'; '.join(names)} (CUDA {torch.version.cuda})"


def _cpu_name() -> str:
    for line in _cpuinfo():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cpu_flags(torch: Any) -> set[str]:
    """Names of the processor's instruction sets, spelled as Linux spells them."""
    for line in _cpuinfo():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every PyTorch
    flags = {name for name, there in capabilities.items() if there is True}
    if "avx512_f" in flags:
        flags.add("avx512f")
    level = torch.backends.cpu.get_cpu_capability()
    if level in ("AVX2", "AVX512"):
        flags.add("avx2")
    if level == "AVX512":
        flags.add("avx512f")
    return flags


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def _examine_video(report: DoctorReport) -> None:
    section = report.section("Video")
    try:
        import av
    except (ImportError, OSError) as error:
        report.problems.append(f"PyAV can't be imported ({error}); install it again: pip install av")
        return
    versions = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    section["PyAV"] = av.__version__
    section["FFmpeg"] = f"libavcodec {versions.get('libavcodec', '?')}, libavformat {versions.get('libavformat', '?')}"
    missing_decoders = [name for name in _DECODERS if not _has_codec(av, name, "r")]
    section["reads"] = ", ".join(name for name in _DECODERS if name not in missing_decoders)
    if missing_decoders:
        section["can't read"] = ", ".join(missing_decoders)
    for name, purpose in _ENCODERS.items():
        section[f"writes {name}"] = f"yes ({purpose})" if _has_codec(av, name, "w") else f"no ({purpose})"
    if not _has_codec(av, "libx264", "w"):
        report.problems.append(
            "PyAV has no libx264, so MP4 overlays can't be written; install it from PyPI: pip install av"
        )


def _has_codec(av: Any, name: str, mode: str) -> bool:
    try:
        av.codec.Codec(name, mode)
    except (av.error.FFmpegError, ValueError):  # ValueError is the parent of PyAV's UnknownCodecError
        return False
    return True


def _examine_packages(report: DoctorReport) -> None:
    section = report.section("Packages")
    for name in _PACKAGES:
        version = _version(name)
        section[name] = version or "missing"
        if version is None and not (name.startswith("opencv") and importlib.util.find_spec("cv2")):
            report.problems.append(f"{name} is missing; install it: pip install {name}")
    for name, purpose in _OPTIONAL.items():
        section[name] = _version(name) or f"not installed (for {purpose})"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _examine_models(report: DoctorReport) -> None:
    from masklet.weights import cache
    from masklet.weights.registry import RELEASED, packaged_weights

    section = report.section("Models")
    try:
        section["nano"] = packaged_weights("nano").stat().st_size and "in the package"
    except MaskletError as error:
        section["nano"] = "missing"
        report.problems.append(str(error))
    for released in RELEASED.values():
        section[released.name] = cache.cache_state(released)
    folder = cache.cache_folder()
    section["folder"] = str(folder)
    section["set by"] = "$MASKLET_HOME" if os.environ.get("MASKLET_HOME", "").strip() else "the system's default"
    if trouble := _why_not_writable(folder):
        section["writable"] = False
        report.problems.append(f"{folder} can't be written ({trouble}); set $MASKLET_HOME to a folder you can write to")
        return
    section["writable"] = True
    section["free space"] = f"{shutil.disk_usage(_nearest_existing(folder)).free / 1e9:.1f} GB"


def _why_not_writable(folder: Path) -> str | None:
    """Try to write where the cache is, or would be made; None where that works."""
    try:
        with tempfile.TemporaryFile(dir=_nearest_existing(folder)):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _nearest_existing(folder: Path) -> Path:
    return next((place for place in (folder, *folder.parents) if place.exists()), Path(folder.anchor))


def _show(report: DoctorReport) -> None:
    console = Console(highlight=False)
    for title, facts in report.sections.items():
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in facts.items():
            shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
            table.add_row(f"  {name}", shown)
        console.print(f"[bold]{title}[/bold]")
        console.print(table)
    if not report.problems:
        console.print("\nEverything that masklet needs is here.")
    for problem in report.problems:
        Console(file=sys.stderr, highlight=False).print(
            f"problem: {problem}", style="red", markup=False, soft_wrap=True
        )
