"""The words of the page of measured cliffs around its figures."""

TEXT = """# Cliffs that were measured, and where the simulator puts them

{count} servers that others, or recordings of this project, drove into saturation: where each saturates, measured and
predicted, and what stops it. **Median error of the position: {median:.1f}%** ({by_source:.1f}% if each of the {sources}
sources counts once, by its median); {within} of {count} are within 15%. **The cause is right in {agree} of {count}.**
`tests/test_measured_cliffs.py` holds the simulator to this page; `python -m tests.measured_cliffs --write` makes it.

| server | reading | measured | predicted | error | cause | what the source's figures show | tok/s error |
|--|--|--|--|--|--|--|--|
{rows}

Cause: one word where both agree; in bold seen · named where they do not. The last column is how far the predicted
output rate is off at the highest load (slots: on the last number that ran well): a position may be right although
the speed is not.

## How a position is read

In the same way from measured and from predicted figures, at the measured loads alone:

{readings}

Which reading a server gets follows from its measured figures alone. Numbers of slots: *slots*. Arrivals at given
instants: *wait*. Requests that fail: *failing*. Published levels of which the source shows that requests wait to be
let in, by its log or by a TTFT of minutes: *carried*, for there the number running has an upper bound, whereas the
rate goes on growing a little with every larger burst. All others: *plateau* where the last level is less than 5%
faster than the one before, else *half*.

| reading | servers | median error |
|--|--|--|
{medians}

The cause is read one level beyond the position, with *carried* at the highest load. Predicted: `sim.cause`, of what
requests wait for (a place, memory, the front door), if that is 5% of their time at least; if they do not wait, of what
their time is owed to. Simply naming whatever takes the most time would get {largest} of {count} right:
long answers decode for longer than they wait.

Seen: running as many as there are places is `seq_slots`; a log line of a full pool with requests waiting is
`kv_blocks`, unless the source itself shows that a larger pool gains nothing; prompt tokens at the rate of a lone prompt
are `prefill_budget`; a burst of two slowed by slots that stay empty is `spill`; with nobody waiting and short prompts
it is `decode_rate`.

## What goes in

* **The profile that is shipped** prices the steps of the published servers, and nothing is adjusted for any of them.
  Its fit leaves out all of these sources but paiml (RTX 4060 Laptop), whose servers run on one that is fitted without
  paiml.
* **The recorded servers** run on their step tables, as on the page of recorded loops: llama-server's from a benchmark
  that has seen none of the loops, vLLM's from the log of the same run.
* **The load test** (github.com/liao4s/BurstGPT_test, October 2024) does not name its card, and its server spends most
  of a step outside it: 44 ms for 137 answers of a 1B model. Its steps are therefore priced by its own log at the lowest
  rate, where at most 150 requests ran; what happens at up to five times that rate is predicted from it.
* **Engines** run in the version and with the options that the source states. Blank are: the prompts of the 3090 (64
  tokens) and the default numbers of places. vLLM before 0.8 is simulated as 0.8.
* **Ollama on the RTX 4060 Ti** is set up as on the page of slots: its script sets the number of slots and nothing else,
  so the release of those days, 0.6.6, runs on its defaults, with the {free:g} GiB of the card that Windows leaves.
* **Beside their tables the sources state**: wentao 320 and 300 prompts of exactly the stated lengths and 88% of the
  memory, also expert parallelism, which is not modelled; paiml one prompt of 102 or 311 tokens and answers of 16 to 256
  tokens. That prompt is sent again and again, and the prefix cache is taken to hold it: the measured vLLM is as fast
  with either length.

## Where it is wrong

* **Slots**: of gemma-3-12b and qwen3-14b more fit here than did, of gemma-3-4b fewer; qwen3-4b falls at 24 there, the
  last number tested, and one later here, so that its predicted position is a lower bound and no cause is named.
* **vLLM on the 4060 Laptop** stops growing at 64 users; here it goes on, more slowly. With 311 tokens it went on
  growing in the measurement too, and faster: the two runs contradict each other by 7% at 64 users.
* **The 3090** is too fast here under load. vLLM of August 2024 spent far more time between steps than the releases
  that are modelled.
* **Two GPUs** of dennislee's are {pairs[0]:.0f}-{pairs[1]:.0f}% too fast here at the highest load,
  and eight H100 {eights[0]:.0f}-{eights[1]:.0f}%. Where they saturate is a matter of memory and places, and
  hardly depends on it.
* **Two limits at once**: 256 requests of 1,024/1,024 fill the places of the 12 GiB pool and, while they grow, the pool
  itself. The log line at 500 says KV 99.8%, and the simulation too passes through a full pool with 240 running.
  The cause is taken from the source's test 3: with 2.6 times the memory the same burst gains 1%. By the log line alone
  it would count as wrong.

## Slots between the tested numbers

An error of 0% in *slots* says that both fall between the same two tested numbers. What the plan of the simulated server
comes to, and between which numbers the measured one fell; where none was seen to fall, none is predicted to:

| model | last that ran well | first that did not | predicted: most that fit | were all 16 GiB free |
|--|--|--|--|--|
{fitting}

## Readings not taken

The 95% plateau of the servers whose place is read as *carried*. Two of them are far off: the measured rate of the small
pool peaks at 50 and lies 9% lower from 75 on, the predicted one creeps up to the burst of 1,000, which spends less of
its time running dry; and three levels leave much room between 50 and 100.

| server | measured | predicted | error |
|--|--|--|--|
{plateaus}

## Not counted

Measured only where they were saturated already, so that no cliff can be seen; read as *carried* all the same. Three of
the four of one source are one level each.

| server | reading | measured | predicted | error | cause | what the source's figures show | tok/s error |
|--|--|--|--|--|--|--|--|
{beyond}

Of the recordings, np4_nocb and seqs64_kv2048tok have two levels each, both saturated; their step-by-step agreement is
on the page of recorded loops.
"""
