/* A convolution: sliders choose its geometry; the mouse or the arrow keys choose an output or a pixel. */
(function () {
  "use strict";
  const element = document.getElementById("convolution-data");
  const figure = document.getElementById("convolution");
  if (!element || !figure) return;
  const data = JSON.parse(element.textContent);
  const image = figure.querySelector("svg.convolution");
  const sentence = figure.querySelector("[data-sentence]");
  const inputs = ["kernel", "stride", "padding"].map((name) => figure.querySelector(`input[name="${name}"]`));
  const { size, cell, top } = data;
  const start = size * cell + data.gap;
  let chosen = { side: "output", i: data.output[0], j: data.output[1] };

  const reads = () => {
    const geometry = inputs.map((input) => data.settings[input.name][Number(input.value)]);
    return data.reads[geometry.join(",")];
  };
  const square = (i, j, x) => `M${x + j * cell + 1} ${top + i * cell + 1}h${cell - 2}v${cell - 2}h${2 - cell}z`;
  const block = (rows, columns, x) => rows.map((i) => columns.map((j) => square(i, j, x)).join("")).join("");
  const outline = (rows, columns) => {
    if (!rows.length || !columns.length) return "";
    const [height, width] = [rows.length * cell - 1, columns.length * cell - 1];
    return `M${columns[0] * cell + 0.5} ${top + rows[0] * cell + 0.5}h${width}v${height}h-${width}z`;
  };
  const range = (first, last) => Array.from({ length: Math.max(0, last - first + 1) }, (_, n) => first + n);
  const readers = (axis, n) => range(0, axis.length - 1).filter((o) => axis[o][0] <= n && n <= axis[o][1]);
  const set = (selector, d) => image.querySelector(selector).setAttribute("d", d);

  function drawCounts(axis) {
    const counts = range(0, size - 1).map((n) => readers(axis, n).length);
    const largest = Math.max(...counts) ** 2;
    const levels = new Map();
    counts.forEach((a, i) => counts.forEach((b, j) => {
      levels.set(a * b, (levels.get(a * b) || "") + square(i, j, 0));
    }));
    const paths = [...levels].sort((a, b) => a[0] - b[0]).map(
      ([count, d]) => `<path class="count" fill-opacity="${0.1 + (0.55 * count) / largest}" d="${d}"/>`,
    );
    image.querySelector(".counts").innerHTML = paths.join("");
  }

  function draw() {
    const axis = reads();
    const last = (chosen.side === "output" ? axis.length : size) - 1;
    chosen.i = Math.min(chosen.i, last);
    chosen.j = Math.min(chosen.j, last);
    const { side, i, j } = chosen;
    drawCounts(axis);
    const all = range(0, axis.length - 1);
    set(".outputs", block(all, all, start));
    const here = [[i], [j]];
    const pixels = side === "output" ? [range(...axis[i]), range(...axis[j])] : here;
    const outputs = side === "output" ? here : [readers(axis, i), readers(axis, j)];
    set(".inputs-chosen", outline(...pixels));
    set(".outputs-chosen", block(...outputs, start));
    drawLines(pixels, outputs);
    const count = side === "output" ? pixels[0].length * pixels[1].length : outputs[0].length * outputs[1].length;
    sentence.textContent =
      side === "output"
        ? `Output (${i + 1}, ${j + 1}) reads ${count} input pixel${count === 1 ? "" : "s"}.`
        : `Input pixel (${i + 1}, ${j + 1}) is read by ${count} output${count === 1 ? "" : "s"}.`;
  }

  function drawLines(pixels, outputs) {
    if (![...pixels, ...outputs].every((list) => list.length)) return set(".window-lines", "");
    const right = (pixels[1][pixels[1].length - 1] + 1) * cell - 1;
    const left = start + outputs[1][0] * cell + 1;
    const edges = (list) => [top + list[0] * cell + 1, top + (list[list.length - 1] + 1) * cell - 1];
    const [a, b] = [edges(pixels[0]), edges(outputs[0])];
    set(".window-lines", `M${right} ${a[0]}L${left} ${b[0]}M${right} ${a[1]}L${left} ${b[1]}`);
  }

  function choose(side, i, j) {
    const count = side === "output" ? reads().length : size;
    if (i < 0 || j < 0 || i >= count || j >= count) return;
    chosen = { side, i, j };
    draw();
  }

  image.addEventListener("pointermove", (event) => {
    const box = image.getBoundingClientRect();
    const scale = image.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale;
    const i = Math.floor(((event.clientY - box.top) * scale - top) / cell);
    if (x < size * cell) choose("input", i, Math.floor(x / cell));
    else if (x >= start) choose("output", i, Math.floor((x - start) / cell));
  });
  image.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const [i, j] = [chosen.i + step[0], chosen.j + step[1]];
    // to the left of the first output are the pixels, to the right of the last pixel the outputs
    if (chosen.side === "output" && j < 0) choose("input", Math.min(i, size - 1), size - 1);
    else if (chosen.side === "input" && j >= size) choose("output", Math.min(i, reads().length - 1), 0);
    else choose(chosen.side, i, j);
  });
  inputs.forEach((input) => input.addEventListener("input", draw));
})();
