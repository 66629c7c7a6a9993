"""Turns the text form of TensorFlow's graphs (.pbtxt) into the binary one, which is then read as any other.

Fields that the readers need, with the numbers of
https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/{framework,protobuf}/*.proto; others are skipped.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from edgestudio.model.content import Buffer
from edgestudio.wire.errors import ModelError

_MAX_TEXT_BYTES = 8 << 20
"""Text is read at about a megabyte a second."""
_MESSAGES = {
    "SavedModel": "1 int64 saved_model_schema_version, 2 *MetaGraphDef meta_graphs",
    "MetaGraphDef": "1 MetaInfo meta_info_def, 2 GraphDef graph_def, 5 *SignatureEntry signature_def",
    "MetaInfo": "4 *string tags, 5 string tensorflow_version",
    "SignatureEntry": "1 string key, 2 Signature value",
    "Signature": "1 *InfoEntry inputs, 2 *InfoEntry outputs, 3 string method_name",
    "InfoEntry": "1 string key, 2 Info value",
    "Info": "1 string name, 2 DataType dtype, 3 Shape tensor_shape",
    "GraphDef": "1 *NodeDef node, 2 Library library, 3 int32 version, 4 Versions versions",
    "Versions": "1 int32 producer, 2 int32 min_consumer, 3 *int32 bad_consumers",
    "NodeDef": "1 string name, 2 string op, 3 *string input, 4 string device, 5 *AttrEntry attr",
    "AttrEntry": "1 string key, 2 AttrValue value",
    "AttrValue": "1 List list, 2 bytes s, 3 int64 i, 4 float f, 5 bool b, 6 DataType type, 7 Shape shape, "
    "8 Tensor tensor, 9 string placeholder, 10 Func func",
    "List": "2 *bytes s, 3 *int64 i, 4 *float f, 5 *bool b, 6 *DataType type, 7 *Shape shape, 8 *Tensor tensor, "
    "9 *Func func",
    "Func": "1 string name, 2 *AttrEntry attr",
    "Shape": "2 *Dim dim, 3 bool unknown_rank",
    "Dim": "1 int64 size, 2 string name",
    "Tensor": "1 DataType dtype, 2 Shape tensor_shape, 4 bytes tensor_content, 5 *float float_val, "
    "6 *double double_val, 7 *int32 int_val, 8 *bytes string_val, 10 *int64 int64_val, 11 *bool bool_val, "
    "13 *int32 half_val, 16 *uint32 uint32_val, 17 *uint64 uint64_val",
    "Library": "1 *Function function",
    "Function": "1 OpDef signature, 3 *NodeDef node_def, 4 *TextEntry ret, 5 *AttrEntry attr, 7 *ArgEntry arg_attr",
    "TextEntry": "1 string key, 2 string value",
    "ArgEntry": "1 uint32 key, 2 ArgAttrs value",
    "ArgAttrs": "1 *AttrEntry attr",
    "OpDef": "1 string name, 2 *ArgDef input_arg, 3 *ArgDef output_arg",
    "ArgDef": "1 string name, 3 DataType type, 4 string type_attr",
}
_TYPES = (
    "INVALID", "FLOAT", "DOUBLE", "INT32", "UINT8", "INT16", "INT8", "STRING", "COMPLEX64", "INT64", "BOOL", "QINT8",
    "QUINT8", "QINT32", "BFLOAT16", "QINT16", "QUINT16", "UINT16", "COMPLEX128", "HALF", "RESOURCE", "VARIANT",
    "UINT32", "UINT64", "FLOAT8_E5M2", "FLOAT8_E4M3FN",
)  # fmt: skip
_SCALARS = {
    "double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9, "bytes": 12, "uint32": 13,
}  # fmt: skip
_BEGINS = re.compile(
    rb"\s*(?:#[^\n]*\n\s*)*(?:(node|library|versions)\s*:?\s*\{|(saved_model_schema_version|meta_graphs)\s*[:{])"
)


def text_kind(start: bytes) -> str | None:
    """What a file that begins like this is: GraphDef or SavedModel in text form; None for anything else."""
    found = _BEGINS.match(start)
    if found is None or any(byte < 9 or 13 < byte < 32 for byte in start[:256]):
        return None
    return "GraphDef" if found[1] else "SavedModel"


def binary(buffer: Buffer, name: str) -> memoryview:
    """The graph's bytes on the wire, whichever form the file has; raises ModelError."""
    kind = text_kind(bytes(buffer[:4096]))
    if kind is None:
        return memoryview(buffer)
    if len(buffer) > _MAX_TEXT_BYTES:
        raise ModelError(
            f"{name} is a TensorFlow {kind} in text form, and with {len(buffer) >> 20} MB too long to be read so.",
            hint="Save it in the binary form: tf.io.write_graph(…, as_text=False), or saved_model.pb.",
            code="too-large",
        )
    from google.protobuf import text_format

    message = _classes()[kind]()
    try:
        text_format.Parse(
            bytes(buffer).decode("utf-8"), message, allow_unknown_field=True, allow_unknown_extension=True
        )
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(
            f"{name} is a TensorFlow {kind} in text form that is damaged: {str(error)[:200]}.",
            hint="Fetch it again and compare its size or checksum with the source.",
            code="damaged-model",
        ) from error
    return memoryview(message.SerializePartialToString())


@cache
def _classes() -> dict[str, Any]:
    """The messages as protobuf has them, by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="edgestudio/tensorflow_text.proto", package="tf", syntax="proto2"
    )
    types = file.enum_type.add(name="DataType")
    for at, word in enumerate(_TYPES):
        for offset, suffix in ((0, ""), (100, "_REF")):
            if at + offset != 100:
                types.value.add(name=f"DT_{word}{suffix}", number=at + offset)
    types.value.add(name="DT_INT4", number=29)
    types.value.add(name="DT_UINT4", number=30)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for item in fields.split(", "):
            number, kind, label = item.split(" ")
            word = kind.lstrip("*")
            field = message.field.add(name=label, number=int(number), label=3 if kind != word else 1)
            if word in _SCALARS:
                field.type = _SCALARS[word]
            else:
                field.type, field.type_name = (14 if word == "DataType" else 11), f".tf.{word}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tf.{name}"))
        for name in ("GraphDef", "SavedModel")
    }
