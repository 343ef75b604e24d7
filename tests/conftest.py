"""Real repositories and tokenizers, and a model small enough to train in a second."""

import os

import pytest
import tokenizers_of_all_kinds as kinds

# Set before huggingface_hub is imported: nothing here needs the network.
# A key in the environment would have the notebooks ask, and pay.
os.environ.pop("OPENAI_API_KEY", None)
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="true", UNSLOTH_DISABLE_STATISTICS="1")
# Side by side, the workers share the cores: with more threads than cores, torch is many times slower.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def pytest_collection_modifyitems(config, items):
    """Side by side, the file that takes longest comes first, and the others fill the time beside it."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("notebooks") is None)


@pytest.fixture
def repo(tmp_path):
    """An empty bare repository, to be written commit by commit."""
    from repositories import Repo

    return Repo(tmp_path / "project.git")


@pytest.fixture
def workspace(tmp_path):
    from ftlib.workspace import open_workspace

    return open_workspace(tmp_path / "workspace")


@pytest.fixture(scope="session")
def smollm():
    """The embedded model's tokenizer: byte-level BPE, no BOS, ChatML."""
    from ftlib.models import load_tokenizer

    return load_tokenizer("demo")


@pytest.fixture(scope="session")
def mistral(tmp_path_factory):
    """Mistral 7B Instruct v0.2's tokenizer: SentencePiece with byte fallback, BOS, `[INST]` as text."""
    return kinds.mistral(tmp_path_factory.mktemp("mistral"))


@pytest.fixture(scope="session")
def mistral_v3(tmp_path_factory):
    """Mistral 7B Instruct v0.3's: `[INST]` is a control token."""
    return kinds.mistral(tmp_path_factory.mktemp("mistral-v3"), "mistral_instruct_tokenizer_240323.model.v3")


@pytest.fixture(scope="session")
def llama2(mistral):
    return kinds.llama2(mistral)


@pytest.fixture(scope="session")
def llama3(smollm):
    return kinds.llama3(smollm)


@pytest.fixture(scope="session")
def qwen3(smollm):
    return kinds.qwen3(smollm)


@pytest.fixture(scope="session")
def gemma(mistral):
    return kinds.gemma(mistral)


@pytest.fixture(scope="session")
def tekken():
    return kinds.tekken()


@pytest.fixture(params=kinds.KINDS, scope="session")
def any_tokenizer(request):
    """Each kind in turn; for what must hold for every model."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["smollm", "mistral"], scope="session")
def tokenizer(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def tiny_model(smollm, tmp_path_factory):
    """A folder with a random two-layer Llama and the embedded model's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    folder = tmp_path_factory.mktemp("tiny-llama")
    config = LlamaConfig(
        vocab_size=len(smollm),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=smollm.bos_token_id,
        eos_token_id=smollm.eos_token_id,
        pad_token_id=smollm.pad_token_id,
    )
    set_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    smollm.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def noisy(tmp_path_factory, tiny_model):
    """Model, tokenizer and settings of a run whose adapter does something."""
    from runs import make_run

    from ftlib.inference import load_arms

    folder = tmp_path_factory.mktemp("runs") / "noisy"
    make_run(folder, tiny_model, noise=1.0)
    return load_arms(folder)


@pytest.fixture(scope="session")
def documents():
    """120 documents, of the sample's code among others; about a quarter is held out."""
    import records

    return records.documents()


@pytest.fixture(scope="session")
def chats():
    import records

    return records.chats()


@pytest.fixture(scope="module")
def one_thread():
    """So small a model is slower on several threads, and many times slower where the cores are shared."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def quick_retries(monkeypatch):
    """The client's waits between its tries, shortened; what it retries stays its own."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.02)


@pytest.fixture
def scraped(tmp_path):
    """A workspace with the documents of the sample."""
    from ftlib.scrape import ScrapeConfig, scrape
    from ftlib.workspace import open_workspace

    space = open_workspace(tmp_path / "space")
    scrape(ScrapeConfig("sample"), space)
    return space


@pytest.fixture(scope="session")
def space(tmp_path_factory):
    """A workspace with the documents and chats of the sample, which tests share: runs may be added, by other names."""
    import asyncio

    from ftlib.scrape import ScrapeConfig, scrape
    from ftlib.synth import SynthConfig, synth
    from ftlib.workspace import open_workspace

    space = open_workspace(tmp_path_factory.mktemp("space"))
    scrape(ScrapeConfig("sample"), space)
    asyncio.run(synth(SynthConfig(), space))
    return space


@pytest.fixture
def config_page(scraped):
    """A page of the sample, and a line of it."""
    from ftlib.workspace import read_jsonl

    page = next(d for d in read_jsonl(scraped.documents) if d["id"] == "wiki:Configuration.md")
    line = max(page["text"].splitlines(), key=len)
    return page, line
