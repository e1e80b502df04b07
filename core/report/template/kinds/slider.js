for (const slider of document.querySelectorAll(".slider")) {
  const pictures = new Map([...slider.parentElement.querySelectorAll(".pictures figure")]
    .map((figure) => [figure.querySelector("figcaption").textContent, figure.querySelector("img")]));
  const range = slider.querySelector("input"), line = slider.querySelector(".slider-line");
  const sides = ["left", "right"].map((side, place) =>
    ({ image: slider.querySelector(`.slider-${side}`), choice: slider.querySelectorAll("select")[place], first: slider.dataset[side] }));
  const move = () => {
    sides[0].image.style.clipPath = `inset(0 ${100 - range.value}% 0 0)`;
    line.style.left = `${range.value}%`;
    range.setAttribute("aria-valuetext", `${range.value}% ${sides[0].choice.value}, ${100 - range.value}% ${sides[1].choice.value}`);
  };
  const show = ({ image, choice }) => {
    const chosen = pictures.get(choice.value);
    Object.assign(image, { src: chosen.src, width: chosen.width, height: chosen.height });
    move();
  };
  for (const side of sides) {
    side.choice.append(...[...pictures.keys()].map((title) => new Option(title, title, false, title === side.first)));
    side.choice.addEventListener("change", () => show(side));
  }
  sides.forEach(show);
  range.addEventListener("input", move);
  slider.hidden = false;
}
