"""How the operators of single images become the operator of a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import torch
from torch import Tensor

from degradations.operator import Index, SVDOperator


class Stacked(SVDOperator):
    """A applies to each image of a batch the image's own operator; made by :meth:`SVDOperator.stack`.

    Images that share an operator are passed through it together.

    Args:
        operators: one for each image, all of the same image and measurement shape and on the same device.
    """

    def __init__(self, operators: Sequence[SVDOperator]) -> None:
        first = operators[0]
        rows = [operator.singular_values.expand(1, *operator.image_shape) for operator in operators]
        exact = [operator.noiseless for operator in operators]
        noiseless = None
        if any(part is not None for part in exact):
            none = torch.zeros(1, 1, 1, dtype=torch.bool, device=rows[0].device)
            full = [none if part is None else part for part in exact]
            noiseless = torch.cat([part.expand(1, *first.image_shape) for part in full])
        super().__init__(first.image_shape, first.measurement_shape, torch.cat(rows), noiseless)
        distinct: list[SVDOperator] = []
        which = []
        for operator in operators:
            place = next((i for i, known in enumerate(distinct) if _equal(known, operator)), len(distinct))
            distinct += [operator] if place == len(distinct) else []
            which.append(place)
        # Copies, so that moving the batch's operator does not move the caller's.
        self.operators = torch.nn.ModuleList(operator._with({}) for operator in distinct)
        self.which = tuple(which)

    def Vt(self, x: Tensor) -> Tensor:
        return self._each(lambda operator, part: operator.Vt(part), x)

    def V(self, z: Tensor) -> Tensor:
        return self._each(lambda operator, part: operator.V(part), z)

    def Ut(self, y: Tensor) -> Tensor:
        return self._each(lambda operator, part: operator.Ut(part), y)

    def U(self, z: Tensor) -> Tensor:
        return self._each(lambda operator, part: operator.U(part), z)

    def forward(self, x: Tensor) -> Tensor:
        return self._each(lambda operator, part: operator(part), x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._each(lambda operator, part: operator.adjoint(part), y)

    def pinv(self, y: Tensor) -> Tensor:
        return self._each(lambda operator, part: operator.pinv(part), y)

    def whiten(self, y: Tensor) -> Tensor:
        return self._each(lambda operator, part: operator.whiten(part), y)

    def fingerprint(self) -> str:
        distinct = [self._member(i).fingerprint() for i in range(len(self.operators))]
        return hashlib.sha256(" ".join(["Stacked", *(distinct[i] for i in self.which)]).encode()).hexdigest()

    def take(self, index: Index) -> SVDOperator:
        chosen = torch.arange(len(self.which))[[index] if isinstance(index, int) else index]
        return stack(self._member(self.which[i]) for i in chosen.tolist())

    def _member(self, place: int) -> SVDOperator:
        return cast(SVDOperator, self.operators[place])

    def _each(self, apply: Callable[[SVDOperator, Tensor], Tensor], values: Tensor) -> Tensor:
        if len(values) != len(self.which):
            raise ValueError(
                f"the batch must hold one image for each of {len(self.which)} operators: got {len(values)}"
            )
        parts: dict[int, Tensor] = {}
        for place in range(len(self.operators)):
            rows = [i for i, chosen in enumerate(self.which) if chosen == place]
            parts |= zip(rows, torch.split(apply(self._member(place), values[rows]), 1), strict=True)
        return torch.cat([parts[i] for i in range(len(values))])


def stack(operators: Iterable[SVDOperator]) -> SVDOperator:
    """One operator for the images of all; what :meth:`SVDOperator.stack` says."""
    given = list(operators)
    if not given:
        raise ValueError("operators must hold at least one operator to stack: got none")
    first = given[0]
    for other in given[1:]:
        for name in ("image_shape", "measurement_shape"):
            one, two = getattr(first, name), getattr(other, name)
            if one != two:
                raise ValueError(f"operators must have the same {name} to be stacked: got {one} and {two}")
        here, there = first.singular_values.device, other.singular_values.device
        if here != there:
            raise ValueError(
                f"operators must be on one device to be stacked: got {here} and {there}; move with .to()"
            )
    singles = [
        operator if operator.batch_size is None else operator.take(i)
        for operator in given
        for i in range(operator.batch_size or 1)
    ]
    first = singles[0]
    if len(singles) == 1 or (first.batch_size is None and all(_equal(first, other) for other in singles[1:])):
        return first
    concatenated = _concatenated(singles)
    return Stacked(singles) if concatenated is None else concatenated


def _concatenated(singles: Sequence[SVDOperator]) -> SVDOperator | None:
    """One operator of the singles' class, or None where they differ in more than buffers it can hold per image."""
    first = singles[0]
    if not first.per_image:
        return None
    names = ("singular_values", *first.per_image)
    if not all(_equal(first, other, apart_from=names) for other in singles[1:]):
        return None
    rows: dict[str, list[Tensor]] = {name: [] for name in names}
    for single in singles:
        buffers = dict(single.named_buffers())
        for name, row in rows.items():
            row.append(buffers[name] if single.batch_size else buffers[name][None])
    kinds = [{(tensor.shape, tensor.dtype) for tensor in row} for row in rows.values()]
    if any(len(kind) > 1 for kind in kinds):
        return None
    return first._with({name: torch.cat(row) for name, row in rows.items()})


def _equal(one: torch.nn.Module, two: torch.nn.Module, apart_from: Sequence[str] = ()) -> bool:
    """Whether two modules are surely the same: class, attributes, tensors, and so all within them.

    Attributes that cannot be compared count as different, so that nothing is shared by mistake.
    """
    if one is two:
        return True
    if len(list(one.modules())) != len(list(two.modules())):
        return False
    for (name, a), (other_name, b) in zip(one.named_modules(), two.named_modules(), strict=True):
        if name != other_name or type(a) is not type(b):
            return False
        mine, theirs = _attributes(a), _attributes(b)
        if mine.keys() != theirs.keys() or not all(_same(mine[key], theirs[key]) for key in mine):
            return False
    tensors, others = ({**dict(m.named_parameters()), **dict(m.named_buffers())} for m in (one, two))
    return tensors.keys() == others.keys() and all(
        name in apart_from or _same(tensors[name], others[name]) for name in tensors
    )


_INTERNAL = frozenset(vars(torch.nn.Module()))


def _attributes(module: torch.nn.Module) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if name not in _INTERNAL}


def _same(one: object, two: object) -> bool:
    if one is two:
        return True
    if type(one) is not type(two):
        return False
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        return one.dtype == two.dtype and one.device == two.device and one.equal(two)
    try:
        return bool(one == two)
    except (RuntimeError, ValueError):  # e.g. arrays, which compare element by element
        return False
