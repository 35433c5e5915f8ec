"""A few drawn pages, shared by the tests of this folder."""

from pathlib import Path

import pytest
import torch

from diffsensei.foundations.drawn_pool import PoolPanel, pool
from diffsensei.foundations.recipes import FoundationRecipes, PoolRecipe

SMALL = {"num_series": 5, "pages_per_series": 2}
"""More panels than the largest batch of a recipe."""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pool_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pools")


@pytest.fixture(scope="session")
def panels(pool_folder: Path) -> list[PoolPanel]:
    return pool(PoolRecipe(seed=5, **SMALL), pool_folder)


@pytest.fixture(scope="session")
def small_recipes() -> FoundationRecipes:
    recipes = FoundationRecipes()
    pools = [name for name in type(recipes).model_fields if "pool" in name]
    few = {name: {"num_series": 2, "pages_per_series": 1} if "large" in name else SMALL for name in pools}
    return recipes.replaced(**{name: getattr(recipes, name).replaced(**few[name]).model_dump() for name in pools})
