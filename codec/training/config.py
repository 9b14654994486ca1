"""Configuration of a training run: the [training] table of a config file.

``LoopConfig`` is what the loop itself needs, whatever it trains; the rest is the codec's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from codec.errors import ConfigError
from codec.metrics.mel import MEL_WINDOWS
from codec.settings import StrictConfig, merged, read_toml, unit, validate

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Window = Annotated[int, Field(ge=4)]  # its hop is a quarter of it
Decay = Annotated[float, Field(ge=0, lt=1)]


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"{list(bounds)} is no range; expected the lower bound first")
    return bounds


class LossConfig(StrictConfig):
    """Weights of the reconstruction terms, and their windows (codec/training/losses.py).

    A spectral map is trained by likelihood and energy distance, which need none of these weights
    but ``labels``.
    """

    stft: NonNegative = 1.0
    """Weight of the distance between STFT magnitudes."""
    mel: NonNegative = 1.0
    """Weight of the mel distance."""
    l1: NonNegative = 0.1
    """Weight of the mean absolute difference of the waveforms."""
    low_band: NonNegative = 1.0
    """Weight of the term that asks for phase: one minus the waveforms' correlation below
    ``low_band_hz``."""
    low_band_hz: Annotated[Positive, unit("Hz")] = 150.0
    """Upper limit of the band of ``low_band``."""
    labels: NonNegative = 10.0
    """Weight of the recognition of labels, in a model that has them: Kingma et al. 2014, eq. 9,
    alpha. With much less, all unlabelled items become the class that is modelled best first."""
    commitment: NonNegative = 0.25
    """Weight of the distance of latents to their codes, in a model of tokens (van den Oord et al.
    2017, eq. 3)."""
    stft_windows: Annotated[tuple[Window, ...], Field(min_length=1), unit("samples")] = (
        2048,
        1024,
        512,
        256,
        128,
    )
    """Windows of the STFT term; the hop is a quarter of each."""
    mel_windows: Annotated[tuple[int, ...], unit("samples")] = MEL_WINDOWS
    """Windows of the mel term, from among the default ones."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = sorted(set(self.mel_windows) - set(MEL_WINDOWS))
        if unknown:
            raise ValueError(f"mel_windows {unknown} are not among {list(MEL_WINDOWS)}")
        return self


class KLConfig(StrictConfig):
    """How the KL to the unit Gaussian is weighted (see codec/training/kl.py)."""

    mode: Literal["linear", "cyclical", "target"] = "target"
    """``target`` controls the weight so that ``target_kbps`` is held; ``linear`` raises it from 0
    once, ``cyclical`` again and again."""
    weight: Positive = 1e-2
    """Final weight; the initial one with ``target``."""
    anneal_steps: Annotated[Count, unit("steps")] = 1000
    """Steps over which ``linear`` raises the weight, and the length of a cycle of ``cyclical``, in
    whose first half it rises."""
    target_kbps: Annotated[Positive, unit("kbps")] = 3.5
    """Information rate per coded channel that ``target`` holds."""
    free_nats: Annotated[NonNegative, unit("nats")] = 0.0
    """KL per value below which a latent channel is not pushed further down."""


class NoiseConfig(StrictConfig):
    """What is added to the posterior mean in training."""

    uniform_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of items that get a quantiser's uniform noise in place of the posterior's own."""
    steps: Annotated[
        tuple[Positive, Positive], AfterValidator(_rising), unit("posterior sigmas")
    ] = (1.0, 12.0)
    """Range of that quantiser's step; drawn log-uniformly."""


class AdversarialConfig(StrictConfig):
    """The adversarial loss, and the discriminators that it needs (codec/training/adversarial.py).

    Weights are fixed and multiply means, as all others here: unlike EnCodec's balancer by gradient
    norm, that keeps an item's gradient independent of the items beside it in a batch, and lets the
    adversarial part fade where the discriminators have nothing more to say. What they come to is
    logged as ``adversarial_share``. Their sources, for a reconstruction loss of about 3 as ours
    is: Stable Audio has 0.1 and 5 beside a spectral loss of weight 1, DAC 1 and 2 beside a mel
    loss of weight 15 (a total near 10).
    """

    weight: NonNegative = 0.0
    """Weight of the hinge loss; with 0 there are no discriminators at all."""
    feature_matching: NonNegative = 1.0
    """Weight of the feature matching; relative per layer, where Stable Audio's and DAC's are
    absolute."""
    start_step: Annotated[int, Field(ge=0), unit("steps")] = 0
    """Step from which discriminators are trained, and the codec against them."""
    ramp_steps: Annotated[int, Field(ge=0), unit("steps")] = 200
    """Steps over which both weights rise from 0, while the discriminators learn their part."""
    learning_rate: Positive = 3e-4
    """Peak learning rate of the discriminators; it follows the same schedule as the codec's."""
    betas: tuple[Decay, Decay] = (0.8, 0.99)
    """AdamW's decay of both moments, for the discriminators."""
    clip_norm: Positive = 10.0
    """Largest norm of the discriminators' gradient; a larger one is scaled down."""
    stft_windows: Annotated[tuple[Window, ...], unit("samples")] = (2048, 512)
    """Windows of the STFT discriminators, one for each."""
    stft_width: Count = 8
    """Channels of their first layer; the others have twice as many."""
    periods: Annotated[tuple[Count, ...], unit("samples")] = (2, 5, 11)
    """Periods of the multi-period discriminators, one for each."""
    period_width: Count = 8
    """Channels of their first layer; the last ones have four times as many."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.stft_windows and not self.periods:
            raise ValueError("stft_windows and periods are both empty; name at least one")
        return self


class DataConfig(StrictConfig):
    """How crops are cut from a folder of audio."""

    crop_seconds: Annotated[Positive, unit("s")] = 0.75
    """Length of a crop, rounded to whole latent frames."""
    gain_db: Annotated[tuple[float, float], AfterValidator(_rising), unit("dB")] = (-9.0, 3.0)
    """Range of the gain of a crop, drawn uniformly; half of the crops also change sign."""
    speeds: Annotated[
        tuple[Annotated[int, Field(ge=50, le=200)], ...], Field(min_length=1), unit("%")
    ] = (100,)
    """A crop is played at one of these speeds, higher in pitch the faster. Music then comes in
    other keys, and rooms and voices in other sizes."""
    side_share: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Share of a stereo file's crops that are its side signal, for a one-channel network that
    codes stereo as mid and side; one that codes left and right gets as many of either."""
    rare_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of crops that are cut hard, or replaced by tones, beeps, noise or clicks (rare.py)."""


AS_RECORDED: dict[str, object] = {"gain_db": (0.0, 0.0), "rare_share": 0.0}
"""What validation changes of how crops are cut."""


class OptimizerConfig(StrictConfig):
    """AdamW, linear warm-up, then cosine decay to ``final_rate`` of the peak."""

    learning_rate: Positive = 1e-3
    """Learning rate at its peak."""
    betas: tuple[Decay, Decay] = (0.8, 0.99)
    """Decay of both moments."""
    weight_decay: NonNegative = 0.01
    """Decoupled weight decay, times the learning rate."""
    warmup_steps: Annotated[int, Field(ge=0), unit("steps")] = 500
    """Steps over which the learning rate rises from 0."""
    final_rate: NonNegative = 0.02
    """Learning rate at the end, as a share of the peak."""
    clip_norm: Positive = 1.0
    """Largest norm of the gradient; a larger one is scaled down."""


class CodecOptimizerConfig(OptimizerConfig):
    """AdamW, linear warm-up, cosine decay, and a moving average of the weights."""

    ema_decay: Decay = 0.999
    """Decay per step of the moving average, which is what is validated and exported."""


class LoopConfig(StrictConfig):
    """What the training loop needs to know."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the initial weights and of every crop, gain and noise."""
    steps: Annotated[Count, unit("steps")] = 100_000
    """Optimiser steps of the run."""
    batch_size: Count = 8
    """Items per optimiser step over all processes."""
    accumulate: Count = 1
    """Forward passes per optimiser step; each takes its share of the batch."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """With ``auto`` a run measures at its start whether bf16 is faster (precision.py)."""
    compile: bool | None = None
    """torch.compile for the blocks that the network repeats (compiling.py); by default on a GPU."""
    log_every: Annotated[Count, unit("steps")] = 10
    """Steps from one line of log.jsonl to the next."""
    validate_every: Annotated[Count, unit("steps")] = 1000
    """Steps from one validation to the next."""
    checkpoint_every: Annotated[Count, unit("steps")] = 1000
    """Steps from one saved state to the next."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """The optimiser."""


class TrainingConfig(LoopConfig):
    """Everything about a codec's run that is not the model."""

    loss: LossConfig = LossConfig()
    """Reconstruction terms."""
    kl: KLConfig = KLConfig()
    """KL term."""
    noise: NoiseConfig = NoiseConfig()
    """Noise on the latents."""
    adversarial: AdversarialConfig = AdversarialConfig()
    """Adversarial loss."""
    data: DataConfig = DataConfig()
    """Crops of the audio."""
    map_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the likelihood beside the energy distance, where the decoder of a spectral map is
    trained alone: the map learns as well, and files get another ``coding_id``. With 0 it stays."""
    optimizer: CodecOptimizerConfig = CodecOptimizerConfig()
    """The optimiser."""


T = TypeVar("T", bound=LoopConfig)


DECODER_PHASE = "decoder_only"
"""The table below [training] with what is different in the second phase."""


def load_training_config(
    name_or_path: str, settings: Sequence[str] = (), **overrides: Any
) -> TrainingConfig:
    """A codec's ``[training]`` table, with ``settings`` and top-level values overridden.

    Raises:
        ConfigError: no such file, no such table, an unknown key or a bad value.
    """
    return load_training_phases(name_or_path, settings, **overrides)[0]


def load_training_phases(
    name_or_path: str, settings: Sequence[str] = (), **overrides: Any
) -> tuple[TrainingConfig, TrainingConfig | None]:
    """As :func:`load_training_config`, and the same for the phase that trains the decoder alone.

    That one is what ``[training]`` says with the values of ``[training.decoder_only]`` in place of
    its own; None without such a table.

    Raises:
        ConfigError: as there, or the phases differ in what a run has once.
    """
    table, where = _training_table(name_or_path, settings)
    given = {k: v for k, v in overrides.items() if v is not None}
    changes = table.pop(DECODER_PHASE, None)
    joint = validate(TrainingConfig, {**table, **given}, f"{where} [training]")
    if changes is None:
        return joint, None
    name = f"{where} [training.{DECODER_PHASE}]"
    if not isinstance(changes, dict):
        raise ConfigError(f"{name} = {changes!r}: expected a table")
    alone = validate(TrainingConfig, {**merged(table, changes), **given}, name)
    for key in ("seed", "accumulate", "mixed_precision"):
        if getattr(alone, key) != getattr(joint, key):
            raise ConfigError(f"{name}: '{key}' is the same in both phases; set it in [training]")
    return joint, alone


def load_training_table(
    cls: type[T], name_or_path: str, settings: Sequence[str], overrides: dict[str, Any]
) -> T:
    """The ``[training]`` table of a config file as a ``cls``.

    Args:
        settings: as for :func:`codec.network.config.read_toml`.
        overrides: values that replace those of the file, None for those that do not.

    Raises:
        ConfigError: no such file, no such table, an unknown key or a bad value.
    """
    table, where = _training_table(name_or_path, settings)
    given = {k: v for k, v in overrides.items() if v is not None}
    return validate(cls, {**table, **given}, f"{where} [training]")


def _training_table(name_or_path: str, settings: Sequence[str]) -> tuple[dict[str, Any], str]:
    tables, where = read_toml(name_or_path, settings)
    if "training" not in tables:
        raise ConfigError(f"{where} has no [training] table; see configs/small.toml")
    return dict(tables["training"]), where
