/* Dropout masks: the sliders choose among bits that were drawn when the page was built. */
(function () {
  "use strict";
  const element = document.getElementById("masks-data");
  const figure = document.getElementById("masks");
  if (!element || !figure) return;
  const data = JSON.parse(element.textContent);
  const bytes = Uint8Array.from(atob(data.bits), (character) => character.charCodeAt(0));
  const seed = figure.querySelector('input[name="seed"]');
  const rate = figure.querySelector('input[name="rate"]');

  function draw() {
    let bit = 8 * data.bytes * (Number(rate.value) * data.seeds + Number(seed.value));
    const next = () => (bytes[bit >> 3] >> (7 - (bit++ & 7))) & 1;
    data.masks.forEach(([steps, units], index) => {
      let d = "";
      for (let t = 0; t < steps; t++) {
        for (let unit = 0; unit < units; unit++) {
          if (!next()) continue;
          for (let s = t; s < (steps === 1 ? data.steps : t + 1); s++) {
            d += `M${s * data.cell + 0.5} ${unit * data.cell + 0.5}h4v8h-4z`;
          }
        }
      }
      figure.querySelector(`#mask-${index}`).setAttribute("d", d);
    });
  }

  [seed, rate].forEach((input) => input.addEventListener("input", draw));
})();
