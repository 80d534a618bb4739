r"""The works that results, data and programs come from; a report cites those it has used.

A claim carries a key in ``source``, a derivation says ``\cite{key}``; :func:`used` makes the list.

>>> [key for key, _ in used(["kunin2021", "du2018", "kunin2021"])]
['kunin2021', 'du2018']
>>> REFERENCES["du2018"].text()[:31]
'Simon S. Du, Wei Hu, Jason D. L'
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from derivations.errors import nearest

__all__ = ["REFERENCES", "Reference", "used"]


@dataclass(frozen=True)
class Reference:
    """One work, in plain Unicode text.

    Attributes
    ----------
    authors : tuple of str
        Given name first; a single entry may be a group.
    title, venue : str
        Venue with volume and pages.
    year : int
        Of the venue.
    arxiv, doi : str
        Identifiers without prefix, or empty.
    """

    authors: tuple[str, ...]
    title: str
    venue: str
    year: int
    arxiv: str = ""
    doi: str = ""

    def text(self) -> str:
        """Return authors, title, venue and year as one line without identifiers."""
        return f"{', '.join(self.authors).removesuffix('.')}. {self.title}. {self.venue}, {self.year}."

    def identifiers(self) -> tuple[tuple[str, str], ...]:
        """Return what to show and where it leads, for each identifier."""
        arxiv = ((f"arXiv:{self.arxiv}", f"https://arxiv.org/abs/{self.arxiv}"),) if self.arxiv else ()
        return arxiv + (((f"doi:{self.doi}", f"https://doi.org/{self.doi}"),) if self.doi else ())


REFERENCES: dict[str, Reference] = {
    # Results.
    "lyu2020margin": Reference(
        ("Kaifeng Lyu", "Jian Li"),
        "Gradient descent maximizes the margin of homogeneous neural networks",
        "International Conference on Learning Representations",
        2020,
        arxiv="1906.05890",
    ),
    "kumar2024": Reference(
        ("Akshay Kumar", "Jarvis Haupt"),
        "Directional convergence near small initializations and saddles in two-homogeneous neural networks",
        "Transactions on Machine Learning Research",
        2024,
        arxiv="2402.09226",
    ),
    "kumar2024deep": Reference(
        ("Akshay Kumar", "Jarvis Haupt"),
        "Early directional convergence in deep homogeneous neural networks for small initializations",
        "arXiv preprint",
        2024,
        arxiv="2403.08121",
    ),
    "kumar2025pursuit": Reference(
        ("Akshay Kumar", "Jarvis Haupt"),
        "Learning neural networks by neuron pursuit",
        "arXiv preprint",
        2025,
        arxiv="2509.12154",
    ),
    "lyu2021simplicity": Reference(
        ("Kaifeng Lyu", "Zhiyuan Li", "Runzhe Wang", "Sanjeev Arora"),
        "Gradient descent on two-layer nets: margin maximization and simplicity bias",
        "Advances in Neural Information Processing Systems 34",
        2021,
        arxiv="2110.13905",
    ),
    "ji2020directional": Reference(
        ("Ziwei Ji", "Matus Telgarsky"),
        "Directional convergence and alignment in deep learning",
        "Advances in Neural Information Processing Systems 33",
        2020,
        arxiv="2006.06657",
    ),
    "neal1996": Reference(
        ("Radford M. Neal",),
        "Bayesian learning for neural networks",
        "Lecture Notes in Statistics 118, Springer",
        1996,
        doi="10.1007/978-1-4612-0745-0",
    ),
    "lee2018": Reference(
        (
            "Jaehoon Lee", "Yasaman Bahri", "Roman Novak", "Samuel S. Schoenholz", "Jeffrey Pennington",
            "Jascha Sohl-Dickstein",
        ),
        "Deep neural networks as Gaussian processes",
        "International Conference on Learning Representations",
        2018,
        arxiv="1711.00165",
    ),
    "jacot2018": Reference(
        ("Arthur Jacot", "Franck Gabriel", "Clément Hongler"),
        "Neural tangent kernel: convergence and generalization in neural networks",
        "Advances in Neural Information Processing Systems 31",
        2018,
        arxiv="1806.07572",
    ),
    "cheridito2022landscape": Reference(
        ("Patrick Cheridito", "Arnulf Jentzen", "Florian Rossmannek"),
        "Landscape analysis for shallow neural networks: complete classification of critical points for affine target"
        " functions",
        "Journal of Nonlinear Science 32, 64",
        2022,
        doi="10.1007/s00332-022-09823-8",
        arxiv="2103.10922",
    ),
    "cheridito2022escape": Reference(
        ("Patrick Cheridito", "Arnulf Jentzen", "Florian Rossmannek"),
        "Gradient descent provably escapes saddle points in the training of shallow ReLU networks",
        "Preprint",
        2022,
        arxiv="2208.02083",
    ),
    "zhang2021embedding": Reference(
        ("Yaoyu Zhang", "Zhongwang Zhang", "Tao Luo", "Zhi-Qin John Xu"),
        "Embedding principle of loss landscape of deep neural networks",
        "Advances in Neural Information Processing Systems 34",
        2021,
        arxiv="2105.14573",
    ),
    "zhang2022hierarchical": Reference(
        ("Yaoyu Zhang", "Yuqing Li", "Zhongwang Zhang", "Tao Luo", "Zhi-Qin John Xu"),
        "Embedding principle: a hierarchical structure of loss landscape of deep neural networks",
        "Journal of Machine Learning 1(1), 60–113",
        2022,
        arxiv="2111.15527",
        doi="10.4208/jml.220108",
    ),
    "bai2022depth": Reference(
        ("Zhiwei Bai", "Tao Luo", "Zhi-Qin John Xu", "Yaoyu Zhang"),
        "Embedding principle in depth for the loss landscape analysis of deep neural networks",
        "Preprint",
        2022,
        arxiv="2205.13283",
    ),
    "zhang2024saddle": Reference(
        ("Leyang Zhang", "Yaoyu Zhang", "Tao Luo"),
        "Geometry of critical sets and existence of saddle branches for two-layer neural networks",
        "Preprint",
        2024,
        arxiv="2405.17501",
    ),
    "zhang2025lifting": Reference(
        ("Leyang Zhang", "Yaoyu Zhang", "Tao Luo"),
        "Sample-independent critical lifting",
        "Preprint",
        2025,
        arxiv="2505.13582",
    ),
    "zhang2024local": Reference(
        ("Leyang Zhang", "Yaoyu Zhang", "Tao Luo"),
        "Geometry and local recovery of global minima of two-layer neural networks at overparameterization",
        "Preprint",
        2024,
        arxiv="2309.00508",
    ),
    "zhang2022linear": Reference(
        ("Yaoyu Zhang", "Zhongwang Zhang", "Leyang Zhang", "Zhiwei Bai", "Tao Luo", "Zhi-Qin John Xu"),
        "Linear stability hypothesis and rank stratification for nonlinear models",
        "Preprint",
        2022,
        arxiv="2211.11623",
    ),
    "simsek2021": Reference(
        (
            "Berfin Şimşek", "François Ged", "Arthur Jacot", "Francesco Spadaro", "Clément Hongler",
            "Wulfram Gerstner", "Johanni Brea",
        ),
        "Geometry of the loss landscape in overparameterized neural networks: symmetries and invariances",
        "International Conference on Machine Learning, PMLR 139, 9722–9732",
        2021,
        arxiv="2105.12221",
    ),
    "kunin2021": Reference(
        ("Daniel Kunin", "Javier Sagastuy-Brena", "Surya Ganguli", "Daniel L. K. Yamins", "Hidenori Tanaka"),
        "Neural mechanics: symmetry and broken conservation laws in deep learning dynamics",
        "International Conference on Learning Representations",
        2021,
        arxiv="2012.04728",
    ),
    "du2018": Reference(
        ("Simon S. Du", "Wei Hu", "Jason D. Lee"),
        "Algorithmic regularization in learning deep homogeneous models: layers are automatically balanced",
        "Advances in Neural Information Processing Systems 31",
        2018,
        arxiv="1806.00900",
    ),
    "sussmann1992": Reference(
        ("Héctor J. Sussmann",),
        "Uniqueness of the weights for minimal feedforward nets with a given input-output map",
        "Neural Networks 5(4), 589–593",
        1992,
        doi="10.1016/S0893-6080(05)80037-1",
    ),
    "fefferman1993": Reference(
        ("Charles Fefferman", "Scott Markel"),
        "Recovering a feed-forward net from its output",
        "Advances in Neural Information Processing Systems 6",
        1993,
    ),
    "woodworth2020": Reference(
        (
            "Blake Woodworth", "Suriya Gunasekar", "Jason D. Lee", "Edward Moroshko", "Pedro Savarese", "Itay Golan",
            "Daniel Soudry", "Nathan Srebro",
        ),
        "Kernel and rich regimes in overparametrized models",
        "Conference on Learning Theory, PMLR 125, 3635–3673",
        2020,
        arxiv="2002.09277",
    ),
    "marcotte2023": Reference(
        ("Sibylle Marcotte", "Rémi Gribonval", "Gabriel Peyré"),
        "Abide by the law and follow the flow: conservation laws for gradient flows",
        "Advances in Neural Information Processing Systems 36",
        2023,
        arxiv="2307.00144",
    ),
    # Data.
    "fisher1936iris": Reference(
        ("R. A. Fisher",),
        "The use of multiple measurements in taxonomic problems",
        "Annals of Eugenics 7(2), 179–188",
        1936,
        doi="10.1111/j.1469-1809.1936.tb02137.x",
    ),
    "uci_iris": Reference(
        ("R. A. Fisher",),
        "Iris",
        "UCI Machine Learning Repository, licence CC BY 4.0",
        1988,
        doi="10.24432/C56C76",
    ),
    # Methods.
    "dormand1980": Reference(
        ("J. R. Dormand", "P. J. Prince"),
        "A family of embedded Runge–Kutta formulae",
        "Journal of Computational and Applied Mathematics 6(1), 19–26",
        1980,
        doi="10.1016/0771-050X(80)90013-3",
    ),
    "hairer1996": Reference(
        ("Ernst Hairer", "Gerhard Wanner"),
        "Solving ordinary differential equations II: stiff and differential-algebraic problems",
        "2nd edition, Springer",
        1996,
        doi="10.1007/978-3-642-05221-7",
    ),
    # Programs.
    "sympy2017": Reference(
        ("Aaron Meurer et al.",),
        "SymPy: symbolic computing in Python",
        "PeerJ Computer Science 3, e103",
        2017,
        doi="10.7717/peerj-cs.103",
    ),
    "pytorch2019": Reference(
        ("Adam Paszke et al.",),
        "PyTorch: an imperative style, high-performance deep learning library",
        "Advances in Neural Information Processing Systems 32",
        2019,
        arxiv="1912.01703",
    ),
    "networkx2008": Reference(
        ("Aric A. Hagberg", "Daniel A. Schult", "Pieter J. Swart"),
        "Exploring network structure, dynamics, and function using NetworkX",
        "Proceedings of the 7th Python in Science Conference, 11–15",
        2008,
    ),
    "matplotlib2007": Reference(
        ("John D. Hunter",),
        "Matplotlib: a 2D graphics environment",
        "Computing in Science & Engineering 9(3), 90–95",
        2007,
        doi="10.1109/MCSE.2007.55",
    ),
}  # fmt: skip


def used(keys: Iterable[str]) -> list[tuple[str, Reference]]:
    """Return the works behind some keys, each once, in the order of first use.

    Raises
    ------
    ValueError
        If a key is unknown.
    """
    works: dict[str, Reference] = {}
    for key in keys:
        if key not in REFERENCES:
            hint = nearest(key, REFERENCES)
            raise ValueError(f"no work is known as {key!r}{hint} Known: {', '.join(REFERENCES)}")
        works.setdefault(key, REFERENCES[key])
    return list(works.items())
