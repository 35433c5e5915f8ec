"""A version pushed to a repository of the Hugging Face hub: one commit, tagged with the version.

The token is the hub's own login or ``HF_TOKEN``; it is read by the client where the request is made and passes through
no argument of ours. ``HF_ENDPOINT`` names another hub.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

GIT_ATTRIBUTES = ".gitattributes"
"""The hub's own file in every repository."""


def push_to_hub(
    files: Mapping[str, Path], repository: str, version: str, *, public: bool = False, apart: Collection[str] = ()
) -> str:
    """Commit ``files`` (path in the repository -> local file) and tag the commit ``v<version>``; its address.

    ``apart``: paths that do not make another version where they differ, as signatures do each time.
    The repository is made where there is none, private unless ``public``. Pushing the same version again changes
    nothing. Raises ValueError, in one line, where the tag is there with other files and for what the hub refuses.
    """
    import httpx
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    tag = f"v{version}"
    try:
        url = api.create_repo(repository, private=not public, exist_ok=True, repo_type="model")
        if tag in {ref.name for ref in api.list_repo_refs(repository).tags}:
            own = {path: source.stat().st_size for path, source in files.items()}
            there = _sizes_at(api, repository, tag)
            changed = any(own.get(path) != there.get(path) for path in (own.keys() | there.keys()) - {*apart})
        else:
            changed = False
            stale = set(api.list_repo_files(repository)) - {*files, GIT_ATTRIBUTES}
            commit = api.create_commit(
                repository,
                [CommitOperationAdd(path, str(source)) for path, source in sorted(files.items())]
                + [CommitOperationDelete(path) for path in sorted(stale)],
                commit_message=f"Version {version}",
            )
            api.create_tag(repository, tag=tag, revision=commit.oid, tag_message=f"Version {version}")
    except LocalTokenNotFoundError:
        raise ValueError(f"hf:{repository}: no login; run `hf auth login` or set HF_TOKEN") from None
    except (HfHubHTTPError, httpx.HTTPError, ValueError) as error:  # ValueError: a card or name that the hub refuses
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"hf:{repository}: refused ({said}); check the card, the name and the login") from None
    if changed:
        raise ValueError(f"hf:{repository}: {tag} is there with other files; raise the version")
    return f"{url}/tree/{tag}"


def _sizes_at(api: Any, repository: str, tag: str) -> dict[str, int]:
    """Path -> bytes of the files of a tagged commit."""
    siblings = api.model_info(repository, revision=tag, files_metadata=True).siblings
    return {sibling.rfilename: sibling.size for sibling in siblings if sibling.rfilename != GIT_ATTRIBUTES}
