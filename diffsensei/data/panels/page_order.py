"""Which panels come before which on their page: what methods that follow a page learn from."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class PageOrder:
    """The reading order of a panel set (its table has ``page_id`` and ``panel_index``, in reading order)."""

    def __init__(self, panels: pd.DataFrame) -> None:
        pages, _ = pd.factorize(panels["page_id"])
        self._order = np.lexsort((panels["panel_index"].to_numpy(), pages)).astype(np.int64)
        self._place = np.empty_like(self._order)
        self._place[self._order] = np.arange(len(self._order))
        sorted_pages = pages[self._order]
        first = np.append(True, sorted_pages[1:] != sorted_pages[:-1]) if len(sorted_pages) else np.array([], bool)
        self._start = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0)) if len(first) else self._order

    def before(self, row: int, count: int) -> NDArray[np.int64]:
        """Rows of at most ``count`` panels right before the one in ``row``, oldest first."""
        place = int(self._place[row])
        return self._order[max(int(self._start[place]), place - count) : place]
