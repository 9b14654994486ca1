"""Files of the Hugging Face hub, by a repository's name, where huggingface_hub is installed."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from codec.errors import CheckpointError, MissingPackageError, install_hint
from codec.text import printable

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""owner/name"""


def hub_file(name: str, path: str) -> Path | None:
    """A file of a repository, fetched unless it is there from an earlier call; None if it has none.

    Raises:
        CheckpointError: there is no such repository, it asks for a login, or the hub cannot be
            reached.
        MissingPackageError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import errors, hf_hub_download
    except ModuleNotFoundError:
        raise MissingPackageError(
            f"there is no folder '{printable(name)}' here; if that is a name on the Hugging Face "
            f"hub, reading it needs the package 'huggingface_hub': {install_hint('hub')}"
        ) from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every retry
    try:
        return Path(hf_hub_download(name, path))
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise CheckpointError(
            f"there is no folder '{printable(name)}' here, and the Hugging Face hub cannot be "
            f"reached; check the path or the connection, or give a folder that is on this disk"
        ) from None
    except errors.EntryNotFoundError:
        return None
    except errors.GatedRepoError:
        raise CheckpointError(
            f"the hub gives '{printable(name)}' only to those who have accepted its licence; do so "
            f"at https://huggingface.co/{printable(name)}, log in with `hf auth login`, try again"
        ) from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise CheckpointError(
            f"there is no folder '{printable(name)}' here, and no such repository on the Hugging "
            f"Face hub, or it is private; check the name"
        ) from None
    except Exception as error:  # what its transport raises differs from release to release
        reason = printable((str(error) or type(error).__name__).splitlines()[0])
        raise CheckpointError(
            f"the Hugging Face hub did not give {path} of '{printable(name)}': {reason}; try again "
            f"later, or give a folder that is on this disk"
        ) from None
