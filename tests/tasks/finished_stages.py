"""Stages recorded as done, as their jobs would have: an object and ``done.json`` under the right key."""

from collections.abc import Mapping
from pathlib import Path

from diffsensei.config import ExperimentConfig
from infra.stage import ingredients, stage_key
from infra.stage_folder import Done
from infra.store import Store
from tasks.stages import pipeline_stages


def finish_stages(store: Store, config: ExperimentConfig, results: Mapping[str, Path]) -> None:
    """Record the stages that ``results`` names with these folders; what they come after must be among them."""
    digests: dict[str, str] = {}
    values = config.keyed()
    for stage in pipeline_stages(config):
        if stage.name not in results:
            continue
        ref = store.publish_object(results[stage.name], stage.name)
        inputs = {argument: digests[source] for argument, source in stage.inputs.items()}
        given = stage.values(values)
        key = stage_key(stage, given, inputs)
        done = Done(
            key=key,
            kind=ref.kind,
            digest=ref.digest,
            ingredients=ingredients(stage, given, inputs),
            attempts=1,
            wall_s=2.0,
            finished="2025-01-01T00:00:00.000000+00:00",
        )
        store.stage_folder(stage.name, key).path.mkdir(parents=True)
        store.stage_folder(stage.name, key).record_done(done)
        digests[stage.name] = ref.digest
