"""Prefect plugin: ``prefect deployment run full-pipeline`` as typed.

Prefect wants ``<flow>/<deployment>``; here both carry one name, so a bare one has one meaning. Prefect loads this
module through the entry point group ``prefect.plugins`` where ``[tool.prefect] plugins.enabled`` holds.
"""

import sys
from collections.abc import Sequence

from prefect.plugins import HookContext, register_hook

from flows.catalog import FLOWS

TAKES_NO_VALUE = {"--watch"}


def qualify(arguments: Sequence[str]) -> list[str]:
    """``arguments`` of the ``prefect`` command with the first bare name of a known deployment written out.

    Only ``prefect deployment ...`` is touched, and never the value of an option.
    """
    arguments = list(arguments)
    if arguments[1:2] != ["deployment"]:
        return arguments
    for position in range(3, len(arguments)):
        before = arguments[position - 1]
        if arguments[position] in FLOWS and (not before.startswith("-") or before in TAKES_NO_VALUE):
            arguments[position] = f"{arguments[position]}/{arguments[position]}"
            break
    return arguments


@register_hook
def setup_environment(*, ctx: HookContext) -> None:
    """Called by Prefect while it is imported, before its command line reads ``sys.argv``."""
    sys.argv[:] = qualify(sys.argv)
