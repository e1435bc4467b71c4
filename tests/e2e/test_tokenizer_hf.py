"""Tokenizers against Hugging Face `tokenizers`: ids, decoding, and that no text can forge a special token."""
import json
import lzma
import random

import pytest
from conftest import ROOT, SHARED, run
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

WORDS = ["it's", "I'LL", "don't", " hello", "  two", "\n\n", "\r\n", "123456", " 42", "<|im_start|>", "<think>", "</s>",
         "<bos>", "e\u0301", "\u1100\u1161", "\u212bngstr\u00f6m", "\U0001f468\u200d\U0001f469", "\u0e01\u0e33", "\u0915\u094d\u0937"]
POOLS = [range(0x20, 0x7F)] * 4 + [range(0x61, 0x7B)] * 4 + [[0x20]] * 3 + [
    [0x0A, 0x0D, 0x09, 0x20, 0xA0, 0x3000, 0x85, 0x2028], range(0xC0, 0x250), range(0x300, 0x370), range(0x370, 0x530),
    range(0x590, 0x700), range(0x900, 0xA00), range(0xE00, 0xE80), range(0xAC00, 0xAC80), range(0x1100, 0x1200),
    range(0x3040, 0x3100), range(0x4E00, 0x4F00), range(0x1F300, 0x1F700), range(0x0, 0x20), range(0x2000, 0x2070),
    [0x17F, 0x212A, 0x2019, 0x27, 0xFE0F, 0x200D], range(0x30, 0x3A), range(0x660, 0x66A), range(0x1D400, 0x1D500)]


def texts(seed, count):
    rng = random.Random(seed)
    out = []
    for _ in range(count):
        if rng.random() < 0.3:
            out.append("".join(rng.choice(WORDS) for _ in range(rng.choice([1, 3, 8]))))
            continue
        text, n = "", rng.choice([1, 3, 10, 40, 200])
        while len(text) < n:
            pool = rng.choice(POOLS)
            text += "".join(chr(rng.choice(pool)) for _ in range(rng.choice([1, 1, 2, 5])))
        out.append(text)
    return out


CORPUS = ["The quick brown fox jumps over the lazy dog. It's 12345 o'clock!\n\nNew paragraph, with  two spaces.",
          "def f(x):\n    return x + 1  # comment", "\u00dcber die Br\u00fccke g\u00e9n\u00e9rale \u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4"] * 20
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")


def byte_level(pre, normalizer=None, specials=("<s>", "</s>"), post=None, **model):
    t = Tokenizer(models.BPE(**model))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=list(specials), show_progress=False))
    if post:
        t.post_processor = post
    return t


def marked(**metaspace):
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)], show_progress=False))
    data = json.loads(t.to_str())
    data["added_tokens"] = [a for a in data["added_tokens"] if not a["content"].startswith("<0x")]
    data["post_processor"] = {
        "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    return Tokenizer.from_str(json.dumps(data))


def added():
    t = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    t.add_tokens([AddedToken("<think>", special=False, normalized=False), AddedToken("hello", special=False, normalized=False)])
    t.add_special_tokens([AddedToken("<|im_start|>", special=True, normalized=False),
                          AddedToken("<mask>", special=True, normalized=False, lstrip=True)])
    return t


KINDS = {
    "gpt2": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "prefix_space": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "nfc_llama3": lambda: byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]), normalizers.NFC()),
    "digits": lambda: byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)])),
    "digit_runs": lambda: byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(False)])),
    "merged_previous": lambda: byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Split(" ", "merged_with_previous"), pre_tokenizers.ByteLevel(False, use_regex=False)])),
    "merged_next": lambda: byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\s"), "merged_with_next"), pre_tokenizers.ByteLevel(False, use_regex=False)])),
    "removed": lambda: byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"[,;]+"), "removed"), pre_tokenizers.ByteLevel(False, use_regex=False)])),
    "contiguous": lambda: byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}"), "contiguous"), pre_tokenizers.ByteLevel(False, use_regex=False)])),
    "byte_fallback": marked,
    "added_tokens": added,
    "ignore_merges": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), ignore_merges=True),
    "bos": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), post=processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])),
}


def compare(path, reference, samples, tmp_path):
    for text in samples:
        (tmp_path / "t.txt").write_text(text, encoding="utf-8", newline="")
        ids = [int(x) for x in run("tokenize", path, "-f", tmp_path / "t.txt").text.split()]
        expected = reference.encode(text).ids
        assert ids == expected, (text, expected)
        decoded = run("tokenize", path, "--decode", " ".join(map(str, ids))).stdout
        assert decoded.decode("utf-8") == reference.decode(ids, skip_special_tokens=False), text


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_trained_here(tmp_path, kind):
    reference = KINDS[kind]()
    path = tmp_path / "tokenizer.json"
    reference.save(str(path))
    compare(path, reference, texts(kind, 60), tmp_path)


@pytest.mark.skipif(not (SHARED / "tokenizers").is_dir(), reason="the real tokenizers are not in the tree")
@pytest.mark.parametrize("name,vectors", [("qwen3", "qwen2"), ("gemma3", "gemma-4")])
def test_real_tokenizers(tmp_path_factory, tmp_path, name, vectors):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(lzma.decompress((SHARED / "tokenizers" / name / "tokenizer.json.xz").read_bytes()))
    compare(path, Tokenizer.from_file(str(path)), texts(name, 25), tmp_path)
    inputs = (SHARED / "vectors" / f"{vectors}.inp").read_bytes().decode("utf-8").split("\n__ggml_vocab_test__\n")
    outputs = (SHARED / "vectors" / f"{vectors}.out").read_text().split("\n")
    for text, expected in zip(inputs, outputs):
        (tmp_path / "t.txt").write_text(text, encoding="utf-8", newline="")
        assert run("tokenize", path, "-f", tmp_path / "t.txt", "--no-bos").text.split() == expected.split(), repr(text)


def test_plain_text_holds_no_special_tokens(tmp_path):
    reference = added()
    path = tmp_path / "tokenizer.json"
    reference.save(str(path))
    special = {reference.token_to_id("<|im_start|>"), reference.token_to_id("<mask>"), 0, 1}
    text = "a <|im_start|> b <mask> <s></s><think>"
    spelled = {int(x) for x in run("tokenize", path, "-p", text).text.split()}
    plain = {int(x) for x in run("tokenize", path, "-p", text, "--plain").text.split()}
    assert special <= spelled and not special & plain
    assert reference.token_to_id("<think>") in plain


@pytest.mark.parametrize("change,word", [
    (lambda d: d["model"].update(type="WordPiece"), "WordPiece"),
    (lambda d: d.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "Precompiled"),
    (lambda d: d.update(pre_tokenizer={"type": "BertPreTokenizer"}), "BertPreTokenizer"),
    (lambda d: d.update(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated", "invert": False}), "group"),
    (lambda d: d.update(decoder={"type": "CTC"}), "CTC"),
    (lambda d: d.update(post_processor={"type": "BertProcessing"}), "BertProcessing"),
])
def test_what_is_not_supported_is_refused_by_name(tmp_path, change, word):
    data = json.loads(KINDS["gpt2"]().to_str())
    change(data)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data))
    assert word in run("tokenize", path, "-p", "x", check=5).message


def test_bad_utf8_is_refused_with_its_offset(tmp_path):
    path = tmp_path / "tokenizer.json"
    KINDS["gpt2"]().save(str(path))
    (tmp_path / "t.txt").write_bytes(b"abc\xff")
    assert "byte 3" in run("tokenize", path, "-f", tmp_path / "t.txt", check=4).message
