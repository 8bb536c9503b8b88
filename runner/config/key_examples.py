"""An example for every key of the configuration, as it is typed on a command line."""

from __future__ import annotations

from runner.config.probe_config import SOURCES

EXAMPLES = {
    "ExperimentConfig": {
        "seed": "seed=1",
        "name": "name=baseline",
        "custom_modules": "custom_modules=[my_package.layers]",
        "model": "model=iris_mlp probe=iris",
        "probe": "probe=random",
        "loss": "loss=huber",
        "optimizer": "optimizer=sgd",
        "capture": "capture.include=[hidden]",
        "format": "format=csv",
        "train": "train=fit",
        "extra": "+extra.batch=3 +extra.note=trial",
        "dry_run": "dry_run=true",
    },
    "DeclaredModel": {
        "layers": "model.layers.hidden.activation=tanh",
        "input_shape": "model.input_shape=[5] probe=random",
        "inputs": "+model.inputs={a:{shape:[3]}} model.input_shape=null",
        "outputs": "+model.outputs=[hidden,output]",
        "seeding": "model.seeding=keras",
        "dtype": "+model.dtype=float16",
        "weights": "+model.weights=mine.weights.h5",
    },
    "ModelInput": {
        "shape": "experiment=two_inputs model.inputs.left.shape=[6]",
        "dtype": "+model.inputs.left.dtype=float16",
    },
    "LayerNode": {
        "class_name": "experiment=two_inputs model.layers.output.class_name=Dense",
        "reuse": "model.layers.tower_right.reuse=tower",
        "inputs": "+model.layers.output.inputs=difference",
    },
    "SavedModel": {
        "path": "model=saved model.path=m.keras",
        "weights": "model.weights=mine.weights.h5",
    },
    "ApplicationModel": {
        "class_name": "model=application model.class_name=MobileNetV2",
        "weights": "model.weights=mine.weights.h5",
    },
    "FunctionModel": {
        "function": "model=function model.function=my_package.nets:build",
        "arguments": "+model.arguments.depth=4",
    },
    **{source.__name__: source.examples for source in SOURCES.values() if source.examples},
    "CaptureConfig": {
        "include": "experiment=digits_cnn capture.include=[conv*,class:Dense]",
        "exclude": "capture.exclude=[output]",
        "kinds": "capture.kinds=[activation,pre_activation]",
        "reduce": "capture.reduce={conv_1:mean}",
        "batch_size": "capture.batch_size=32",
        "training": "capture.training=true",
        "dtype": "capture.dtype=float16",
        "max_bytes": "capture.max_bytes=1000000000",
        "on_nan": "capture.on_nan=fail",
    },
    "TrainConfig": {
        "epochs": "train=fit train.epochs=20",
        "batch_size": "train.batch_size=16",
        "validation_split": "train.validation_split=0.2",
        "shuffle": "train.shuffle=false",
        "metrics": "train.metrics=[accuracy]",
        "callbacks": "+train.callbacks.early={class_name:EarlyStopping,monitor:loss}",
        "data": "train/data=csv train.data.path=flowers.csv",
        "capture_at": "train.capture_at=[0,1,last]",
        "every": "train.every=5",
        "unit": "train.unit=step train.every=100",
        "save_model": "train.save_model=true",
        "keep_partial": "train.keep_partial=true",
    },
    "NamedObject": {"class_name": "optimizer.class_name=SGD"},
}
"""By class and key. The first of a class chooses what the others go with."""
