"""The view of the network: which layers feed which."""

from __future__ import annotations

from runner.report.network import Block, dense_chain, drawn_edges, feeders, layer_tree, shape_of
from runner.report.shown_run import ShownRun
from runner.report.view import Part, View, text_beside

_FEW_PARTS, _FEW_LAYERS = 24, 40  # so few are shown unfolded


def _of_run(run: ShownRun) -> Part | None:
    if not run.has_values:
        return None
    layers = run.record.layers
    chain, feeds, tree = dense_chain(run.run), feeders(run.record), layer_tree(layers)
    shown = {
        "chain": chain,
        "tree": tree,
        "feeds": feeds,
        "unfolded": len(tree) <= _FEW_PARTS and len(layers) <= _FEW_LAYERS,
        "anchors": run.anchors,
        "is_block": lambda part: isinstance(part, Block),
        "shape_of": shape_of,
    }
    return Part(shown, {"chain": chain, "edges": drawn_edges(feeds, layers)})


NETWORK = View(
    text_beside(__file__, ".html.jinja"),
    of_run=_of_run,
    script=text_beside(__file__, ".js"),
    questions={
        "Network": (
            "Which layers feed which, with which weights, and what does each unit output for this"
            " sample? For a large model: its layers with their shapes, foldable by block."
        ),
    },
    order=20,
)
