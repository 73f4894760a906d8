"""Shows what the model that the run ended with mistakes for what."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from ignite.engine import Engine, Events
from ignite.metrics import ConfusionMatrix
from torch import Tensor
from torch.nn.functional import cross_entropy

from ignite_threenet import Plugin, Run, option, picture_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("ignite_threenet.confusion")

_DPI = 120
# Beyond this many classes, numbers in the cells could not be read.
_MOST_CLASSES_WITH_COUNTS = 30
_LONGEST_LEVEL_NAME = 3


class Confusion(Plugin):
    """Draw the confusion matrix of the final model, and the samples it is most wrong about."""

    on_error = "detach"
    split: Literal["train", "valid", "test"] = option("test", help="split that is looked at")
    worst: int = option(25, help="samples with the highest loss that are shown", min=0, max=400)

    def attach(self, run: Run) -> None:
        self._run = run
        self._matrix: ConfusionMatrix | None = None
        self._summary: dict[str, Any] = {}
        evaluator = run.require_split(self.split, f"{self.name}.split")
        evaluator.add_event_handler(Events.STARTED, self.start)
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        evaluator.add_event_handler(Events.COMPLETED, self.draw)

    def close(self, error: BaseException | None) -> None:
        # The run itself measures its final model on no other split than the test's.
        if error is None and self._run.history.training_ended and self._matrix is None:
            self._run.evaluate(self.split)

    def summary(self) -> Mapping[str, Any]:
        return self._summary

    def start(self) -> None:
        """Forget what was measured before."""
        self._matrix = None
        self._worst: Sequence[Tensor] = ()

    def collect(self, evaluator: Engine) -> None:
        """Count a batch of the final model, and keep its worst samples."""
        if not self._run.history.training_ended:
            return
        state: Any = evaluator.state
        (inputs, _), (outputs, targets) = state.batch, state.output
        if self._matrix is None:
            self._matrix = ConfusionMatrix(outputs.shape[1], device=outputs.device)
        self._matrix.update((outputs, targets))
        # Both take logits, and log-probabilities, which a softmax leaves as they are.
        losses = cross_entropy(outputs.float(), targets, reduction="none")
        confidence, predictions = outputs.float().softmax(dim=1).max(dim=1)
        kept = [losses, inputs.to(outputs.device), targets, predictions, confidence]
        if self._worst:
            kept = [torch.cat(pair) for pair in zip(self._worst, kept, strict=True)]
        chosen = kept[0].topk(min(self.worst, len(kept[0]))).indices
        self._worst = [each[chosen] for each in kept]

    def draw(self) -> None:
        """Write the pictures."""
        if self._matrix is None:
            return
        counts = self._matrix.compute().cpu()
        self._summary = {"most_frequent": _most_frequent(counts), "files": []}
        title = f"{picture_text(self._run.dataset_name)}, split {self.split!r}"
        given = self._run.class_names or map(str, range(len(counts)))
        names = tuple(map(picture_text, given))
        self._write("confusion", _draw_matrix(counts, names, title))
        _, inputs, *facts = (each.cpu() for each in self._worst)
        images = _as_images(inputs)
        if images is None:
            shape = tuple(inputs.shape[1:])
            logger.info("%s: samples of shape %s are no images to show", self.name, shape)
        elif len(images) > 0:
            self._write("worst", _draw_samples(images, facts, names, title))

    def _write(self, name: str, figure: "Figure") -> None:
        # Two of this plugin must not draw over each other.
        file = f"{name}.png" if self.name == "confusion" else f"{self.name}-{name}.png"
        self._run.directory.write_figure(figure, file)
        self._summary["files"].append(file)


def _most_frequent(counts: Tensor) -> dict[str, int] | None:
    """Find the confusion that happens most often, unless none does."""
    mistakes = counts.clone().fill_diagonal_(0)
    true, predicted = divmod(int(mistakes.argmax()), len(counts))
    count = int(mistakes.max())
    return {"true": true, "predicted": predicted, "count": count} if count > 0 else None


def _draw_matrix(counts: Tensor, names: Sequence[str], title: str) -> "Figure":
    from matplotlib.figure import Figure

    classes = len(counts)
    side = min(3 + 0.55 * classes, 20)
    figure = Figure(figsize=(side, side), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    is_right = torch.eye(classes, dtype=torch.bool)
    right, recalls = counts.diagonal(), counts.diagonal() / counts.sum(dim=1)
    # In two scales, or the few mistakes would not be seen; both end before black is unreadable.
    mistakes = counts.double().masked_fill(is_right, math.nan)
    shares = recalls.diag().masked_fill(~is_right, math.nan)
    axes.imshow(shares.numpy(), cmap="Greens", vmin=0, vmax=1.6)
    most = max(float(mistakes.nan_to_num().max()), 1)
    axes.imshow(mistakes.numpy(), cmap="Reds", vmin=0, vmax=1.6 * most)
    cells = counts.nonzero().tolist() if classes <= _MOST_CLASSES_WITH_COUNTS else []
    for true, predicted in cells:
        axes.text(predicted, true, f"{counts[true, predicted]}", ha="center", va="center")
    # Names lie on their side where they would run into each other.
    turned = 90 if max(map(len, names)) > _LONGEST_LEVEL_NAME else 0
    axes.set_xticks(range(classes), names, rotation=turned)
    axes.set_yticks(range(classes), names)
    axes.set(xlabel="predicted class", ylabel="true class")
    labels = ["no samples" if math.isnan(each) else f"{each:.1%}" for each in recalls.tolist()]
    recall_axis = axes.secondary_yaxis("right")
    recall_axis.set_yticks(range(classes), labels)
    recall_axis.set_ylabel("recall")
    axes.set_title(f"{title}: {right.sum() / counts.sum():.2%} of {counts.sum():,} are right")
    return figure


def _as_images(inputs: Tensor) -> Tensor | None:
    """Give images (N, H, W) or (N, H, W, 3) with values from 0 to 1; None for other samples."""
    side = math.isqrt(inputs.shape[1])
    if inputs.ndim == 2 and side**2 == inputs.shape[1]:
        images = inputs.reshape(len(inputs), 1, side, side)
    elif inputs.ndim == 4 and inputs.shape[1] in (1, 3):
        images = inputs
    else:
        return None
    if images.numel() > 0:
        low, high = images.float().aminmax()
        images = (images.float() - low) / (high - low).clamp(min=1e-12)
    return images.movedim(1, -1).squeeze(-1)


def _draw_samples(
    images: Tensor, facts: Sequence[Tensor], names: Sequence[str], title: str
) -> "Figure":
    from matplotlib.figure import Figure

    columns = max(math.ceil(math.sqrt(len(images))), 3)
    rows = math.ceil(len(images) / columns)
    size = (1.7 * columns, 2.05 * rows + 0.6)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    figure.suptitle(f"{title}: the {len(images)} highest losses")
    captions = zip(*(each.tolist() for each in facts), strict=True)
    for place, (true, predicted, confidence) in enumerate(captions):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(images[place].numpy(), cmap="gray_r", vmin=0, vmax=1)
        caption = f"true {names[true]}\npredicted {names[predicted]}, {confidence:.1%}"
        axes.set_title(caption, fontsize=9)
        axes.set(xticks=[], yticks=[])
    return figure
