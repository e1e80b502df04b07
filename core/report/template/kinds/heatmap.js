for (const heatmap of document.querySelectorAll(".heatmap")) {
  const attention = heatmap.querySelector(".heatmap-stage img + img"), boxes = [...heatmap.querySelectorAll(".heatmap-box")];
  const [opacity, tiles] = heatmap.querySelectorAll(".heatmap-choice input");
  if (!attention) continue;
  opacity.addEventListener("input", () => {
    attention.style.opacity = opacity.value / 100;
    opacity.setAttribute("aria-valuetext", `${opacity.value}%`);
  });
  tiles.addEventListener("change", () => boxes.forEach((box) => { box.hidden = !tiles.checked; }));
  heatmap.querySelectorAll(".heatmap-top li").forEach((tile, number) => {
    const lit = (is) => () => boxes[number].classList.toggle("lit", is);
    for (const [event, is] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]])
      tile.addEventListener(event, lit(is));
  });
}
