import numpy as np
import torch

from diffsensei.foundations.dialog_detector import Detections
from diffsensei.foundations.drawn_pool import PoolPanel, bucket_panels
from diffsensei.foundations.quality import detector_figures, identity_figures, probe_figures, retrieval_figures


def test_retrieval_counts_rows_that_find_their_own() -> None:
    rows = torch.eye(128)
    assert retrieval_figures(rows, rows)["rank_1_of_64"] == 1.0
    shifted = rows.roll(1, dims=0)
    assert retrieval_figures(rows, shifted)["rank_1_of_64"] == 0.0


def test_identity_is_certain_for_equal_features_and_chance_for_noise() -> None:
    identities = np.repeat(np.arange(40), 10)
    exact = torch.nn.functional.one_hot(torch.from_numpy(identities)).float()
    assert identity_figures(exact, identities)["identity_1_of_8"] == 1.0
    noise = torch.randn(400, 32, generator=torch.Generator().manual_seed(0))
    assert abs(identity_figures(noise, identities)["identity_1_of_8"] - 1 / 8) < 0.06


def test_probe_reads_what_is_linear_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    known, unseen = torch.randn(600, 8, generator=generator), torch.randn(300, 8, generator=generator)
    truth = {"side": (known[:, 3] > 0).long().numpy(), "coin": np.arange(600) % 2}
    held = {"side": (unseen[:, 3] > 0).long().numpy(), "coin": np.arange(300) % 2}
    figures = probe_figures(known, truth, unseen, held)
    assert figures["linear_side"] > 0.9
    assert abs(figures["linear_coin"] - 0.5) < 0.12
    assert figures["majority_coin"] == 0.5


class Oracle:
    """Answers with the drawn boxes, moved by ``shift`` pixels."""

    def __init__(self, panels: list[PoolPanel], shift: float) -> None:
        self._answers = {
            image.tobytes(): boxes.astype(np.float32) + np.float32(shift)
            for bucket in bucket_panels(panels)
            for image, boxes in zip(bucket.images, bucket.dialogs, strict=True)
        }

    def detect(self, images: list[np.ndarray], threshold: float) -> list[Detections]:
        return [
            Detections(boxes, np.ones(len(boxes), np.float32))
            for boxes in (self._answers[image.tobytes()] for image in images)
        ]


def test_detector_figures_of_an_oracle_and_of_a_shifted_one(panels: list[PoolPanel]) -> None:
    exact = detector_figures(Oracle(panels, 0.0), panels)
    # What is mostly outside its panel is not asked for, but the oracle names it.
    assert exact["recall"] == 1.0
    assert exact["precision"] > 0.9
    assert detector_figures(Oracle(panels, 40.0), panels)["f1"] == 0.0
