"""A process of several, one of which is interrupted: they stop together, save, and go on from the file."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch

from parallel.checkpoint_worker import recoder
from parallel.equality_worker import SAMPLED, data
from recoder.training import Callback

RUN = {**SAMPLED, "num_epochs": 1, "batch_size": 4, "lr": 0.01}


class Interrupts(Callback):
    """Presses Ctrl-C in one of the processes, in a step."""

    def __init__(self, step: int) -> None:
        self.step, self.num_steps = step, 0

    def on_step_end(self) -> None:
        self.num_steps += 1
        if self.num_steps == self.step and os.environ["RANK"] == "1":
            signal.raise_signal(signal.SIGINT)


def main(folder: str, parallel: str, step: str) -> None:
    """Writes the losses of a run that is stopped and goes on, and those of one that is not."""
    train, _, _ = data()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stopped, interrupts, was_stopped = recoder("deep", parallel), Interrupts(int(step)), False
    try:
        stopped.train(train, **RUN, callbacks=[interrupts])
    except KeyboardInterrupt:
        was_stopped = True
    path = stopped.save_state(f"{folder}/stopped")
    resumed = recoder("deep", parallel)
    resumed.init_from_model_file(path)
    undisturbed = recoder("deep", parallel)
    for made in (resumed, undisturbed):
        made.train(train, **RUN)
    same = all(map(torch.equal, resumed.model.state_dict().values(), undisturbed.model.state_dict().values()))
    found = {
        "stopped": was_stopped,
        "steps": interrupts.num_steps,
        "same": same,
        "losses": [[record.loss for record in made.history] for made in (resumed, undisturbed)],
    }
    Path(folder, f"found-{os.environ['RANK']}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    main(*sys.argv[1:])
