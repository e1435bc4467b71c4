"""Tokenizers against Hugging Face `tokenizers`: ids, decoding, and that no text can forge a special token.

EDGE_LLM_SOAK=1 takes 20,000 strings of each real tokenizer and 5,000 of each trained one, instead of a sample."""

import json
import lzma
import random

import pytest
import text_tool
from conftest import SHARED, run
from text_samples import texts
from text_tool import INPUT, SOAK, TEMPLATE
from tokenizer_kinds import (
    KINDS,
    QWEN35,
    TEMPLATE as TEMPLATE_POST,
    added,
    byte_level,
    plain_bpe,
    qwen35,
    smollm2,
    unigram,
)
from tokenizers import Tokenizer

N_REAL, N_TRAINED = (20000, 5000) if SOAK else (400, 60)
IDS = {}


def special_words(reference):
    return [t.content for t in reference.get_added_tokens_decoder().values()][:40]


def compare(path, reference, samples):
    decoded = reference.decode_batch([e.ids for e in reference.encode_batch(samples)], skip_special_tokens=False)
    for text, (ids, ours), theirs in zip(samples, text_tool.encode(path, samples), decoded):
        assert ids == reference.encode(text).ids, ascii(text)
        assert ours.decode() == theirs, ascii(text)


def compare_decoding(path, reference, seed, count):
    """Rows of ids that no encoder would make. A special token that the normalizer changes is left out: Hugging Face
    does not find it when it skips special tokens, and writes it."""
    rng = random.Random(seed)
    top = reference.get_vocab_size()
    changed = {i for i, t in reference.get_added_tokens_decoder().items() if reference.id_to_token(i) != t.content}
    lists = [
        [rng.randrange(min(top, rng.choice([300, top]))) for _ in range(rng.choice([1, 2, 3, 8, 20]))]
        for _ in range(count)
    ]
    for skip in (False, True):
        lists = [[i for i in ids if not skip or i not in changed] for ids in lists]
        for ids, ours in zip(lists, text_tool.decode(path, lists, skip)):
            assert ours == reference.decode(ids, skip_special_tokens=skip), ids


@pytest.mark.parametrize("kind", KINDS)
def test_trained_here(tmp_path, kind):
    reference = KINDS[kind]()
    path = tmp_path / "tokenizer.json"
    reference.save(str(path))
    compare(path, reference, texts(kind, N_TRAINED, special_words(reference)))
    compare_decoding(path, reference, kind, N_TRAINED)


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """real(name) -> (path, Hugging Face tokenizer); a skip where the vocabulary is not to be had."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            shared = SHARED / "tokenizers" / name / "tokenizer.json.xz"
            if shared.is_file():
                path = folder / "tokenizer.json"
                path.write_bytes(lzma.decompress(shared.read_bytes()))
                made[name] = path, Tokenizer.from_file(str(path))
            elif name == "qwen3.5" and qwen35():
                made[name] = qwen35(), Tokenizer.from_file(str(qwen35()))
            elif name == "smollm2" and smollm2():
                made[name] = smollm2()
        return made.get(name) or pytest.skip(f"the vocabulary of {name} is not in the tree, and not to be downloaded")

    return make


REAL = ["qwen3", "gemma3", "qwen3.5", "smollm2"]


@pytest.mark.parametrize("name", REAL)
def test_real_tokenizers(real, name):
    path, reference = real(name)
    compare(path, reference, texts(name, N_REAL, special_words(reference)))
    compare_decoding(path, reference, name, N_REAL)


@pytest.mark.parametrize("name,vectors", [("qwen3", "qwen2"), ("gemma3", "gemma-4"), ("qwen3", "qwen35")])
def test_vectors(real, tmp_path, name, vectors):
    """The vectors of qwen35 have the ids of Qwen2's vocabulary, cut by Qwen3.5's pattern, without its NFC."""
    path, _ = real(name)
    if not (SHARED / "vectors").is_dir():
        pytest.skip("the vectors are not in the tree")
    if vectors == "qwen35":
        data = json.loads(path.read_text())
        data["normalizer"] = None
        data["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = QWEN35
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps(data))
    inputs = (SHARED / "vectors" / f"{vectors}.inp").read_bytes().decode("utf-8").split("\n__ggml_vocab_test__\n")
    outputs = (SHARED / "vectors" / f"{vectors}.out").read_text().split("\n")
    for text, (ids, _), expected in zip(inputs, text_tool.encode(path, inputs, add_special=False), outputs):
        assert ids == [int(x) for x in expected.split()], repr(text)


@pytest.mark.parametrize("name", REAL + ["added_normalized", "added_lowercase", "spm", "unigram_bytes"])
def test_no_text_forges_a_special_token(real, tmp_path, name):
    """Every special token, spelled in input: whole, and split over parts of both origins."""
    if name in KINDS:
        reference, path = KINDS[name](), tmp_path / "tokenizer.json"
        reference.save(str(path))
    else:
        path, reference = real(name)
    tokens = reference.get_added_tokens_decoder()
    special = {i for i, t in tokens.items() if t.special}
    assert special
    inputs, spelled = [], []
    for i in sorted(special):
        s = tokens[i].content
        for pre, post in (("", ""), ("a", "b"), (" ", "\n"), (s, s)):
            inputs.append([(INPUT, pre + s + post)])
        for cut in range(1, len(s)):
            inputs += [
                [(INPUT, s[:cut]), (TEMPLATE, s[cut:])],
                [(TEMPLATE, s[:cut]), (INPUT, s[cut:])],
                [(TEMPLATE, "x"), (INPUT, s[:cut]), (INPUT, s[cut:]), (TEMPLATE, "y")],
            ]
        spelled.append([(INPUT, "a" + s), (TEMPLATE, s), (INPUT, s)])
    for parts, (ids, text) in zip(inputs, text_tool.encode(path, inputs, add_special=False)):
        assert not special & set(ids), parts
    for i, (ids, _) in zip(sorted(special), text_tool.encode(path, spelled, add_special=False)):
        assert [x for x in ids if x in special] == [i]


def test_t15_plain_text_holds_no_special_tokens(tmp_path):
    reference = added()
    path = tmp_path / "tokenizer.json"
    reference.save(str(path))
    special = {reference.token_to_id(t) for t in ("<|S0|>", "<|S1|>", "<s>", "</s>")}
    text = "a <|S0|> b <|S1|> <s></s><T0>"
    spelled = {int(x) for x in run("tokenize", path, "-p", text).text.split()}
    plain = {int(x) for x in run("tokenize", path, "-p", text, "--plain").text.split()}
    assert special <= spelled and not special & plain
    assert reference.token_to_id("<T0>") in plain


def test_options_of_the_command(tmp_path):
    reference = byte_level(post=TEMPLATE_POST)
    path = tmp_path / "tokenizer.json"
    reference.save(str(path))
    text = "Hello, w\u00f6rld \U0001f600\n"
    (tmp_path / "t.txt").write_text(text, encoding="utf-8", newline="")
    ids = [int(x) for x in run("tokenize", path, "-f", tmp_path / "t.txt").text.split()]
    assert ids == reference.encode(text).ids
    assert run("tokenize", path, "-f", tmp_path / "t.txt", "--no-bos").text.split() == [str(x) for x in ids[1:-1]]
    assert run("tokenize", path, "--decode", " ".join(map(str, ids[1:-1]))).stdout.decode() == text


@pytest.mark.parametrize(
    "make,change,word",
    [
        (byte_level, lambda d: d["model"].update(type="WordPiece"), "WordPiece"),
        (byte_level, lambda d: d["model"].update(type="WordLevel"), "WordLevel"),
        (byte_level, lambda d: d["model"].update(continuing_subword_prefix="##"), "continuing_subword_prefix"),
        (byte_level, lambda d: d["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix"),
        (byte_level, lambda d: d["model"].update(dropout=0.1), "dropout"),
        (unigram, lambda d: d["model"].update(unk_id=None), "unk_id"),
        (
            byte_level,
            lambda d: d.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
            "Precompiled",
        ),
        (byte_level, lambda d: d.update(normalizer={"type": "BertNormalizer"}), "BertNormalizer"),
        (byte_level, lambda d: d.update(normalizer={"type": "Nmt"}), "Nmt"),
        (byte_level, lambda d: d.update(normalizer={"type": "ByteLevel"}), "ByteLevel"),
        (byte_level, lambda d: d.update(pre_tokenizer={"type": "BertPreTokenizer"}), "BertPreTokenizer"),
        (byte_level, lambda d: d.update(pre_tokenizer={"type": "UnicodeScripts"}), "UnicodeScripts"),
        (
            byte_level,
            lambda d: d.update(
                pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated", "invert": False}
            ),
            "group",
        ),
        (
            byte_level,
            lambda d: d.update(
                pre_tokenizer={"type": "Split", "pattern": {"Regex": r"(a)\1"}, "behavior": "Isolated", "invert": False}
            ),
            "escape",
        ),
        (
            byte_level,
            lambda d: d.update(
                pre_tokenizer={
                    "type": "Split",
                    "pattern": {"Regex": r"(?<=a)b"},
                    "behavior": "Isolated",
                    "invert": False,
                }
            ),
            "group",
        ),
        (byte_level, lambda d: d.update(decoder={"type": "CTC"}), "CTC"),
        (byte_level, lambda d: d.update(decoder={"type": "WordPiece"}), "WordPiece"),
        (byte_level, lambda d: d.update(decoder=None), "ByteLevel"),
        (plain_bpe, lambda d: d.update(decoder={"type": "BPEDecoder"}), "BPEDecoder"),
        (byte_level, lambda d: d.update(post_processor={"type": "BertProcessing"}), "BertProcessing"),
        (byte_level, lambda d: d["added_tokens"].append(dict(d["added_tokens"][0], id=9999999)), "id"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(tmp_path, make, change, word):
    data = json.loads(make().to_str())
    change(data)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data))
    result = run("tokenize", path, "-p", "x", check=None)
    assert result.returncode in (4, 5) and word in result.message


def test_bad_utf8_is_refused_with_its_offset(tmp_path):
    path = tmp_path / "tokenizer.json"
    byte_level().save(str(path))
    (tmp_path / "t.txt").write_bytes(b"abc\xff")
    assert "byte 3" in run("tokenize", path, "-f", tmp_path / "t.txt", check=4).message
    bad = [b"\xc3", b"ab\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xf0\x9f\x98", b"\x80", b"ok\xe2\x28\xa1"]
    for text, (message, none) in zip(bad, text_tool.encode(path, bad)):
        at = len(text.decode("utf-8", "ignore").encode()) if text != bad[-1] else 2
        assert none is None and f"byte {at} " in message, text
