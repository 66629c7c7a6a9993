"""Reads a Keras model, `.keras` or `.h5` of Keras 2 and 3, from its configuration; no layer is ever built or run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from edgestudio.model.content import head
from edgestudio.model.detect import Recognised
from edgestudio.model.formats.archive import check_ratio, opened_zip, read_entry
from edgestudio.model.formats.hdf5 import Contents, StoredArray, read_hdf5
from edgestudio.model.formats.keras_graph import KerasGraphs
from edgestudio.model.graph import Model, Tensor
from edgestudio.wire.errors import ModelError

WEIGHTS = "model.weights.h5"
Places = dict[str, StoredArray]


def read(found: Recognised) -> Model:
    """The model at `found.file`; raises ModelError when it holds no Keras model or is damaged."""
    return read_with_places(found)[0]


def read_with_places(found: Recognised) -> tuple[Model, Places]:
    """As `read`, with the stored array behind each weight, by the weight's name."""
    return _read_zip(found) if is_archive(found) else _read_hdf5(found)


def is_archive(found: Recognised) -> bool:
    """True for a `.keras` file, which holds its weights in `WEIGHTS`."""
    return head(found.file, 4)[:2] == b"PK"


def _read_zip(found: Recognised) -> tuple[Model, Places]:
    with opened_zip(found.file) as archive:
        config = json.loads(read_entry(archive, "config.json"))
        names = archive.namelist()
        version: dict[str, Any] = (
            json.loads(read_entry(archive, "metadata.json")) if "metadata.json" in names else {}
        )
        warnings = list(found.warnings)
        if WEIGHTS in names:
            check_ratio(archive.getinfo(WEIGHTS))
        else:
            warnings.append(f"{WEIGHTS} is missing from the archive; the model has no weights")
    stored = _zip_weights(found, warnings) if WEIGHTS in names else []
    metadata = {"saved": str(version["date_saved"])} if "date_saved" in version else {}
    return _model(found, config, stored, str(version.get("keras_version") or ""), metadata, warnings)


def _zip_weights(found: Recognised, warnings: list[str]) -> list[StoredArray]:
    try:
        contents = read_hdf5(found.file, WEIGHTS)
    except ModelError as error:
        warnings.append(f"the weights cannot be listed: {error.message}")
        return []
    return [array for array in contents.arrays if not array.path.startswith("optimizer/")]


def _read_hdf5(found: Recognised) -> tuple[Model, Places]:
    contents = read_hdf5(found.file)
    texts = contents.texts
    version = texts.get("keras_version", "")
    if "model_config" not in texts:
        model = _weights_only(found, contents.arrays, version)
        return model, _by_path(contents.arrays)
    metadata = {"training": _loss(texts["training_config"])} if "training_config" in texts else {}
    config = json.loads(texts["model_config"])
    return _model(found, config, _ordered(contents), version, metadata, list(found.warnings))


def _ordered(contents: Contents) -> list[StoredArray]:
    """The weights in the order in which their layers use them, by their path below the group of all weights."""
    prefix = "model_weights/"
    ranked = [
        (array.path.split("/")[1], contents.ranks.get(array.path, len(contents.ranks)), array)
        for array in contents.arrays
        if array.path.startswith(prefix)
    ]
    ranked.sort(key=lambda entry: (entry[0], entry[1], entry[2].path))
    return [array._replace(path=array.path.removeprefix(prefix)) for *_, array in ranked]


def _weights_only(found: Recognised, stored: list[StoredArray], version: str) -> Model:
    is_keras = any(
        array.path.split("/")[-1].split(":")[0] in ("kernel", "bias", "gamma", "0") for array in stored
    )
    if not is_keras:
        raise ModelError(
            f"{found.path.name} is an HDF5 file that holds no Keras model"
            + (f" (it holds {len(stored)} arrays)." if stored else " (it holds no data)."),
            hint="If it was saved with save_weights, save the whole model instead: model.save('name.keras').",
            code="not-a-model",
        )
    return Model(
        format="keras",
        format_version=f"Keras {version}" if version else None,
        producer=f"Keras {version}".strip() if version else None,
        opsets={},
        graphs=(),
        size_bytes=found.file.stat().st_size,
        warnings=(
            *found.warnings,
            "the file holds weights only, no layers: save the whole model to see its graph",
        ),
        weights=_listed(stored),
    )


def _model(
    found: Recognised,
    config: Any,
    stored: list[StoredArray],
    version: str,
    metadata: dict[str, str],
    warnings: list[str],
) -> tuple[Model, Places]:
    if not isinstance(config, dict) or "class_name" not in config:
        raise ModelError(
            f"{found.path.name} is a Keras file whose configuration is not that of a model.",
            hint="Save it again with model.save('name.keras').",
            code="damaged-model",
        )
    graphs = KerasGraphs(stored)
    graphs.read(config)
    model = Model(
        format="keras",
        format_version=f"Keras {version}" if version else None,
        producer=f"Keras {version}".strip() if version else None,
        opsets={},
        graphs=tuple(graphs.graphs),
        weights=() if graphs.graphs[0].nodes else _listed(stored),
        size_bytes=found.file.stat().st_size,
        metadata={**metadata, "type": str(config["class_name"]), "layers": str(graphs.layer_count)},
        warnings=tuple(dict.fromkeys((*warnings, *graphs.warnings))),
    )
    return model, graphs.places if graphs.graphs[0].nodes else _by_path(stored)


def _by_path(stored: Iterable[StoredArray]) -> Places:
    return {array.path: array for array in stored}


def _listed(stored: Iterable[StoredArray]) -> tuple[Tensor, ...]:
    return tuple(Tensor(a.path, a.dtype, a.shape, "constant", a.size_bytes) for a in stored)


def _loss(text: str) -> str:
    try:
        document = json.loads(text)
    except ValueError:
        return "damaged"
    return f"loss {document.get('loss')}"[:200] if isinstance(document, dict) else ""
