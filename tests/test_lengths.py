"""Lengths are whole tokens of the distribution asked for, and their text is the way to ask."""

import csv
import pickle
import statistics
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import BadScenario, SimctlError, UnknownName, UsageError
from workloads.distributions import Fixed, Lognormal, Quantiles, Sample, Uniform
from workloads.lengths import Lengths, parse_lengths, stream
from workloads.presets import preset, preset_names

TOKENS = st.integers(1, 20_000)


@st.composite
def tables(draw: st.DrawFn) -> Quantiles:
    inner = draw(st.lists(st.floats(0.1, 99.9), unique=True, max_size=17))
    percent = (0.0, *sorted(inner), 100.0)
    size = len(percent)
    tokens = sorted(draw(st.lists(st.floats(1, 2e5), min_size=size, max_size=size)))
    return Quantiles(percent, tuple(tokens))


uniforms = st.tuples(TOKENS, TOKENS).map(lambda ends: Uniform(min(ends), max(ends)))
lognormals = st.one_of(
    st.builds(Lognormal, st.floats(0, 8), st.floats(0.01, 1.2), st.integers(5_000, 200_000)),
    st.builds(Lognormal.from_mean_cv, st.floats(1, 4000), st.floats(0.01, 2), st.just(131_072)),
    st.builds(
        lambda mean, ratio: Lognormal.from_mean_p99(mean, mean * ratio, 131_072),
        st.floats(1, 4000),
        st.floats(1.01, 14.9),
    ),
)
families = st.one_of(st.builds(Fixed, TOKENS), uniforms, lognormals, tables())


def highest(lengths: Lengths) -> float:
    match lengths:
        case Fixed(tokens):
            return tokens
        case Uniform(high=high):
            return high
        case Lognormal(max_tokens=most):
            return most
        case Quantiles(tokens=tokens):
            return tokens[-1] + 0.5
    raise AssertionError(lengths)


@given(families, st.integers(0, 2**32))
def test_draws_are_whole_tokens_from_one_to_the_maximum(lengths: Lengths, seed: int) -> None:
    draws = lengths.draw(np.random.default_rng(seed), 500)
    assert draws.dtype == np.int64
    assert len(draws) == 500
    assert draws.min() >= 1
    assert draws.max() <= highest(lengths)


@given(families)
def test_draws_have_the_mean_that_is_stated(lengths: Lengths) -> None:
    draws = lengths.draw(np.random.default_rng(7), 20_000)
    # half a token for rounding, and six standard errors for chance
    tolerance = 0.5 + 6 * draws.std() / np.sqrt(len(draws))
    assert abs(draws.mean() - lengths.mean) <= max(tolerance, 0.02 * lengths.mean)


@given(families)
def test_the_text_reads_back_as_the_same_lengths(lengths: Lengths) -> None:
    assert parse_lengths(lengths.text) == lengths
    assert parse_lengths(lengths.text).text == lengths.text


@given(families, st.integers(0, 2**32), st.integers(1, 300))
def test_a_seed_gives_one_stream_whatever_the_block(lengths: Lengths, seed: int, block: int) -> None:
    ours = list(islice(stream(lengths, np.random.default_rng(seed), block), 400))
    theirs = list(islice(stream(lengths, np.random.default_rng(seed)), 400))
    assert ours == theirs


def test_different_seeds_give_different_streams() -> None:
    lengths = parse_lengths("lognormal:512")
    first, second = (list(islice(stream(lengths, np.random.default_rng(seed)), 50)) for seed in (0, 1))
    assert first != second


def test_a_stream_hands_out_python_integers() -> None:
    drawn = islice(stream(parse_lengths("uniform:1,9"), np.random.default_rng(0)), 10)
    assert {type(length) for length in drawn} == {int}


@given(families)
def test_lengths_survive_the_way_to_a_worker_process(lengths: Lengths) -> None:
    assert pickle.loads(pickle.dumps(lengths)) == lengths


def test_uniform_reaches_both_ends() -> None:
    draws = parse_lengths("uniform:3,6").draw(np.random.default_rng(0), 1000)
    assert set(draws.tolist()) == {3, 4, 5, 6}


def test_a_bare_number_is_a_fixed_length() -> None:
    assert parse_lengths(" 512 ") == parse_lengths("Fixed:512") == Fixed(512)


def test_a_lognormal_has_the_mean_and_p99_that_were_asked() -> None:
    draws = parse_lengths("lognormal:mean=211,p99=601").draw(np.random.default_rng(0), 400_000)
    assert draws.mean() == pytest.approx(211, rel=0.01)
    assert np.percentile(draws, 99) == pytest.approx(601, rel=0.02)


@pytest.mark.parametrize(("text", "cv"), [("lognormal:mean=512,cv=0.5", 0.5), ("lognormal:512", 1.0)])
def test_a_lognormal_has_the_cv_that_was_asked_and_one_if_none_was(text: str, cv: float) -> None:
    draws = parse_lengths(text).draw(np.random.default_rng(0), 400_000)
    assert draws.mean() == pytest.approx(512, rel=0.01)
    assert draws.std() / draws.mean() == pytest.approx(cv, rel=0.02)
    assert f"cv={cv:g}" in parse_lengths(text).text


def test_a_clipped_lognormal_states_the_mean_it_draws_not_the_one_asked() -> None:
    lengths = parse_lengths("lognormal:mean=1000,cv=3,max=2000")
    draws = lengths.draw(np.random.default_rng(0), 200_000)
    assert lengths.mean < 700
    assert draws.mean() == pytest.approx(lengths.mean, rel=0.01)


def test_a_quantile_table_is_drawn_with_straight_lines_between_its_points() -> None:
    lengths = parse_lengths("quantiles:0=1,50=101,100=1101")
    draws = lengths.draw(np.random.default_rng(0), 200_000)
    assert np.percentile(draws, [25, 50, 75]) == pytest.approx([51, 101, 601], rel=0.03)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0", "from 1 to"),
        ("512.5", "from 1 to"),
        ("99999999999", "from 1 to"),
        ("fixed:-1", "from 1 to"),
        ("fixed:nan", "from 1 to"),
        ("uniform:9,3", "low then high"),
        ("uniform:0,3", "from 1 to"),
        ("uniform:3", "two bounds"),
        ("uniform:1,2,3", "two bounds"),
        ("lognormal:", "not a finite number"),
        ("lognormal:nan", "not a finite number"),
        ("lognormal:-5", "mean at least 1"),
        ("lognormal:0", "mean at least 1"),
        ("lognormal:mean=512,cv=0", "fixed:N"),
        ("lognormal:mean=512,cv=-1", "fixed:N"),
        ("lognormal:mean=512,cv=inf", "not a finite number"),
        ("lognormal:mean=512,p99=100", "p99 above the mean"),
        ("lognormal:mean=512,p99=512", "p99 above the mean"),
        ("lognormal:mean=10,p99=200", "p99 within 15.0 times"),
        ("lognormal:mu=5,sigma=0", "spread above 0"),
        ("lognormal:mu=5,sigma=9", "sigma at most 5"),
        ("lognormal:mu=20,sigma=1", "median below the maximum"),
        ("lognormal:mu=5", "not one of"),
        ("lognormal:mean=5,cv=1,p99=9", "not one of"),
        ("lognormal:mean=5,shape=1", "not one of"),
        ("lognormal:mean=5,mean=6", "new name=value"),
        ("lognormal:mean=5,cv", "new name=value"),
        ("lognormal:mean=5,cv=1,max=0", "from 1 to"),
        ("quantiles:", "new name=value"),
        ("quantiles:0=1", "from 0 to 100"),
        ("quantiles:1=1,100=2", "from 0 to 100"),
        ("quantiles:0=1,99=2", "from 0 to 100"),
        ("quantiles:0=1,60=2,50=3,100=4", "rising"),
        ("quantiles:0=5,100=2", "never fall"),
        ("quantiles:0=0,100=2", "never fall"),
        ("quantiles:0=nan,100=2", "not a finite number"),
    ],
)
def test_lengths_without_meaning_are_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_lengths(text)


@pytest.mark.parametrize("text", ["", "garbage", "-5", "nan", "lognorml:512", "uniform64"])
def test_an_unknown_family_offers_the_known_ones(text: str) -> None:
    with pytest.raises(UnknownName, match="unknown lengths"):
        parse_lengths(text)


@given(st.text(max_size=30))
def test_no_text_ends_in_anything_but_lengths_or_an_explained_error(text: str) -> None:
    with suppress(SimctlError):
        assert parse_lengths(text).mean >= 1


def write(path: Path, rows: list[list[object]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return str(path)


@pytest.fixture
def requests_csv(tmp_path: Path) -> str:
    rows: list[list[object]] = [["prompt_tokens", "output_tokens"], [10, 1], [20, 2], [90, 3]]
    return write(tmp_path / "requests.csv", rows)


@pytest.mark.parametrize("header", [[], [["tokens"]], [["\ufeffprompt_tokens"]]])
def test_a_file_of_one_column_needs_no_name(tmp_path: Path, header: list[list[object]]) -> None:
    path = write(tmp_path / "lengths.csv", [*header, [5], [7], [9]])
    assert parse_lengths(path) == Sample((5, 7, 9), path)


def test_a_column_is_picked_by_the_caller_or_by_the_text(requests_csv: str) -> None:
    assert parse_lengths(requests_csv, "prompt_tokens") == Sample((10, 20, 90), "")
    assert parse_lengths(f"{requests_csv}:output_tokens", "prompt_tokens") == Sample((1, 2, 3), "")


def test_lengths_from_a_file_are_resampled_and_keep_its_mean(requests_csv: str) -> None:
    lengths = parse_lengths(requests_csv, "prompt_tokens")
    draws = lengths.draw(np.random.default_rng(0), 30_000)
    assert set(draws.tolist()) == {10, 20, 90}
    assert lengths.mean == statistics.mean([10, 20, 90])
    assert draws.mean() == pytest.approx(lengths.mean, rel=0.02)


def test_the_text_of_lengths_from_a_file_reads_back(requests_csv: str) -> None:
    lengths = parse_lengths(requests_csv, "output_tokens")
    assert parse_lengths(lengths.text) == lengths
    assert pickle.loads(pickle.dumps(lengths)) == lengths


@pytest.mark.parametrize(
    ("rows", "column", "reason"),
    [
        ([], None, "is empty"),
        ([["tokens"]], None, "no lengths below"),
        ([["prompt_tokens", "output_tokens"], [1, 2]], None, "several columns: name one of prompt"),
        ([["prompt_tokens", "output_tokens"], [1, 2]], "len", "no column 'len'"),
        ([["tokens"], [5], [0]], None, "line 3: '0' is not a length"),
        ([["tokens"], [-5]], None, "line 2: '-5' is not a length"),
        ([["tokens"], ["nan"]], None, "line 2: 'nan' is not a length"),
        ([["a", "b"], [5]], "b", "line 2: '' is not a length"),
    ],
)
def test_a_file_that_holds_no_lengths_is_refused_with_the_line(
    tmp_path: Path, rows: list[list[object]], column: str | None, reason: str
) -> None:
    path = write(tmp_path / "lengths.csv", rows)
    with pytest.raises(BadScenario, match=reason):
        parse_lengths(path, column)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.csv", "binary.csv"):
        with pytest.raises(BadScenario, match="cannot read lengths"):
            parse_lengths(str(tmp_path / name))


def test_a_length_in_a_file_beyond_any_context_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "lengths.csv", [[10**9]])
    with pytest.raises(UsageError, match="each from 1 to"):
        parse_lengths(path)


def test_the_presets_are_the_five_kinds_of_use() -> None:
    assert preset_names() == ["chat", "code", "rag", "reasoning", "summarization"]


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_says_where_it_comes_from_and_under_which_licence(name: str) -> None:
    workload = preset(name)
    assert workload.source.startswith("github.com/")
    assert workload.licence in {"CC-BY-4.0", "MIT", "Apache-2.0"}
    assert workload.about
    assert workload.confidence
    assert workload.arrivals_cv > 0
    assert len(workload.prompt.percent) == len(workload.output.percent) == 19


# means and p50 of the published traces themselves, to which the 19 points must be faithful
@pytest.mark.parametrize(
    ("name", "prompt_mean", "prompt_p50", "output_mean", "output_p50"),
    [
        ("chat", 1154.70, 1020, 211.13, 129),
        ("code", 2047.85, 1469, 27.88, 13),
        ("summarization", 2588.08, 2730, 291.43, 167),
        ("rag", 15325.48, 11587, 149.12, 69),
        ("reasoning", 1268.25, 208, 1527.42, 792),
    ],
)
def test_a_preset_draws_what_its_trace_holds(
    name: str, prompt_mean: float, prompt_p50: float, output_mean: float, output_p50: float
) -> None:
    rng = np.random.default_rng(0)
    prompts, outputs = (side.draw(rng, 200_000) for side in (preset(name).prompt, preset(name).output))
    assert prompts.mean() == pytest.approx(prompt_mean, rel=0.1)
    assert outputs.mean() == pytest.approx(output_mean, rel=0.1)
    assert np.median(prompts) == pytest.approx(prompt_p50, rel=0.03)
    assert np.median(outputs) == pytest.approx(output_p50, rel=0.03)


@pytest.mark.parametrize("name", preset_names())
def test_the_lengths_of_a_preset_can_be_typed(name: str) -> None:
    assert parse_lengths(preset(name).prompt.text) == preset(name).prompt
    assert parse_lengths(preset(name).output.text) == preset(name).output


def test_a_preset_is_found_whatever_its_case_and_punctuation() -> None:
    assert preset(" Cha-T ") == preset("chat")


def test_an_unknown_preset_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean chat"):
        preset("chatt")
