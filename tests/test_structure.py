"""Rules that hold across the modules and files, read from their text."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

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
    "deep_models",
    "patching",
    "registry",
    "regular_files",
    "local_paths",
    "readable_files",
    "tables.table_error",
    "tables.column_types",
    "tables.expected_columns",
    "tables.table_format",
    "table_formats",
    "bounds",
    "tensors",
    "file_names",
    "wiring",
    "sizes",
    "preflight",
    "thrift",
    "parquet_layout",
    "config.catalogue",
    "config.arguments",
    "config.graph",
    "config.references",
    "config.strict",
    "config.cheap_keys",
    "config.seedings",
    "config.model_config",
    "model.keras_internals",
    "engines.engine",
    "engines.tensorflow.tensors",
    "engines.tensorflow.variables",
    "engines.tensorflow.derivations",
    "engines.tensorflow.errors",
    "engines.tensorflow.gradients",
    "engines.tensorflow.resources",
    "engines.tensorflow.effects",
    "engines.tensorflow.tracing",
    "engines.tensorflow.settings",
    "model.backend",
    "probe.exactness",
    "probe.sample_shapes",
    "probe.batch",
    "probe.probe",
    "probe.fitting",
    "probe.source",
    "probe.sample_ids",
    "probe.arrow_values",
    "probe.frames",
    "probe.streams",
    "probe.memory_sources",
    "probe.compressed",
    "probe.array_files",
    "probe.scikit_learn",
    "probe.columns",
    "probe.number_texts",
    "probe.delimited_text",
    "probe.parquet_pages",
    "probe.label_table",
    "probe.decoding",
    "probe.picture_files",
    *sorted(name for name in SOURCES if name.startswith("sources.")),
    "config.probe_config",
    "config.callback_paths",
    "config.train_config",
    "capture.reductions",
    "config.capture_config",
    "config.experiment_config",
    "config.recorded_keys",
    "config.schema",
    "config.yaml_files",
    "config.environment_values",
    "config.grammar",
    "config.combinations",
    "config.hydra_keys",
    "config.unfolding",
    "config.resolve",
    "config.packaged",
    "config.checked_loader",
    "config.loading",
    "config.key_examples",
    "config.key_page",
    "config.overrides",
    "config.composition",
    "config.hydra_arguments",
    "config.choices",
    "config.job_folder",
    "config.compose",
    "config.value_columns",
    "config.batches",
    "config.job_template",
    "config.jobs",
    "model.seeding",
    "model.named_objects",
    "model.model_archive",
    "model.old_graphs",
    "model.old_weights",
    "model.old_models",
    "model.stored_model",
    "model.model_files",
    "model.keras_objects",
    "model.declared",
    "model.building",
    "model.redrawing",
    "probe.probe_hash",
    "probe.targets",
    "capture.selection",
    "capture.model_tree",
    "capture.call_paths",
    "capture.calls",
    "capture.cost",
    "capture.batches",
    "capture.axes",
    "capture.connections",
    "capture.losses",
    "capture.pre_activations",
    "capture.gradients",
    "capture.selecting",
    "capture.inventory",
    "capture.stocktaking",
    "capture.forward",
    "capture.streams",
    "capture.iterators",
    "capture.containers",
    "capture.attributes",
    "capture.state",
    "capture.failures",
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
    *sorted(name for name in SOURCES if name.startswith("formats.")),
    "tables.columns",
    "tables.table_files",
    "tables.expected_rows",
    "tables.rows",
    "tables.writing",
    "tables.reading",
    "tables.plain_tables",
    "tables.workbook",
    "stores.digests",
    "stores.store",
    "stores.local_run",
    "stores.staging",
    "stores.local_draft",
    "stores.local",
    "stores.superseded",
    "record.hashing_thread",
    "record.publication",
    "record.environment",
    "record.training_record",
    "record.uptime",
    "record.probe_layout",
    "record.layer_record",
    "record.probe_record",
    "record.record",
    "record.header",
    "record.order",
    "record.batch_dependence",
    "record.consistency",
    "record.reading",
    "record.garbage",
    "record.listing",
    "showing.settings",
    "showing.showing",
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
    "saving.saving",
    "training.schedule",
    "training.checkpoints",
    "training.recorder",
    "training.training_data",
    "training.fitting",
    "experiment.fingerprint",
    "experiment.experiment",
    "experiment.shared_model",
    "experiment.earlier",
    "experiment.sweep",
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
    "runs.configs",
    "runs.run_files",
    "runs.shown_probe",
    "runs.plain_tables",
    "runs.run_tensors",
    "runs.published_run",
    "runs.omissions",
    "runs.same_probe",
    "runs.database",
    "runs.dataset",
    "runs.comparable",
    "runs.alignment",
    "runs.naming",
    "runs.collection",
    "runs.runs",
    "runs.locate",
    "sameness.distance",
    "sameness.difference",
    "sameness.verification",
    "sameness.repetition",
    "arithmetic.account",
    "arithmetic.functions",
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
    "arithmetic.spelling",
    "screen.figures",
    "screen.dense",
    "screen.story",
    "screen.screen",
    "screen.explain",
    "screen.differences",
    "screen.similarities",
    "screen.run_list",
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
    "command_line.sweep_task",
    "command_line.help_page",
    "command_line.experiments",
    "command_line.entry",
    "__init__",
    "__main__",
)
# These import Keras when they are imported; no other module imports them at its top.
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
    "model.seeding",
    "model.named_objects",
    "model.model_archive",
    "model.old_models",
    "model.stored_model",
    "model.model_files",
    "model.keras_objects",
    "model.declared",
    "model.building",
    "model.redrawing",
    "probe.decoding",
    "capture.model_tree",
    "capture.call_paths",
    "capture.calls",
    "capture.cost",
    "capture.batches",
    "capture.axes",
    "capture.connections",
    "capture.losses",
    "capture.pre_activations",
    "capture.gradients",
    "capture.selecting",
    "capture.inventory",
    "capture.stocktaking",
    "capture.forward",
    "capture.streams",
    "capture.containers",
    "capture.attributes",
    "capture.state",
    "capture.failures",
    "capture.capture",
    "capture.invariance",
    "showing.showing",
    "showing.activations",
    "saving.weight_values",
    "saving.tensor_tables",
    "saving.steps",
    "saving.layer_records",
    "saving.run_record",
    "saving.saving",
    "training.checkpoints",
    "training.recorder",
    "training.training_data",
    "training.fitting",
}


def imported(module: str) -> set[str]:
    """Full names of what the module imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(SOURCES[module])):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_modules(module: str) -> set[str]:
    """Names of Runner's own modules that it imports."""
    names = {name.removeprefix("runner.") for name in imported(module)}
    return {own for own in SOURCES for name in names if f"{name}.".startswith(f"{own}.")}


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
                "overrides",
                "composition",
                "choices",
                "compose",
                "job_folder",
                "job_template",
                "jobs",
            )
        ),
        "sameness.repetition",
        *(f"command_line.{name}" for name in ("experiments", "sweep_task")),
    }


def private_names(module: str) -> set[str]:
    """Private attributes of other objects, and internal modules of Keras, that a module names."""
    found = {name for name in imported(module) if name.startswith("keras.src")}
    for node in ast.walk(ast.parse(SOURCES[module])):
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


def test_a_framework_stands_behind_its_engine() -> None:
    users = {
        module
        for module in SOURCES
        if not module.startswith("engines.tensorflow")
        and any(name.partition(".")[0] == "tensorflow" for name in imported(module))
    }
    assert users == {
        "model.seeding",  # tf_global: the numbers of TensorFlow's own generator
        "model.redrawing",  # one function of TensorFlow that draws all weights
        "probe.decoding",  # pictures are decoded as Keras does, which uses TensorFlow
    }
    chosen_by = {
        module
        for module in SOURCES
        if not module.startswith("engines.tensorflow")
        and any(name.startswith("runner.engines.tensorflow") for name in imported(module))
    }
    assert chosen_by == {"model.backend"}


def test_the_other_modules_load_without_tensorflow_and_keras() -> None:
    others = [f"runner.{name}" for name in {*SOURCES} - LOADS_KERAS if not name.startswith("__")]
    code = f"import sys, {', '.join(others)}; print({{'tensorflow', 'keras'}} & set(sys.modules))"
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
    for node in ast.walk(ast.parse(SOURCES[module])):
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
        "experiment.fingerprint",  # likewise
        "training.fitting",  # Keras writes a model only to a path
        "sizes",  # what Linux tells of its memory
        "record.uptime",  # the id that Linux gives to the time since it was started
        "report.page",  # its own templates
        "report.view",  # likewise
    }
    assert {module for module in users if "fsync" in SOURCES[module]} == {"stores.local_draft"}


def test_no_public_function_bears_the_name_of_a_module() -> None:
    functions = {
        node.name
        for source in SOURCES.values()
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }
    # A command's module has the command's name, and only the registry imports it, by this name.
    commands = {name for name in SOURCES if name.startswith("commands.")}
    assert not [module for module in SOURCES if imported_modules(module) & commands]
    modules = {part for name in {*SOURCES} - commands for part in name.split(".")}
    assert not functions & modules


def test_modules_stay_short() -> None:
    assert not {name for name, source in SOURCES.items() if source.count("\n") > 400}


def test_functions_stay_short() -> None:
    long = {
        f"{module}.{node.name}: {lines}"
        for module, source in SOURCES.items()
        for node in ast.walk(ast.parse(source))
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


def test_the_map_of_the_architecture_names_every_module_once() -> None:
    named: list[str] = []
    package = ""
    for line in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = re.fullmatch(r"### `runner/(.*)`", line)
            package = heading[1].replace("/", ".") if heading else "-"
        elif package != "-" and (row := re.match(r"\| `([\w.]+)` \|", line)):
            named.append(package + row[1])
    assert sorted(named) == sorted({*SOURCES} | {"__init__", "__main__"})
