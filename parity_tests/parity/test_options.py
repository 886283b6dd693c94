"""The options of a comparison: names, slices, patterns, bounds, and one error for each bad one."""

import json

import numpy as np
import pytest
import torch

from diptych.options.options import Options

QKV = {
    "q.weight": "c_attn.weight[:, 0:8]",
    "k.weight": "c_attn.weight[:, 8:16]",
    "v.weight": "c_attn.weight[:, 16:24]",
}


def test_without_options_every_name_and_array_stays_the_same(rng):
    options, array = Options(), rng.normal(size=(3, 2))
    assert options.right_name("a.b") == "a.b"
    assert options.left_names("a.b") == ("a.b",)
    assert options.from_right("a", {"a": array}) is array
    assert options.from_right("b", {"a": array}) is None
    assert options.to_left("a", array) is options.to_right("a", array) is array
    assert not options.ignored("a")
    assert not options.may_be_unused("a")
    assert options.bound_for("a") is None
    assert options.used() == {}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("encoder", "enc.body"),
        ("encoder.0.weight", "enc.body.0.weight"),
        ("encoder.head", "out"),
        ("encoder.head.bias", "out.bias"),
        ("encoder.head2.bias", "enc.body.head2.bias"),  # no prefix of dotted names
        ("encoder2.bias", "encoder2.bias"),
        ("", ""),
    ],
)
def test_the_longest_renamed_prefix_wins(left, right):
    options = Options(rename={"encoder": "enc.body", "encoder.head": "out"})
    assert options.right_name(left) == right
    assert tuple(options.left_names(right)) == (left,)


def test_a_right_name_that_only_the_renamed_module_could_have_has_no_left_name():
    options = Options(rename={"encoder": "body"})
    assert options.left_names("encoder.weight") == ()
    assert options.unmatched(["encoder.weight"], ["body.weight", "encoder.weight"]) == [
        "encoder.weight"
    ]


def test_two_names_can_be_exchanged():
    options = Options(rename={"a": "b", "b": "a"})
    assert [options.right_name(n) for n in ("a.w", "b.w")] == ["b.w", "a.w"]
    assert options.left_names("a.w") == ("b.w",)


def test_the_root_stands_for_everything_below_it():
    inside = Options(rename={"": "model"})
    assert inside.right_name("layer.weight") == "model.layer.weight"
    assert inside.left_names("model.layer.weight") == ("layer.weight",)
    assert inside.right_name("") == ""
    outside = Options(rename={"model": ""})
    assert outside.right_name("model.layer.weight") == "layer.weight"
    assert outside.left_names("layer.weight") == ("model.layer.weight",)


def test_several_left_names_slice_one_right_array(rng):
    fused = rng.normal(size=(5, 24))
    options = Options(rename=QKV, layout={"*.weight": "o i -> i o"})
    assert options.right_name("k.weight") == "c_attn.weight"
    assert options.left_names("c_attn.weight") == tuple(QKV)
    for array in (fused, torch.from_numpy(fused)):
        part = options.from_right("k.weight", {"c_attn.weight": array})
        np.testing.assert_array_equal(np.asarray(part), fused[:, 8:16].T)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("w[0]", np.s_[0]),
        ("w[-1, 1:]", np.s_[-1, 1:]),
        ("w[..., 2]", np.s_[..., 2]),
        ("w[0, ..., ::2]", np.s_[0, ..., ::2]),
        ("w[:-1]", np.s_[:-1]),
        ("w[1, 2, 3]", np.s_[1, 2, 3]),
    ],
)
def test_a_slice_is_numpys_and_a_view(rng, text, index):
    array = rng.normal(size=(2, 3, 4))
    part = Options(rename={"a": text}).part_of_right("a", {"w": array})
    np.testing.assert_array_equal(part, array[index])
    assert part.base is array


@pytest.mark.parametrize(
    "text", ["w[0:5]", "w[4]", "w[:, :, :]", "w[1:1]", "w[-5:]", "w[0, ..., 3]"]
)
def test_a_slice_outside_the_array_is_an_error_instead_of_a_shorter_slice(text):
    options = Options(rename={"a": text})
    with pytest.raises(ValueError, match=r"rename: 'a' -> 'w': got shape \(4, 3\), takes one with"):
        options.from_right("a", {"w": np.zeros((4, 3))})


def test_a_right_array_is_matched_only_if_its_slices_are_present_and_cover_it():
    options, left = Options(rename=QKV), list(QKV)
    assert options.unmatched(left, ["c_attn.weight"]) == []
    assert options.unmatched(left[:2], ["c_attn.weight", "bias"]) == ["c_attn.weight", "bias"]
    assert options.unmatched(left, {"c_attn.weight": np.zeros((5, 24))}) == []
    assert options.unmatched(left, {"c_attn.weight": np.zeros((5, 25))}) == ["c_attn.weight"]


def test_arrays_are_rearranged_in_both_directions(rng):
    options = Options(layout={"conv.weight": "h w i o -> o i h w", "output": "n h w c->n c h w"})
    weight = rng.normal(size=(3, 2, 4, 5))
    right = options.to_right("conv.weight", weight)
    np.testing.assert_array_equal(right, weight.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(options.to_left("conv.weight", right), weight)
    assert options.to_left("conv.bias", weight) is weight
    assert options.to_left("output", None) is None


def test_gradients_flow_through_a_layout():
    options = Options(rename={"q": "qkv[0:2]"}, layout={"q": "io->oi"})
    qkv = torch.arange(12.0).reshape(4, 3).requires_grad_()
    options.from_right("q", {"qkv": qkv})[1, 0].backward()
    assert qkv.grad.nonzero().tolist() == [[0, 1]]


def test_a_name_wins_over_patterns_and_the_first_pattern_over_later_ones():
    options = Options(bound={"h.*": 1e-9, "h.*.bias": 1e-8, "h.1.bias": 1e-7})
    bounds = [options.bound_for(n) for n in ("h.0.bias", "h.1.bias", "g")]
    assert bounds == [1e-9, 1e-7, None]
    assert Options(bound=1e-6).bound_for("any") == 1e-6


def test_a_number_in_brackets_is_an_index():
    options = Options(ignore=["output[1]", "h*[0]", "layer.[0-2].bias"])
    names = ["output[1]", "output1", "h.forward[0]", "h0", "layer.2.bias", "layer.3.bias"]
    assert [options.ignored(name) for name in names] == [True, False, True, False, True, False]


def test_unused_parameters_are_allowed_for_all_or_by_pattern():
    assert Options(allow_unused=True).may_be_unused("any")
    options = Options(allow_unused=["head.*"])
    assert options.may_be_unused("head.bias")
    assert not options.may_be_unused("bias")


def test_the_options_used_are_ready_for_json():
    options = Options(
        rename={"a": "b[0]"},
        layout={"w": "io->oi"},
        ignore="drop*",
        allow_unused=["x"],
        bound={"y": 1e-9},
        infinities="equal",
        kwargs={"mask": np.zeros((2, 3)), "scale": 2.0, "dtype": np.float32},
    )
    used = json.loads(json.dumps(options.used()))
    assert used == {
        "rename": {"a": "b[0]"},
        "layout": {"w": "io->oi"},
        "ignore": ["drop*"],
        "allow_unused": ["x"],
        "bound": {"y": 1e-9},
        "infinities": "equal",
        "kwargs": {
            "mask": "array of shape (2, 3)",
            "scale": 2.0,
            "dtype": "<class 'numpy.float32'>",
        },
    }


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("rename", ["a"], r"rename: got \['a'\], takes a mapping"),
        ("rename", {1: "a"}, "rename: got {1: 'a'}, takes a mapping"),
        ("rename", {"a": 3}, "rename: 'a' -> got 3, takes text"),
        ("rename", {"a": "b[1:"}, r"rename: 'a' -> got 'b\[1:', takes a name, or a slice such as"),
        ("rename", {"a": "b[x]"}, r"rename: 'a' -> got 'b\[x\]', takes a name, or a slice"),
        ("rename", {"a": "b[::0]"}, r"rename: 'a' -> got 'b\[::0\]', takes a slice such as"),
        ("rename", {"a": "b[..., ...]"}, r"rename: 'a' -> got .*takes \"...\" once"),
        ("layout", "io->oi", "layout: got 'io->oi', takes a mapping from patterns"),
        ("layout", {"a": None}, "layout: 'a' -> got None, takes text"),
        ("layout", {"a": "i o"}, "layout: 'a' -> got 'i o', takes the left's and the right's axes"),
        ("layout", {"a": "i -> i -> i"}, "layout: 'a' -> got 'i -> i -> i', takes"),
        ("layout", {"a": "i o -> o"}, "got 'i o -> o': i is on one side only; takes"),
        ("layout", {"a": "i i -> i"}, "got 'i i -> i': i is twice on one side; takes"),
        ("layout", {"a": "i ... -> i"}, "is on one side only; takes"),
        ("layout", {"a": "i-o -> o i"}, "'i-o' is not a list of axes; takes"),
        ("layout", {"a": "i 2 -> 2 i"}, "'i 2' is not a list of axes; takes"),
        ("layout", {"a": "i_ o -> o i_"}, "i_ begins or ends with an underscore"),
        ("layout", {"a": "(h d -> h d"}, "parentheses do not group axes"),
        ("layout", {"a": "h) d -> h d"}, "parentheses do not group axes"),
        ("layout", {"a": "((h) d) -> h d, h=2"}, "parentheses do not group axes"),
        ("layout", {"a": "(h d) -> h d"}, r"\(h d\) needs the size of h or d, as in"),
        ("layout", {"a": "(h d) -> h d, q=2"}, "'q=2' is not the size of an axis"),
        ("layout", {"a": "(h d) -> h d, h=0"}, "'h=0' is not the size of an axis"),
        ("ignore", 3, "ignore: got 3, takes a list of patterns of names"),
        ("ignore", [""], r"ignore: got \[''\], takes a list"),
        ("allow_unused", 1, "allow_unused: got 1, takes a bool or a list of patterns"),
        ("bound", 0, "bound: got 0, takes a finite number above 0"),
        ("bound", True, "bound: got True, takes a finite number above 0"),
        ("bound", float("nan"), "bound: got nan, takes"),
        ("bound", float("inf"), "bound: got inf, takes"),
        ("bound", "1e-9", "bound: got '1e-9', takes"),
        ("bound", {"a": -1.0}, "bound: got {'a': -1.0}, takes"),
        ("infinities", "ok", "infinities: got 'ok', takes one of 'masked', 'equal', 'error'"),
        ("kwargs", [1], r"kwargs: got \[1\], takes a mapping from names of arguments"),
    ],
)
def test_a_bad_option_is_one_error_that_says_what_is_taken(option, value, message):
    with pytest.raises(ValueError, match=message):
        Options(**{option: value})


LEFT = ["encoder.0.weight", "encoder.0.bias", "head.weight"]
RIGHT = ["body.0.weight", "body.0.bias", "out.weight"]


def test_names_that_the_models_have_pass_the_check():
    Options(
        rename={"encoder": "body", "head.weight": "out.weight[0]"}, allow_unused=["head.*"]
    ).check(LEFT, RIGHT)
    Options(rename={"": "model"}).check(LEFT, ["model.w"])
    Options(
        layout={"*.weight": "io->oi"}, ignore=["head(x)"], bound={"output[1]": 1.0}
    ).check_patterns([*LEFT, "head(x)", "output[1]"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"rename": {"encoder.0.wieght": "x"}},
            "rename: got 'encoder.0.wieght', takes .*of the left",
        ),
        ({"rename": {"encoder.0.wieght": "x"}}, "did you mean 'encoder.0.weight'"),
        (
            {"rename": {"encoder": "bdy"}},
            "rename: 'encoder' -> got 'bdy', takes .*of the right model",
        ),
        ({"rename": {"encoder": "bdy"}}, "did you mean 'body'"),
        (
            {"rename": {"encoder": "body[0]"}},
            "got a slice of the module 'body', takes slices of param",
        ),
        ({"allow_unused": ["haed.*"]}, "allow_unused: got 'haed.*', which matches no name"),
    ],
)
def test_a_name_that_no_model_has_is_an_error_with_the_nearest_names(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options).check(LEFT, RIGHT)


@pytest.mark.parametrize("option", ["layout", "ignore", "bound"])
def test_a_pattern_that_matches_nothing_is_an_error(option):
    values = {"layout": {"hed*": "io->oi"}, "ignore": ["hed*"], "bound": {"hed*": 1.0}}
    with pytest.raises(ValueError, match=rf"{option}: got 'hed\*', which matches no name"):
        Options(**{option: values[option]}).check_patterns(LEFT)


def test_patterns_are_checked_against_the_names_that_a_run_looked_up(rng):
    options = Options(layout={"w": "io->oi"}, ignore=["drop*"], bound={"h.*": 1e-9})
    options.from_right("w", {"w": rng.normal(size=(2, 3))})
    options.ignored("dropout")
    options.bound_for("h.1")
    options.check_patterns()
    with pytest.raises(
        ValueError, match=r"layout: got 'w', which matches no name; did you mean 'v.w'"
    ):
        other = Options(layout={"w": "io->oi"})
        other.to_right("v.w", rng.normal(size=(2, 3)))
        other.check_patterns()
