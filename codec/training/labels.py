"""Which label a recording has: from a manifest, or from the folder that it lies in."""

from __future__ import annotations

from collections.abc import Sequence

from codec.errors import LacunaError
from codec.training.data import AudioFile, AudioSource

NO_LABEL = -1


def label_of(file: AudioFile, labels: Sequence[str]) -> int:
    """The number of its label, or NO_LABEL.

    With a manifest its column ``class`` says it; an empty one is none. Without one the nearest
    folder does whose name is a label.

    Raises:
        LacunaError: the manifest says something that is not among ``labels``.
    """
    said = file.labels.get("class")
    if said is None:
        folders = (folder.name for folder in file.path.absolute().parents)
        said = next((name for name in folders if name in labels), "")
    if not said:
        return NO_LABEL
    if said not in labels:
        raise LacunaError(
            f"the manifest says class '{said}' of '{file.path}', expected one of "
            f"{', '.join(labels)}, or nothing; model.network.labels names them"
        )
    return labels.index(said)


def labels_to_train_on(source: AudioSource, labels: Sequence[str]) -> list[int]:
    """The number of every file's label, or NO_LABEL.

    Raises:
        LacunaError: a label without a file, or what ``label_of`` raises.
    """
    of_files = [label_of(file, labels) for file in source.files]
    missing = [name for number, name in enumerate(labels) if number not in of_files]
    if missing:
        raise LacunaError(
            f"no file has the label {', '.join(missing)}: expected some of every label, in folders "
            f"of these names or with a manifest that has a 'class' column"
        )
    return of_files
