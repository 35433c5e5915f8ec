"""Who made a release: a signature over every file of its folder, by the OpenSSF model-signing format.

The key is an elliptic-curve key in PEM, for example from ``openssl ecparam -name prime256v1 -genkey -noout``. It is an
extra: ``pip install 'diffsensei-pipeline[signing]'``.
"""

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType


def sign(files: Mapping[str, Path], private_key: Path, signature: Path) -> None:
    """Write into ``signature`` a signature of ``files`` (relative POSIX path -> file). Raises ValueError."""
    signing = _library("signing")
    _require(private_key)
    with ExitStack() as held:
        folder = Path(held.enter_context(TemporaryDirectory(dir=signature.parent)))
        for path, source in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, place)
            except OSError:
                shutil.copyfile(source, place)
        try:
            signing.Config().use_elliptic_key_signer(private_key=private_key).sign(folder, signature)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{private_key} cannot sign: {' '.join(str(error).split())}") from None


def check_signature(folder: Path, signature: Path, public_key: Path) -> None:
    """Raises ValueError unless ``signature`` is of every file in ``folder`` but itself, by ``public_key``'s owner."""
    verifying = _library("verifying")
    _require(public_key)
    if not signature.is_file():
        raise ValueError(f"{folder} is not signed: {signature.name} is missing")
    config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    config.set_hashing_config(_library("hashing").Config().set_ignored_paths(paths=[signature], ignore_git_paths=False))
    try:
        config.verify(folder, signature)
    except Exception as error:  # the library raises whatever its parts raise; any of it means "not this key's"
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the signature of {folder} does not hold for {public_key.name}: {said[:300]}") from None


def _library(part: str) -> ModuleType:
    try:
        return import_module(f"model_signing.{part}")
    except ImportError:
        raise ValueError("signing needs a package; install with `pip install 'diffsensei-pipeline[signing]'`") from None


def _require(key: Path) -> None:
    if not key.is_file():
        raise ValueError(f"expected a key in PEM, {key} does not exist")
