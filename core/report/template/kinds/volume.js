for (const viewer of document.querySelectorAll(".volume")) {
  const { shape, step_mm: steps, columns: across, values: [low, high], place, classes } = JSON.parse(viewer.dataset.facts);
  const sheets = [...viewer.querySelectorAll(":scope > img")], titles = sheets.slice(1).map((each) => each.dataset.title);
  const [mapBoxes, classBoxes] = [".volume-maps input:not(.volume-cross)", ".volume-classes input"].map((each) => [...viewer.querySelectorAll(each)]);
  const cross = viewer.querySelector(".volume-cross"), here = viewer.querySelector(".volume-here");
  const [level, width] = viewer.querySelectorAll(".volume-window input"), told = viewer.querySelector(".volume-window output");
  const ends = ["SI", "AP", "RL"], strides = [shape[1] * shape[2], shape[2], 1], OPACITY = 72, LENGTHS = [100, 50, 20, 10, 5, 2, 1];
  const colours = classes.map(([, colour]) => [1, 3, 5].map((start) => Number.parseInt(colour.slice(start, start + 2), 16)));
  const figures = [...viewer.querySelectorAll("figure")];
  const planes = [[0, 1, 2], [1, 0, 2], [2, 0, 1]].map(([axis, down, right], number) => {
    const [canvas, range, count] = ["canvas", "input", "output"].map((each) => figures[number].querySelector(each));
    return { axis, down, right, canvas, range, count, tall: shape[down] * steps[down], wide: shape[right] * steps[right] };
  });
  const physical = (value) => Number((low + (high - low) * value / 255).toPrecision(3)).toString();
  let stacks = [];

  const stack = (sheet) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: sheet.naturalWidth, height: sheet.naturalHeight });
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(sheet, 0, 0);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    const found = new Uint8Array(shape[0] * strides[0]);
    for (let slice = 0, at = 0; slice < shape[0]; slice++) for (let row = 0; row < shape[1]; row++) {
      const start = (Math.floor(slice / across) * shape[1] + row) * canvas.width + slice % across * shape[2];
      for (let column = 0; column < shape[2]; column++) found[at++] = data[4 * (start + column)];
    }
    return found;
  };
  const cut = (values, { axis, down, right }) => {
    const found = new Uint8Array(shape[down] * shape[right]);
    for (let row = 0, at = 0; row < shape[down]; row++) for (let column = 0; column < shape[right]; column++)
      found[at++] = values[place[axis] * strides[axis] + row * strides[down] + column * strides[right]];
    return found;
  };
  const painted = ({ down, right }, colour) => {
    const picture = new ImageData(shape[right], shape[down]);
    for (let at = 0; at < picture.width * picture.height; at++) picture.data.set(colour(at), 4 * at);
    const canvas = Object.assign(document.createElement("canvas"), { width: picture.width, height: picture.height });
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return canvas;
  };
  const isShown = (label) => label > 0 && classBoxes[label - 1].checked;
  const outline = (pen, labels, { down, right }, x, y, dot) => {
    const [rows, columns, inset] = [shape[down], shape[right], .8 * dot], paths = classes.map(() => new Path2D());
    for (let row = 0, at = 0; row < rows; row++) for (let column = 0; column < columns; column++, at++) {
      const label = labels[at];
      if (!isShown(label)) continue;
      const [left, top, end, foot] = [column * x + inset, row * y + inset, (column + 1) * x - inset, (row + 1) * y - inset];
      const line = (...points) => { paths[label - 1].moveTo(points[0], points[1]); paths[label - 1].lineTo(points[2], points[3]); };
      if (!row || labels[at - columns] !== label) line(left, top, end, top);
      if (row === rows - 1 || labels[at + columns] !== label) line(left, foot, end, foot);
      if (!column || labels[at - 1] !== label) line(left, top, left, foot);
      if (column === columns - 1 || labels[at + 1] !== label) line(end, top, end, foot);
    }
    pen.lineCap = "square";
    for (const [colour, thick] of [["#0009", 3], [null, 1.6]]) paths.forEach((path, number) => {
      Object.assign(pen, { strokeStyle: colour ?? classes[number][1], lineWidth: thick * dot });
      pen.stroke(path);
    });
  };
  const mark = (pen, plane, x, y, dot) => {
    const { width: full, height: whole } = pen.canvas, [column, row] = [(place[plane.right] + .5) * x, (place[plane.down] + .5) * y];
    const gap = 9 * dot, line = Math.max(1, Math.round(dot));
    const [isWide, isTall] = [full > 64 * dot, whole > 64 * dot];  // else the letters would stand in one another
    pen.fillStyle = "#ffffff8c";
    if (cross.checked) {
      for (const [from, to] of [[0, column - gap], [column + gap, full]]) if (to > from) pen.fillRect(from, Math.round(row - line / 2), to - from, line);
      for (const [from, to] of [[0, row - gap], [row + gap, whole]]) if (to > from) pen.fillRect(Math.round(column - line / 2), from, line, to - from);
    }
    Object.assign(pen, { fillStyle: "#fff", font: `600 ${12 * dot}px system-ui, sans-serif`, textBaseline: "middle", textAlign: "center", shadowColor: "#000", shadowBlur: 4 * dot });
    const edge = 11 * dot, [[up, foot], [left, end]] = [ends[plane.down], ends[plane.right]];
    if (isTall) for (const [text, along] of [[up, edge], [foot, whole - edge]]) pen.fillText(text, full / 2, along);
    if (isWide) for (const [text, across] of [[left, edge], [end, full - edge]]) pen.fillText(text, across, whole / 2);
    const length = LENGTHS.find((each) => each <= Math.min(...planes.map(({ wide }) => wide)) / 4);
    if (length && isTall) {
      const [long, base] = [length / plane.wide * full, whole - edge];
      pen.fillRect(full - edge - long, base, long, 2 * dot);
      pen.textAlign = "right";
      pen.fillText(`${length} mm`, full - edge, base - 9 * dot);
    }
    pen.shadowBlur = 0;
  };
  const draw = (plane) => {
    const { canvas } = plane, dot = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * dot));
    canvas.height = Math.max(1, Math.round(canvas.width * plane.tall / plane.wide));
    const [x, y] = [canvas.width / shape[plane.right], canvas.height / shape[plane.down]];
    const [image, ...maps] = stacks.map((values) => cut(values, plane));
    const darkest = level.value - width.value / 2;
    const grey = painted(plane, (at) => { const value = 255 * (image[at] - darkest) / width.value; return [value, value, value, 255]; });
    pen.imageSmoothingQuality = "high";
    pen.drawImage(grey, 0, 0, canvas.width, canvas.height);
    pen.imageSmoothingEnabled = false;
    maps.slice(1).forEach((labels, number) => {
      if (!mapBoxes[number + 1].checked) return;
      const fill = painted(plane, (at) => isShown(labels[at]) ? [...colours[labels[at] - 1], OPACITY] : [0, 0, 0, 0]);
      pen.drawImage(fill, 0, 0, canvas.width, canvas.height);
    });
    if (mapBoxes[0].checked) outline(pen, maps[0], plane, x, y, dot);
    mark(pen, plane, x, y, dot);
  };
  const tell = () => {
    const at = place.reduce((sum, each, axis) => sum + each * strides[axis], 0), [value, ...labels] = stacks.map((each) => each[at]);
    here.replaceChildren(`value ${physical(value)}`);
    labels.forEach((label, number) => {
      const dot = document.createElement("i");
      dot.style.background = label ? classes[label - 1][1] : "var(--rule)";
      here.append(` · ${titles[number]} `, dot, label ? classes[label - 1][0] : "background");
    });
    told.textContent = `${physical(level.value - width.value / 2)} to ${physical(+level.value + width.value / 2)}`;
    for (const { axis, range, count } of planes) {
      range.value = place[axis];
      count.textContent = `${place[axis] + 1} of ${shape[axis]}`;
      range.setAttribute("aria-valuetext", count.textContent);
    }
  };
  const show = () => { planes.forEach(draw); tell(); };
  const move = (axis, to) => { place[axis] = Math.max(0, Math.min(shape[axis] - 1, to)); };

  const listen = (plane) => {
    const { axis, down, right, canvas, range } = plane;
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      move(right, Math.floor((event.clientX - box.left) / box.width * shape[right]));
      move(down, Math.floor((event.clientY - box.top) / box.height * shape[down]));
      show();
      range.focus({ preventScroll: true });
    };
    canvas.addEventListener("click", point);
    canvas.addEventListener("pointermove", (event) => { if (event.buttons === 1 && event.pointerType !== "touch") point(event); });
    let turned = 0;
    canvas.addEventListener("wheel", (event) => {
      if (!viewer.contains(document.activeElement)) return;
      event.preventDefault();
      turned += Math.max(-1, Math.min(1, event.deltaY / 50));
      move(axis, place[axis] + Math.trunc(turned));
      turned -= Math.trunc(turned);
      show();
    }, { passive: false });
    range.addEventListener("input", () => { move(axis, Number(range.value)); show(); });
  };

  const [{ wide: first, tall: tallest }, ...others] = planes, widest = Math.max(...others.map(({ wide }) => wide));
  const isFlat = others[0].tall + others[1].tall < tallest;  // of a few slices: both others stand beside the axial plane
  const sum = first + (isFlat ? widest : others[0].wide + others[1].wide), longest = Math.max(...planes.map(({ tall }) => tall));
  const room = viewer.querySelector(".volume-planes");
  room.classList.toggle("flat", isFlat);
  room.style.maxWidth = `calc(34rem * ${sum / longest} + 1.2rem)`;
  room.style.gridTemplateColumns = `${first}fr ${widest}fr`;
  planes.forEach((plane, number) => {
    figures[number].style.flexGrow = plane.wide;
    if (isFlat && number) figures[number].style.width = `${100 * plane.wide / widest}%`;
    plane.canvas.style.aspectRatio = `${plane.wide} / ${plane.tall}`;
    plane.range.max = shape[plane.axis] - 1;
  });
  Promise.all(sheets.map((sheet) => sheet.decode())).then(() => {
    stacks = sheets.map(stack);
    planes.forEach(listen);
    for (const input of viewer.querySelectorAll(".volume-choice input")) input.addEventListener("input", show);
    new ResizeObserver(show).observe(viewer);
  });
}
