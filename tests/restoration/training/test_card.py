"""Model cards as hubs read them."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from restoration.priors import library
from restoration.training.card import with_front_matter

SHIPPED = sorted((Path(library.__file__).parents[1] / "weights").glob("*/README.md"))


@pytest.mark.parametrize(
    ("licence", "wanted"),
    [
        ("CC BY 4.0", {"license": "cc-by-4.0"}),
        ("mit", {"license": "mit"}),
        ("CC0-1.0.", {"license": "cc0-1.0"}),
        ("", {"license": "unknown"}),
        (
            'My own: ask me, "first" – # no more',
            {"license": "other", "license_name": 'My own: ask me, "first" – # no more'},
        ),
    ],
)
def test_front_matter_tells_licence_library_and_tags(licence: str, wanted: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(with_front_matter("# mine\n\ntext\n", licence), encoding="utf-8")
    card = ModelCard.load(tmp_path / "README.md")
    told = card.data.to_dict()
    assert {key: told[key] for key in told if key.startswith("license")} == wanted
    assert (told["library_name"], "image-restoration" in told["tags"]) == ("diffusers", True)
    assert card.text.strip() == "# mine\n\ntext"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_priors_have_cards(path: Path) -> None:
    card = ModelCard.load(path)
    told = card.data.to_dict()
    assert (told["license"], told["library_name"]) == ("other", "diffusers")
    assert f"**Licence of the data.** {told['license_name']}" in card.text
    assert card.text.strip().startswith(f"# {path.parent.name}")


def test_four_priors_are_shipped() -> None:
    assert len(SHIPPED) == 4
