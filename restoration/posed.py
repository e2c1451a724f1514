"""A picture or a scan as the recipe has it, and what is to be restored of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from restoration.medical.volume import Volume
from restoration.medical.warning import WARNING
from restoration.pictures.colour import grey_in_srgb
from restoration.pictures.picture import Picture, is_of_colour
from restoration.recipe import Recipe
from restoration.tasks import Problem, Task, fit_to, pose
from restoration.tasks.masks import filled
from restoration.tasks.slices import SliceProblem, check_scan_task, pose_slices


def _for(task: Task, picture: Picture, prior_shape: tuple[int, int, int]) -> Picture:
    """The picture, its alpha cut as the pixels will be, and in sRGB where its profile cannot hold the result."""
    _, height, width = prior_shape
    kind = task.kind
    if task.fit and picture.alpha is not None:
        f = 1 if task.simulate else kind.factor
        alpha = fit_to(picture.alpha, height // f, width // f, shrink=task.simulate)
        picture = replace(picture, alpha=alpha)
    adds_colour = kind.measured_channels(3) == 1 < prior_shape[0]
    if adds_colour and len(picture.pixels) == 1 and picture.profile and not is_of_colour(picture.profile):
        note = "its profile is of grey; converted to sRGB, which the coloured result is in"
        pixels = grey_in_srgb(picture.pixels, picture.profile)
        picture = replace(picture, pixels=pixels, profile=None, notes=(*picture.notes, note))
    return picture


def posed(recipe: Recipe, picture: Picture, seed: int) -> tuple[Picture, Problem]:
    """A picture as the recipe has it, and what is to be restored of it."""
    if picture.scan is not None:
        check_scan_task(recipe.task.kind)
    picture = _for(recipe.task, picture, recipe.prior.image_shape)
    pixels = picture.pixels[:1] if picture.grey else picture.pixels
    problem = pose(
        recipe.task, pixels, recipe.prior.image_shape, mask=recipe.mask, strokes=recipe.strokes, seed=seed
    )
    if recipe.marks is not None:
        problem = recipe.marks.put_on(problem)
    if picture.scan is not None:
        scan = _marked(_fitted(picture.scan, recipe), recipe)
        picture = replace(picture, scan=scan)
    return picture, problem


def posed_scan(recipe: Recipe, scan: Volume, seed: int) -> tuple[Volume, SliceProblem]:
    """The slices of a scan as the recipe has them, and what is to be restored of them."""
    check_scan_task(recipe.task.kind)
    problem = pose_slices(recipe.task, scan.images, recipe.prior.image_shape, mask=recipe.mask, seed=seed)
    scan = _fitted(scan, recipe)
    if recipe.task.fit:
        problem = replace(problem, given=scan.images)
    return _marked(scan, recipe), problem


def _fitted(scan: Volume, recipe: Recipe) -> Volume:
    """The part of a scan that the task leaves of it with ``fit``: as ``fit_to`` cuts pictures."""
    if not recipe.task.fit:
        return scan
    factor = 1 if recipe.task.simulate else recipe.task.kind.factor
    height, width = (side // factor for side in recipe.prior.image_shape[1:])
    _, rows, columns = scan.shape
    scale = min(rows / height, columns / width) if recipe.task.simulate else 1
    high, wide = round(height * scale), round(width * scale)
    return scan.cropped((rows - high) // 2, (columns - wide) // 2, high, wide)


def _marked(scan: Volume, recipe: Recipe) -> Volume:
    """A scan of which what was beyond its window is forgotten where it was not measured."""
    if recipe.task.simulate:
        return scan.forgetting(torch.ones(1, 1, *scan.shape[1:]))
    if recipe.mask is None or not recipe.task.kind.takes_mask or recipe.task.kind.factor > 1:
        return scan
    mask = recipe.mask
    _, rows, columns = scan.shape
    top, left = (mask.shape[-2] - rows) // 2, (mask.shape[-1] - columns) // 2
    share = filled(mask[..., top : top + rows, left : left + columns])
    return scan.forgetting(share if share.ndim == 4 else share[None])


def said_of(given: Picture | Volume) -> dict[str, Any]:
    """What outputs of a scan record of it."""
    scan = given.scan if isinstance(given, Picture) else given
    if scan is None:
        return {}
    window = [scan.window.low, scan.window.high]
    return {"window": window, "unit": scan.unit or None, "axis": scan.axis, "warning": WARNING}
