"""Count how often a measure finds a layer again in a network trained from another seed.

First train the networks::

    python -m runner -m experiment=layer_identification 'seed=range(0,10)' name=identification

then ``python examples/layer_identification.py`` prints, for each measure, how often the layer of
another network that is most similar to a layer is the one in the same place. Kornblith, Norouzi,
Lee and Hinton, "Similarity of Neural Network Representations Revisited" (2019), section 6.1, ask
this of ten convolutional networks trained on CIFAR-10.
"""

from __future__ import annotations

import argparse
import sys
import warnings

import pandas as pd

import runner
from runner.similarity.measures import MEASURES


def misses(pairs: pd.DataFrame, layers: list[str]) -> pd.Series:
    """Return how many layers away from its counterpart the most similar layer lies.

    Parameters
    ----------
    pairs
        As from ``runs.similarity(measure, layers=layers)``: each pair once.
    layers
        In the order of the network.

    Returns
    -------
    pandas.Series
        A number for each layer of each network and each other network; 0 is right.
    """
    turned = {"run_a": "run_b", "run_b": "run_a", "layer_a": "layer_b", "layer_b": "layer_a"}
    both = pd.concat([pairs, pairs.rename(columns=turned)], ignore_index=True)
    both = both[both["run_a"] != both["run_b"]]
    measure = MEASURES[pairs["metric"].iloc[0]]
    likeness = -both["value"] if measure.is_distance else both["value"]
    best = both.loc[likeness.groupby([both[key] for key in ("run_a", "layer_a", "run_b")]).idxmax()]
    places = {layer: place for place, layer in enumerate(layers)}
    return (best["layer_a"].map(places) - best["layer_b"].map(places)).abs()


def main() -> None:
    """Print how often every measure finds the layer."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sweep", nargs="?", default="identification", help="its name or folder")
    runs = runner.open_runs(parser.parse_args().sweep)
    layers = [name for name in runs[0] if name.startswith("hidden")]
    print(f"{len(runs)} networks, {len(layers)} layers; chance finds {1 / len(layers):.1%}\n")
    print("measure      found  at most one off")
    for measure in MEASURES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that one sample sways svcca, say
            pairs = runs.similarity(measure, layers=layers)
        away = misses(pairs, layers)
        print(f"{measure:<11} {(away == 0).mean():6.1%} {(away <= 1).mean():11.1%}")


if __name__ == "__main__":
    sys.exit(main())
