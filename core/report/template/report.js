"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const compare = new Intl.Collator(undefined, { numeric: true }).compare;
  const value = (row, column) => row.cells[column].textContent;
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const isText = body.rows[0].cells[column].className === "text";
    const order = (a, b) => {
      if (isText) return sign * compare(value(a, column), value(b, column));
      const [x, y] = [a, b].map((row) => Number.parseFloat(value(row, column).replace("inf", "Infinity")));
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return x === y ? 0 : sign * (x < y ? -1 : 1);
    };
    body.append(...[...body.rows].sort(order));
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  }));
}
for (const filter of document.querySelectorAll(".set-filter")) {
  const place = filter.closest(".all-cases"), rows = [...place.querySelectorAll("tbody tr")];
  filter.addEventListener("change", () => {
    for (const row of rows) row.hidden = Boolean(filter.value) && row.dataset.set !== filter.value;
    place.querySelector("output").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} cases`;
  });
}
for (const drawing of document.querySelectorAll(".curve svg")) {
  const [lines, [first, last], [left, right]] = ["lines", "range", "inside"].map((name) => JSON.parse(drawing.dataset[name]));
  const steps = [...new Set(lines.flatMap(({ points }) => points.map(([step]) => step)))].sort((a, b) => a - b);
  const cursor = drawing.querySelector(".cursor"), readout = drawing.parentElement.querySelector("output");
  const nearest = (values, wanted) => values.reduce((best, each, place) =>
    Math.abs(each - wanted) < Math.abs(values[best] - wanted) ? place : best, 0);
  let place = steps.length - 1;
  const show = () => {
    const step = steps[place];
    const values = lines.map(({ label, points }) => {
      const point = points[nearest(points.map(([each]) => each), step)];
      return `${label} ${Number(point[1].toPrecision(4))}`;
    });
    cursor.setAttribute("transform", `translate(${left + (right - left) * (last > first ? (step - first) / (last - first) : .5)})`);
    cursor.setAttribute("visibility", "visible");
    readout.textContent = `step ${step}: ${values.join(", ")}`;
  };
  const hide = () => { cursor.setAttribute("visibility", "hidden"); readout.textContent = ""; };
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width * drawing.viewBox.baseVal.width;
    place = nearest(steps, first + (across - left) / (right - left) * (last - first));
    show();
  });
  drawing.addEventListener("pointerleave", hide);
  drawing.addEventListener("blur", hide);
  drawing.addEventListener("focus", () => { if (drawing.matches(":focus-visible")) show(); });
  drawing.addEventListener("keydown", (event) => {
    const target = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: steps.length - 1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    place = Math.max(0, Math.min(steps.length - 1, target));
    show();
  });
}
