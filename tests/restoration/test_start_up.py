"""What a restoration does not need is not imported for it, and all the same is there for who asks."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from restoration.priors.importing import compiler, light
from restoration.priors.importing.compiler import Marks
from restoration.priors.importing.distributions import Distributions, read_later
from restoration.priors.importing.waiting import Waiting, defer

HOUSE = Path(__file__).parents[2]
HEAVY = (
    "transformers",
    "peft",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.tensor",
    "torch.distributed.fsdp",
    "torch.distributed.checkpoint",
    "scipy",
    "sympy",
    "skimage",
    "torchvision",
    "triton",
    "deepinv",
    "diffusers.hooks",
    "diffusers.loaders.peft",
    "diffusers.pipelines",
    "diffusers.models.unets.unet_2d_condition",
    "restoration.commands.steer",
    "restoration.service.engine",
)


def child(script: str, *arguments: object) -> str:
    """What a new Python prints."""
    environment = {**os.environ, "PYTHONPATH": str(HOUSE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_restore_imports_no_heavy_module(tmp_path: Path) -> None:
    Image.new("L", (64, 64), 99).save(tmp_path / "in.png")
    script = """
import sys
from restoration.commands import restore as cli
heavy, sys.argv[1:] = sys.argv[1].split(), sys.argv[2:]
try:
    cli.main()
finally:
    print(sorted(set(heavy) & set(sys.modules)), "diffusers" in sys.modules)
"""
    told = child(script, " ".join(HEAVY), tmp_path / "in.png", "--task", "colorize", "-o", tmp_path / "out.png")
    assert told.splitlines()[-1] == "[] True"
    assert (tmp_path / "out.png").is_file()


def test_whoever_asks_gets_all_of_diffusers() -> None:
    """Its own classes, in either order, and the compiler's marks on them."""
    child("""
import sys
from restoration.priors import load_prior
prior = load_prior("faces-64", "cpu")
import diffusers
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers import Transformer2DModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel as same
assert Transformer2DModel is same
assert type(prior.network) is diffusers.UNet2DModel is diffusers.models.unets.unet_2d.UNet2DModel
from diffusers.quantizers import PipelineQuantizationConfig, DiffusersAutoQuantizer
from diffusers import DDPMPipeline, StableDiffusionPipeline, UNet2DConditionModel
assert "UNet2DConditionModel" in dir(diffusers.models.unets)
assert prior.device == prior.network.device
from torch._dynamo.trace_rules import is_callable_allowed
assert is_callable_allowed(Attention)
from diffusers.utils.import_utils import _package_map
assert "torch" in _package_map
""")


def test_where_diffusers_is_made_otherwise_the_usual_import_does_it() -> None:
    """The network's module fails to import after all else has been put off: nothing of that is left."""
    child("""
import sys
class Fails:
    def find_spec(self, name, path=None, target=None):
        if name == "diffusers.models.unets.unet_2d":
            sys.meta_path.remove(self)
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Fails())
import torch
from restoration.priors import load_prior
from restoration.priors.importing.waiting import Waiting
prior = load_prior("faces-64", "cpu")
assert "torch._dynamo" in sys.modules
assert not [name for name, module in sys.modules.items() if type(module) is Waiting]
assert prior.denoise(torch.zeros(1, *prior.image_shape), 500).isfinite().all()
""")


FILES = {
    "late/__init__.py": "",
    "late/marking.py": """
try:
    from late_compiler import allow_in_graph as maybe_allow_in_graph
except ImportError:
    def maybe_allow_in_graph(marked):
        return marked
""",
    "late/models/__init__.py": """
from .network import Network
from .heavy import Heavy
""",
    "late/models/network.py": """
from ..marking import maybe_allow_in_graph
@maybe_allow_in_graph
class Network: pass
""",
    "late/models/heavy.py": "class Heavy: pass",
    "late_compiler.py": """
marked = []
def allow_in_graph(x):
    marked.append(x)
    return x
""",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """``late``, laid out as diffusers is: an ``__init__`` that asks for much, a network that asks for little."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for module, values in {
        light: {"NETWORK": "late.models.network", "PACKAGES": {"late.models": {}}, "MARKING": "late.marking"},
        compiler: {"COMPILER": "late_compiler"},
    }.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(light, "COMPILER", "late_compiler")
    yield tmp_path / "late"
    for name in [name for name in sys.modules if name.partition(".")[0] in {"late", "late_compiler"}]:
        del sys.modules[name]


def loaded() -> set[str]:
    return {name for name in sys.modules if name.startswith("late")}


@pytest.mark.usefixtures("package")
def test_a_waiting_package_runs_when_a_name_is_asked_for() -> None:
    assert light.import_lightly()
    assert loaded() == {"late", "late.marking", "late.models", "late.models.network"}
    models = importlib.import_module("late.models")
    assert type(models) is Waiting
    network = models.network.Network
    assert type(models) is Waiting  # what is there already needs no __init__
    with pytest.raises(AttributeError, match="has no attribute '__wrapped__'"):
        _ = models.__wrapped__
    assert models.Heavy.__module__ == "late.models.heavy"
    assert type(models) is ModuleType
    assert models.Network is network
    assert sys.modules["late.models"] is models
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = models.nothing


@pytest.mark.usefixtures("package")
def test_dir_sees_all_of_a_waiting_package() -> None:
    assert light.import_lightly()
    assert "Heavy" in dir(sys.modules["late.models"])


@pytest.mark.usefixtures("package")
def test_a_star_imports_all_of_a_waiting_package() -> None:
    assert light.import_lightly()
    names: dict[str, object] = {}
    exec("from late.models import *", names)
    assert "Heavy" in names


def test_an_init_that_fails_runs_again(package: Path) -> None:
    init = package / "models" / "__init__.py"
    good = init.read_text()
    init.write_text("raise ImportError('not today')\n")
    assert light.import_lightly()
    models = sys.modules["late.models"]
    with pytest.raises(ImportError, match="not today"):
        _ = models.Heavy
    init.write_text(good + "\n# of another length, so that no cached code is taken for it\n")
    assert models.Heavy.__name__ == "Heavy"


@pytest.mark.usefixtures("package")
def test_threads_that_ask_at_once_all_get_the_name() -> None:
    defer("late.models", {})
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: sys.modules["late.models"].Heavy, range(32)))
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("models/network.py", "from . import Heavy\nfrom .elsewhere import Gone\n"),
        ("models/network.py", "from ..models import Network\n"),
        ("marking.py", "raise OSError('a library is missing')\n"),
        ("models/network.py", "import late_compiler\nclass Network: pass\n"),
    ],
    ids=["a part is gone", "a circle", "another error", "the compiler is needed"],
)
def test_a_light_import_that_fails_leaves_nothing_behind(package: Path, file: str, text: str) -> None:
    (package / file).write_text(text)
    finders = list(sys.meta_path)
    read = metadata.packages_distributions
    assert not light.import_lightly()
    assert not loaded() & {"late", "late.models", "late.models.network", "late.marking"}
    assert sys.meta_path == finders
    assert metadata.packages_distributions is read


@pytest.mark.usefixtures("package")
def test_what_is_imported_already_stays_as_it_is() -> None:
    usual = importlib.import_module("late.models")
    assert not light.import_lightly()
    defer("late.models", {})
    assert sys.modules["late.models"] is usual
    with pytest.raises(ImportError, match="there is no package"):
        defer("late.nowhere", {})


@pytest.mark.usefixtures("package")
def test_marks_reach_the_compiler_when_it_is_imported_and_at_once_from_then_on() -> None:
    before = list(sys.meta_path)
    assert light.import_lightly()
    network = sys.modules["late.models.network"].Network
    mark = sys.modules["late.marking"].maybe_allow_in_graph
    assert "late_compiler" not in sys.modules
    late_compiler = importlib.import_module("late_compiler")
    assert late_compiler.marked == [network]
    assert sys.meta_path == before
    assert mark(int) is int
    assert late_compiler.marked == [network, int]


@pytest.mark.usefixtures("package")
def test_another_thread_may_import_the_compiler_in_the_meantime() -> None:
    marks = Marks()
    with marks.waiting():
        marks.allow_in_graph(int)
        with pytest.raises(ImportError, match="late_compiler"):
            importlib.import_module("late_compiler")
        with ThreadPoolExecutor(1) as pool:
            module = pool.submit(importlib.import_module, "late_compiler").result()
        assert module.marked == [int]
        marks.allow_in_graph(str)
    assert module.marked == [int, str]


def test_distributions_are_read_at_the_first_question() -> None:
    asked: list[int] = []

    def read() -> dict[str, list[str]]:
        asked.append(1)
        return {"PIL": ["pillow"]}

    table = Distributions(read)
    assert not asked
    assert table["PIL"] == ["pillow"]
    assert dict(table) == {"PIL": ["pillow"]}
    assert "nothing" not in table
    assert len(asked) == 1
    with read_later():
        later = metadata.packages_distributions()
    assert dict(later) == metadata.packages_distributions()
