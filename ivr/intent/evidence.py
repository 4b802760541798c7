"""What an utterance has in common with the example phrases, in characters and in sounds.

Three kinds of evidence, each one number for each (utterance, phrase) or (utterance, class):

*Classes.* A linear classifier (scikit-learn's ridge regression to -1 and 1; Rifkin & Klautau 2004,
regularised least squares classification) over idf-weighted n-grams: characters, toneless
syllables, and syllables folded into the classes that are taken for one another. No random start:
the same phrases always give the same matcher. At run time it is a sparse product.

*Overlap.* Cosine between the same n-gram vectors of the utterance and of each phrase.

*Alignment.* Smith & Waterman's local alignment of syllables: equal characters match fully, other
pairs as far as they sound alike, each weighted by how rare the character is. It is what survives
a character that the recogniser got wrong. All hypotheses and shortlisted phrases are aligned at
once in numpy, row by row.

Arrays: H hypotheses, P phrases, K classes, F features.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rapidfuzz import fuzz, process
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from ivr.intent.lexicon import Finder, concepts, words
from ivr.intent.normalise import normalise, strip_carriers
from ivr.intent.sounds import character_syllables, fold_number, table
from ivr.language import Language

__all__ = ["Evidence", "Example", "PhraseIndex", "core", "features"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

#: Weights in the kernel of n-grams of length 1, 2, 3; of characters, toneless syllables, and
#: syllables folded into the classes taken for one another; and of concepts.
_CHARACTERS = (1.2, 1.0, 0.2)
_SYLLABLES = (0.7, 0.8, 0.2)
_FOLDED = (0.3, 0.6, 0.2)
_CONCEPT = 2.5
_CONCEPT_SOUND = 1.5  # a concept's word by its toneless syllables
_RIDGE = 0.5  # regularisation; the kernel of a phrase with itself is 1
_UNKNOWN = 0.3  # how much an n-gram that no phrase has weighs against the utterance
_COVERED = 0.95  # share of the hypotheses' weight that is looked at
_MOST_HYPOTHESES = 6
_ALIGNED = 3  # hypotheses that are aligned; n-grams see all that are looked at
_GAP = 0.35  # cost of a character left out or put in, as a share of its weight
_FAR = 0.42  # syllables at this distance are neither like nor unlike
_COMMON = 0.1  # share of the phrases that a feature is in, from which it does not count as overlap
_NEAREST = 160  # phrases among which each class's nearest are looked for
_LONGEST = 64  # characters aligned; n-grams see all


@dataclass(frozen=True, slots=True)
class Example:
    """One phrase of a class, with how much it counts (1 in the caller's own language)."""

    text: str
    label: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence for each class. Arrays of shape ``(K,)``, in the order of ``labels``."""

    ridge: Floats  # about -1 (no) to 1 (yes)
    cosine: Floats  # 0 to 1
    dice: Floats  # aligned weight over the mean weight of utterance and phrase
    precision: Floats  # aligned weight over that of the utterance
    recall: Floats  # aligned weight over that of the phrase
    ratio: Floats  # rapidfuzz, 0 to 1
    phrase: tuple[str, ...]  # closest phrase of each class, empty where none is near


@functools.lru_cache(maxsize=16384)
def core(text: str) -> str:
    """What of the text carries meaning: normalised, without carriers, unless nothing is left."""
    plain = normalise(text)
    return strip_carriers(plain) or plain


#: Where syllables live as single characters, so that n-grams of syllables are slices of a string:
#: planes 15 and 16, which Unicode keeps for private use. The same in every process.
_TONELESS_PLANE = 0xF0000
_FOLDED_PLANE = 0x100000


@functools.lru_cache(maxsize=16384)
def _private(syllable: str, language: Language) -> tuple[str, str]:
    """The toneless and the folded syllable as one character each."""
    base = table(language).code(syllable) // 7
    folded = fold_number(syllable, language)
    return chr(_TONELESS_PLANE + 1 + max(base, -1) + 1), chr(_FOLDED_PLANE + 1 + folded)


@functools.cache
def _concept_sounds(language: Language) -> Finder:
    """The lexicon's words of two syllables or more as toneless sounds, with their concepts."""
    found: dict[str, tuple[str, ...]] = {}
    for word, names in words().items():
        if len(word) > 1:
            sounds = "".join(_private(s, language)[0] for s in character_syllables(word, language))
            found[sounds] = found.get(sounds, ()) + names
    return Finder(found)


def _concepts_heard(sounds: str, language: Language) -> set[str]:
    return {f"heard:{name}" for name in _concept_sounds(language)(sounds)}


def _grams(units: str, edge: str, weights: tuple[float, ...]) -> list[tuple[float, set[str]]]:
    padded = edge + units + edge
    out = [(weights[0], set(units))] if weights[0] else []
    for n, weight in enumerate(weights[1:], start=2):
        out.append((weight, {padded[i : i + n] for i in range(len(padded) - n + 1)}))
    return out


@functools.lru_cache(maxsize=4096)
def features(text: str, language: Language) -> tuple[tuple[float, set[str]], ...]:
    """Names of the features of a core text, by family, each family with its weight in the kernel.

    n-grams of characters, of toneless and of folded syllables; concepts by word and by sound. A
    name is the same in every process: a trained classifier may keep it.
    """
    read = zip(text, character_syllables(text, language), strict=True)
    sounds = [_private(s, language) if s else (char, char) for char, s in read]
    toneless = "".join([b for b, _ in sounds])
    return (
        *_grams(text, "^", _CHARACTERS),
        *_grams(toneless, "\U000f0000", _SYLLABLES),
        *_grams("".join([f for _, f in sounds]), "\U00100000", _FOLDED),
        (_CONCEPT, {f"concept:{name}" for name in concepts(text)}),
        (_CONCEPT_SOUND, _concepts_heard(toneless, language)),
    )


@functools.cache
def _vocabulary(language: Language) -> dict[str, int]:
    """Every feature that a phrase of this process ever had, with its column."""
    return {}


@functools.lru_cache(maxsize=65536)
def _interned(text: str, language: Language) -> tuple[Ints, Floats]:
    """Columns of a phrase's features and their family's weights; new features get new columns.

    Kept, so that an edit of the queues costs no more than the phrases that it changes.
    """
    known = _vocabulary(language)
    ids: list[int] = []
    weights: list[float] = []
    for weight, names in features(text, language):
        ids += [known.setdefault(name, len(known)) for name in sorted(names)]
        weights += [weight] * len(names)
    return np.array(ids, dtype=np.int32), np.array(weights, dtype=np.float32)


_CODE_BITS = 21  # as many as a character of Unicode has


@functools.lru_cache(maxsize=65536)
def _coded(text: str, language: Language) -> Ints:
    """The number of each character's syllable; kept, as :func:`_interned` keeps its features."""
    return table(language).codes(character_syllables(text, language))


class PhraseIndex:
    """The phrases of all classes as heard in one language."""

    def __init__(self, examples: Sequence[Example], language: Language) -> None:
        self.language = language
        self.labels = tuple(dict.fromkeys(e.label for e in examples))
        self._examples = tuple(examples)
        self._cores = [core(e.text) for e in examples]
        position = {label: k for k, label in enumerate(self.labels)}
        self._label = np.array([position[e.label] for e in examples], dtype=np.int32)
        self._weight = np.array([e.weight for e in examples], dtype=np.float32)
        self._index_features()
        self._fit_classes()
        self._index_sounds()

    # -- building ---------------------------------------------------------------------------------

    def _index_features(self) -> None:
        """``_matrix``: the phrases' vectors of length 1 as rows, (P, F), sparse."""
        rows = [_interned(c, self.language) for c in self._cores]
        self._feature = _vocabulary(self.language)
        size, total = len(self._feature), len(rows)
        feature = np.concatenate([ids for ids, _ in rows])
        family = np.concatenate([weights for _, weights in rows])
        start = np.cumsum([0, *(len(ids) for ids, _ in rows)])
        count = np.bincount(feature, minlength=size)
        rarity = np.log((total + 1) / (count + 0.5))
        self._unseen_idf = math.log((total + 1) / 0.5)
        self._feature_weight = np.zeros(size, dtype=np.float32)
        self._feature_weight[feature] = family * rarity[feature]
        value = self._feature_weight[feature]
        matrix = csr_matrix((value, feature, start), shape=(total, size), dtype=np.float32)
        self._size = size
        self._has = count > 0
        self._matrix = normalize(matrix, copy=False)
        # What is in every tenth phrase brings none nearer, and most of the work.
        rare = self._matrix.multiply(count <= max(2.0, _COMMON * total)).tocsr()
        rare.eliminate_zeros()
        self._columns = rare.T.tocsr()  # (F, P)

    def _fit_classes(self) -> None:
        """Weights of each feature for each class, ``(F, K)``."""
        targets = np.full((len(self._cores), len(self.labels)), -1.0, dtype=np.float32)
        targets[np.arange(len(self._cores)), self._label] = 1.0
        self._bias = targets.mean(axis=0).astype(np.float32)
        model = Ridge(alpha=_RIDGE, fit_intercept=False, solver="sparse_cg", tol=1e-3)
        model.fit(self._matrix, targets - self._bias, sample_weight=self._weight)
        self._class_weight = np.ascontiguousarray(model.coef_.T, dtype=np.float32)

    def _index_sounds(self) -> None:
        """Each phrase as symbols (a character with its syllable) and as rarities."""
        total = len(self._cores)
        starts = np.cumsum([len(c) for c in self._cores])[:-1]
        chars = np.frombuffer("".join(self._cores).encode("utf-32-le"), np.uint32).astype(np.int64)
        codes = np.concatenate([_coded(c, self.language) for c in self._cores])
        symbols, symbol = np.unique(chars << _CODE_BITS | (codes + 1), return_inverse=True)
        self._symbol_char = (symbols >> _CODE_BITS).astype(np.int32)
        self._symbol_code = (symbols & ((1 << _CODE_BITS) - 1)).astype(np.int32) - 1
        self._phrase_symbol = np.split(symbol.astype(np.int32), starts)
        self._sounds = table(self.language)
        owner = np.repeat(np.arange(total), [len(c) for c in self._cores])
        once = np.unique(owner << _CODE_BITS | chars) & ((1 << _CODE_BITS) - 1)
        letters, count = np.unique(once, return_counts=True)
        rarity = np.log((total + 1) / (count + 0.5)).astype(np.float32)
        self._rarity = dict(zip(map(chr, letters.tolist()), rarity.tolist(), strict=True))
        self._phrase_rarity = np.split(rarity[np.searchsorted(letters, chars)], starts)

    def _symbols(self, text: str, alphabet: dict[tuple[str, int], int]) -> Ints:
        codes = _coded(text, self.language)
        pairs = zip(text, codes.tolist(), strict=True)
        return np.array([alphabet.setdefault(p, len(alphabet)) for p in pairs], dtype=np.int32)

    # -- evidence ---------------------------------------------------------------------------------

    def evidence(self, hypotheses: Sequence[tuple[str, float]]) -> Evidence:
        """Evidence from hypotheses ``(core text, weight)``; weights sum to at most 1."""
        hypotheses = _likely(hypotheses)
        vectors = self._vectors([text for text, _ in hypotheses])
        weights = np.array([w for _, w in hypotheses], dtype=np.float32)
        ridge = _pool(vectors @ self._class_weight + self._bias, weights)
        cosine = _pool((vectors @ self._columns).toarray(), weights) * self._weight
        chosen = self._shortlist(cosine)
        first = hypotheses[:_ALIGNED]
        texts = [text[:_LONGEST] for text, _ in first]
        share = np.array([w for _, w in first], dtype=np.float32)
        share *= weights.sum() / max(float(share.sum()), 1e-6)
        scores = self._align(texts, chosen)
        scores["ratio"] = self._ratios(texts, chosen)
        pooled = {name: _pool(s, share) * self._weight[chosen] for name, s in scores.items()}
        pooled["cosine"] = cosine[chosen]
        return self._by_class(ridge, chosen, pooled)

    def _vectors(self, texts: Sequence[str]) -> csr_matrix:
        """Known features of texts, scaled by all that each text has: (H, F), sparse."""
        rows, scales = [], []
        for text in texts:
            families = features(text, self.language)
            names = itertools.chain.from_iterable(names for _, names in families)
            found = map(self._feature.get, names, itertools.repeat(-1))
            ids = np.fromiter(found, dtype=np.int32)
            # Later indexes may know more features, and others knew some before.
            ids[ids >= self._size] = -1
            known = self._has[ids] & (ids >= 0)
            per_name = [weight**2 for weight, names in families for _ in names]
            unknown = float(np.array(per_name, dtype=np.float32)[~known].sum())
            index = np.sort(ids[known])  # sorted: sets have no order
            value = self._feature_weight[index]
            norm = math.sqrt(float(value @ value) + _UNKNOWN * unknown * self._unseen_idf**2)
            rows.append(index)
            scales.append(value / np.float32(max(norm, 1e-6)))
        start = np.cumsum([0, *map(len, rows)])
        shape = (len(texts), self._size)
        return csr_matrix((np.concatenate(scales), np.concatenate(rows), start), shape=shape)

    def _shortlist(self, cosine: Floats) -> Ints:
        """The nearest phrase of every class and the six nearest of all."""
        first = np.argpartition(-cosine, min(_NEAREST, len(cosine) - 1))[:_NEAREST]
        first = np.sort(first)
        order = first[np.argsort(-cosine[first], kind="stable")]
        rank: Counter[int] = Counter()
        chosen: list[int] = []
        for position, phrase in enumerate(order.tolist()):
            label = int(self._label[phrase])
            if (position < 6 or rank[label] < 1) and cosine[phrase] > 0:
                chosen.append(phrase)
                rank[label] += 1
        return np.array(chosen, dtype=np.int32)

    def _ratios(self, texts: list[str], chosen: Ints) -> Floats:
        phrases = [self._cores[i] for i in chosen]
        whole = process.cdist(texts, phrases, scorer=fuzz.ratio, dtype=np.float32)
        part = process.cdist(texts, phrases, scorer=fuzz.partial_ratio, dtype=np.float32)
        short = np.minimum.outer([len(t) for t in texts], [len(p) for p in phrases])
        part *= np.minimum(1.0, short / 4.0)  # two characters found somewhere prove little
        return np.asarray((0.5 * whole + 0.5 * part) / 100.0, dtype=np.float32)

    def _align(self, texts: list[str], chosen: Ints) -> dict[str, Floats]:
        """Local alignment of every text with every chosen phrase, ``(H, len(chosen))`` each."""
        if not len(chosen):
            return {
                n: np.zeros((len(texts), 0), np.float32) for n in ("dice", "precision", "recall")
            }
        alphabet: dict[tuple[str, int], int] = {}
        rows = [self._symbols(t, alphabet) for t in texts]
        codes = np.array([code for _, code in alphabet], dtype=np.int32)
        chars = np.array([ord(char) for char, _ in alphabet], dtype=np.int32)
        columns = [self._phrase_symbol[i] for i in chosen]
        used, packed = np.unique(np.concatenate(columns), return_inverse=True)
        alike = self._similarity(codes, chars, used)
        phrase, phrase_weight = _padded(
            columns, packed.astype(np.int32), [self._phrase_rarity[i] for i in chosen]
        )
        unseen = self._unseen_idf
        rarity = [
            np.array([self._rarity.get(c, unseen) for c in t], dtype=np.float32) for t in texts
        ]
        text, text_weight = _padded(rows, np.concatenate(rows), rarity)
        best = _smith_waterman(alike, text, text_weight, phrase, phrase_weight)
        of_text = text_weight.sum(axis=1)[:, None]
        of_phrase = phrase_weight.sum(axis=1)[None, :]
        return {
            "dice": 2 * best / (of_text + of_phrase),
            "precision": np.minimum(1.0, best / of_text),
            "recall": np.minimum(1.0, best / of_phrase),
        }

    def _similarity(self, codes: Ints, chars: Ints, symbols: npt.NDArray[np.int32]) -> Floats:
        """Likeness of utterances' symbols to phrases' in [-1, 1]; last row and column pad."""
        apart = self._sounds.distances(codes, self._symbol_code[symbols])
        alike = np.maximum(1.0 - apart / _FAR, -1.0)
        alike *= 0.9  # a homophone is a little less than the character itself
        alike[chars[:, None] == self._symbol_char[symbols]] = 1.0
        out = np.full((alike.shape[0] + 1, alike.shape[1] + 1), -1.0, dtype=np.float32)
        out[:-1, :-1] = alike
        return out

    def _by_class(self, ridge: Floats, chosen: Ints, scores: dict[str, Floats]) -> Evidence:
        """The best phrase of each class, by alignment and overlap together."""
        size = len(self.labels)
        merit = scores["dice"] + scores["cosine"] + scores["ratio"]
        nearest = np.full(size, -1, dtype=np.int32)
        for position in np.argsort(merit, kind="stable"):
            nearest[self._label[chosen[position]]] = position
        found = nearest >= 0
        columns = {}
        for name, score in scores.items():
            column = np.zeros(size, dtype=np.float32)
            column[found] = score[nearest[found]]
            columns[name] = column
        phrase = tuple(self._examples[chosen[n]].text if n >= 0 else "" for n in nearest)
        return Evidence(ridge=ridge, phrase=phrase, **columns)


def _likely(hypotheses: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The likeliest hypotheses first, those that hold nearly all of the weight."""
    ranked = sorted(hypotheses, key=lambda h: -h[1])
    total, kept = sum(w for _, w in ranked), 0.0
    for n, (_, weight) in enumerate(ranked):
        if n and (kept >= _COVERED * total or n == _MOST_HYPOTHESES):
            return ranked[:n]
        kept += weight
    return ranked


def _pool(scores: Floats, weights: Floats) -> Floats:
    """One score from those of the hypotheses (first axis): their mean, drawn towards the best."""
    mean = weights @ scores
    return np.asarray(0.7 * mean + 0.3 * scores.max(axis=0), dtype=np.float32)


def _padded(
    rows: list[Ints], packed: npt.NDArray[np.int32], weights: list[Floats]
) -> tuple[Ints, Floats]:
    """Rows of unequal length as one array, padded with -1 and weight 0."""
    longest = max(map(len, rows))
    symbols = np.full((len(rows), longest), -1, dtype=np.int32)
    weight = np.zeros((len(rows), longest), dtype=np.float32)
    at = 0
    for r, row in enumerate(rows):
        symbols[r, : len(row)] = packed[at : at + len(row)]
        weight[r, : len(row)] = weights[r]
        at += len(row)
    return symbols, weight


def _smith_waterman(
    alike: Floats, text: Ints, text_weight: Floats, phrase: Ints, phrase_weight: Floats
) -> Floats:
    """Best local alignment score of each text (H, N) with each phrase (P, M): shape (H, P).

    A pair scores its likeness times the mean of both weights, a gap costs ``_GAP`` times the
    weight left out. A row of the table is computed at once: the gaps along the phrase are a
    running maximum after the gap costs are taken out.
    """
    gap = np.float32(_GAP) * np.cumsum(phrase_weight, axis=1)  # (P, M)
    paired = alike[text][:, :, phrase]  # (H, N, P, M)
    paired *= 0.5 * phrase_weight + 0.5 * text_weight[:, :, None, None]
    skipped = np.float32(_GAP) * text_weight[:, :, None, None]
    previous = np.zeros((len(text), *phrase.shape), dtype=np.float32)
    best = previous.copy()
    for i in range(text.shape[1]):
        row = paired[:, i]
        row[:, :, 1:] += previous[:, :, :-1]
        previous -= skipped[:, i]
        np.maximum(row, previous, out=row)
        np.maximum(row, 0.0, out=row)
        row += gap
        np.maximum.accumulate(row, axis=2, out=row)
        row -= gap
        np.maximum(best, row, out=best)
        previous = row.copy()
    return np.asarray(best.max(axis=2), dtype=np.float32)
