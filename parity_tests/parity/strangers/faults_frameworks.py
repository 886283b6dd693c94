"""Faults in jax, Hugging Face and a compiler: (code, faulty code, the place named first)."""

JAX_DENSE = [
    (' + params["b"])', ")", "z: output"),
    ('+ params["b"]', '+ 2 * params["b"]', "z: output"),
    ('jnp.dot(x, params["w"])', 'jnp.dot(x.astype("float32"), params["w"])', "z: output"),
    ("return silu(z)", "return jax.nn.gelu(z)", "forward: output"),
    ("return x * s, (x, s)", "return x * s + 1e-9, (x, s)", "custom_vjp"),
    ("return x * jax", "return (1 + 1e-9) * x * jax", "custom_vjp"),  # without a gradient only
    ("return x * s, (x, s)", "return x * s, (s, s)", "z: output gradient"),
    ("s + x * s * (1 - s)", "s + x * (1 - s)", "z: output gradient"),
    ("s + x * s * (1 - s)", "s * (1 - s)", "z: output gradient"),
    ("s + x * s * (1 - s)", "s", "z: output gradient"),
    ('+ params["b"]', '+ jax.lax.stop_gradient(params["b"])', "b: parameter gradient"),
    ('(x, params["w"])', '(x, jax.lax.stop_gradient(params["w"]))', "w: parameter gradient"),
    ('(x, params["w"])', '(jax.lax.stop_gradient(x), params["w"])', "forward(x): input gradient"),
]

JAX_RNN = [
    ("step, h0, xs)", "step, h0, xs, reverse=True)", "forward[0]: output"),
    ("step, h0, xs)", "step, jnp.zeros_like(h0), xs)", "forward[0]: output"),
    ("step, h0, xs)", "step, h0, xs[::-1])", "forward[0]: output"),
    ("return new_h, new_h", "return new_h, h", "forward[0]: output"),
    ("return new_h, new_h", "return h, new_h", "forward[0]: output"),
    ("jnp.tanh(", "jax.nn.relu(", "forward[0]: output"),
    ('h @ params["wh"]', 'h @ params["wh"].T', "forward[0]: output"),
    ('+ params["b"]', '+ 2 * params["b"]', "forward[0]: output"),
    ("return hs, h_last", "return hs, hs[0]", "forward[1]: output"),
    ("return hs, h_last", "return hs, jnp.tanh(h_last)", "forward[1]: output"),
    ("+ h @", "+ jax.lax.stop_gradient(h) @", "forward(xs): input gradient"),
    ("hs, h_last\n", "hs, jax.lax.stop_gradient(h_last)\n", "forward(xs): input gradient"),
    ("tanh(x @", "tanh(jax.lax.stop_gradient(x) @", "forward(xs): input gradient"),
    ("step, h0, xs)", "step, jax.lax.stop_gradient(h0), xs)", "forward(h0): input gradient"),
    ('x @ params["wx"]', 'x @ jax.lax.stop_gradient(params["wx"])', "wx: parameter gradient"),
    ('h @ params["wh"]', 'h @ jax.lax.stop_gradient(params["wh"])', "wh: parameter gradient"),
    ('+ params["b"]', '+ jax.lax.stop_gradient(params["b"])', "b: parameter gradient"),
]

CONV1D = [
    ("addmm(self.bias", "addmm(0 * self.bias", "c_fc: output"),
    ("0.044715", "0.044175", "act: output"),
    ("torch.pow(x, 3.0)", "torch.pow(x, 2.0)", "act: output"),
    ("torch.pow(x, 3.0)", "torch.pow(x.float(), 3.0).to(x)", "act: output"),
    ("(2 / torch.pi) ** 0.5", "2 / torch.pi", "act: output"),
    ("(1.0 + torch.tanh", "(1.0 - torch.tanh", "act: output"),
    ('approximate="tanh"', 'approximate="none"', "act: output"),
    (
        "return self.c_proj(hidden_states)",
        "return 1.01 * self.c_proj(hidden_states)",
        "forward: output",
    ),
    ("torch.tanh(inner)", "torch.tanh(inner.detach())", "act(x): input gradient"),
    (
        "self.act(hidden_states)",
        "self.act(hidden_states.detach() + 0 * hidden_states)",
        "c_fc: output gradient",
    ),
    (
        "self.c_fc(hidden_states)",
        "self.c_fc(hidden_states.detach())",
        "c_fc(x): input gradient",
    ),
    ("self.weight)", "self.weight.detach())", "c_proj.weight: parameter gradient"),
    ("addmm(self.bias", "addmm(self.bias.detach()", "c_proj.bias: parameter gradient"),
    (
        "(torch.randn(nf))",
        "(torch.randn(nf), requires_grad=False)",
        "c_proj.bias: parameter gradient",
    ),
    (
        "return parity",
        "left.c_proj.bias.data[0] += 1e-9\n    return parity",
        "c_proj.bias: parameter",
    ),
    (
        "return parity",
        "left.c_fc.weight.data *= 1 + 1e-12\n    return parity",
        "c_fc.weight: parameter",
    ),
]

FUSED = [
    (" / value.size(-1) ** 0.5", "", "scores: output"),
    ("value.size(-1) ** 0.5", "self.embed_dim**0.5", "scores: output"),
    ("dtype=torch.bool).tril()", "dtype=torch.bool).tril(1)", "scores: output"),
    ("dtype=torch.bool).tril()", "dtype=torch.bool).triu()", "scores: output"),
    ("scores, -1e4)", "scores, 0.0)", "scores: output"),
    ("scores, dim=-1)", "scores, dim=-2)", "weights: output"),
    ("scores, dim=-1)", "scores.float(), dim=-1).double()", "weights: output"),
    ("query, key, value = self", "key, query, value = self", "query: output"),
    ("query, key, value = self", "query, value, key = self", "key: output"),
    (
        "tensor.view(shape).permute(0, 2, 1, 3)",
        "tensor.reshape(tensor.size(0), 2, -1, 4)",
        "query: output",
    ),
    (".permute(0, 2, 1, 3).contiguous()", ".contiguous()", "merged: output"),
    ("return self.c_proj(", "return hidden_states + self.c_proj(", "forward: output"),
    ("key.transpose(-1, -2)", "key.transpose(-1, -2).detach()", "key: output gradient"),
    ("matmul(query, ", "matmul(query.detach(), ", "query: output gradient"),
    (
        "matmul(attn_weights, value)",
        "matmul(attn_weights, value.detach())",
        "value: output gradient",
    ),
    (
        "matmul(attn_weights, value)",
        "matmul(attn_weights.detach(), value)",
        "weights: output gradient",
    ),
    (
        "x @ self.weight + self.bias",
        "x @ self.weight + self.bias.detach()",
        "o.bias: parameter gradient",
    ),
    (
        "x @ self.weight + self.bias",
        "x @ self.weight.detach() + self.bias",
        "o.weight: parameter gradient",
    ),
    (
        "return parity",
        "right.c_proj.bias.data.copy_(left.v.bias.data)\n    return parity",
        "o.bias: parameter",
    ),
    ('"8:16", "16:24"', '"16:24", "8:16"', "key: output"),
    (
        "return parity",
        "right.c_attn.weight.data[:, :8] = left.q.weight.data\n    return parity",
        "q.weight: parameter",
    ),
]

COMPILED = [
    ("Any]] = {}", 'Any]] = {"gelu": lambda x, **_: F.relu(x)}', "forward: output"),
    (
        "Any]] = {}",
        'Any]] = {"gelu": lambda x, **_: F.gelu(x, approximate="tanh")}',
        "forward: output",
    ),
    (
        "Any]] = {}",
        'Any]] = {"gelu": lambda x, **_: F.gelu(x.float()).double()}',
        "forward: output",
    ),
    ("Any]] = {}", 'Any]] = {"add": lambda x, y: y}', "forward: output"),
    ("Any]] = {}", 'Any]] = {"linear": lambda x, w, b: F.linear(x, w)}', "forward: output"),
    (
        "Any]] = {}",
        'Any]] = {"linear": lambda x, w, b: F.linear(x, w, b) * (1 + 1e-11)}',
        "forward: output",
    ),
    (
        "Any]] = {}",
        'Any]] = {"layer_norm": lambda *a: F.layer_norm(*a[:4], 1e-6)}',
        "forward: output",
    ),
    ("Any]] = {}", 'Any]] = {"layer_norm": lambda x, *_: x}', "forward: output"),
    ("Any]] = {}", 'Any]] = {"add": lambda x, y: x + y.detach()}', "forward(x): input gradient"),
    ("Any]] = {}", 'Any]] = {"add": lambda x, y: x.detach() + y}', "forward(x): input gradient"),
    (
        "Any]] = {}",
        'Any]] = {"gelu": lambda x, **_: F.gelu(x.detach()) + 0 * x}',
        "forward(x): input gradient",
    ),
    (
        "Any]] = {}",
        'Any]] = {"linear": lambda x, w, b: F.linear(x, w.detach(), b)}',
        "block1.up.weight: parameter gradient",
    ),
    (
        "Any]] = {}",
        'Any]] = {"linear": lambda x, w, b: F.linear(x, w, b.detach())}',
        "block1.up.bias: parameter gradient",
    ),
    (
        "Any]] = {}",
        'Any]] = {"layer_norm": lambda x, s, w, b, e: F.layer_norm(x, s, w.detach(), b, e)}',
        "block1.norm.weight: parameter gradient",
    ),
]

FAULTS = {
    "jax_dense": JAX_DENSE,
    "jax_rnn": JAX_RNN,
    "hf_conv1d": CONV1D,
    "hf_attention": FUSED,
    "torch_compiled": COMPILED,
}
