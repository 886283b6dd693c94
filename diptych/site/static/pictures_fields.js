/* Receptive fields: the mouse or the arrow keys choose the pixel whose field is drawn. */
(function () {
  "use strict";
  const element = document.getElementById("fields-data");
  const figure = document.getElementById("fields");
  if (!element || !figure) return;
  const data = JSON.parse(element.textContent);
  const image = figure.querySelector(".fields");
  const sentence = figure.querySelector("[data-sentence]");
  const depth = figure.querySelector('input[name="depth"]');
  let [row, column] = data.first;

  const inside = (i, j) => i >= 0 && i < data.height && j >= 0 && j < data.width;
  const cell = ([i, j]) => {
    const size = data.cell - 2;
    return `M${j * data.cell + 1} ${i * data.cell + 1}h${size}v${size}h-${size}z`;
  };

  function draw() {
    const chosen = figure.querySelector('input[name="context"]:checked');
    const field = data.fields[chosen ? chosen.value : Object.keys(data.fields)[0]];
    const layers = Number(depth.value) + 1;
    const read = field
      .filter((entry) => entry[2] <= layers && inside(row + entry[0], column + entry[1]))
      .map(([i, j, d]) => [row + i, column + j, d]);
    const known = new Set(read.map(([i, j]) => i * data.width + j));
    const before = row * data.width + column;
    const unread = [];
    for (let n = 0; n < before; n++) {
      if (!known.has(n)) unread.push([Math.floor(n / data.width), n % data.width]);
    }
    image.querySelector("path.unread").setAttribute("d", unread.map(cell).join(""));
    image.querySelectorAll("path.read").forEach((path, index) => {
      path.setAttribute("d", read.filter((entry) => entry[2] === index + 1).map(cell).join(""));
    });
    const pixel = image.querySelector(".pixel");
    pixel.setAttribute("x", column * data.cell + 1);
    pixel.setAttribute("y", row * data.cell + 1);
    sentence.textContent =
      `The pixel in row ${row + 1}, column ${column + 1} reads ${read.length} of the ${before} before it.`;
  }

  function move(i, j) {
    if (!inside(i, j) || (i === row && j === column)) return;
    row = i;
    column = j;
    draw();
  }

  image.addEventListener("pointermove", (event) => {
    const box = image.getBoundingClientRect();
    const scale = image.viewBox.baseVal.width / box.width / data.cell;
    move(
      Math.floor((event.clientY - box.top) * scale),
      Math.floor((event.clientX - box.left) * scale),
    );
  });
  image.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    move(row + step[0], column + step[1]);
  });
  figure.addEventListener("change", draw);
  depth.addEventListener("input", draw);
})();
