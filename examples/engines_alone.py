"""The engines without a run: any iterable of batches, and Ignite's own handlers.

Run this file to try it: python examples/engines_alone.py
"""

import torch
from ignite.engine import Events
from ignite.handlers import EarlyStopping
from ignite.metrics import Accuracy
from torch import nn

from ignite_threenet import BatchLoader, ThreeNet, create_evaluator, create_trainer, load_data

if __name__ == "__main__":
    splits = load_data("digits").splits
    train_loader = BatchLoader(splits["train"], batch_size=256, seed=0)
    test_loader = BatchLoader(splits["test"], batch_size=2048)

    torch.manual_seed(0)
    model = ThreeNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = create_trainer(model, optimizer, nn.NLLLoss(), device="cpu")
    evaluator = create_evaluator(model, {"accuracy": Accuracy()}, device="cpu")

    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(test_loader))
    early_stopping = EarlyStopping(
        patience=2, score_function=lambda engine: engine.state.metrics["accuracy"], trainer=trainer
    )
    evaluator.add_event_handler(Events.COMPLETED, early_stopping)

    state = trainer.run(train_loader, max_epochs=5)
    print(f"{state.epoch} epochs, test accuracy {evaluator.state.metrics['accuracy']:.2%}")
