/* Notebook pages: a formula, table or print-out that is wider than the page scrolls, so the keyboard must reach it. */
(() => {
  "use strict";
  const book = document.querySelector(".book");
  if (!book) return;

  const update = () => {
    for (const element of book.querySelectorAll(".formula, .printed, .shown, table:not(.beside)")) {
      if (element.scrollWidth > element.clientWidth) element.tabIndex = 0;
      else element.removeAttribute("tabindex");
    }
  };
  update();
  window.addEventListener("resize", update);
  book.addEventListener("toggle", update, true); // a fold that opens has no width before
})();
