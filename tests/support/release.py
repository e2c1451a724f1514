"""Try what ``python -m build`` made: the sdist holds what it should, and the wheel restores a picture elsewhere.

    python tests/support/release.py dist

The wheel is installed into a fresh environment that sees the packages of this one (torch among them, which takes
minutes to install), but not this folder: a ``.pth`` file adds theirs, and what is found first is the wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
from pathlib import Path
from zipfile import ZipFile

PACKAGES = ("degradations", "solvers", "nested", "restoration", "benchmarks")
MOST_BYTES = 60_000_000
LEFT_OUT = (".venv", ".git", ".ci", "site", "dist", "build", "demo", "__pycache__")


def check_wheel(wheel: Path) -> None:
    """Small enough, with types and the embedded priors, and with nothing but our packages."""
    assert wheel.stat().st_size <= MOST_BYTES, f"{wheel.name} has {wheel.stat().st_size:,} bytes"
    with ZipFile(wheel) as file:
        names = set(file.namelist())
    for package in PACKAGES:
        assert f"{package}/py.typed" in names, f"{package} has no py.typed"
    for prior in ("photos-64", "faces-128", "brain-mri-128", "faces-64"):
        folder = f"restoration/priors/weights/{prior}"
        assert f"{folder}/unet/diffusion_pytorch_model.safetensors" in names, f"{prior} has no weights"
    assert "restoration/service/page/index.html" in names
    assert "benchmarks/report/style.css" in names
    others = {name.split("/")[0] for name in names} - {*PACKAGES}
    assert all(other.endswith(".dist-info") for other in others), others


def check_sdist(sdist: Path) -> None:
    """The sources with tests, pages and examples, and nothing that was made from them."""
    with tarfile.open(sdist) as file:
        parts = [name.split("/")[1:] for name in file.getnames()]
    paths = {"/".join(part) for part in parts}
    for path in (
        "README.md",
        "CHANGELOG.md",
        "CITATION.cff",
        "LICENSE",
        "Makefile",
        "mkdocs.yml",
        "docs/index.md",
    ):
        assert path in paths, f"{path} is missing"
    assert "tests/conftest.py" in paths
    assert "examples/first_steps.ipynb" in paths
    made = [part for part in parts if set(part) & set(LEFT_OUT) and part[0] not in PACKAGES]
    assert not made, made[:3]


def try_wheel(wheel: Path, folder: Path) -> None:
    """Install it into an environment in ``folder`` and restore a picture by the command, far from the sources."""
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    ours = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
    )
    # without the .pth files in it: this folder, installed to be edited, stays unseen
    (Path(ours) / "of-the-parent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            [folder / "venv" / "bin" / words[0], *words[1:]],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stderr or done.stdout}"
        return done.stdout + done.stderr

    draw = "from PIL import Image; Image.linear_gradient('L').resize((64, 64)).convert('RGB').save('in.png')"
    run("python", "-c", draw)
    found = run("python", "-c", "import restoration; print(restoration.__file__)").strip()
    assert found.startswith(str(folder / "venv")), found
    run(
        "restore", "in.png", "--task", "denoise", "--sigma", "0.1", "--outer", "1", "--inner", "2", "-o", "out.png"
    )
    run("python", "-c", "from PIL import Image; assert Image.open('out.png').size == (64, 64)")
    for command in ("restore", "restore-bench", "restore-serve", "restore-train"):
        assert "Usage" in run(command, "--help")


def main(dist: Path) -> None:
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    check_sdist(sdist)
    check_wheel(wheel)
    with tempfile.TemporaryDirectory() as folder:
        try_wheel(wheel.resolve(), Path(folder).resolve())
    print(f"{wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB, restores a picture outside of its sources")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
