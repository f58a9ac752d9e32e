// The gallery: test images by score, right or wrong at a threshold, with the maps of one run or of two. Only the cards that can
// be seen exist, so that thousands of images cost no more than a few.
{
  const byId = (name) => document.getElementById(`g-${name}`);
  const data = JSON.parse(byId("data").textContent);
  const RIM_TEXT = 46, GAP = 8, LEAST = 150, LEAST_PAIR = 250;
  const names = ["run", "other", "class", "defect", "verdict", "sort", "threshold", "threshold-other", "map", "strength", "truth"];
  const control = Object.fromEntries(names.map((name) => [name, byId(name)]));
  const [list, space, counts, dialog] = ["list", "space", "counts", "dialog"].map(byId);

  // A run with what is asked of it: the place of an image in it, and of its map on the sheet of its class.
  const ready = new Map();
  const prepared = (number) => {
    if (number === "" || ready.has(number)) return ready.get(number);
    const run = data.runs[number], set = data.sets[run.set];
    const images = run.images || run.scores.map((_, place) => place);
    const place = new Map(images.map((image, at) => [image, at])), inClass = new Map();
    const tiles = images.map((image) => {
      const own = set.class[image], tile = inClass.get(own) || 0;
      inClass.set(own, tile + 1);
      return tile;
    });
    const order = [...run.scores].sort((a, b) => a - b);
    const made = { ...run, images, place, tiles, data: set, order, view: data.views[run.view] };
    ready.set(number, made);
    return made;
  };
  const pathOf = (run, image) => run.data.path[image];
  const scoreOf = (run, image) => (run.place.has(image) ? run.scores[run.place.get(image)] : undefined);
  const below = (sorted, value) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < value) low = middle + 1; else high = middle;
    }
    return low;
  };

  // What is shown.
  let run, other, items = [], active = 0, columns = 1, card = LEAST, version = 0;
  const limits = { own: null, other: null };

  // The places a threshold can take among the scores of the class that is shown, and the one with the best F1.
  const limit = (of) => {
    const wanted = control.class.value;
    const shown = of.images.filter((image) => wanted === "" || of.data.class[image] === Number(wanted));
    const scores = shown.map((image) => [scoreOf(of, image), of.data.anomalous[image]]).sort((a, b) => a[0] - b[0]);
    const all = scores.reduce((sum, own) => sum + own[1], 0);
    let [best, most, missed] = [0, -1, 0];
    scores.forEach(([score, anomalous], place) => {
      if (place === 0 || score > scores[place - 1][0]) {
        const found = all - missed, f1 = (2 * found) / (found + scores.length - place + all || 1);
        if (f1 > most) [best, most] = [place, f1];
      }
      missed += anomalous;
    });
    return { scores: scores.map((own) => own[0]), best };
  };
  const value = (own, place) => {
    const { scores } = own;
    if (place <= 0) return -Infinity;
    return place >= scores.length ? Infinity : (scores[place - 1] + scores[place]) / 2;
  };
  const thresholds = () => [
    value(limits.own, Number(control.threshold.value)),
    other ? value(limits.other, Number(control["threshold-other"].value)) : 0,
  ];
  const shownNumber = (number) => (Number.isFinite(number) ? String(Number(number.toPrecision(4))) : number < 0 ? "below all" : "above all");

  const VERDICTS = { found: "found", missed: "missed", false: "false alarm", normal: "passed" };
  const SUMS = { found: "anomalies found", missed: "missed", false: "false alarms", normal: "normal passed" };
  const verdict = (of, image, threshold) => {
    const called = scoreOf(of, image) > threshold, anomalous = of.data.anomalous[image];
    return anomalous ? (called ? "found" : "missed") : called ? "false" : "normal";
  };
  const isRight = (kind) => kind === "found" || kind === "normal";

  const choose = () => {
    const [own, theirs] = thresholds();
    const total = { found: 0, missed: 0, false: 0, normal: 0 }, others = { ...total };
    const [wantedClass, wantedDefect, wanted] = [control.class.value, control.defect.value, control.verdict.value];
    const fits = (kind, second) => {
      if (wanted === "disagree") return second !== undefined && isRight(kind) !== isRight(second);
      if (wanted === "right") return isRight(kind);
      return wanted === "" || (wanted === "wrong" ? !isRight(kind) : kind === wanted);
    };
    const before = items[active];
    items = run.images.filter((image) => {
      if (wantedClass !== "" && run.data.class[image] !== Number(wantedClass)) return false;
      if (wantedDefect !== "" && run.data.defect[image] !== Number(wantedDefect)) return false;
      const kind = verdict(run, image, own);
      total[kind] += 1;
      const second = other && other.place.has(image) ? verdict(other, image, theirs) : undefined;
      if (second) others[second] += 1;
      return fits(kind, second);
    });
    const score = (image) => scoreOf(run, image);
    const sign = (image) => (run.data.anomalous[image] ? -1 : 1);
    const scale = Math.max(...run.order.slice(-1), 0) - Math.min(run.order[0], 0) || 1;
    const middle = Number.isFinite(own) ? own : own < 0 ? run.order[0] - scale : run.order[run.order.length - 1] + scale;
    const rank = (of, image) => (of.place.has(image) ? below(of.order, scoreOf(of, image)) / of.order.length : 0);
    const orders = {
      high: (image) => -score(image),
      low: score,
      wrong: (image) => -sign(image) * (score(image) - middle),
      apart: (image) => (other ? -Math.abs(rank(run, image) - rank(other, image)) : -score(image)),
    };
    const key = orders[control.sort.value];
    if (key) {
      const keyed = new Map(items.map((image) => [image, key(image)]));
      items.sort((a, b) => keyed.get(a) - keyed.get(b) || a - b);
    }
    active = Math.max(0, items.indexOf(before));
    const told = (sums) => Object.entries(SUMS).map(([kind, words]) => `${sums[kind]} ${words}`).join(", ");
    byId("threshold-shown").textContent = shownNumber(own);
    byId("threshold-other-shown").textContent = other ? shownNumber(theirs) : "";
    const own_label = other ? `${run.label}: ` : "";
    counts.textContent = `${items.length} shown of ${run.images.length}. ${own_label}${told(total)}.` + (other ? ` ${other.label}: ${told(others)}.` : "");
    counts.dataset.shown = items.length;
    for (const [kind, count] of Object.entries(total)) counts.dataset[kind] = count;
    measure();
  };

  // The cards that exist, by image.
  const drawn = new Map();
  const element = (name, kind, text) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const picture = (kind, source, whenLost) => {
    const made = element("img", kind);
    made.alt = "";
    made.decoding = "async";
    made.onerror = whenLost || (() => made.remove());
    made.src = source;
    return made;
  };
  // The picture of an image that a figure of maps has inside the page, for a page without its folder.
  const chosen = (path) => document.querySelector(`img[data-path="${CSS.escape(path)}"]`);
  const view = (of, image, side) => {
    const made = element("div", "view");
    made.style.width = made.style.height = `${side}px`;
    if (!of.place.has(image)) {
      made.append(element("span", "absent", "not in its test set"));
      return made;
    }
    const file = of.view && of.view.pictures[image];
    const inside = chosen(pathOf(of, image));
    const absent = () => element("span", "absent", "no picture here");
    if (file) {
      const photo = picture("photo", `gallery/images/${file}.jpg`, () => {
        made.replaceChildren(inside ? picture("photo", inside.src) : absent());
      });
      made.append(photo);
    } else {
      made.append(inside ? picture("photo", inside.src) : absent());
    }
    const sheet = of.maps[of.data.class[image]];
    if (sheet && control.map.checked) {
      const tile = of.tiles[of.place.get(image)], scale = side / sheet.side, step = (sheet.side + 2 * sheet.rim) * scale;
      const map = picture("map", sheet.file);
      map.style.width = `${sheet.columns * step}px`;
      map.style.left = `${-(tile % sheet.columns) * step - sheet.rim * scale}px`;
      map.style.top = `${-Math.floor(tile / sheet.columns) * step - sheet.rim * scale}px`;
      map.style.opacity = control.strength.value / 100;
      made.append(map);
    }
    if (file && control.truth.checked && of.data.anomalous[image]) {
      made.append(picture("truth", `gallery/images/${file}-truth.png`));
    }
    return made;
  };
  const sides = () => (other ? [run, other] : [run]);
  const words = (of, image, threshold) => {
    if (!of.place.has(image)) return element("span", "none", "–");
    const kind = verdict(of, image, threshold), made = element("span", isRight(kind) ? "right" : "wrong");
    made.append(element("b", "", shownNumber(scoreOf(of, image))), ` ${VERDICTS[kind]}`);
    return made;
  };
  const named = (image) => `${run.data.classes[run.data.class[image]]} · ${run.data.defects[run.data.defect[image]]}`;
  const said = (image) => {
    const limits = thresholds();
    const parts = sides().map((of, number) => {
      if (!of.place.has(image)) return `${of.label}: not in its test set`;
      const text = `score ${shownNumber(scoreOf(of, image))}, ${VERDICTS[verdict(of, image, limits[number])]}`;
      return other ? `${of.label}: ${text}` : text;
    });
    return `${named(image)}, ${parts.join("; ")}`;
  };
  // A card, and what of it changes with its place and the thresholds.
  const draw = (image) => {
    const made = element("div", "shot");
    made.setAttribute("role", "option");
    made.dataset.path = pathOf(run, image);
    made.style.width = `${card}px`;
    const views = element("div", "views");
    sides().forEach((of) => views.append(view(of, image, other ? Math.floor((card - 4) / 2) : card)));
    made.append(views, element("div", "below"), element("div", "name", named(image)));
    return made;
  };
  const put = (node, image, place) => {
    const limits = thresholds();
    node.id = `g-shot-${place}`;
    node.setAttribute("aria-setsize", items.length);
    node.setAttribute("aria-posinset", place + 1);
    node.setAttribute("aria-label", said(image));
    node.classList.toggle("wrong-one", !isRight(verdict(run, image, limits[0])));
    node.children[1].replaceChildren(...sides().map((of, number) => words(of, image, limits[number])));
    node.style.transform = `translate(${(place % columns) * (card + GAP)}px, ${Math.floor(place / columns) * height()}px)`;
    Object.assign(node, { place, version });
  };
  const height = () => (other ? Math.floor((card - 4) / 2) : card) + RIM_TEXT + GAP;
  const show = () => {
    const tall = height();
    const first = Math.max(0, (Math.floor(list.scrollTop / tall) - 1) * columns);
    const last = Math.min(items.length, (Math.ceil((list.scrollTop + list.clientHeight) / tall) + 1) * columns);
    const wanted = new Set(items.slice(first, last));
    for (const [image, node] of drawn) {
      if (!wanted.has(image)) { node.remove(); drawn.delete(image); }
    }
    for (let place = first; place < last; place += 1) {
      const image = items[place], known = drawn.get(image), node = known || draw(image);
      if (node.place !== place || node.version !== version) put(node, image, place);
      node.setAttribute("aria-selected", place === active);
      if (known) continue;
      drawn.set(image, node);
      space.append(node);
    }
    if (items.length) list.setAttribute("aria-activedescendant", `g-shot-${active}`);
    else list.removeAttribute("aria-activedescendant");
  };
  const forget = () => { drawn.clear(); space.replaceChildren(); };
  const measure = () => {
    const width = space.clientWidth, before = card;
    columns = Math.max(1, Math.floor((width + GAP) / ((other ? LEAST_PAIR : LEAST) + GAP)));
    card = Math.floor((width - GAP * (columns - 1)) / columns);
    if (card !== before) forget();
    version += 1;
    space.style.height = `${Math.ceil(items.length / columns) * height()}px`;
    show();
  };
  const redraw = () => { forget(); measure(); };
  const go = (place) => {
    if (!items.length) return;
    active = Math.min(items.length - 1, Math.max(0, place));
    const tall = height(), top = Math.floor(active / columns) * tall;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + tall > list.scrollTop + list.clientHeight) list.scrollTop = top + tall - list.clientHeight;
    show();
    remember();
    if (dialog.open) enlarge();
  };
  const page = () => columns * Math.max(1, Math.floor(list.clientHeight / height()));
  const moves = {
    ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: () => (dialog.open ? 1 : columns), ArrowUp: () => (dialog.open ? -1 : -columns),
    PageDown: page, PageUp: () => -page(), Home: () => -active, End: () => items.length,
  };
  const pressed = (event) => {
    if (moves[event.key]) go(active + moves[event.key]());
    else if ((event.key === "Enter" || event.key === " ") && !dialog.open) enlarge();
    else return;
    event.preventDefault();
  };

  // One image large.
  const enlarge = () => {
    if (!items.length) return;
    const image = items[active], limits = thresholds(), many = sides().length;
    const side = Math.max(120, Math.min(440, Math.floor((Math.min(window.innerWidth, 1100) - 70) / (window.innerWidth < 700 ? 1 : many))));
    const shown = sides().map((of, number) => {
      const part = element("div", "part");
      part.append(view(of, image, side));
      const line = element("p");
      if (other) line.append(`${of.label}: `);
      line.append(words(of, image, limits[number]), ` (threshold ${shownNumber(limits[number])})`);
      part.append(line);
      return part;
    });
    byId("parts").replaceChildren(...shown);
    byId("title").textContent = `${named(image)} · ${active + 1} of ${items.length}`;
    byId("path").textContent = pathOf(run, image);
    if (!dialog.open) dialog.showModal();
  };

  // Controls.
  const remember = () => {
    const state = Object.fromEntries(names.map((name) => [name, control[name].type === "checkbox" ? control[name].checked : control[name].value]));
    keep.set("gallery", { state, run: run.id, top: list.scrollTop, path: items.length ? pathOf(run, items[active]) : "" });
  };
  const fill = (select, options) => select.replaceChildren(...options.map(([own, text]) => new Option(text, own)));
  const atBest = (own, slider, at) => {
    limits[own] = limit(own === "own" ? run : other);
    slider.max = limits[own].scores.length;
    slider.value = at === undefined ? limits[own].best : at;
  };
  const withRun = () => {
    const before = run;
    run = prepared(control.run.value);
    const beside = data.runs.map((own, number) => [number, own]).filter(([number, own]) => own.set === run.set && String(number) !== control.run.value);
    const kept = control.other.value;
    fill(control.other, [["", "none"], ...beside.map(([number, own]) => [number, own.label])]);
    control.other.value = beside.some(([number]) => String(number) === kept) ? kept : "";
    if (!before || before.set !== run.set) {
      fill(control.class, [["", "all"], ...run.data.classes.map((name, number) => [number, name])]);
      fill(control.defect, [["", "all"], ...run.data.defects.map((name, number) => [number, name])]);
    }
    withOther();
  };
  const withOther = () => {
    other = prepared(control.other.value);
    forget();
    document.querySelectorAll(".g-pair").forEach((own) => { own.hidden = !other; });
    withClass();
  };
  const withClass = () => {
    atBest("own", control.threshold);
    if (other) atBest("other", control["threshold-other"]);
    anew();
  };
  const anew = () => { list.scrollTop = 0; active = 0; items = []; choose(); remember(); };
  let due = false;
  const moved = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; choose(); remember(); });
  };
  control.run.addEventListener("change", withRun);
  control.other.addEventListener("change", withOther);
  control.class.addEventListener("change", withClass);
  for (const name of ["defect", "verdict", "sort"]) control[name].addEventListener("change", anew);
  for (const name of ["threshold", "threshold-other"]) control[name].addEventListener("input", moved);
  for (const name of ["map", "truth", "strength"]) control[name].addEventListener("input", () => { redraw(); remember(); });
  byId("best").addEventListener("click", withClass);
  list.addEventListener("keydown", pressed);
  list.addEventListener("scroll", () => requestAnimationFrame(show), { passive: true });
  list.addEventListener("click", (event) => {
    const shot = event.target.closest(".shot");
    if (!shot) return;
    go(Number(shot.id.slice("g-shot-".length)));
    enlarge();
  });
  dialog.addEventListener("keydown", pressed);
  byId("previous").addEventListener("click", () => go(active - 1));
  byId("next").addEventListener("click", () => go(active + 1));
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  let width = 0;
  new ResizeObserver(() => {
    if (!space.clientWidth || space.clientWidth === width) return;
    width = space.clientWidth;
    redraw();
  }).observe(list);

  // As it was left.
  fill(control.run, data.runs.map((own, number) => [number, own.label]));
  const left = keep.get("gallery");
  const known = left ? data.runs.findIndex((own) => own.id === left.run) : -1;
  if (known >= 0) control.run.value = known;
  withRun();
  if (known >= 0) {
    const set = (name) => {
      const own = control[name], was = left.state[name];
      if (own.type === "checkbox") own.checked = was;
      else if (own.tagName !== "SELECT" || [...own.options].some((option) => option.value === was)) own.value = was;
    };
    set("other");
    withOther();
    set("class");
    withClass();
    names.filter((name) => !["run", "other", "class"].includes(name)).forEach(set);
    choose();
    active = Math.max(0, items.findIndex((image) => pathOf(run, image) === left.path));
    list.scrollTop = left.top;
    show();
    remember();
  }
}
