for (const overlay of document.querySelectorAll(".overlay")) {
  const layers = overlay.querySelectorAll(".overlay-stage img + img");
  overlay.querySelectorAll("input").forEach((box, place) =>
    box.addEventListener("change", () => { layers[place].hidden = !box.checked; }));
}
