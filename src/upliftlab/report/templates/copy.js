(function () {
  "use strict";
  var button = document.getElementById("copy");
  var said = document.getElementById("copied");
  var text = document.getElementById("summary").textContent;
  function done(ok) {
    said.textContent = ok ? "copied" : "not copied: select the text by hand";
    setTimeout(function () { said.textContent = ""; }, 3000);
  }
  function byHand() {
    var area = document.createElement("textarea");
    area.value = text;
    document.body.appendChild(area);
    area.select();
    var ok = document.execCommand("copy");
    area.remove();
    done(ok);
  }
  button.hidden = false;
  button.addEventListener("click", function () {
    if (navigator.clipboard && window.isSecureContext) {
      navigator.clipboard.writeText(text).then(function () { done(true); }, byHand);
    } else {
      byHand();
    }
  });
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (each) {
      each.dataset.was = each.open ? "1" : "";
      each.open = true;
    });
  });
  window.addEventListener("afterprint", function () {
    document.querySelectorAll("details").forEach(function (each) {
      each.open = each.dataset.was === "1";
    });
  });
}());
