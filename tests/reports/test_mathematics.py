"""Formulas: LaTeX in, well-formed MathML out, and nothing that Markdown would read as its own."""

import xml.etree.ElementTree as ElementTree

import pytest

from reports.mathematics import FormulaError, mathml, names

CASES = {
    "x_k": "<msub><mi>x</mi><mi>k</mi></msub>",
    "x_{k-1}^2": "<msubsup><mi>x</mi><mrow><mi>k</mi><mo>−</mo><mn>1</mn></mrow><mn>2</mn></msubsup>",
    "x'_k": "<msubsup><mi>x</mi><mi>k</mi><mo>′</mo></msubsup>",
    r"\frac{a}{2.5}": "<mfrac><mrow><mi>a</mi></mrow><mrow><mn>2.5</mn></mrow></mfrac>",
    r"\bar{\Lambda}": '<mover accent="true"><mrow><mi mathvariant="normal">Λ</mi></mrow>'
    '<mo stretchy="false">¯</mo></mover>',
    r"\sum_{s=0}^{t} a": "<munderover><mo>∑</mo><mrow><mi>s</mi><mo>=</mo><mn>0</mn></mrow><mrow><mi>t</mi></mrow>"
    "</munderover><mi>a</mi>",
    r"\sqrt{N}": "<msqrt><mrow><mi>N</mi></mrow></msqrt>",
    r"\left( a \right)": '<mrow><mo fence="true" stretchy="true">(</mo><mi>a</mi>'
    '<mo fence="true" stretchy="true">)</mo></mrow>',
    r"a \lt b": "<mi>a</mi><mo>&lt;</mo><mi>b</mi>",
    r"\operatorname{Re}": '<mi mathvariant="normal">Re</mi>',
    r"\text{if } a": "<mtext>if\u00a0</mtext><mi>a</mi>",
}
BAD = {
    "{a": "'}' is missing",
    "a}": "'}' where an atom is expected",
    "a_b_c": "a second script",
    "^2": "where an atom is expected",
    r"\frac{a}": "the end",
    r"\nonsense": "not in the subset",
    r"\left( a": r"\\right is missing",
    r"a \right)": r"\\right without \\left",
    r"\left x \right)": "no fence",
    r"\text{a<b}": "braced words are missing",
    "a < b": "not in the subset",
    "a|b": "not in the subset",
    "`a`": "not in the subset",
    r"a\,b": "not in the subset",
    "$": "not in the subset",
    "<script>": "not in the subset",
    "&amp;": "not in the subset",
}


@pytest.mark.parametrize("latex", CASES)
def test_formulas_become_these_elements(latex: str) -> None:
    found = mathml(latex)
    assert CASES[latex] in found
    row = ElementTree.fromstring(found).find("semantics/mrow")
    assert row is not None


def test_the_source_is_kept_as_an_annotation_that_is_text() -> None:
    tree = ElementTree.fromstring(mathml(r"a \lt b_{1}", display=True))
    assert tree.attrib == {"displaystyle": "true"}
    note = tree.find("semantics/annotation")
    assert note is not None
    assert note.text == r"a \lt b_{1}"


@pytest.mark.parametrize("latex", BAD)
def test_what_is_outside_the_subset_is_one_error_that_names_the_place(latex: str) -> None:
    with pytest.raises(FormulaError, match=BAD[latex]) as caught:
        mathml(latex)
    assert repr(latex) in str(caught.value)
    assert "at character" in str(caught.value)


def test_names_are_letters_accented_letters_and_words() -> None:
    found = names(r"\bar{\Lambda} x_{k-1} + \operatorname{Re}(\tilde{B}_1) \exp(2) \text{if}")
    assert found == {r"\bar{\Lambda}", "x", "k", r"\operatorname{Re}", r"\tilde{B}"}
