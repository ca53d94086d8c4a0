"""LaTeX formulas to MathML: the subset that the descriptions of architectures are written in.

One source for both forms: HTML shows the MathML, which browsers draw without a script or a font of ours; Markdown
shows the LaTeX. The subset leaves out a backslash before punctuation and the signs < > | `, which Markdown would read
as its own: write `\\lt`, `\\gt`, `\\vert`, `\\lbrace`, `\\quad`.
"""

import functools
import html
import re
from collections.abc import Iterator

LETTERS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "zeta": "ζ", "eta": "η", "theta": "θ",
    "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ",
    "phi": "ϕ", "chi": "χ", "psi": "ψ", "omega": "ω", "ell": "ℓ",
    "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ",
    "Omega": "Ω",
}  # fmt: skip
OPERATORS = {
    "cdot": "⋅", "times": "×", "odot": "⊙", "ast": "∗", "star": "⋆", "circ": "∘", "pm": "±", "le": "≤", "ge": "≥",
    "lt": "<", "gt": ">", "ne": "≠", "approx": "≈", "sim": "∼", "in": "∈", "to": "→", "leftarrow": "←", "infty": "∞",
    "ldots": "…", "cdots": "⋯", "top": "⊤", "vert": "|", "Vert": "‖", "lbrace": "{", "rbrace": "}", "lfloor": "⌊",
    "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "prime": "′",
}  # fmt: skip
FENCES = {"(", ")", "[", "]", *(OPERATORS[name] for name in ("vert", "Vert", "lbrace", "rbrace"))}
FENCES |= {OPERATORS[name] for name in ("lfloor", "rfloor", "lceil", "rceil")}
BARS = {OPERATORS["vert"], OPERATORS["Vert"]}
FUNCTIONS = {"exp", "log", "max", "min", "sin", "cos", "arg"}
ACCENTS = {"bar": "¯", "tilde": "˜", "hat": "ˆ"}
SPACES = {"quad": "1em", "qquad": "2em"}
SUM = "∑"

_TOKEN = re.compile(r"\\[A-Za-z]+|\d+(?:\.\d+)?|[A-Za-z{}^_=+\-*/()\[\],;:.!']|\s+")
_TEXT = re.compile(r"\{([A-Za-z0-9 ,.;:()'/+-]*)\}")


class FormulaError(ValueError):
    """A formula is outside the subset; the message names it and the place in it."""


@functools.cache
def mathml(latex: str, display: bool = False) -> str:
    """A formula as a `math` element, its LaTeX kept as an annotation; raises FormulaError."""
    row = "".join(_Parser(latex).row(""))
    style = ' displaystyle="true"' if display else ""
    source = html.escape(latex, quote=False)
    note = f'<annotation encoding="application/x-tex">{source}</annotation>'
    return f"<math{style}><semantics><mrow>{row}</mrow>{note}</semantics></math>"


def names(latex: str) -> frozenset[str]:
    """The letters, accented letters and words that a formula uses as names, as LaTeX; raises FormulaError."""
    parser = _Parser(latex)
    parser.row("")
    return frozenset(parser.names)


class _Parser:
    """Recursive descent over the tokens of one formula."""

    def __init__(self, latex: str):
        self.latex, self.at = latex, 0
        self.names: list[str] = []

    def fail(self, what: str) -> FormulaError:
        return FormulaError(f"{what} at character {self.at} of the formula {self.latex!r}")

    def peek(self) -> str:
        """The next token, spaces left out; empty at the end."""
        while True:
            if self.at >= len(self.latex):
                return ""
            found = _TOKEN.match(self.latex, self.at)
            if not found:
                raise self.fail(f"{self.latex[self.at : self.at + 2]!r} is not in the subset")
            if not found[0].isspace():
                return found[0]
            self.at = found.end()

    def take(self) -> str:
        token = self.peek()
        self.at += len(token)
        return token

    def row(self, end: str) -> Iterator[str]:
        """Atoms with their scripts up to the token `end`, which is taken."""
        found: list[str] = []
        while (token := self.peek()) != end:
            if not token:
                raise self.fail(f"{end!r} is missing")
            found.append(self.scripted())
        self.take()
        return iter(found)

    def group(self) -> str:
        """A braced group, or one atom, as one element."""
        if self.peek() != "{":
            return self.atom()
        self.take()
        return f"<mrow>{''.join(self.row('}'))}</mrow>"

    def text(self) -> str:
        """The words of a braced text."""
        self.peek()
        found = _TEXT.match(self.latex, self.at)
        if not found:
            raise self.fail("braced words are missing")
        self.at = found.end()
        return found[1]

    def scripted(self) -> str:
        """An atom with what stands below and above it."""
        base = self.atom()
        large = base == f"<mo>{SUM}</mo>"
        below = above = ""
        while (token := self.peek()) in ("_", "^", "'"):
            self.take()
            if token == "_" and not below:
                below = self.group()
            elif token == "^" and not above:
                above = self.group()
            elif token == "'" and not above:
                above = "<mo>′</mo>"
            else:
                raise self.fail("a second script of one atom")
        tag = ("munder", "mover", "munderover") if large else ("msub", "msup", "msubsup")
        if below and above:
            return f"<{tag[2]}>{base}{below}{above}</{tag[2]}>"
        if below or above:
            name = tag[0] if below else tag[1]
            return f"<{name}>{base}{below}{above}</{name}>"
        return base

    def atom(self) -> str:
        token = self.take()
        if not token or token in ("}", "^", "_", "'"):
            raise self.fail(f"{token or 'the end'!r} where an atom is expected")
        if token == "{":
            return f"<mrow>{''.join(self.row('}'))}</mrow>"
        if token.startswith("\\"):
            return self.command(token[1:])
        if token.isalpha():
            self.names.append(token)
            return f"<mi>{token}</mi>"
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        return _operator({"-": "−", "*": "∗"}.get(token, token))

    def command(self, name: str) -> str:
        if name in LETTERS:
            self.names.append(f"\\{name}")
            upright = ' mathvariant="normal"' if name[0].isupper() else ""
            return f"<mi{upright}>{LETTERS[name]}</mi>"
        if name in OPERATORS:
            return _operator(OPERATORS[name])
        if name in SPACES:
            return f'<mspace width="{SPACES[name]}"/>'
        if name == "sum":
            return f"<mo>{SUM}</mo>"
        if name == "frac":
            return f"<mfrac>{self.group()}{self.group()}</mfrac>"
        if name == "sqrt":
            return f"<msqrt>{self.group()}</msqrt>"
        if name in ACCENTS:
            before = len(self.names)
            base = self.group()
            self.names[before:] = [f"\\{name}{{{inner}}}" for inner in self.names[before:]]
            return f'<mover accent="true">{base}<mo stretchy="false">{ACCENTS[name]}</mo></mover>'
        if name in ("left", "right"):
            return self.fenced() if name == "left" else _reject(self.fail(r"\right without \left"))
        if name in FUNCTIONS:
            return f'<mi>{name}</mi><mspace width="0.12em"/>'
        if name == "text":
            words = self.text().replace(" ", "\u00a0")
            return f"<mtext>{html.escape(words, quote=False)}</mtext>"
        if name in ("mathrm", "operatorname"):
            words = self.text()
            self.names.append(f"\\{name}{{{words}}}")
            return f'<mi mathvariant="normal">{html.escape(words, quote=False)}</mi>'
        raise self.fail(f"\\{name} is not in the subset")

    def fenced(self) -> str:
        r"""What stands between \left and \right, its fences as tall as it is."""
        opening = self.fence()
        inner: list[str] = []
        while (token := self.peek()) != r"\right":
            if not token:
                raise self.fail(r"\right is missing")
            inner.append(self.scripted())
        self.take()
        return f"<mrow>{opening}{''.join(inner)}{self.fence()}</mrow>"

    def fence(self) -> str:
        token = self.take()
        sign = OPERATORS.get(token[1:], "") if token.startswith("\\") else token
        if sign not in FENCES:
            raise self.fail(f"{token!r} is no fence")
        return f'<mo fence="true" stretchy="true">{html.escape(sign)}</mo>'


def _operator(sign: str) -> str:
    plain = ' stretchy="false"' if sign in FENCES else ""
    plain += ' lspace="0.08em" rspace="0.08em"' if sign in BARS else ""
    return f"<mo{plain}>{html.escape(sign)}</mo>"


def _reject(error: FormulaError) -> str:
    raise error
