/* Heat maps: the mouse or the arrow keys choose the entry that is read out. */
(function () {
  "use strict";
  document.querySelectorAll("svg.heat").forEach((image) => {
    const rows = image.dataset.rows.split(";").map((row) => row.split(","));
    const cell = Number(image.dataset.cell);
    const cursor = image.querySelector(".cursor");
    const readout = image.closest(".picture").querySelector("[data-readout]");
    let [row, column] = [0, 0];

    function show(i, j) {
      row = Math.max(0, Math.min(rows.length - 1, i));
      column = Math.max(0, Math.min(rows[0].length - 1, j));
      cursor.setAttribute("x", column * cell);
      cursor.setAttribute("y", row * cell);
      cursor.setAttribute("visibility", "visible");
      const entry = image.dataset.entry.replace("{i}", row + 1).replace("{j}", column + 1);
      readout.textContent = `${entry} = ${rows[row][column].replace("-", "−")}`;
    }

    image.addEventListener("pointermove", (event) => {
      const box = image.getBoundingClientRect();
      const scale = image.viewBox.baseVal.width / box.width / cell;
      show(
        Math.floor((event.clientY - box.top) * scale),
        Math.floor((event.clientX - box.left) * scale),
      );
    });
    const hide = () => cursor.setAttribute("visibility", "hidden");
    image.addEventListener("pointerleave", hide);
    image.addEventListener("blur", hide);
    image.addEventListener("focus", () => show(row, column));
    image.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      show(row + step[0], column + step[1]);
    });
  });
})();
