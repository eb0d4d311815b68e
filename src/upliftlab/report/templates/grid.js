(function () {
  "use strict";
  function value(cell) {
    var given = cell.getAttribute("data-v");
    return given === null ? cell.textContent.trim() : parseFloat(given);
  }
  function compare(a, b) {
    var numbers = typeof a === "number", others = typeof b === "number";
    if (numbers && others) { return a - b; }
    if (numbers !== others) { return numbers ? -1 : 1; }
    return a.localeCompare(b);
  }
  function sorting(grid, body) {
    var heads = Array.from(grid.querySelectorAll("thead th"));
    heads.forEach(function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.textContent = head.textContent;
      head.textContent = "";
      head.appendChild(button);
      button.addEventListener("click", function () {
        var down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach(function (each) { each.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        var rows = Array.from(body.rows).map(function (row) {
          return [value(row.cells[column]), row];
        });
        rows.sort(function (a, b) {
          var missing = (a[0] === "–") - (b[0] === "–");
          return missing || (down ? -1 : 1) * compare(a[0], b[0]);
        });
        rows.forEach(function (each) { body.appendChild(each[1]); });
      });
    });
    return heads.map(function (head) { return head.textContent; });
  }
  function choice(body, column, title) {
    var label = document.createElement("label"), select = document.createElement("select");
    var known = new Set(Array.from(body.rows).map(function (row) {
      return row.cells[column].textContent.trim();
    }));
    label.textContent = title + " ";
    select.appendChild(new Option("all", ""));
    Array.from(known).sort().forEach(function (each) {
      select.appendChild(new Option(each, each));
    });
    label.appendChild(select);
    return [label, function (row) {
      return !select.value || row.cells[column].textContent.trim() === select.value;
    }];
  }
  document.querySelectorAll(".grid").forEach(function (grid) {
    var body = grid.querySelector("tbody"), titles = sorting(grid, body);
    if (body.rows.length < 4) { return; }
    var bar = document.createElement("div"), said = document.createElement("span");
    var label = document.createElement("label"), text = document.createElement("input");
    bar.className = "filters";
    said.setAttribute("role", "status");
    label.textContent = "find ";
    text.type = "search";
    label.appendChild(text);
    bar.appendChild(label);
    var tests = [function (row) {
      return row.textContent.toLowerCase().indexOf(text.value.toLowerCase()) >= 0;
    }];
    grid.getAttribute("data-choices").split(",").filter(Boolean).forEach(function (column) {
      var made = choice(body, +column, titles[+column]);
      bar.appendChild(made[0]);
      tests.push(made[1]);
    });
    function apply() {
      var shown = 0, all = body.rows.length;
      Array.from(body.rows).forEach(function (row) {
        var fits = tests.every(function (test) { return test(row); });
        row.hidden = !fits;
        shown += fits;
      });
      said.textContent = shown === all ? "" : shown + " of " + all + " shown";
    }
    bar.addEventListener("input", apply);
    bar.addEventListener("change", apply);
    bar.appendChild(said);
    grid.insertBefore(bar, grid.firstChild);
  });
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (each) { each.open = true; });
  });
}());
