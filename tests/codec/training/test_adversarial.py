"""Training against discriminators: when they take part, restarts, and what stops a run."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from codec.errors import LacunaError
from codec.training import loop
from codec.training.adversarial import Adversary, WaveformLoss
from codec.training.codec_task import CodecTask
from codec.training.config import load_training_config
from codec.training.loop import Trainer
from codec.training.schedule import Budget

TINY = {"stft_windows": [256], "stft_width": 2, "periods": [3], "period_width": 2}
ADVERSARIAL = {"weight": 0.5, "ramp_steps": 2, **TINY}
TERMS = {"adversarial", "feature_matching", "discriminator", "adversarial_share"}

Log = Callable[..., list[dict[str, Any]]]
MakeTrainer = Callable[..., Trainer]


def waveform_loss(**adversarial: Any) -> WaveformLoss:
    torch.manual_seed(0)
    config = load_training_config("tiny", adversarial={**ADVERSARIAL, **adversarial})
    return WaveformLoss(config, 16_000, torch.device("cpu"))


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    """An estimate and its target, (batch, channels, time)."""
    generator = torch.Generator().manual_seed(1)
    estimate, target = 0.1 * torch.randn(2, 3, 1, 1536, generator=generator)
    return estimate.requires_grad_(), target


# -- one step ----------------------------------------------------------------------------------


def test_gradient_is_that_of_the_whole_loss(pair: tuple[Tensor, Tensor]) -> None:
    """Handed on in one piece or derived term by term: the same."""
    estimate, target = pair
    loss = waveform_loss(ramp_steps=0)
    result = loss(estimate, target, 0)
    result.loss.backward()
    assert estimate.grad is not None
    handed = estimate.grad.clone()

    estimate.grad = None
    plain = waveform_loss(weight=0)(estimate, target, 0).loss
    opponent = loss.opponent
    assert opponent is not None
    verdict = opponent.verdict(estimate, target, 0)
    plain.backward()
    torch.testing.assert_close(handed, estimate.grad + verdict.gradient)
    assert result.loss.item() == pytest.approx(plain.item() + verdict.loss.item(), rel=1e-5)
    ours, theirs = (x.flatten(1).norm(dim=1) for x in (verdict.gradient, estimate.grad))
    share = (ours / (ours + theirs)).mean().item()
    assert float(result.logs["adversarial_share"]) == pytest.approx(share, rel=1e-4)
    assert 0 < share < 1


def test_the_codec_moves_no_discriminator(pair: tuple[Tensor, Tensor]) -> None:
    loss = waveform_loss()
    result = loss(*pair, 0)
    result.loss.backward()
    opponent = loss.opponent
    assert opponent is not None
    assert all(p.grad is None for p in opponent.module.parameters())
    assert result.opponent is not None
    opponent.backward(result.opponent)
    assert all(p.grad is not None for p in opponent.module.parameters())


def test_level_does_not_matter(pair: tuple[Tensor, Tensor]) -> None:
    estimate, target = pair
    opponent = waveform_loss().opponent
    assert opponent is not None
    loud, quiet = (
        opponent.verdict(estimate, target, 9),
        opponent.verdict(estimate / 8, target / 8, 9),
    )
    torch.testing.assert_close(loud.loss, quiet.loss)
    torch.testing.assert_close(loud.gradient, quiet.gradient / 8)


def test_weights_rise_over_the_ramp(pair: tuple[Tensor, Tensor]) -> None:
    opponent = waveform_loss(start_step=10, ramp_steps=4).opponent
    assert opponent is not None
    assert [opponent.starts(step) for step in (0, 9, 10)] == [False, False, True]
    values = [float(opponent.verdict(*pair, step).loss) for step in (10, 11, 13, 99)]
    assert [value / values[-1] for value in values] == pytest.approx([0.25, 0.5, 1.0, 1.0])


def test_discriminators_learn(pair: tuple[Tensor, Tensor]) -> None:
    """Noise from a tone: their loss falls from 2, where they know nothing, towards 0."""
    estimate, _ = pair
    tone = 0.1 * torch.sin(torch.arange(1536) / 5.0).expand_as(estimate)
    opponent = waveform_loss(learning_rate=3e-3).opponent
    assert opponent is not None
    losses = []
    for step in range(40):
        verdict = opponent.verdict(estimate, tone, step)
        losses.append(verdict.own_loss.item())
        opponent.backward(verdict.own_loss)
        assert opponent.step(1.0)
    assert losses[0] == pytest.approx(2.0, abs=0.5)
    assert losses[-1] < 0.5 * losses[0]


def test_weight_0_has_no_discriminator(
    make_trainer: MakeTrainer, make_task: Callable[..., CodecTask], tmp_path: Path, read_log: Log
) -> None:
    assert make_task().reconstruction_loss.opponent is None
    make_trainer(tmp_path, adversarial={"weight": 0, **TINY}, steps=1).train()
    state = load_file(tmp_path / "state" / "step-00000001" / "tensors.safetensors")
    assert not any(key.startswith("opponent.") for key in state)
    assert not TERMS & read_log(tmp_path)[0].keys()


# -- runs --------------------------------------------------------------------------------------


def adversarial(trainer: MakeTrainer, folder: Path, **overrides: Any) -> Trainer:
    return trainer(folder, **{"steps": 6, "adversarial": ADVERSARIAL, **overrides})


def test_starts_after_the_warm_up_and_resumes_to_the_last_bit(
    make_trainer: MakeTrainer, tmp_path: Path, read_log: Log
) -> None:
    """Restarted before the discriminators came, and after."""
    late = {"adversarial": {**ADVERSARIAL, "start_step": 2}}
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    adversarial(make_trainer, unbroken, **late).train()
    for minutes in (0.0, 0.0, 0.0, None):
        adversarial(make_trainer, broken, budget=Budget(minutes=minutes), **late).train()

    lines = read_log(unbroken)
    assert [line.keys() >= TERMS for line in lines] == [False] * 2 + [True] * 4
    assert all(math.isfinite(line[term]) for line in lines[2:] for term in TERMS)
    assert read_log(broken) == lines
    expected, state = (
        load_file(run / "state" / "step-00000006" / "tensors.safetensors")
        for run in (unbroken, broken)
    )
    assert any(key.startswith("opponent.optimizer.") for key in expected)
    assert state.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(state[key], tensor), key


def test_before_the_warm_up_ends_nothing_is_different(
    make_trainer: MakeTrainer, tmp_path: Path, read_log: Log
) -> None:
    late = {**ADVERSARIAL, "start_step": 100}
    adversarial(make_trainer, tmp_path / "late", adversarial=late, steps=2).train()
    make_trainer(tmp_path / "never", steps=2).train()
    assert read_log(tmp_path / "late") == read_log(tmp_path / "never")


def test_a_run_without_takes_them_in(
    make_trainer: MakeTrainer, tmp_path: Path, read_log: Log
) -> None:
    make_trainer(tmp_path, steps=2).train()
    adversarial(make_trainer, tmp_path, steps=3).train()
    assert [line.keys() >= TERMS for line in read_log(tmp_path)] == [False, False, True]


def test_accumulated_halves_equal_the_whole_batch(
    make_trainer: MakeTrainer, tmp_path: Path, read_log: Log
) -> None:
    smooth = {
        "noise": {"uniform_share": 0.0},
        "loss": {"stft": 0.0, "stft_windows": [256, 64], "mel_windows": [256, 64]},
    }
    for accumulate in (1, 2):
        folder = tmp_path / str(accumulate)
        trainer = adversarial(make_trainer, folder, accumulate=accumulate, steps=3, **smooth)
        trainer.train()
    for one, two in zip(read_log(tmp_path / "1"), read_log(tmp_path / "2"), strict=True):
        for key in TERMS | {"loss", "grad_norm"}:
            assert two[key] == pytest.approx(one[key], rel=1e-3, abs=1e-5), key


def nan_loss_at(*steps: int) -> Callable[..., Any]:
    """Adversary.verdict, but the discriminators' own loss is NaN at some steps."""
    original = Adversary.verdict

    def verdict(self: Adversary, estimate: Tensor, target: Tensor, step: int) -> Any:
        result = original(self, estimate, target, step)
        return replace(result, own_loss=result.own_loss * math.nan) if step in steps else result

    return verdict


def test_non_finite_discriminator_gradient_is_skipped_and_counted(
    make_trainer: MakeTrainer,
    tmp_path: Path,
    weights: Callable[[nn.Module], Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Adversary, "verdict", nan_loss_at(1, 2))
    trainer = adversarial(make_trainer, tmp_path, budget=Budget(minutes=0.0))
    opponent = trainer.task.reconstruction_loss.opponent  # type: ignore[attr-defined]
    modules = (opponent.module, trainer.task.model)
    seen = [[weights(module) for module in modules]]
    bad = []
    for _ in range(4):  # one step each
        bad.append(trainer.train().opponent_bad_steps)
        seen.append([weights(module) for module in modules])

    assert bad == [0, 1, 2, 0]
    changed = [
        [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        for before, after in itertools.pairwise(seen)
    ]
    assert changed == [[True, True], [False, True], [False, True], [True, True]]
    assert torch.isfinite(seen[-1][0]).all()


def test_run_stops_when_the_discriminators_stay_non_finite(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Adversary, "verdict", nan_loss_at(*range(100)))
    monkeypatch.setattr(loop, "MAX_BAD_STEPS", 3)
    with pytest.raises(LacunaError, match="the discriminators' gradient was not finite for 3"):
        adversarial(make_trainer, tmp_path).train()


@pytest.mark.parametrize("worse", [2.5, math.nan])
def test_run_stops_when_it_diverges(
    worse: float, make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([1.0, 1.9, worse])
    monkeypatch.setattr(CodecTask, "validate", lambda *_: {"score": next(scores)})
    monkeypatch.setattr(Trainer, "_export", lambda self, name: None)
    trainer = adversarial(make_trainer, tmp_path, validate_every=1)
    with pytest.raises(LacunaError, match=r"diverged: at step 3 .*best was 1.*best\.safetensors"):
        trainer.train()
    assert trainer.state.best_score == 1.0


def test_bfloat16_and_float16(pair: tuple[Tensor, Tensor]) -> None:
    """The discriminators run in bfloat16 where the run does, and in float32 under float16."""
    losses = []
    for dtype, enabled in (
        (torch.bfloat16, False),
        (torch.bfloat16, True),
        (torch.float16, True),
    ):
        loss = waveform_loss()
        with torch.autocast("cpu", dtype, enabled=enabled):
            losses.append(loss(*pair, 0).loss.item())
    assert losses[2] == losses[0]
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_state_of_other_discriminators_is_refused(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    adversarial(make_trainer, tmp_path / "run", steps=1).train()
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    wider = {**ADVERSARIAL, "stft_width": 3}
    with pytest.raises(LacunaError, match="cannot be taken up by this run"):
        adversarial(make_trainer, tmp_path / "copy", adversarial=wider)
