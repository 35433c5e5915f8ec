"""Panels as tests ask for them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    box: tuple[float, float, float, float]
    reference: str


@dataclass(frozen=True)
class Asked:
    panel_id: str
    caption: str
    height: int = 32
    width: int = 24
    characters: tuple[Person, ...] = ()
    dialogs: tuple[tuple[float, float, float, float], ...] = ()
    seed: int = 0
    given: str = ""
