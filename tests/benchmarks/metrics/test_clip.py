"""CLIP score against torchmetrics' own, on a tiny random CLIP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.metrics.clip import ClipScore
from benchmarks.metrics.errors import MetricError

PROMPTS = ["a cat", "a dog in a very long sentence of words", "snow"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of random weights in transformers' format."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    characters = sorted(ByteLevel.alphabet())
    words = [*characters, *(c + "</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    told = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 20}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**size, **ends, "vocab_size": 514, "max_position_embeddings": 20},
        vision_config={**size, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    network = CLIPModel(config)
    network.visual_projection.weight.data.neg_()  # as it comes, all scores are below 0
    network.save_pretrained(folder / "made")
    square = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    CLIPProcessor(CLIPImageProcessor(**square), CLIPTokenizer.from_pretrained(folder)).save_pretrained(
        folder / "made"
    )
    return folder / "made"


def pictures() -> torch.Tensor:
    return torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(1))


class Old:
    """A CLIP that answers as before transformers 5, which torchmetrics 1.9 expects: features as tensors."""

    def __init__(self, network: Any) -> None:
        self.network = network

    def to(self, device: object) -> Old:
        return self

    def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return _tensor(self.network.get_image_features(pixel_values))

    def get_text_features(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return _tensor(self.network.get_text_features(ids, mask))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)


def _tensor(features: Any) -> torch.Tensor:
    return features if isinstance(features, torch.Tensor) else features.pooler_output


def test_scores_are_torchmetrics(folder: Path) -> None:
    functional = pytest.importorskip("torchmetrics.functional.multimodal")
    scorer = ClipScore(str(folder))

    def cut() -> tuple[Any, Any]:
        return Old(scorer.network), scorer.processor

    ours = scorer(pictures(), [PROMPTS[0], PROMPTS[2], PROMPTS[0]])
    for image, prompt, score in zip(pictures(), [PROMPTS[0], PROMPTS[2], PROMPTS[0]], ours, strict=True):
        eight_bits = (image * 255).round().byte()
        # float32 of another batch, on a scale of 100; torchmetrics has 0 for what is below
        assert float(functional.clip_score(eight_bits, prompt, cut)) == pytest.approx(
            max(float(score), 0), abs=1e-3
        )
    assert ours.max() > 0  # so that something was compared


def test_a_picture_is_scored_alike_alone_and_with_others_and_grey_as_rgb(folder: Path) -> None:
    scorer = ClipScore(str(folder))
    together = scorer(pictures(), PROMPTS)
    alone = torch.cat([scorer(image[None], [prompt]) for image, prompt in zip(pictures(), PROMPTS, strict=True)])
    # float32 of another batch, on a scale of 100
    assert torch.allclose(together, alone, atol=1e-3)
    grey = pictures()[:, :1]
    assert torch.equal(scorer(grey, PROMPTS), scorer(grey.expand(-1, 3, -1, -1), PROMPTS))
    assert not torch.allclose(together, together.roll(1), atol=1e-2)


def test_no_weights_and_wrong_counts_are_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MetricError, match=r"CLIP's weights \(.*none\) are not here; fetch its folder .* --clip"):
        ClipScore(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="prompts must be one an image: got 1 for 3"):
        ClipScore(str(folder))(pictures(), ["a"])


def test_two_pictures_are_alike_by_the_angle_of_their_embeddings(folder: Path) -> None:
    scorer = ClipScore(str(folder))
    images, others = pictures(), pictures().flip(0)
    given = scorer.processor.image_processor(images=[i.permute(1, 2, 0).numpy() for i in images], do_rescale=False)
    pixels = torch.stack([torch.as_tensor(p) for p in given["pixel_values"]])
    embedded = _tensor(scorer.network.get_image_features(pixels))
    expected = 100 * torch.nn.functional.cosine_similarity(embedded, embedded.flip(0))
    # 8 bits stand between: 1/500 of a picture's range, on a scale of 100
    assert torch.allclose(scorer.alike(images, others).float(), expected, atol=0.5)
    assert torch.allclose(scorer.alike(images, images), torch.full((3,), 100.0, dtype=torch.float64), atol=1e-4)
    assert scorer.alike(images, others)[0] < 99.9
    with pytest.raises(ValueError, match="shape"):
        scorer.alike(images, others[:2])
