r"""The landscape of a study: search at every width, embeddings from each width to the next, descents from every saddle.

The order is fixed and every random draw comes from the seed, so that the same seed gives the same graph.  New critical
points met at the end of a descent are entered like found ones; their embeddings and descents follow, until nothing new
appears.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.critical import polish
from numerics.splitting_law import curvature
from workbench.alignment import copies_near
from workbench.barriers import FOUND_BY, Bridge, bridges, due
from workbench.catalogue import Catalogue, Key, spectrum_of
from workbench.connections import MOST_DRAWN, PER_DIMENSION, Departure, Descent, departures, descend, sampled
from workbench.descent_records import gathered
from workbench.embedding_checks import EmbeddedPoint, embed_null, embed_split
from workbench.entries import Embedding, Exploration, Findings, Node, records
from workbench.network import SAME_NEURON, Architecture
from workbench.progress import Progress, Silent
from workbench.search import Remember, Supplement, anew, search_width

__all__ = ["Exploration", "Settings", "explore"]

#: Singular values of V below this fraction of 1 + max |x| count as zero: criticality holds to 1e-12.
RANK_TOLERANCE = 1e-8
#: Two sides of a saddle are images of each other if they agree to this fraction of the first step.
MIRROR = 1e-8

#: Descents may enter new points, whose descents follow; after so many rounds the exploration stops in any case.
MOST_TURNS = 50

Symmetry = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Settings:
    """What is explored: widths (increasing), starts per width, seed; ``connect`` adds embeddings and descents.

    With an ``index`` the search follows eigenvectors to saddles of that index from every second start.
    """

    widths: tuple[int, ...]
    starts: int
    seed: int
    connect: bool = True
    index: int | None = None


@dataclass
class _Explorer:
    shape: Architecture
    system_of: Callable[[int], CompiledSystem]
    settings: Settings
    merges: bool
    progress: Progress
    remember: Remember
    supplement: Supplement | None = None
    nodes: dict[Key, Node] = field(default_factory=dict)
    embeddings: list[Embedding] = field(default_factory=list)
    descents: list[tuple[Key, Key | None, Descent]] = field(default_factory=list)
    bridges: list[Bridge] = field(default_factory=list)
    bridged: set[tuple[Key, Key]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.catalogue = Catalogue(self.shape, self.system_of, merges=self.merges)
        self.draw = torch.Generator().manual_seed(self.settings.seed)

    def run(self) -> Exploration:
        searches, share = [], 0.25 if self.settings.connect else 1.0
        for width in self.settings.widths:
            title = f"searching critical points of width {width}"
            with self.progress.stage(title, share / len(self.settings.widths)) as update:
                count, seed = self.settings.starts, self.settings.seed
                index = self.settings.index
                searches.append(
                    search_width(self.catalogue, width, count, seed, update, self.remember, index)
                )
        self._supplemented()
        for key in list(self.catalogue.found):
            self._node(key, "search")
        self._enter_irreducible()
        if self.settings.connect:
            for turn in range(MOST_TURNS):
                self._embed()
                new = self._descend((1 - share) * (0.8 if turn == 0 else 0.2 * 0.5**turn))
                if not new and not self._bridge((1 - share) * 0.01):
                    break
                self._supplemented()
                self._enter_irreducible()
        return records(
            Findings(
                self.shape,
                self.merges,
                self.catalogue,
                self.nodes,
                self.embeddings,
                self.descents,
                tuple(searches),
                tuple(getattr(self.supplement, "symmetries", ())),
                tuple(self.bridges),
            ),
            self.system_of,
        )

    def _supplemented(self) -> None:
        """Enter what follows from the points found, or is found beside them, at every width that has some."""
        if self.supplement is None:
            return
        for width in sorted({*self.settings.widths, *(p.width for p in self.catalogue.points)} - {0}):
            system = self.system_of(width)
            known = [
                self.catalogue.flat(system, p.network) for p in self.catalogue.points if p.width == width
            ]
            for theta, found_by in self.supplement(system, width, known):
                self.catalogue.place(polish(system, theta, steps=12)[0], width, found_by)

    def _enter_irreducible(self) -> None:
        for key in self.catalogue.irreducible():
            self._node(key, key.origin.found_by)

    # -- nodes ----------------------------------------------------------------------------------------------------

    def _node(self, key: Key, found_by: str) -> Node:
        if key not in self.nodes:
            theta = self._representative(key)
            value, size, found = spectrum_of(self.catalogue, key, theta)
            self.nodes[key] = Node(key, theta, value, size, found, found_by, self._dimension(key, theta))
        return self.nodes[key]

    def _representative(self, key: Key) -> Tensor:
        if key.width == 0:
            c = key.origin.network.c
            return torch.zeros(0, dtype=torch.float64) if c is None else torch.as_tensor(c)
        bias = self.null_bias
        if bias is None:
            return self.catalogue.theta(key, None)
        null = np.zeros(self.shape.inputs)
        null[self.shape.d :] = bias
        return self.catalogue.theta(key, null)

    @property
    def null_bias(self) -> float | None:
        """Bias of an admissible null neuron: 0 with an output bias or where sigma(0) = 0, else none is taken."""
        if not self.merges:
            return None
        return 0.0 if self.shape.output_bias or self.shape.activation.value_at_zero == 0 else None

    def _dimension(self, key: Key, theta: Tensor) -> int:
        r"""Dimension of the tangent space of the stratum.

        The copies of a neuron may share its output weights in any way that keeps their sum and stays in ker V, which
        gives (copies - 1)(q - rank V).  A dead neuron moves in :math:`\{\tilde w : \phi(\tilde w) = 0\}`, of dimension
        :math:`\tilde d - \operatorname{rank} V`; one without input weights may in addition take output weights in ker V
        if there is an output bias to compensate it, or if it is silent.
        """
        if key.width == 0 or key.trivial:
            return 0
        total, position = 0, 0
        ranks = [self._rank(v) for v, _ in curvature(self.system_of(key.width), theta)]
        for count in key.copies:
            total += (count - 1) * (self.shape.q - ranks[position])
            position += count
        blocks = self.system_of(key.width).unpack(theta)
        for k in range(position, key.width):
            inputs, outputs = self.shape.inputs - ranks[k], self.shape.q - ranks[k]
            if float(blocks["w"][k].abs().max()) > SAME_NEURON:
                total += inputs
            elif ranks[k] == 0:
                # The two alternatives, moving inputs with a = 0 and moving outputs with w = 0, only cross here.
                total += max(inputs, outputs)
            else:
                total += inputs + outputs
        return total

    def _rank(self, v: Tensor) -> int:
        return int((torch.linalg.svdvals(v) > RANK_TOLERANCE * (1 + self.scale)).sum())

    @property
    def scale(self) -> float:
        """Size of the inputs, against which a singular value of V is small."""
        return float(self.system_of(1).x.abs().max())

    # -- embeddings -----------------------------------------------------------------------------------------------

    def _embed(self) -> None:
        if not self.merges:
            return
        done = {(source, target, neuron) for source, target, _, neuron, _, _ in self.embeddings}
        for wide in self.settings.widths:
            # A point of a width that is not listed, found inside a wider network, is embedded like the others.
            below = max((width for width in self.settings.widths if width < wide), default=0)
            for key in [k for k in self.nodes if below <= k.width < wide]:
                self._embed_one(key, wide, done)

    def _embed_one(self, key: Key, wide: int, done: set[tuple[Key, Key, int | None]]) -> None:
        gap, theta = wide - key.width, self.nodes[key].theta
        for more, silent in self._ways(len(key.copies), gap):
            copies = tuple(c + extra for c, extra in zip(key.copies, more, strict=True))
            target = Key(key.origin, key.serial, copies, key.dead + silent)
            grown = [group for group, extra in enumerate(more) if extra]
            # The first copy of the neuron that is split; None where there are several, or none.
            neuron = sum(key.copies[: grown[0]]) if len(grown) == 1 else None
            if (key, target, neuron) in done:
                continue
            if key.dead and self.null_bias is None:
                self.catalogue.silent.setdefault(target, self.catalogue.silent[key])
            self._node(target, "embedding")
            kind, alpha = ("splitting", 1 / (gap + 1)) if grown else ("null", self.null_bias or 0.0)
            point = self._plain(target)
            if gap == 1 and key.width:
                narrow, system = self.system_of(key.width), self.system_of(wide)
                if neuron is not None:
                    point = embed_split(narrow, system, theta, neuron, alpha)
                else:
                    point = embed_null(narrow, system, theta, alpha, self.shape.sigma(alpha))
            self.embeddings.append(Embedding(key, target, kind, neuron, alpha, point))

    def _ways(self, groups: int, gap: int) -> list[tuple[tuple[int, ...], int]]:
        """Return the ways to add neurons: further copies of each neuron, and null neurons where there are admissible ones."""
        every = product(range(gap + 1), repeat=groups)
        ways = [(more, gap - sum(more)) for more in every if sum(more) <= gap]
        return [
            way
            for way in sorted(ways, key=lambda way: (way[1], [-n for n in way[0]]))
            if not way[1] or self.null_bias is not None
        ]

    def _plain(self, target: Key) -> EmbeddedPoint:
        """Return the check of an embedding over several widths, or from width 0: only the wide point is measured."""
        node = self.nodes[target]
        wide = self.system_of(target.width)
        change = abs(float(wide.value(node.theta)) - node.key.origin.value)
        return EmbeddedPoint(
            node.theta, change, node.gradient_norm, 0.0, node.spectrum.inertia, None, node.spectrum.clear
        )

    # -- descents -------------------------------------------------------------------------------------------------

    def _descend(self, weight: float) -> bool:
        """Follow the descents that are due; return whether anything new was entered."""
        before = len(self.nodes)
        for width in self.settings.widths:
            due = [node for key, node in self.nodes.items() if key.width == width and not node.left]
            starts: list[Departure] = []
            spaces = [node.spectrum.inertia.negative for node in due]
            few = PER_DIMENSION * sum(count for count in spaces if count > 1) <= MOST_DRAWN
            for position, node in enumerate(due):
                node.left = True
                starts += departures(position, node.theta, node.spectrum)
                starts += sampled(position, node.theta, node.spectrum, self.draw) if few else []
            followed, mirrors = self._mirrored(due, starts, width)
            if not starts:
                continue
            title = f"following {len(followed)} descents of width {width}"
            with self.progress.stage(title, weight * width / sum(self.settings.widths)) as update:
                descents = descend(self.system_of(width), followed, update, self.remember)
            self.descents += gathered(
                [
                    self._arrive(
                        due[start.node].key,
                        replace(self._image(descents[position], symmetry), departure=start),
                    )
                    for start, (position, symmetry) in zip(starts, mirrors, strict=True)
                ]
            )
        return len(self.nodes) > before

    def _arrive(self, source: Key, descent: Descent) -> tuple[Key, Key | None, Descent]:
        target = None
        if descent.outcome == "arrived":
            target = self.catalogue.place(descent.theta, source.width, "descent")
            if target is not None:
                self._node(target, "descent")
                self._node(Key(target.origin, target.serial, (1,) * target.origin.width, 0), "descent")
        if target is not None and target.trivial and target.width:
            system = self.system_of(source.width)
            there = self.catalogue.network(system, self.nodes[target].theta)
            here = self.catalogue.network(system, descent.stopped)
            descent = replace(descent, away=copies_near(there, here, self.shape)[0].distance)
        return source, target, descent

    def _bridge(self, weight: float) -> bool:
        """Relax strings between minima that none joins yet; return whether anything new was entered."""
        before = len(self.nodes)
        for width in self.settings.widths:
            minima = [
                (key, node.theta, node.value)
                for key, node in self.nodes.items()
                if key.width == width and key.trivial and node.spectrum.inertia.positive == len(node.theta)
            ]
            if not due(minima, self.bridged):
                continue
            with self.progress.stage(f"relaxing strings between minima of width {width}", weight) as update:
                new = bridges(self.catalogue, width, minima, self.bridged, update, self.remember)
            self.bridges += new
            for key in (key for bridge in new for key in bridge.tops):
                self._node(key, FOUND_BY)
        self._enter_irreducible()
        return len(self.nodes) > before

    def _mirrored(
        self, due: list[Node], starts: list[Departure], width: int
    ) -> tuple[list[Departure], list[tuple[int, Symmetry | None]]]:
        """Return the starts to follow, and for every start which of them it is, up to which symmetry.

        Where a symmetry fixes the saddle and turns the eigenvector u into -u, the two sides are images of each other:
        the flow commutes with the symmetry, so one of them is integrated and the other one mapped.
        """
        followed: list[Departure] = []
        where: list[tuple[int, Symmetry | None]] = []
        for start in starts:
            symmetry = None
            if start.sign < 0:  # its other side is the start before it
                symmetry = self._turns(due[start.node].theta, start.theta, followed[-1].theta, width)
            if symmetry is None:
                followed.append(start)
            where.append((len(followed) - 1, symmetry))
        return followed, where

    def _turns(self, theta: Tensor, below: Tensor, above: Tensor, width: int) -> Symmetry | None:
        system = self.system_of(width)
        net = self.catalogue.network(system, theta)
        for symmetry in net.stabilisers(self.shape):
            image = self.catalogue.flat(
                system, self.catalogue.network(system, above).moved(symmetry, self.shape)
            )
            if float((image - below).norm()) <= MIRROR * float((above - theta).norm()):
                return symmetry
        return None

    def _image(self, descent: Descent, symmetry: Symmetry | None) -> Descent:
        if symmetry is None:
            return descent
        system = self.system_of(len(symmetry[0]))
        theta, stopped = (
            self.catalogue.flat(system, self.catalogue.network(system, u).moved(symmetry, self.shape))
            for u in (descent.theta, descent.stopped)
        )
        return replace(descent, theta=theta, stopped=stopped)


def explore(
    shape: Architecture,
    system_of: Callable[[int], CompiledSystem],
    settings: Settings,
    *,
    merges: bool = True,
    progress: Progress | None = None,
    remember: Remember = anew,
    supplement: Supplement | None = None,
) -> Exploration:
    """Explore the landscape of a two-layer network.

    Parameters
    ----------
    shape : Architecture
        What keeps its function.
    system_of : callable
        Compiled system of a width, the same object each time.
    settings : Settings
        Widths, starts, seed.
    merges : bool
        False with weight decay: embeddings are then no critical embeddings, and none are drawn.
    progress : Progress, optional
        Told what is being done.
    remember : callable
        Returns the result of a finished stage, from a store or by computing it; see ``search_width``.
    supplement : callable, optional
        Given the system, a width and its irreducible points found so far, further critical points (P,), each with how it was found.
    """
    return _Explorer(shape, system_of, settings, merges, progress or Silent(), remember, supplement).run()
