"""What would change the answer, each tried before it is said: memory freed, less context, another cache, more RAM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from core.answer.choice import FREE_CACHE, PLAIN_CACHES, Choice
from core.answer.recommend import ADVISED, Want, is_below_four_bits, trained_in
from core.fit import Fit, Verdict, estimate_fit, usable_gpus
from core.hardware import Gpu, Hardware, Holder
from core.memory import CELL

if TYPE_CHECKING:
    from core.plan import Plan

_GIB = 1024**3
_STEP = 100_000_000
_LEAST_CONTEXT = 2048
_SOLD_RAM = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_SOLD_GPU = (6, 8, 10, 12, 16, 20, 24, 32, 48, 80, 96, 141, 192)
_RANK = {Verdict.FITS: 0, Verdict.TIGHT: 1, Verdict.SPLITS: 2, Verdict.NO: 3}


class Change(StrEnum):
    """What is changed."""

    FREE_MEMORY = "free memory"
    CONTEXT = "context"
    CACHE = "cache"
    LEVEL = "level"
    RAM = "ram"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """`words` is a whole sentence. `fit` is how `recipe` does then; `amount` bytes or tokens are what is changed."""

    change: Change
    words: str
    recipe: str
    fit: Fit
    amount: int


def counterfactuals_of(
    plans: Sequence[Plan], hardware: Hardware, about: Choice, *, want: Want = Want.BALANCED
) -> tuple[Counterfactual, ...]:
    """At most one of each kind, the easiest first. Where all is well, they are about the next better level."""
    makers = _MAKERS
    better = about
    if about.fit.verdict is Verdict.FITS:
        found = _next_better(plans, hardware, about)
        if found is None:
            return ()
        better, makers = found, tuple(make for make in _MAKERS if make is not _other_level)
    said = (item for make in makers for item in make(_Question(plans, hardware, better, want)))
    return tuple({item.change: item for item in said}.values())


@dataclass(frozen=True, slots=True)
class _Question:
    """How could `about` do better on `hardware`?"""

    plans: Sequence[Plan]
    hardware: Hardware
    about: Choice
    want: Want

    @property
    def recipe(self) -> str:
        return self.about.plan.recipe.name

    def fit(self, hardware: Hardware | None = None, *, context: int = 0, kv_type: str = "") -> Fit:
        fit = self.about.fit
        return estimate_fit(self.about.plan, hardware or self.hardware, context=context or fit.context,
                            kv_type=kv_type or fit.kv_type)  # fmt: skip

    def is_better(self, fit: Fit) -> bool:
        """A verdict up, and at least so far that it runs; "tight" is not worth a change unless it was worse."""
        return _RANK[fit.verdict] < _RANK[self.about.fit.verdict]

    def answer(self, change: Change, how: str, fit: Fit, amount: int) -> Counterfactual:
        return Counterfactual(change, f"{how} {_outcome(self.recipe, fit)}.", self.recipe, fit, amount)


def _next_better(plans: Sequence[Plan], hardware: Hardware, about: Choice) -> Choice | None:
    """The nearest larger level of those that are advised, if it does not fit as it is."""
    if about.plan.recipe.name in trained_in(about.plan.model):
        return None
    larger = [plan for plan in plans if plan.recipe.name in ADVISED and plan.tensor_bytes > about.plan.tensor_bytes]
    for plan in sorted(larger, key=lambda plan: plan.tensor_bytes):
        fit = estimate_fit(plan, hardware, context=about.fit.context, kv_type=about.fit.kv_type)
        if fit.verdict is not Verdict.FITS:
            return Choice(plan, fit)
    return None


def _less_context(question: _Question) -> Iterator[Counterfactual]:
    """The most context, of halves, with which it does better."""
    context = question.about.fit.context // 2 // CELL * CELL
    while context >= _LEAST_CONTEXT:
        fit = question.fit(context=context)
        if question.is_better(fit):
            how = f"With {_tokens(context)} of context instead of {_tokens(question.about.fit.context)},"
            yield question.answer(Change.CONTEXT, how, fit, context)
            return
        context = context // 2 // CELL * CELL


def _other_cache(question: _Question) -> Iterator[Counterfactual]:
    if question.about.fit.kv_type not in PLAIN_CACHES:
        return
    fit = question.fit(kv_type=FREE_CACHE)
    if fit.kv_type == FREE_CACHE and question.is_better(fit):
        how = f"With the cache in {FREE_CACHE}, which costs no quality that can be measured,"
        yield question.answer(Change.CACHE, how, fit, question.about.fit.kv - fit.kv)


def _freed(question: _Question) -> Iterator[Counterfactual]:
    """What closing other programs would do: no more than they hold."""
    hardware = question.hardware
    if question.about.fit.verdict is Verdict.NO or question.about.fit.place == "CPU" or not usable_gpus(hardware):
        memory = hardware.memory
        most, holders, where = max(0, memory.total - memory.available), memory.holders, ""
        freed: Callable[[int], Hardware] = lambda size: _with_ram(hardware, memory.total, memory.available + size)  # noqa: E731
    else:
        gpu = max(usable_gpus(hardware), key=lambda gpu: gpu.used_by_others - gpu.reserved)
        most, holders, where = max(0, gpu.used_by_others - gpu.reserved), gpu.holders, " on the GPU"
        freed = lambda size: _with_gpu(hardware, gpu, replace(gpu, free=min(gpu.total, gpu.free + size)))  # noqa: E731
    steps = _least(1, most // _STEP, lambda n: question.is_better(question.fit(freed(n * _STEP))))
    if steps is None:
        return
    size = steps * _STEP
    how = f"Close {_size(size)} of {_held_by(holders, size)}{where} and"
    yield question.answer(Change.FREE_MEMORY, how, question.fit(freed(size)), size)


def _other_level(question: _Question) -> Iterator[Counterfactual]:
    """The largest smaller level that does better, of those that can be made and are not last resorts."""
    if question.recipe in trained_in(question.about.plan.model):
        return
    smaller = [plan for plan in question.plans
               if plan.recipe.name in ADVISED and not plan.recipe.needs_importance
               and plan.tensor_bytes < question.about.plan.tensor_bytes]  # fmt: skip
    for plan in sorted(smaller, key=lambda plan: -plan.tensor_bytes):
        fit = estimate_fit(plan, question.hardware, context=question.about.fit.context,
                           kv_type=question.about.fit.kv_type)  # fmt: skip
        if is_below_four_bits(plan.recipe.name) and question.about.fit.verdict is Verdict.TIGHT:
            return
        if question.is_better(fit):
            words = f"Instead of {question.recipe}, {_outcome(plan.recipe.name, fit)}."
            saved = question.about.plan.tensor_bytes - plan.tensor_bytes
            yield Counterfactual(Change.LEVEL, words, plan.recipe.name, fit, saved)
            return


def _more_ram(question: _Question) -> Iterator[Counterfactual]:
    """The next size of RAM that is sold; what is in use stays in use."""
    memory = question.hardware.memory
    used = memory.total - memory.available
    for total in (size * _GIB for size in _SOLD_RAM):
        # A machine of 16 GB shows a little less than that.
        if total <= memory.total * 1.1:
            continue
        fit = question.fit(_with_ram(question.hardware, total, total - used))
        if question.is_better(fit):
            yield question.answer(Change.RAM, f"With {total // _GIB} GB of RAM,", fit, total)
            return


def _larger_gpu(question: _Question) -> Iterator[Counterfactual]:
    """The next size of card that holds it whole, in place of the largest here or where there is none."""
    cards = usable_gpus(question.hardware)
    if any(gpu.unified for gpu in question.hardware.gpus) or (question.about.fit.place == "GPU" and not cards):
        return
    here = max(cards, key=lambda gpu: gpu.total) if cards else None
    others = sum(gpu.free for gpu in cards if gpu is not here)
    least = (question.about.fit.weights + question.about.fit.kv) * 9 // 10 - others
    for total in (size * _GIB for size in _SOLD_GPU):
        if total < least or (here and total <= here.total * 1.1):
            continue
        used = here.total - here.free if here else 0
        vendor = here.vendor if here else "NVIDIA"
        card = Gpu("a GPU", vendor, "thought", total, total - used, used_by_others=used, driver="")
        fit = question.fit(_with_gpu(question.hardware, here, card))
        if fit.place == "GPU" and question.is_better(fit):
            what = f"{total // _GIB} GB on the " + ("GPU" if len(cards) == 1 else "largest GPU")
            how = f"With {what}," if cards else f"With a GPU of {total // _GIB} GB,"
            yield question.answer(Change.GPU, how, fit, total)
            return


def _with_ram(hardware: Hardware, total: int, available: int) -> Hardware:
    memory = replace(hardware.memory, total=total, available=min(total, available))
    return replace(hardware, memory=memory)


def _with_gpu(hardware: Hardware, old: Gpu | None, new: Gpu) -> Hardware:
    """`new` in place of `old`, or beside the others."""
    gpus = tuple(new if gpu is old else gpu for gpu in hardware.gpus)
    return replace(hardware, gpus=gpus if old else (*gpus, new))


def _least(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """The least number from `low` to `high` for which it holds, as it does for all above; None if for none."""
    if low > high or not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _held_by(holders: Sequence[Holder], size: int) -> str:
    """The smallest program that alone holds as much, by name."""
    enough = [holder for holder in holders if holder.memory >= size]
    return f"other programs (such as {enough[-1].name})" if enough else "other programs"


def _outcome(recipe: str, fit: Fit) -> str:
    if fit.verdict is Verdict.SPLITS:
        return f"{recipe} runs split between GPU and RAM"
    where = " whole on the GPU" if fit.place == "GPU" else ""
    return f"{recipe} fits{where}" + (", tightly" if fit.verdict is Verdict.TIGHT else "")


def _tokens(number: int) -> str:
    return f"{number // 1024}K" if number % 1024 == 0 else f"{number:,} tokens"


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB"


_MAKERS: tuple[Callable[[_Question], Iterator[Counterfactual]], ...] = (
    _less_context, _other_cache, _freed, _other_level, _more_ram, _larger_gpu,
)  # fmt: skip
