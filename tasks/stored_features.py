"""What judges saw of pictures lies beside the store's objects; no manifest names it, so it is cleaned by age."""

from tasks.stages.benchmark import features_folder

MIB = 2**20


def prune_features(unused_days: float, *, delete: bool) -> str:
    """What no run saw for ``unused_days``, in one line; gone with ``delete``. Raises ValueError for less than one."""
    from diffsensei.evaluation.feature_cache import prune

    folder = features_folder()
    found = prune(folder, unused_days, dry_run=not delete)
    said = "removed" if delete else "would remove"
    return (
        f"{folder}: {said} {found.num_files} files ({found.num_bytes / MIB:.1f} MiB) unused for {unused_days:g} days; "
        f"{found.kept_files} files ({found.kept_bytes / MIB:.1f} MiB) stay"
    )
