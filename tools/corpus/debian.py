"""Fetching Debian packages with apt and taking the recordings out of them."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

from corpus.disk import raise_if_full

AUDIO = (".ogg", ".opus", ".wav", ".flac", ".mp3", ".g722")
ARCHIVES = (".zip", ".pk3")
_TEXTS = ("copyright", "license.txt", "licence.txt")
_AT_ONCE = 50  # files that one ffmpeg decodes


class PackageError(Exception):
    """A package that cannot be used; the message says why, the others go on."""


def fetch(name: str, debs: Path) -> Path:
    """The package's .deb in `debs`, downloaded unless it is there."""
    have = sorted(debs.glob(f"{name}_*.deb"))
    if have:
        return have[-1]
    if shutil.which("apt-get") is None:
        raise PackageError(
            f"{name}: no apt-get here; put {name}_*.deb from packages.debian.org into {debs}"
        )
    debs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=debs) as scratch:
        run = subprocess.run(
            ["apt-get", "download", name], cwd=scratch, capture_output=True, text=True, check=False
        )
        files = list(Path(scratch).glob("*.deb"))
        if run.returncode or not files:
            raise_if_full(debs, run.stderr)
            said = [line for line in run.stderr.splitlines() if line.startswith("E:")]
            raise PackageError(f"{name}: {' '.join(said) or 'apt-get download failed'}")
        return files[0].replace(debs / files[0].name)


def unpack(deb: Path, folder: Path) -> None:
    """Recordings and licence texts of `deb` in `folder`, those inside .zip and .pk3 files too.

    G.722 becomes WAV. A folder that was left half done is begun anew.
    """
    done = folder / ".unpacked"
    if done.exists() and done.read_text() == deb.name:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        _extract(deb, folder)
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise PackageError(
            f"{deb.name} is damaged ({error}); delete it, it will be fetched anew"
        ) from error
    _decode_g722(sorted(folder.rglob("*.g722")))
    done.write_text(deb.name)


def _extract(deb: Path, folder: Path) -> None:
    command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            for member in tar:
                path = Path(member.name)
                if not member.isfile() or not _wanted(path, (*AUDIO, *ARCHIVES)):
                    continue
                tar.extract(member, folder, filter="data")
                if path.suffix.lower() in ARCHIVES:
                    _unzip(folder / path)


def _wanted(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.suffix.lower() in suffixes or path.name.lower() in _TEXTS


def _unzip(archive: Path) -> None:
    """The archive's recordings in its own folder, and the archive gone."""
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if _wanted(Path(name), AUDIO):
                opened.extract(name, archive.parent)
    archive.unlink()


def _decode_g722(files: list[Path]) -> None:
    """Each file as .wav in its place; what ffmpeg cannot decode stays and is named later."""
    if files and shutil.which("ffmpeg") is None:
        raise PackageError("G.722 needs ffmpeg: apt-get install ffmpeg, and run this again")
    for start in range(0, len(files), _AT_ONCE):
        batch = files[start : start + _AT_ONCE]
        if not _ffmpeg(batch):
            for file in batch:
                _ffmpeg([file])


def _ffmpeg(files: list[Path]) -> bool:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
    for file in files:
        command += ["-f", "g722", "-i", str(file)]
    for place, file in enumerate(files):
        command += ["-map", str(place), str(file.with_suffix(".wav"))]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise_if_full(files[0].parent, run.stderr)
        return False
    for file in files:
        file.unlink()
    return True
