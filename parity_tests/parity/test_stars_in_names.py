"""A star in `rename` stands for all parameters below a module; each is sliced alike."""

import numpy as np
import pytest

from diptych.options.options import Options

LEFT = ["encoder.0.weight", "encoder.0.bias", "head.weight"]
RIGHT = ["body.0.weight", "body.0.bias", "out.weight"]
FUSED = Options(rename={"q.*": "c_attn.*[..., 0:2]", "k.*": "c_attn.*[..., 2:4]", "o": "out"})


def test_a_star_renames_what_is_below_a_module_but_not_the_module():
    names = ["q.weight", "k.bias", "q", "o.weight", "o"]
    assert [FUSED.right_name(name) for name in names] == [
        "c_attn.weight",
        "c_attn.bias",
        "q",
        "out.weight",
        "out",
    ]
    assert FUSED.left_names("c_attn.weight") == ("q.weight", "k.weight")
    assert FUSED.left_names("c_attn") == ("c_attn",)
    assert FUSED.is_sliced("q.weight")
    assert not FUSED.is_sliced("o.weight")


def test_a_star_takes_the_same_slice_of_each_parameter(rng):
    right = {"c_attn.weight": rng.normal(size=(3, 4)), "c_attn.bias": rng.normal(size=4)}
    FUSED.check(["q.weight", "k.weight", "o.weight"], [*right, "out.weight"])
    for name in ("weight", "bias"):
        whole = right[f"c_attn.{name}"]
        np.testing.assert_array_equal(FUSED.from_right(f"k.{name}", right), whole[..., 2:4])
    assert FUSED.unmatched(["q.weight", "k.weight"], right) == ["c_attn.bias"]
    assert FUSED.unmatched(["q.weight", "k.weight", "q.bias", "k.bias"], right) == []


@pytest.mark.parametrize("pair", [("q.*", "k"), ("q", "k.*"), ("*.q", "*.k"), ("q*", "k*")])
def test_a_star_stands_at_the_end_of_both_names(pair):
    with pytest.raises(ValueError, match="takes a star at the end of both names"):
        Options(rename=dict([pair]))


def test_a_star_below_a_module_that_is_missing_is_an_error():
    with pytest.raises(ValueError, match=r"rename: got 'encodr.\*', .* did you mean 'encoder.0'"):
        Options(rename={"encodr.*": "body.*"}).check(LEFT, RIGHT)
