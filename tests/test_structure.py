"""Rules that hold across the modules and files, read from their text."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
SOURCES = {
    ".".join(path.relative_to(ROOT / "runner").with_suffix("").parts): path.read_text(
        encoding="utf-8"
    )
    for path in (ROOT / "runner").rglob("*.py")
    if path.parent.name == "runner" or path.stem != "__init__"
}

# Each module imports only those before it.
ORDER = (
    "errors",
    "caller_warnings",
    "deep_models",
    "patching",
    "registry",
    "run_names",
    "regular_files",
    "local_paths",
    "stores.store_errors",
    "stores.services",
    "store_urls",
    "readable_files",
    "stores.bucket",
    "stores.object_file",
    "given_files",
    "given_folders",
    "tables.table_error",
    "tables.column_types",
    "tables.expected_columns",
    "tables.table_format",
    "table_formats",
    "bounds",
    "tensors",
    "file_names",
    "wiring",
    "zip_damage",
    "sizes",
    "preflight",
    "thrift",
    "flat_buffers",
    "parquet_layout",
    "config.catalogue",
    "config.arguments",
    "config.graph",
    "config.references",
    "config.user_code",
    "config.strict",
    "config.plain_problems",
    "config.options",
    "config.cheap_keys",
    "config.seedings",
    "config.precision",
    "config.declared_config",
    "engines.settings",
    "converted_models.graph",
    "converted_models.runtime",
    "config.model_config",
    "config.torch_losses",
    "model.keras_internals",
    "engines.engine",
    "engines.describing",
    "engines.plain_errors",
    "engines.tensorflow.tensors",
    "engines.tensorflow.variables",
    "engines.tensorflow.derivations",
    "engines.tensorflow.errors",
    "engines.tensorflow.gradients",
    "engines.tensorflow.resources",
    "engines.tensorflow.effects",
    "engines.tensorflow.tracing",
    "engines.tensorflow.settings",
    "engines.jax.derivations",
    "engines.jax.tensors",
    "engines.jax.variables",
    "engines.jax.tracing",
    "engines.jax.gradients",
    "engines.jax.settings",
    "engines.torch.origins",
    "engines.torch.derivations",
    "engines.torch.noting",
    "engines.torch.tensors",
    "engines.torch.variables",
    "engines.torch.gradients",
    "engines.torch.resources",
    "engines.torch.passes",
    "engines.torch.settings",
    "model.backend",
    "probe.exactness",
    "probe.sample_shapes",
    "probe.batch",
    "probe.probe",
    "probe.fitting",
    "probe.source",
    "probe.arrow_values",
    "probe.sample_ids",
    "probe.frames",
    "probe.streams",
    "probe.foreign_data",
    "probe.stored_array",
    "probe.memory_sources",
    "probe.compressed",
    "probe.array_files",
    "probe.scikit_learn",
    "probe.columns",
    "probe.table_probe",
    "probe.number_texts",
    "probe.delimited_text",
    "probe.parquet_pages",
    "probe.stored_tables",
    "probe.parquet_table",
    "probe.arrow_stream",
    "probe.label_table",
    "probe.picture_files",
    "probe.jpeg",
    "probe.picture_work",
    "probe.decoding",
    "probe.resizing",
    "probe.pictures",
    "probe.tar_samples",
    *sorted(name for name in SOURCES if name.startswith("sources.")),
    "config.probe_config",
    "config.callback_paths",
    "training.schedule",
    "config.train_config",
    "capture.arithmetic",
    "intervening.places",
    "intervening.changed_output",
    "intervening.action",
    *sorted(name for name in SOURCES if name.startswith("actions.")),
    "config.intervene_config",
    "capture.reduction",
    *sorted(name for name in SOURCES if name.startswith("reductions.")),
    "capture.reductions",
    "config.capture_config",
    "config.effects_config",
    "config.experiment_config",
    "config.parsing",
    "config.sharing",
    "config.environment_limits",
    "config.schema",
    "config.yaml_files",
    "config.environment_values",
    "config.grammar",
    "config.combinations",
    "config.hydra_keys",
    "config.unfolding",
    "config.resolve",
    "config.environment_reading",
    "config.packaged",
    "config.checked_loader",
    "config.loading",
    "config.key_page",
    "config.overrides",
    "config.composition",
    "config.hydra_arguments",
    "config.choices",
    "config.recorded_config",
    "config.job_folder",
    "config.compose",
    "config.value_columns",
    "config.batches",
    "config.job_template",
    "config.jobs",
    "capture.selection",
    "capture.call",
    "capture.membership",
    "capture.shared_streams",
    "capture.changing",
    "capture.heads",
    "capture.batches",
    "capture.selecting",
    "capture.inventory",
    "capture.model_library",
    "capture.stocktaking",
    "capture.model_libraries",
    "converted_models.litert_cut",
    "converted_models.litert_numbers",
    "converted_models.litert_sizes",
    "converted_models.litert_file",
    "converted_models.onnx_data",
    "converted_models.onnx_nodes",
    "converted_models.onnx_numbers",
    "converted_models.onnx_sizes",
    "converted_models.onnx_quantization",
    "converted_models.onnx_session",
    "converted_models.onnx_cut",
    "converted_models.onnx_file",
    "converted_models.adopted_tensors",
    "model.hdf5_chunks",
    "model.hdf5_texts",
    "converted_models.tensor_formats",
    "converted_models.torch_pickles",
    "converted_models.torch_file",
    "converted_models.tensor_tables",
    "converted_models.zarr_folder",
    "converted_models.extractions",
    "converted_models.tensor_files",
    *sorted(name for name in SOURCES if name.startswith("runtimes.")),
    "converted_models.loading",
    "converted_models.graph_axes",
    "converted_models.converted_tensors",
    "converted_models.converted_passes",
    "converted_models.converted_library",
    "model.seeding",
    "model.named_objects",
    "model.model_archive",
    "model.declared_sizes",
    "model.old_graphs",
    "model.cudnn_weights",
    "model.old_models",
    "model.stored_model",
    "model.precision",
    "model.model_files",
    "model.keras_objects",
    "model.declared",
    "model.building",
    "model.redrawing",
    "model.exporting",
    "probe.probe_hash",
    "probe.targets",
    "keras_models.model_tree",
    "keras_models.call_paths",
    "keras_models.calls",
    "keras_models.cost",
    "keras_models.axes",
    "keras_models.connections",
    "keras_models.losses",
    "keras_models.pre_activations",
    "keras_models.gradients",
    "keras_models.tensors",
    "keras_models.replaced_tensors",
    "keras_models.batches",
    "keras_models.keras_inventory",
    "keras_models.known_pass",
    "keras_models.forward",
    "keras_models.streams",
    "keras_models.iterators",
    "keras_models.containers",
    "keras_models.attributes",
    "keras_models.own_code",
    "keras_models.state",
    "keras_models.failures",
    "keras_models.passes",
    "capture.capture",
    "capture.invariance",
    "tables.layout",
    "tables.statistic",
    "tables.moments",
    *sorted(name for name in SOURCES if name.startswith("statistics.")),
    "tables.statistics",
    "tables.summary",
    "tables.plain_parquet",
    "tables.plain_writer",
    "tables.wide_arrow",
    *sorted(
        (name for name in SOURCES if name.startswith("formats.")),
        key=lambda name: ("from runner.formats import" in SOURCES[name], name),  # variants last
    ),
    "tables.columns",
    "tables.table_files",
    "tables.expected_rows",
    "tables.rows",
    "tables.writing",
    "tables.reading",
    "tables.formulas",
    "tables.plain_tables",
    "tables.workbook",
    "stores.digests",
    "stores.store",
    "stores.local_run",
    "stores.staging",
    "stores.staged_files",
    "stores.local_draft",
    "stores.local",
    "stores.record_index",
    "stores.upload",
    "stores.file_cache",
    "stores.object_run",
    "stores.leftovers",
    "stores.superseded",
    "stores.object_draft",
    "stores.object_store",
    "stores.places",
    "record.hashing_thread",
    "record.publication",
    "record.environment",
    "record.training_record",
    "record.uptime",
    "record.probe_layout",
    "record.layer_record",
    "record.effect_record",
    "record.probe_record",
    "record.record",
    "record.header",
    "record.order",
    "record.batch_dependence",
    "record.interventions",
    "record.consistency",
    "record.reading",
    "record.garbage",
    "record.listing",
    "keras_models.keras_library",
    "torch_modules.tensors",
    "torch_modules.module_tree",
    "torch_modules.module_inputs",
    "torch_modules.writes",
    "torch_modules.stream_positions",
    "torch_modules.module_contents",
    "torch_modules.state",
    "torch_modules.module_calls",
    "torch_modules.module_changes",
    "torch_modules.keeping",
    "torch_modules.earlier_calls",
    "torch_modules.repetition",
    "torch_modules.pass_plan",
    "torch_modules.module_axes",
    "torch_modules.module_heads",
    "torch_modules.module_gradients",
    "torch_modules.module_inventory",
    "torch_modules.passes",
    "torch_modules.torch_library",
    "torch_modules.torch_data",
    "showing.division",
    "showing.settings",
    "runs.run_files",
    "intervening.patch_source",
    "intervening.edits",
    "showing.showing",
    "intervening.effect",
    "intervening.losses",
    "intervening.effects",
    "intervening.over_probe",
    "intervening.resolving",
    "intervening.remainder",
    "intervening.ways",
    "intervening.readers",
    "intervening.later_output",
    "intervening.one_by_one",
    "intervening.clean",
    "intervening.each_effects",
    "intervening.intervened",
    "showing.activations",
    "saving.run_log",
    "saving.probe_table",
    "saving.weight_values",
    "saving.tensor_tables",
    "saving.steps",
    "saving.writer_thread",
    "saving.run_workbook",
    "saving.layer_records",
    "saving.run_record",
    "saving.effect_parts",
    "saving.saving",
    "training.history",
    "training.checkpoints",
    "training.recorder",
    "training.training_data",
    "training.fitting",
    "experiment.fingerprint",
    "experiment.worker",
    "experiment.drawing",
    "experiment.given_weights",
    "experiment.experiment",
    "experiment.conversion",
    "experiment.shared_model",
    "experiment.earlier",
    "experiment.job_batch",
    "parts.part_records",
    "parts.parts_folder",
    "parts.planning",
    "parts.making",
    "parts.joined_parts",
    "parts.joining",
    "experiment.sweep_task",
    "parts.parted_run",
    "similarity.conditions",
    "similarity.signatures",
    "similarity.moments",
    "similarity.measure",
    "similarity.centring",
    *sorted(name for name in SOURCES if name.startswith("measures.")),
    "similarity.measures",
    "similarity.representation",
    "similarity.dimensions",
    "similarity.cautions",
    "similarity.matrices",
    "similarity.progress",
    "similarity.triangle",
    "similarity.group",
    "similarity.pairs",
    "plots.drawing",
    "plots.files",
    "plots.activation_figures",
    "plots.similarity_figures",
    "plots.sweep_figures",
    "plots.training_figures",
    "plots.effect_figures",
    "runs.configs",
    "runs.shown_probe",
    "runs.plain_tables",
    "runs.run_tensors",
    "runs.real_weights",
    "sameness.distance",
    "sameness.rearrangement",
    "sameness.restated",
    "sameness.naming",
    "sameness.ordering",
    "sameness.profiles",
    "sameness.matching",
    "sameness.affine_change",
    "sameness.fused",
    "sameness.layer_errors",
    "sameness.counterparts",
    "sameness.reference",
    "sameness.error_table",
    "sameness.run_weights",
    "sameness.recipe",
    "sameness.making",
    "sameness.repetition",
    "sameness.floors",
    "sameness.other_model",
    "runs.published_run",
    "runs.omissions",
    "runs.same_probe",
    "runs.database",
    "runs.lazy_frames",
    "runs.dataset",
    "runs.comparable",
    "runs.alignment",
    "runs.short_labels",
    "runs.collection",
    "runs.runs",
    "runs.locate",
    "sameness.tensor_map",
    "sameness.pairing",
    "sameness.measured_errors",
    "sameness.quantized_weights",
    "sameness.facts",
    "sameness.difference",
    "sameness.blame",
    "sameness.verification",
    "golden.golden_tensor",
    "golden.golden_file",
    "arithmetic.account",
    "arithmetic.functions",
    "arithmetic.derived_operations",
    "arithmetic.derived",
    "arithmetic.layer_call",
    "arithmetic.quantization",
    "arithmetic.windows",
    "arithmetic.weighted_sums",
    "arithmetic.normalizations",
    "arithmetic.elementwise",
    "arithmetic.moves",
    "arithmetic.operands",
    "arithmetic.rearrangements",
    "arithmetic.tensor_products",
    "arithmetic.operations",
    "arithmetic.attention",
    "arithmetic.custom",
    "arithmetic.torch_activations",
    "arithmetic.torch_moves",
    "arithmetic.torch_normalizations",
    "arithmetic.torch_layers",
    "arithmetic.spelling",
    "screen.dry_run",
    "screen.tables",
    "screen.dense",
    "screen.story",
    "screen.show",
    "screen.explain",
    "screen.effects",
    "screen.diff",
    "screen.rerun",
    "screen.similarity",
    "screen.list",
    "golden.pytest_plugin",
    "report.excerpt",
    "report.layer_view",
    "report.network",
    "report.explanations",
    "report.probe_view",
    "report.shown_run",
    "report.shown_sweep",
    "report.view",
    *sorted(name for name in SOURCES if name.startswith("views.")),
    "report.views",
    "report.page",
    "report.run_page",
    "report.sweep_page",
    "report.writing",
    "api",
    "command_line.progress",
    "command_line.messages",
    "command_line.command",
    *sorted(name for name in SOURCES if name.startswith("commands.")),
    "command_line.commands",
    "command_line.help_page",
    "command_line.experiments",
    "command_line.signals",
    "command_line.entry",
    "__init__",
    "__main__",
)
# These import Keras or its framework when they are imported; no other imports them at its top.
LOADS_KERAS = {
    "model.keras_internals",
    "engines.tensorflow.tensors",
    "engines.tensorflow.variables",
    "engines.tensorflow.derivations",
    "engines.tensorflow.errors",
    "engines.tensorflow.gradients",
    "engines.tensorflow.resources",
    "engines.tensorflow.effects",
    "engines.tensorflow.tracing",
    "engines.tensorflow.settings",
    "engines.jax.derivations",
    "engines.jax.tensors",
    "engines.jax.variables",
    "engines.jax.tracing",
    "engines.jax.gradients",
    "engines.jax.settings",
    "engines.torch.origins",
    "engines.torch.derivations",
    "engines.torch.noting",
    "engines.torch.tensors",
    "engines.torch.variables",
    "engines.torch.gradients",
    "engines.torch.resources",
    "engines.torch.passes",
    "engines.torch.settings",
    "model.seeding",
    "model.named_objects",
    "model.model_archive",
    "model.declared_sizes",
    "model.old_models",
    "model.stored_model",
    "model.precision",
    "model.model_files",
    "model.keras_objects",
    "model.declared",
    "model.building",
    "model.redrawing",
    "keras_models.model_tree",
    "keras_models.call_paths",
    "keras_models.calls",
    "keras_models.cost",
    "keras_models.axes",
    "keras_models.connections",
    "keras_models.losses",
    "keras_models.pre_activations",
    "keras_models.gradients",
    "keras_models.tensors",
    "keras_models.replaced_tensors",
    "keras_models.batches",
    "keras_models.keras_inventory",
    "keras_models.known_pass",
    "keras_models.forward",
    "keras_models.streams",
    "keras_models.containers",
    "keras_models.attributes",
    "keras_models.own_code",
    "keras_models.state",
    "keras_models.failures",
    "keras_models.passes",
    "keras_models.keras_library",
    "training.history",
    "training.checkpoints",
    "training.recorder",
    "training.training_data",
    "training.fitting",
}

# These import PyTorch when they are imported, which is not installed everywhere.
LOADS_TORCH = {name for name in SOURCES if name.startswith("torch_modules.")}

# These import the runtime of a converted model.
LOADS_RUNTIME = {
    "converted_models.litert_cut",
    "converted_models.litert_file",
    "converted_models.litert_numbers",
    "converted_models.onnx_data",
    "converted_models.onnx_nodes",
    "converted_models.onnx_numbers",
    "converted_models.onnx_session",
    "converted_models.onnx_sizes",
    "converted_models.onnx_cut",
    "converted_models.onnx_file",
}


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(SOURCES[module])


@functools.cache
def imported(module: str) -> set[str]:
    """Full names of what the module imports, inside functions too."""
    names = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_modules(module: str) -> set[str]:
    """Names of Runner's own modules that it imports."""
    parts = [name.removeprefix("runner.").split(".") for name in imported(module)]
    prefixes = {".".join(name[:end]) for name in parts for end in range(1, len(name) + 1)}
    return prefixes & SOURCES.keys()


def test_imports_run_one_way() -> None:
    assert sorted(SOURCES) == sorted(ORDER)
    for module in ORDER:
        later = imported_modules(module) & set(ORDER[ORDER.index(module) :])
        assert not later, f"{module} imports {later}"


def test_omegaconf_stays_at_the_boundary() -> None:
    users = {
        module
        for module in SOURCES
        if any(name.startswith("omegaconf") for name in imported(module))
    }
    assert users <= {
        *(
            f"config.{name}"
            for name in (
                "grammar",
                "combinations",
                "hydra_keys",
                "checked_loader",
                "loading",
                "unfolding",
                "yaml_files",
                "resolve",
                "environment_reading",
                "overrides",
                "composition",
                "choices",
                "compose",
                "recorded_config",
                "job_folder",
                "job_template",
                "jobs",
            )
        ),
        "sameness.recipe",
        "sameness.repetition",
        "command_line.experiments",
        "experiment.sweep_task",
    }


def private_names(module: str) -> set[str]:
    """Private attributes of other objects, and internal modules of Keras, that a module names."""
    found = {name for name in imported(module) if name.startswith("keras.src")}
    for node in ast.walk(tree(module)):
        names: list[Any] = []
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
            names = [node.attr]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in _BY_NAME:
            names = [keyword.arg for keyword in node.keywords]
            names += [given.value for given in node.args if isinstance(given, ast.Constant)]
        found |= {name for name in names if re.fullmatch(r"_[a-z]\w*", str(name))}
    return found


_BY_NAME = ("getattr", "hasattr", "setattr", "delattr", "patched")


def test_private_names_of_keras_stand_in_one_module() -> None:
    for module in LOADS_KERAS - {"model.keras_internals"}:
        assert module.startswith("engines.") or not private_names(module), module


@pytest.mark.parametrize("framework", ["tensorflow", "jax", "torch"])
def test_a_framework_stands_behind_its_engine(framework: str) -> None:
    others = {module for module in SOURCES if not module.startswith(f"engines.{framework}")}
    users = {
        module
        for module in others
        if any(name.partition(".")[0] == framework for name in imported(module))
    }
    by_tensorflow = {
        "model.seeding",  # tf_global: the numbers of TensorFlow's own generator
        "model.redrawing",  # the functions that draw weights anew
    }
    if framework == "torch":
        # Models that are modules of PyTorch, and its files of tensors.
        assert users <= LOADS_TORCH | {"converted_models.torch_file"}
        return
    assert users == (by_tensorflow if framework == "tensorflow" else set())
    engine = f"runner.engines.{framework}"
    chosen_by = {
        module
        for module in others
        if any(f"{name}.".startswith(f"{engine}.") for name in imported(module))
    }
    assert chosen_by == {"model.backend"}


def test_a_capture_knows_no_library_of_models() -> None:
    libraries = (
        *("keras", "torch", "ai_edge_litert", "onnx", "onnxruntime"),
        *("runner.keras_models", "runner.torch_modules", "runner.converted_models"),
    )
    for module in SOURCES:
        if module.startswith(("capture.", "showing.", "saving.")):
            found = [name for name in imported(module) if name.startswith(libraries)]
            assert not found, f"{module} imports {found}"


def test_every_library_of_models_has_the_functions_of_the_protocol() -> None:
    module = tree("capture.model_library")
    [protocol] = [
        node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Library"
    ]
    named = {node.name for node in protocol.body if isinstance(node, ast.FunctionDef)}
    libraries = re.findall(r'"runner\.(\w+\.\w+_library)"', SOURCES["capture.model_libraries"])
    assert len(libraries) == SOURCES["capture.model_libraries"].count("_Known(")
    for library in libraries:
        body = tree(library).body
        has = {node.name for node in body if isinstance(node, ast.FunctionDef)}
        has |= {
            alias.asname or alias.name
            for node in body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert named <= has, (library, named - has)


def test_the_other_modules_load_without_tensorflow_and_keras() -> None:
    others = [
        f"runner.{name}"
        for name in {*SOURCES} - LOADS_KERAS - LOADS_TORCH - LOADS_RUNTIME
        if not name.startswith("__")
    ]
    found = "{'tensorflow', 'jax', 'torch', 'keras'} & {*sys.modules}"
    code = f"import sys, {', '.join(others)}; print({found})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


# Calls that touch a file, and those that do so if they are made on a path.
_TOUCHING = {"fsync", "mkdir", "makedirs", "rmdir", "rmtree", "scandir", "touch", "unlink"}
_TOUCHING |= {f"{verb}_{what}" for verb in ("read", "write") for what in ("bytes", "text")}
_TOUCHING_PATHS = {"open", "rename", "replace"}
_ON_PATHS = re.compile(r"(^|[._])(os|path|folder|file|place|target)$|^(Path|\w+_file)\(")


def touching(module: str) -> set[str]:
    """Calls of a module that open, make, move or remove a file or folder by its path."""
    found = set()
    for node in ast.walk(tree(module)):
        if not isinstance(node, ast.Call):
            continue
        name, of = ast.unparse(node.func), ""
        if isinstance(node.func, ast.Attribute):
            name, of = node.func.attr, ast.unparse(node.func.value)
        on_path = _ON_PATHS.search(of) if of else name == "open"
        if name in _TOUCHING or (name in _TOUCHING_PATHS and on_path):
            found.add(ast.unparse(node))
    return found


def test_the_files_of_a_run_are_touched_by_its_store_alone() -> None:
    packages = ("stores", "config", "command_line", "commands", "probe", "sources", "model")
    users = {module for module in SOURCES if touching(module)}
    assert {module for module in users if module.partition(".")[0] not in packages} == {
        "regular_files",  # those that the user names
        "given_files",  # likewise
        "experiment.fingerprint",  # likewise
        "experiment.sweep_task",  # the empty folder of a task of Hydra
        "converted_models.tensor_formats",  # likewise
        "converted_models.tensor_tables",  # likewise
        "converted_models.zarr_folder",  # likewise
        "training.fitting",  # Keras writes a model only to a path
        "sizes",  # what Linux tells of its memory
        "record.environment",  # what Linux tells of its processor
        "record.uptime",  # the id that Linux gives to the time since it was started
        "report.page",  # its own templates
        "report.view",  # likewise
        "golden.golden_file",  # no file of a run: it lies beside a test
        "golden.pytest_plugin",  # likewise
    }
    assert {module for module in users if "fsync" in SOURCES[module]} == {"stores.local_draft"}


def test_no_public_function_bears_the_name_of_a_module() -> None:
    functions = {
        node.name
        for module in SOURCES
        for node in tree(module).body
        if isinstance(node, ast.FunctionDef)
    }
    # A command has its name in two modules, which are not imported as a whole: what it does, which
    # only the registry imports, and its text.
    commands = {name for name in SOURCES if name.startswith("commands.")}
    assert not [module for module in SOURCES if imported_modules(module) & commands]
    texts = {name.replace("commands.", "screen.") for name in commands}
    modules = {part for name in {*SOURCES} - commands - texts for part in name.split(".")}
    assert not functions & modules


def test_modules_stay_short() -> None:
    assert not {name for name, source in SOURCES.items() if source.count("\n") > 400}


def test_functions_stay_short() -> None:
    long = {
        f"{module}.{node.name}: {lines}"
        for module in SOURCES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef) and (lines := _lines_of(node)) > 60
    }
    assert not long


def _lines_of(function: ast.FunctionDef) -> int:
    """Return the number of lines of a function, without its docstring."""
    first = function.body[0]
    told = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) is not None else 0
    return function.end_lineno - function.lineno + 1 - told


def test_no_file_names_a_machine_or_a_registry() -> None:
    forbidden = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/|pypi[.]org|python[h]osted")
    patterns = [
        ".ci/run",
        *("*" + end for end in (".py", ".md", ".toml", ".txt", ".yaml", ".json")),
    ]
    folders = ["runner", "conf", "hydra_plugins", "tests", "docs", "examples", "benchmarks"]
    files = [path for pattern in patterns for path in ROOT.glob(pattern)]
    files += [
        path
        for folder in folders
        for pattern in patterns[1:]
        for path in (ROOT / folder).rglob(pattern)
    ]
    found = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in files
        for match in forbidden.finditer(path.read_text(encoding="utf-8"))
    }
    assert not found


def test_the_oldest_versions_tested_are_the_lower_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    constraints = (ROOT / "constraints-floor.txt").read_text(encoding="utf-8")
    tested = dict(re.findall(r"^([\w-]+)==(\S+)$", constraints, re.M))
    for text in [
        *project["dependencies"],
        *(own for key in ("data", "excel", "images", "report", "sql") for own in extras[key]),
    ]:
        requirement = Requirement(text)
        [lowest] = [bound for bound in requirement.specifier if bound.operator == ">="]
        assert Version(lowest.version) == Version(tested[requirement.name]), text


def test_the_map_of_the_architecture_has_the_first_line_of_every_module() -> None:
    rows: dict[str, str] = {}
    package = ""
    for line in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = re.fullmatch(r"### `runner/(.*)`", line)
            package = heading[1].replace("/", ".") if heading else "-"
        elif package != "-" and (row := re.match(r"\| `([\w.]+)` \| (.*) \|", line)):
            assert package + row[1] not in rows
            rows[package + row[1]] = row[2]
    del rows["__init__"], rows["__main__"]  # their docstrings are about the package
    told = {
        module: " ".join((ast.get_docstring(tree(module)) or "").split("\n\n")[0].split())
        for module in SOURCES
        if module not in ("__init__", "__main__")
    }
    told = {module: text.rstrip(".").replace("``", "`") for module, text in told.items()}
    assert rows == {
        module: text if text[0] == rows.get(module, text)[0] else text[0].lower() + text[1:]
        for module, text in told.items()
    }
