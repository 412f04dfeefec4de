"""Write the averaged generator of a training state as an fp16 checkpoint.

python -m pipelines.export_generator runs/apgan-256/state.pt checkpoints/apgan-256.safetensors
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from pipelines.train_apgan import config_from_json
from vidswap.models.apgan import Generator
from vidswap.models.checkpoint import save_generator


def export_generator(state_path: Path, output: Path) -> int:
    """Export the average of `state_path`; its run's config.json lies beside it. Returns images."""
    state = torch.load(state_path, map_location="cpu", weights_only=True)
    config = config_from_json((state_path.parent / "config.json").read_text())
    net = Generator(config.generator)
    net.load_state_dict(state["average"])
    save_generator(net, output, state["images"])
    return int(state["images"])


@click.command()
@click.argument("state", type=click.Path(path_type=Path, exists=True))
@click.argument("output", type=click.Path(path_type=Path))
def main(state: Path, output: Path) -> None:
    """Export the averaged generator of STATE to OUTPUT."""
    click.echo(f"{output}: {export_generator(state, output)} images")


if __name__ == "__main__":
    main()
