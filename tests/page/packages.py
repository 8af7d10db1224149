"""What npm has for the tests of the page."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

HERE = Path(__file__).parent


def npm_file(place: str) -> Path:
    """A file of a package in `package.json`, which is installed where it isn't there yet."""
    modules = HERE / "node_modules"
    modules.mkdir(exist_ok=True)
    path = modules / place
    with FileLock(modules / ".installing"):  # tests run in several processes
        if not path.exists():
            npm = shutil.which("npm")
            if npm is None:
                pytest.skip("needs npm")
            command = [npm, "install", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=HERE, check=False, capture_output=True, text=True, timeout=600)
            if done.returncode:
                pytest.skip(f"npm could not install it: {done.stderr[-300:]}")
    return path
