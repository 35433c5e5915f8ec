"""What this project tells Prefect's event system, for automations to act on."""

from infra.refs import Ref

CHECKPOINT_PUBLISHED = "diffsensei.checkpoint.published"


def announce_checkpoint(ref: Ref) -> None:
    """Emit `CHECKPOINT_PUBLISHED` for a reference that has just moved to a published channel.

    The event names the checkpoint and its channel; its payload are digests and a count, nothing of the configuration.
    Best effort, in the background: a server that is away keeps nothing from being published. Outside a flow, and
    without a server of one's own, there is nobody to tell.
    """
    from prefect.context import FlowRunContext
    from prefect.events import emit_event
    from prefect.settings import PREFECT_API_URL

    if FlowRunContext.get() is None and PREFECT_API_URL.value() is None:
        return
    emit_event(
        event=CHECKPOINT_PUBLISHED,
        resource={
            "prefect.resource.id": f"diffsensei.checkpoint.{ref.name}",
            "prefect.resource.name": ref.name,
            "diffsensei.channel": ref.channel,
        },
        payload={"bundle": ref.digest, "generation": ref.generation},
    )
