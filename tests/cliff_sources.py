"""The published throughput curves with a saturation in them, and what each source's own figures show of its cause."""

from sim.cause import Limit
from tests.cliff_loads import benchmark, for_a_minute
from tests.cliff_published import Series

SHORTEST, LONGEST = 16, 256  # paiml's answers


def _dennislee(test: int, pool: float, prompt: int, output: int, shown: str, seen: Limit = "kv_blocks") -> Series:
    model, gpus = ("qwen2-72b", 2) if test == 8 else ("qwen2-7b", 1 if test == 4 else 2)
    server = f"vLLM 0.10, {model}, {gpus}× A100 80 GB, pool {pool:g} GiB a card; bursts {prompt}/{output}"
    columns = {"model": model, "gpu_count": gpus, "kv_gib": pool, "prompt_tokens": prompt, "output_tokens": output}
    return Series(server, "dennislee-a100", columns, seen, shown, waits=True)


def _wentao(prompt: int, output: int, prompts: int, shown: str, seen: Limit, *, waits: bool) -> Series:
    server = f"vLLM 0.15-0.17, minimax-m2.5 FP8, 8× H100, 64 places; closed {prompt}/{output}"
    stated = {"engine_options": "max-num-batched-tokens=8192;gpu-memory-utilization=0.88"}
    columns = {"prompt_tokens": prompt, "output_tokens": output}
    return Series(server, "wentao-h100", columns, seen, shown, waits, stated, benchmark(prompts))


def _paiml(engine: str, prompt: int, shown: str, seen: Limit) -> Series:
    names = {"vllm": "vLLM, AWQ", "ollama": "Ollama, Q4_K_M, 1 slot"}
    server = f"{names[engine]}, qwen2.5-1.5b, RTX 4060 Laptop; closed {prompt}/136"
    columns = {"engine": engine, "gpu": "rtx-4060-laptop", "prompt_tokens": prompt, "output_tokens": 136}
    return Series(server, "paiml", columns, seen, shown, load=for_a_minute(SHORTEST, LONGEST))


SERIES = (
    _dennislee(4, 5.01, 1024, 1024, "at 1,000: 69 running, 777 waiting, KV 99.1%"),
    _dennislee(
        *(2, 12.02, 1024, 1024),
        "at 500: 240 running, 254 waiting, KV 99.8%; with a pool 2.6 times as large (test 3) the rate is 1% higher",
        "seq_slots",
    ),
    _dennislee(2, 12.02, 4096, 4096, "at 100: 61 running, 36 waiting, KV 99.6%"),
    _dennislee(2, 12.02, 1024, 7168, "at 100: 55 running, 44 waiting, KV 99.8%"),
    _dennislee(8, 6.77, 1024, 1024, "at 100: 36 running, 64 waiting, KV 99.0%"),
    _wentao(70039, 1500, 300, "TTFT 6 s at 16 users, 190 s at 64, no more than the places", "kv_blocks", waits=True),
    _wentao(
        *(10279, 256, 320),
        "37,600 prompt tokens a second at 64 users; 38,900 of one alone",
        "prefill_budget",
        waits=False,
    ),
    _paiml("vllm", 102, "nobody waits (256 places); GEMM over the batch is 96% of kernel time", "decode_rate"),
    _paiml("vllm", 311, "nobody waits (256 places); as fast as with 102 tokens", "decode_rate"),
    _paiml("ollama", 102, "the same rate from 1 to 32 users, TTFT grows", "seq_slots"),
    Series(
        "vLLM of August 2024, llama-3.1-8b BF16, RTX 3090, 256 places; closed, 100 tokens out",
        "backprop-3090",
        {},
        "decode_rate",
        "TTFT 0.6 s of 7.2 s at 100 users",
    ),
)
BEYOND = (  # measured only where they are saturated: nothing to see the cliff against
    _dennislee(2, 12.02, 7168, 1024, "at 100: 58 running, 42 waiting, KV 99.9%"),
    _dennislee(2, 12.02, 1024, 128, "at 500: 256 running, 197 waiting, KV 54.0%", "seq_slots"),
    _dennislee(3, 31.83, 1024, 1024, "at 500: 256 running, 240 waiting, KV 41.7%", "seq_slots"),
    _dennislee(3, 31.83, 1024, 128, "at 1,000: 231 running, 432 waiting, KV 21.1%", "prefill_budget"),
    _wentao(90039, 2000, 1000, "TTFT 326 s at 64 users, no more than the places", "kv_blocks", waits=True),
)
