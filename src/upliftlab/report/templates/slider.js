(function () {
  "use strict";
  var widths = { wide: 920, narrow: 350 };
  document.querySelectorAll(".slider").forEach(function (box) {
    var found = JSON.parse(box.querySelector("script").textContent);
    var input = box.querySelector("input");
    var cells = box.querySelectorAll("dd");
    var section = box.closest("section");
    var cursors = section.querySelectorAll(".cursor");
    var left = Number(box.dataset.left), right = Number(box.dataset.right);
    function move() {
      var i = Number(input.value);
      cells.forEach(function (cell, k) { cell.textContent = found.stops[i][k]; });
      input.setAttribute("aria-valuetext", found.stops[i][0]);
      cursors.forEach(function (cursor) {
        var width = widths[cursor.parentElement.className];
        cursor.style.left = 100 * (left + found.at[i] * (width - left - right)) / width + "%";
        cursor.hidden = false;
      });
    }
    input.addEventListener("input", move);
    box.hidden = false;
    move();
  });
}());
