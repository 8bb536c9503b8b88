"""Which measure finds a layer again in a network that was trained from another seed?

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

MEASURES = ("cka", "cka_biased", "cca", "svcca", "procrustes", "rsa", "knn")


def accuracy(pairs: pd.DataFrame) -> float:
    """Return how often the most similar layer of another run bears the same name.

    Parameters
    ----------
    pairs
        As from ``runs.similarity(measure, layers=[...])``: each pair once.
    """
    turned = {"run_a": "run_b", "run_b": "run_a", "layer_a": "layer_b", "layer_b": "layer_a"}
    both = pd.concat([pairs, pairs.rename(columns=turned)], ignore_index=True)
    both = both[both["run_a"] != both["run_b"]]
    both["likeness"] = both["value"] * (-1 if (pairs["metric"] == "procrustes").all() else 1)
    best = both.loc[both.groupby(["run_a", "layer_a", "run_b"])["likeness"].idxmax()]
    return float((best["layer_a"] == best["layer_b"]).mean())


def main() -> None:
    """Print the accuracy of every measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sweep", nargs="?", default="identification", help="its name or folder")
    runs = runner.open_runs(parser.parse_args().sweep)
    layers = [name for name in runs[0] if name.startswith("hidden")]
    print(f"{len(runs)} networks, {len(layers)} layers; chance {1 / len(layers):.1%}\n")
    for measure in MEASURES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that one sample sways svcca, say
            pairs = runs.similarity(measure, layers=layers)
        print(f"{measure:<11} {accuracy(pairs):6.1%}")


if __name__ == "__main__":
    sys.exit(main())
