"""Files of tools that people take for the ones that are read, and what of the same run is read instead."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unread:
    """A format by what stands in it, and what to hand over in its place."""

    name: str
    signs: tuple[str, ...]  # all of them
    instead: str

    def is_it(self, head: str) -> bool:
        return all(sign in head for sign in self.signs)


SERVE = "it times batches without a server: run `vllm bench serve`"
AIPERF = "profile_export_aiperf.json of the same run says the load too"
BY_HAND = "a points table of its means is"
OLLAMA_API = "answers of /api/generate and what `ollama run --verbose` prints are"

KINDS = (
    Unread("vllm bench latency", ('"avg_latency"', '"latencies"'), SERVE),
    Unread("vllm bench throughput", ('"elapsed_time"', '"num_requests"', '"tokens_per_second"'), SERVE),
    Unread(
        "SGLang's bench_serving",
        ('"random_input_len"', '"output_throughput"'),
        "what it prints, from 'Serving Benchmark Result' on, is read",
    ),
    Unread("LLMPerf", ('"results_ttft_s_mean"',), BY_HAND),
    Unread("LLMPerf's single requests", ('"inter_token_latency_s"', '"ttft_s"'), BY_HAND),
    Unread("GuideLLM in YAML", ("guidellm_version:", "benchmarks:"), "benchmarks.json of the same run is read"),
    Unread("GuideLLM's CSV", ("Time to First Token", "Inter Token Latency", "Strategy"), "benchmarks.json is read"),
    Unread("AIPerf's CSV", ("Metric,", "Request Latency (ms)"), AIPERF),
    Unread("AIPerf's single requests", ('"request_latency"', '"session_num"'), AIPERF),
    Unread("llama-benchy", ("t/s (total)", "ttfr (ms)"), BY_HAND),
    Unread("llama-bench in SQL", ("INSERT INTO test (build_commit",), "-o json, jsonl, csv and md are read"),
    Unread("Ollama's log", ("[GIN] ", "/api/"), f"it times no tokens; {OLLAMA_API}"),
)


def recognised(head: str) -> str:
    """What a file is that is not read, and what is read instead; blank where nobody knows it."""
    kind = next((kind for kind in KINDS if kind.is_it(head)), None)
    return f"{kind.name} is not read: {kind.instead}" if kind else ""
