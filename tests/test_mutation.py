"""Every module that can be mutated has tests that it answers to."""

import pytest

from tests.mutation import ROOT, TESTS, fits_any, modules, suite_of

MODULES = list(modules(["*"]))


def test_every_module_answers_to_tests_of_its_own() -> None:
    general = {f"tests/test_{name}.py" for name in ("kernel_promises", "policy_promises", "engine_promises")}
    assert [module for module in MODULES if not {*suite_of(ROOT, module).paths} - general] == []


@pytest.mark.parametrize("pattern", [pattern for pattern, _, _ in TESTS])
def test_every_line_of_the_list_is_of_modules_and_tests_that_there_are(pattern: str) -> None:
    assert any(fits_any(module, [pattern]) for module in MODULES)
    (names,) = {names for line, names, _ in TESTS if line == pattern}
    assert all((ROOT / "tests" / f"test_{name}.py").exists() for name in names.split())
