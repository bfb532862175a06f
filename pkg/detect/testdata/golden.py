#!/usr/bin/env python3
"""Write golden.json: detector heads and what is in them, by others' code.

Overlaps are suppressed by ONNX Runtime's NonMaxSuppression operator, and boxes go back from a letterbox to the source as Ultralytics' scale_boxes does it.
The heads v5, v8 and v10 are made up; the one of YOLOX is what a real network gave: common_det.onnx of the Python package ddddocr 1.6.1 (MIT licence), which
finds drawn characters, for a picture drawn here. Boxes whose score is below the threshold are left out of the file, to keep it small.

    python3 -m venv v && v/bin/pip install numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 pillow==13.0.0
    v/bin/pip download --no-deps --only-binary=:all: ddddocr==1.6.1 && unzip ddddocr-*.whl ddddocr/common_det.onnx
    v/bin/python golden.py ddddocr/common_det.onnx > golden.json
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime
from PIL import Image, ImageDraw, ImageFont

MARGIN = 1e-4  # no overlap in the cases is nearer to the limit, so that single precision decides nothing


def suppressor():
    """ONNX Runtime's operator, as a session that takes boxes [1,M,4] (corners), scores [1,C,M], the overlap and the threshold."""
    value = onnx.helper.make_tensor_value_info
    f, i = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    node = onnx.helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "threshold"], ["selected"])
    graph = onnx.helper.make_graph(
        [node],
        "suppress",
        [value("boxes", f, [1, None, 4]), value("scores", f, [1, None, None]), value("most", i, [1]), value("overlap", f, [1]), value("threshold", f, [1])],
        [value("selected", i, [None, 3])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString())


SUPPRESS = suppressor()


def suppress(boxes, scores, classes, overlap):
    """The indices of the boxes that stay, best first. Each box has one class."""
    spread = np.zeros((1, int(classes.max()) + 1, len(boxes)), np.float32)
    spread[0, classes, np.arange(len(boxes))] = scores
    feeds = {
        "boxes": boxes[None].astype(np.float32),
        "scores": spread,
        "most": np.array([len(boxes)], np.int64),
        "overlap": np.array([overlap], np.float32),
        "threshold": np.array([1e-6], np.float32),
    }
    kept = SUPPRESS.run(None, feeds)[0][:, 2]
    return kept[np.argsort(-scores[kept], kind="stable")]


def clear(boxes, overlap):
    """Tells whether no overlap of two of the boxes is near the limit."""
    left, top, right, bottom = boxes.T.astype(np.float64)
    area = (right - left) * (bottom - top)
    width = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    height = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    both = np.clip(width, 0, None) * np.clip(height, 0, None)
    return np.all(np.abs(both / (area[:, None] + area - both) - overlap) > MARGIN)


def crowd(rng, n, classes, width, height):
    """Boxes (centre and sides) in clusters, as a detector finds them, with distinct scores; all exact in single precision and short in JSON."""
    clusters = rng.uniform([0.1 * width, 0.1 * height, 20, 20], [0.9 * width, 0.9 * height, 0.3 * width, 0.3 * height], (max(1, n // 6), 4))
    boxes = clusters[rng.integers(0, len(clusters), n)] + rng.normal(0, 9, (n, 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 4)
    scores = (rng.permutation(1024)[:n] + 0.5) / 1024
    return np.round(boxes * 4) / 4, scores, rng.integers(0, classes, n)


def corners(boxes):
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)


def to_source(boxes, size, source):
    """Ultralytics' scale_boxes for a centred letterbox, then fractions of the source."""
    gain = min(size[0] / source[0], size[1] / source[1])
    pad = [round((size[i] - round(source[i] * gain)) / 2 - 0.1) for i in (0, 1)]
    out = (boxes - np.array(pad * 2)) / gain / np.array([*source, *source])
    return np.clip(out, 0, 1)


def suppressions():
    cases = []
    for seed, (n, classes, overlap) in enumerate([(1, 1, 0.5), (40, 1, 0.45), (120, 3, 0.45), (200, 80, 0.7), (200, 2, 0.3), (150, 1, 0.9)]):
        for again in range(100):
            boxes, scores, classed = crowd(np.random.default_rng([seed, again]), n, classes, 640, 480)
            boxes = corners(boxes)
            if clear(boxes, overlap):
                break
        kept = suppress(boxes, scores, classed, overlap)
        cases.append({"overlap": overlap, "boxes": boxes.tolist(), "scores": scores.tolist(), "classes": classed.tolist(), "kept": kept.tolist()})
    return cases


def case(name, version, size, source, shape, threshold, overlap, rows, boxes, scores, classes):
    """A head: its rows are those of boxes whose score reaches the threshold, each with its index first. boxes are their corners."""
    assert clear(boxes, overlap), name
    kept = np.argsort(-scores) if version == "v10" else suppress(boxes, scores, classes, overlap)
    places = to_source(boxes, size, source)
    want = [[int(classes[i]), float(scores[i]), *np.round(places[i], 8).tolist()] for i in kept if np.all(places[i][2:] > places[i][:2])]  # the others lie in the bars
    return {"name": name, "version": version, "input": size, "source": source, "shape": shape, "threshold": threshold, "overlap": overlap, "rows": rows, "want": want}


def made_up(version, size, source, boxes_of_head, classes, n, overlap, seeds):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        boxes, scores, classed = crowd(rng, n, classes, *size)
        if clear(corners(boxes), overlap):
            break
    places = np.sort(rng.choice(boxes_of_head, n, replace=False))
    rows = []
    for i in range(n):
        if version == "v10":
            rows.append([int(places[i]), *corners(boxes[i : i + 1])[0].tolist(), float(scores[i]), int(classed[i])])
            continue
        of_class = [0] * classes
        of_class[rng.integers(0, classes)] = float(scores[i]) / 2  # another class is behind
        of_class[classed[i]] = float(scores[i])
        object_score = []
        if version == "v5":
            object_score = [0.75]
        rows.append([int(places[i]), *boxes[i].tolist(), *object_score, *of_class])
    score = scores * 0.75 if version == "v5" else scores
    numbers = {"v5": 5 + classes, "v8": 4 + classes, "v10": 6}[version]
    shape = [numbers, boxes_of_head] if version == "v8" else [boxes_of_head, numbers]
    return case(f"{version} of {classes} classes", version, size, source, shape, 0, overlap, rows, corners(boxes), score, classed)


def drawn():
    """A picture of 640×360 with characters on it, letterboxed into 416×416 as the edge does it: centred, black around."""
    picture = Image.new("RGB", (640, 360), (120, 150, 170))
    pen = ImageDraw.Draw(picture)
    for i, (text, x, y, size) in enumerate([("A", 60, 60, 90), ("7", 250, 190, 80), ("K", 440, 40, 110), ("B", 520, 230, 70), ("e", 120, 240, 90)]):
        pen.text((x, y), text, fill=(20 + 30 * i, 30, 140 - 20 * i), font=ImageFont.load_default(size))
    box = Image.new("RGB", (416, 416))
    box.paste(picture.resize((416, 234), Image.Resampling.BILINEAR), (0, 91))
    return np.asarray(box)[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)  # BGR


def real(path):
    size, threshold, overlap = 416, 0.1, 0.45
    head = onnxruntime.InferenceSession(path).run(None, {"images": drawn()})[0][0]
    grids, strides = [], []
    for stride in (8, 16, 32):  # as YOLOX's demo_postprocess
        xv, yv = np.meshgrid(np.arange(size // stride), np.arange(size // stride))
        grids.append(np.stack((xv, yv), 2).reshape(-1, 2))
        strides.append(np.full((len(grids[-1]), 1), stride))
    grids, strides = np.concatenate(grids), np.concatenate(strides)
    scores = head[:, 4].astype(np.float64) * head[:, 5]
    at = np.flatnonzero(scores >= threshold)
    boxes = np.concatenate([(head[:, :2] + grids) * strides, np.exp(head[:, 2:4]) * strides], 1)
    rows = [[int(i), *(float(str(v)) for v in head[i])] for i in at]  # the shortest text of each single
    return case("yolox, a real network", "yolox", [size, size], [640, 360], list(head.shape), threshold, overlap, rows, corners(boxes[at]), scores[at], np.zeros(len(at), int))


def main():
    heads = [
        made_up("v5", [640, 640], [1280, 720], 25200, 80, 24, 0.45, range(100)),
        made_up("v5", [320, 320], [480, 640], 6300, 1, 24, 0.6, range(100, 200)),
        made_up("v8", [640, 640], [720, 1280], 8400, 80, 24, 0.7, range(200, 300)),
        made_up("v8", [640, 384], [1920, 1080], 5040, 2, 40, 0.45, range(300, 400)),
        made_up("v10", [640, 640], [1280, 720], 300, 80, 30, 0.45, range(400, 500)),
        real(sys.argv[1]),
    ]
    json.dump({"by": f"ONNX Runtime {onnxruntime.__version__}; see golden.py", "suppress": suppressions(), "heads": heads}, sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
