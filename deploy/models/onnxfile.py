"""Edit the declared shapes of an ONNX file, without any package.

An ONNX file is one protobuf message. Protobuf's wire format is a list of (field number, wire type, value), so a few fields can be replaced
and all others copied as they are. Numbers below are those of onnx.proto3: ModelProto, GraphProto, ValueInfoProto, TypeProto, TensorShapeProto.
"""

MODEL_GRAPH = 7
GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO = 5, 11, 12, 13
INITIALIZER_NAME = 8
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR = 1
TENSOR_SHAPE = 2
SHAPE_DIM = 1
DIM_VALUE, DIM_PARAM = 1, 2

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def rewrite(model, shapes):
    """Give the model with the shapes of the named inputs and outputs replaced: each extent is a number or the name of a free axis.

    The shapes of intermediate values are left out, as they follow from the inputs. So are weights that old exporters list among the inputs:
    as inputs they could change from call to call, which forbids the runtime to fold them into the operators (half the speed).
    """
    missing = set(shapes)
    fields = []
    for number, kind, value in parse(model):
        if number == MODEL_GRAPH:
            value = rewrite_graph(value, shapes, missing)
        fields.append((number, kind, value))
    if missing:
        raise ValueError(f"the model has no input or output named {', '.join(sorted(missing))}")
    return serialise(fields)


def rewrite_graph(graph, shapes, missing):
    fields = list(parse(graph))
    weights = {first(value, INITIALIZER_NAME) for number, _, value in fields if number == GRAPH_INITIALIZER}
    kept = []
    for number, kind, value in fields:
        if number == GRAPH_VALUE_INFO:
            continue
        if number in (GRAPH_INPUT, GRAPH_OUTPUT):
            name = first(value, VALUE_NAME)
            if name in weights:
                continue
            if name.decode() in shapes:
                missing.discard(name.decode())
                value = reshape(value, shapes[name.decode()])
        kept.append((number, kind, value))
    return serialise(kept)


def reshape(value_info, extents):
    """Replace ValueInfoProto.type.tensor_type.shape."""
    dimensions = [
        (SHAPE_DIM, BYTES, serialise([(DIM_PARAM, BYTES, e.encode()) if isinstance(e, str) else (DIM_VALUE, VARINT, e)]))
        for e in extents
    ]
    shape = serialise(dimensions)

    def within(message, number, change):
        return serialise([(n, k, change(v) if n == number else v) for n, k, v in parse(message)])

    return within(value_info, VALUE_TYPE, lambda t: within(t, TYPE_TENSOR, lambda s: within(s, TENSOR_SHAPE, lambda _: shape)))


def first(message, number):
    return next(value for n, _, value in parse(message) if n == number)


def parse(message):
    """Yield the fields of a message: (number, wire type, value), the value an int for VARINT and bytes otherwise."""
    at = 0
    while at < len(message):
        key, at = read_varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = read_varint(message, at)
        else:
            if kind == BYTES:
                size, at = read_varint(message, at)
            elif kind in (FIXED32, FIXED64):
                size = 4 if kind == FIXED32 else 8
            else:
                raise ValueError(f"wire type {kind} at byte {at}: not an ONNX file")
            value, at = message[at : at + size], at + size
            if at > len(message):
                raise ValueError("the file ends within a field: not an ONNX file, or cut short")
        yield number, kind, value


def serialise(fields):
    parts = []
    for number, kind, value in fields:
        parts.append(varint(number << 3 | kind))
        if kind == VARINT:
            parts.append(varint(value))
            continue
        if kind == BYTES:
            parts.append(varint(len(value)))
        parts.append(value)
    return b"".join(parts)


def read_varint(message, at):
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError(f"broken number at byte {at}: not an ONNX file, or cut short")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def varint(value):
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
