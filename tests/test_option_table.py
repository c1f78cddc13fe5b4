"""Every engine reads its options alike: the same words, numbers and spellings, and refusals that name what to write."""

from types import ModuleType
from typing import Any

import pytest

from policies.engines import llama_options, ollama_options, vllm_options
from policies.engines.option_table import OFF, ON
from sim.errors import NotSupported, UnknownName, UsageError

TABLES = {"llama.cpp": llama_options.TABLE, "Ollama": ollama_options.TABLE, "vLLM": vllm_options.TABLE}
MODULES: dict[str, ModuleType] = {"llama.cpp": llama_options, "Ollama": ollama_options, "vLLM": vllm_options}
NEWEST = {"llama.cpp": (), "Ollama": ("0.12",), "vLLM": ("0.32",)}  # llama.cpp's options are read alike for every build
SWITCHES = [(engine, name) for engine, module in MODULES.items() for name in sorted(module.BOOLEAN)]
COUNTS = [("llama.cpp", "batch_size"), ("Ollama", "num_ctx"), ("vLLM", "max_num_seqs")]


def read(engine: str, name: str, value: Any) -> dict[str, Any]:
    found: dict[str, Any] = MODULES[engine].read_options({name: value}, *NEWEST[engine])
    return found


@pytest.mark.parametrize(("engine", "name"), SWITCHES)
def test_a_switch_takes_the_same_words_everywhere(engine: str, name: str) -> None:
    for words, meaning in ((ON, True), (OFF, False)):
        assert all(read(engine, name, spelled) == {name: meaning} for word in words for spelled in (word, word.upper()))
    assert read(engine, name, True) == {name: True}  # noqa: FBT003
    with pytest.raises(UsageError, match=rf"^{engine} option {name} is on or off, not 'maybe'$"):
        read(engine, name, "maybe")


@pytest.mark.parametrize(("engine", "name"), COUNTS)
def test_a_count_may_be_grouped_and_is_at_least_one(engine: str, name: str) -> None:
    assert read(engine, name, "1") == {name: 1}
    assert read(engine, name, "4_096") == read(engine, name, 4096) == {name: 4096}
    for wrong in ("0", 0, -1, "4.5", "many", True, ""):
        with pytest.raises(UsageError, match=rf"^{engine} option {name} is a whole number of 1 or more, not "):
            read(engine, name, wrong)


@pytest.mark.parametrize(("engine", "name"), [("llama.cpp", "slot_prompt_similarity"), ("vLLM", "watermark")])
def test_a_share_lies_between_nothing_and_all(engine: str, name: str) -> None:
    assert (read(engine, name, "0"), read(engine, name, 1)) == ({name: 0.0}, {name: 1.0})
    for wrong in ("-0.1", 1.1, "nan", "half"):
        with pytest.raises(UsageError, match="is a share between 0 and 1, not "):
            read(engine, name, wrong)


@pytest.mark.parametrize("engine", TABLES)
def test_every_option_goes_by_its_name_however_it_is_spelled_and_by_its_aliases(engine: str) -> None:
    table = TABLES[engine]
    meant = {name: table.aliases.get(name, name) for name in (*table.options, *table.aliases)}
    for name, target in meant.items():
        for spelled in (name, name.replace("_", "-").upper(), name.replace("_", "")):
            assert list(table.chosen({spelled: "x"})) == [(target, "x")]


@pytest.mark.parametrize("engine", TABLES)
def test_what_is_not_set_or_is_the_scenarios_is_no_option_of_the_engine(engine: str) -> None:
    name = next(iter(TABLES[engine].options))
    assert list(TABLES[engine].chosen({name: None, "weights": "bf16", "kv_type": "fp8", "version": "1"})) == []


@pytest.mark.parametrize("engine", TABLES)
def test_an_unknown_option_is_told_with_its_neighbours_and_a_real_one_is_refused_by_name(engine: str) -> None:
    table = TABLES[engine]
    name = next(iter(table.options))
    with pytest.raises(UnknownName, match=rf"^{engine} has no option '{name}s': did you mean {name}") as unknown:
        list(table.chosen({f"{name}s": 1}))
    assert name in unknown.value.near
    for refused in table.not_modelled:
        with pytest.raises(NotSupported, match=rf"^{engine}'s {refused} is not modelled"):
            list(table.chosen({refused.upper(): 1}))


def test_an_option_of_ollama_may_be_written_as_its_variable() -> None:
    assert read("Ollama", "OLLAMA_NUM_PARALLEL", "4") == {"num_parallel": 4}
