"""The training's loop: resumed, and shared by processes."""

from __future__ import annotations

import argparse
import multiprocessing as mp
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from training import augment, mmi, network, train
from training.batch import Batch
from training.checkpoint import load_network, save
from training.corpus import Clip
from training.factory import Utterance
from training.learning import Average, Optimiser
from training.losses import inconsistency, loss_of

LABELS = {"cmn": ["<blk>", "m", "a1", "a4"], "yue": ["<blk>", "m4", "aa1"]}


def _batch(language: str, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    items = [
        Utterance(
            language,
            rng.standard_normal((90, 40)).astype(np.float32),
            LABELS[language][1:],
            np.repeat(np.arange(len(LABELS[language]) - 1), 6),
        )
        for _ in range(2)
    ]
    for u in items:
        u.at.resize(30, refcheck=False)
    return train.collate(items, {u: i for i, u in enumerate(LABELS[language])})


def _arguments(work: Path, name: str, *, updates: int, processes: int) -> argparse.Namespace:
    return argparse.Namespace(
        work=work,
        name=name,
        updates=updates,
        processes=processes,
        threads=1,
        device="cpu",
        rate=0.2,
        seed=1,
        warp=0.0,
        views=1,
        consistency=0.2,
        masked=1.0,
        dropout=0.0,
        dropout_yue=None,
        entropy_share=0.3,
        entropy_weight=0.3,
        save_every=1e9,
        keep_every=1e9,
        minutes=None,
        keep_below=False,
    )


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches as they are, so that every process learns from the same."""
    for name in ("channel", "mask_bands", "mask_time"):
        monkeypatch.setattr(augment, name, lambda x, *_: x)
    monkeypatch.setattr(augment, "warp", lambda x, *_: x)


def _trained(
    a: argparse.Namespace, batches: list[list[Batch | None]], *, go_on: bool = False
) -> dict[str, torch.Tensor]:
    """Weights after training, each process on its own batches."""
    torch.set_num_threads(1)
    torch.manual_seed(7)
    net = network.Network(LABELS, bottleneck=8)
    bigrams = {k: mmi.estimate([v[1:]] * 3, v) for k, v in LABELS.items()}
    task = train._Task(net, Average(net), bigrams, {})
    file = a.work / f"{a.name}.pt"
    if go_on:
        saved = torch.load(file, weights_only=False)
        net.load_state_dict(saved["net"])
        task.step, task.optimiser = saved["step"], saved["optimiser"]
    queues: list[mp.Queue[Batch | None]] = [mp.Queue() for _ in batches]
    for queue, given in zip(queues, batches, strict=True):
        for batch in given:
            queue.put(batch)
    others = [
        mp.get_context("fork").Process(
            target=train._learn, args=(a, task, queues, rank, a.work / f"{a.name}.meeting")
        )
        for rank in range(1, a.processes)
    ]
    for process in others:
        process.start()
    train._learn(a, task, queues, 0, a.work / f"{a.name}.meeting")
    for process in others:
        process.join(30)
        assert process.exitcode == 0
    weights: dict[str, torch.Tensor] = torch.load(file, weights_only=False)["net"]
    return weights


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.allclose(a[k].float(), b[k].float(), atol=1e-4) for k in a)


@pytest.mark.usefixtures("plain")
def test_two_processes_on_the_same_batches_learn_what_one_does(tmp_path: Path) -> None:
    batches = [_batch(k, i) for i, k in enumerate(("cmn", "yue", "cmn", "yue"))]
    alone = _trained(_arguments(tmp_path, "one", updates=4, processes=1), [batches])
    both = _trained(_arguments(tmp_path, "two", updates=4, processes=2), [batches, batches])
    assert _same(alone, both)
    others = [_batch(k, 9 + i) for i, k in enumerate(("cmn", "yue", "cmn", "yue"))]
    shared = _trained(_arguments(tmp_path, "mix", updates=4, processes=2), [batches, others])
    assert not _same(alone, shared)  # what the other one hears counts


@pytest.mark.usefixtures("plain")
def test_a_batch_of_the_other_language_does_not_weaken_what_a_language_has_alone(
    tmp_path: Path,
) -> None:
    cmn, yue = [_batch("cmn", 1)], [_batch("yue", 2)]
    alone = _trained(_arguments(tmp_path, "one", updates=1, processes=1), [cmn])
    both = _trained(_arguments(tmp_path, "two", updates=1, processes=2), [cmn, yue])
    name = "outputs.cmn.bias"
    assert torch.allclose(alone[name], both[name], atol=1e-4)
    other = "outputs.yue.bias"
    assert not torch.allclose(alone[other], both[other], atol=1e-6)


@pytest.mark.usefixtures("plain")
def test_a_training_that_was_interrupted_ends_as_one_that_was_not(tmp_path: Path) -> None:
    batches = [_batch(k, i) for i, k in enumerate(("cmn", "yue", "cmn", "yue"))]
    whole = _trained(_arguments(tmp_path, "whole", updates=4, processes=1), [batches])
    a = _arguments(tmp_path, "parts", updates=4, processes=1)
    a.save_every = -1.0  # after every update
    with pytest.raises(AttributeError):
        _trained(a, [[*batches[:2], None]])
    assert torch.load(tmp_path / "parts.pt", weights_only=False)["step"] == 2
    resumed = _trained(a, [batches[2:]], go_on=True)
    assert _same(whole, resumed)


@pytest.mark.usefixtures("plain")
def test_what_languages_share_is_kept_where_wanted(tmp_path: Path) -> None:
    torch.manual_seed(7)
    begun = network.Network(LABELS, bottleneck=8).state_dict()
    a = _arguments(tmp_path, "kept", updates=3, processes=1)
    a.keep_below = True
    kept = _trained(a, [[_batch("yue", i) for i in range(3)]])
    changed = {k for k in kept if not torch.equal(begun[k], kept[k])}
    assert {k.split(".")[0] for k in changed} == {"own", "memory", "outputs"}
    assert all(".yue." in k for k in changed)
    assert any(k.endswith("running_mean") for k in changed)


def test_two_views_are_as_far_apart_as_their_divergences_and_each_learns_from_the_other() -> None:
    torch.manual_seed(3)
    scores = torch.randn(4, 5, 6, requires_grad=True)  # two utterances, each twice
    inside = torch.ones(4, 6, dtype=torch.bool)
    inside[1::2, 4:] = False  # the second is shorter
    apart = inconsistency(scores.log_softmax(1), inside)
    p = scores.detach().softmax(1).numpy().astype(np.float64)
    each = [(p[j] * np.log(p[j] / p[i])).sum(0)[inside[i]] for i, j in enumerate((2, 3, 0, 1))]
    assert apart.item() == pytest.approx(np.concatenate(each).mean(), rel=1e-5)
    apart.backward()
    assert scores.grad is not None
    assert not scores.grad[1::2, :, 4:].any()
    wanted = (p - p[[2, 3, 0, 1]]) / inside.sum().item()  # the other view stays where it is
    assert np.allclose(scores.grad[0::2], wanted[0::2], atol=1e-6)


def test_a_second_view_is_all_utterances_again_in_their_order() -> None:
    batch = _batch("cmn", 1)
    twice = batch.repeated(2)
    assert torch.equal(twice.features, torch.cat([batch.features, batch.features]))
    assert twice.labels.tolist() == batch.labels.tolist() * 2
    assert twice.label_lengths.tolist() == batch.label_lengths.tolist() * 2
    assert twice.frames.tolist() == batch.frames.tolist() * 2
    assert torch.equal(twice.target[2:], batch.target)


def test_views_that_do_not_differ_teach_what_one_teaches() -> None:
    torch.manual_seed(4)
    net = network.Network(LABELS, bottleneck=8)
    bigram = mmi.estimate([LABELS["cmn"][1:]] * 3, LABELS["cmn"])

    def learnt(views: int) -> tuple[list[float], torch.Tensor]:
        batch = _batch("cmn", 1).repeated(views)
        losses = loss_of(net, batch, batch.features, 0.0, bigram=bigram, views=views)
        net.zero_grad()
        sum(losses).backward()
        weight = net.outputs["cmn"].own.grad
        assert weight is not None
        return [x.item() for x in losses], weight.clone()

    one, two = learnt(1), learnt(2)
    assert two[0] == pytest.approx(one[0], rel=1e-3, abs=1e-6)
    assert one[0][2] == 0.0
    assert torch.allclose(one[1], two[1], atol=0.02)  # bfloat16


def test_masked_views_learn_to_agree(tmp_path: Path) -> None:
    batches = [_batch("cmn", i) for i in range(3)]

    def learnt(consistency: float) -> dict[str, torch.Tensor]:
        a = _arguments(tmp_path, f"weight {consistency}", updates=3, processes=1)
        a.views, a.consistency, a.masked = 2, consistency, 2.5
        return _trained(a, [batches])

    assert not _same(learnt(0.0), learnt(5.0))


def test_a_weight_of_two_languages_is_averaged_once() -> None:
    net = network.Network(LABELS, bottleneck=8, through="yue")
    average = Average(net, decay=0.5)
    average.updates = 1000
    weight = net.layers("cmn")[-1].down.weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight += 1
    average.update(net)
    for language in LABELS:
        assert torch.allclose(average.net.layers(language)[-1].down.weight, before + 0.5)


def _saved(checkpoint: Path, net: network.Network) -> Path:
    optimiser = Optimiser(net)
    save(checkpoint, net, Average(net), optimiser, 5, 60.0, (7, 0.0))
    return checkpoint


def test_checkpoints_are_averaged_in_the_language_that_all_have(tmp_path: Path) -> None:
    torch.manual_seed(5)
    alone = network.Network({"yue": LABELS["yue"]}, bottleneck=8)
    both = network.Network(LABELS, bottleneck=8, through="yue")
    files = _saved(tmp_path / "alone.pt", alone), _saved(tmp_path / "both.pt", both)
    for order in (files, files[::-1]):
        net, trained = load_network(*order)
        assert list(net.labels) == ["yue"]
        assert trained["updates"] == 12
        name = "own.yue.2.down.weight"
        wanted = (alone.state_dict()[name] + both.state_dict()[name]) / 2
        assert torch.allclose(net.state_dict()[name], wanted)
    other = _saved(tmp_path / "other.pt", network.Network({"cmn": LABELS["cmn"]}, bottleneck=8))
    with pytest.raises(ValueError, match=r"no language is in all of .*alone\.pt, .*other\.pt"):
        load_network(files[0], other)


def test_checkpoints_of_fewer_units_are_averaged_as_if_begun_with_them(tmp_path: Path) -> None:
    torch.manual_seed(5)
    finer = ["<blk>", "a1", "a4", "m", "p_a1"]
    plain = network.Network({"cmn": LABELS["cmn"]}, bottleneck=8).eval()
    apart = network.Network({"cmn": finer}, bottleneck=8).eval()
    apart.set_priors({"cmn": torch.tensor([0.4, 0.1, 0.1, 0.1, 0.3]).log()})
    begun = network.Network({"cmn": finer}, bottleneck=8).eval()
    begun.set_priors({"cmn": apart.prior("cmn").clone()})
    begun.begin_with(plain)
    files = _saved(tmp_path / "plain.pt", plain), _saved(tmp_path / "apart.pt", apart)
    for order in (files, files[::-1]):
        net, _ = load_network(*order)
        assert net.labels == {"cmn": finer}
        assert torch.equal(net.prior("cmn"), apart.prior("cmn"))
        for name, value in net.state_dict().items():
            if value.dtype.is_floating_point:
                wanted = (begun.state_dict()[name] + apart.state_dict()[name]) / 2
                assert torch.allclose(value, wanted, atol=1e-6), name
    assert torch.equal(load_network(files[1])[0].outputs["cmn"].own, apart.outputs["cmn"].own)


def test_pools_of_the_language_that_only_helps_are_small() -> None:
    class Counting:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def utterance(self, language: str, seed: int, *, hard: float) -> Utterance:
            self.asked.append(language)
            sounds = LABELS[language][1:]
            at = np.repeat(np.arange(len(sounds)), 30 // len(sounds))
            return Utterance(language, np.zeros((90, 40), np.float32), sounds, at)

    factory = Counting()
    next(train.batches(factory, LABELS, 1, 300, pools=train.pools_of(LABELS, "yue")))
    assert factory.asked.count("cmn") == train.POOL_BESIDE
    assert factory.asked.count("yue") == train.POOL_UTTERANCES["yue"]


def test_muon_and_adam_each_take_their_weights_one_step_down() -> None:
    torch.manual_seed(8)
    layer = torch.nn.Conv1d(4, 6, 3)
    optimiser = Optimiser(layer)
    x = torch.randn(5, 4, 9)

    def loss() -> torch.Tensor:
        return (layer(x) ** 2).mean()

    before, kernel = loss(), layer.weight.detach().clone()
    before.backward()
    optimiser.step(0.05)
    assert loss() < before
    # Muon's step has all singular values about alike, and is as long as its rate says.
    moved = (layer.weight.detach() - kernel).view(6, -1)
    values = torch.linalg.svdvals(moved)
    assert values.max() < 2 * values.min()
    rate = 0.05 * Optimiser.SHORTER  # times 0.2 and the root of the matrix's longer side
    assert values.mean() == pytest.approx(0.2 * rate * 12**0.5, rel=0.3)


def test_what_goes_on_from_exported_models_keeps_their_units(tmp_path: Path) -> None:
    exported = {"cmn": ["<blk>", "a1", "m+a"], "yue": ["<blk>", "aa1"]}
    for language, labels in exported.items():
        (tmp_path / language).mkdir()
        (tmp_path / language / "units.txt").write_text("\n".join(labels), "utf-8")
    clips = [
        Clip("cmn", kind, "made", "S", "", (syllable,), np.zeros(9, np.int16))
        for kind, syllable in (("sentence", "ma1"), ("revoiced", "ba1"), ("espeak", "pa1"))
    ]
    corpus = argparse.Namespace(clips=clips)

    def wanted(**given: object) -> dict[str, list[str]]:
        usual = {"network": "streaming", "models": tmp_path, "only": None, "start_from": None}
        a = argparse.Namespace(**{**usual, "in_context": None, **given})
        return train._labels_wanted(a, corpus)  # type: ignore[arg-type]

    said = {"cmn": ["<blk>", "a1", "m"], "yue": ["<blk>"]}  # neither espeak-ng's nor a copy's
    assert wanted() == wanted(start_from=[tmp_path / "net.pt"]) == said
    assert wanted(start_from=[tmp_path]) == wanted(network="convolutional") == exported
    assert wanted(start_from=[tmp_path], in_context=100) == said
    assert wanted(start_from=[tmp_path], only="yue") == {"yue": exported["yue"]}
