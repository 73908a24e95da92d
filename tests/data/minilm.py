#!/usr/bin/env python3
"""The vectors that all-MiniLM-L6-v2 gives to the texts of minilm_texts.json, in f32: what tests/embed_minilm.rs compares with.

    pip install numpy==2.4.6 scipy==1.17.1 && pip install --no-deps tokenizers
    python tests/data/minilm.py "$(tests/models)"      # writes tests/data/minilm_vectors.i16

The forward pass is written with numpy and nothing of ours; the pieces come from Hugging Face `tokenizers`. A component
x is stored as round(32767 x), little-endian.
"""
import json, pathlib, sys
import numpy as np
from scipy.special import erf
from tokenizers import BertWordPieceTokenizer

here, model = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[1])
raw = (model / "model.safetensors").read_bytes()
n = int.from_bytes(raw[:8], "little")
w = {}
for name, m in json.loads(raw[8:8 + n]).items():
    if m.get("dtype") == "F32":
        a, b = m["data_offsets"]
        w[name] = np.frombuffer(raw, "<f4", (b - a) // 4, 8 + n + a).reshape(m["shape"])
tokenizer = BertWordPieceTokenizer(str(model / "vocab.txt"), lowercase=True)


def norm(x, name):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12) * w[name + ".weight"] + w[name + ".bias"]


def linear(x, name):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def embed(text):
    ids = tokenizer.encode(text).ids
    ids = ids if len(ids) <= 256 else ids[:255] + ids[-1:]
    e = "embeddings."
    x = w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][:len(ids)] + w[e + "token_type_embeddings.weight"][0]
    x = norm(x, e + "LayerNorm")
    for i in range(6):
        p = f"encoder.layer.{i}."
        q, k, v = (linear(x, p + "attention.self." + s).reshape(-1, 12, 32).transpose(1, 0, 2) for s in ("query", "key", "value"))
        a = q @ k.transpose(0, 2, 1) / np.sqrt(np.float32(32))
        a = np.exp(a - a.max(-1, keepdims=True))
        o = (a / a.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(-1, 384)
        x = norm(linear(o, p + "attention.output.dense") + x, p + "attention.output.LayerNorm")
        h = linear(x, p + "intermediate.dense")
        x = norm(linear(0.5 * h * (1 + erf(h / np.sqrt(2))), p + "output.dense") + x, p + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


# The model's own card says so.
assert np.allclose(embed("This is an example sentence")[:3], [0.0676570, 0.0634960, 0.0487131], atol=1e-5)
texts = json.loads((here / "minilm_texts.json").read_text())
vectors = np.array([embed(text) for text in texts])
(here / "minilm_vectors.i16").write_bytes(np.rint(vectors * 32767).astype("<i2").tobytes())
print(f"{len(texts)} texts")
