"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));
  root.classList.add("js");
  all(".needs-js").forEach((element) => { element.hidden = false; });

  // charts: plotly draws what the page's JSON says, in the colours that the page has
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif";
  const touched = window.matchMedia("(hover: none)");
  const themed = (layout, width) => {
    const axis = {
      gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--muted"), automargin: true,
    };
    const result = {
      ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--ink"), family: FONT, size: 13 },
      hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
      margin: { l: 48, r: 12, t: 12, b: 40, ...layout.margin },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--muted"), activecolor: colour("--accent") },
      dragmode: touched.matches ? false : "zoom", // a finger on a chart moves the page, until it asks for another thing
    };
    for (const name of new Set(["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))])) {
      result[name] = { ...axis, ...layout[name] };
    }
    if (width) result.width = width;
    return result;
  };
  // names as long as there is room for: the whole ones are in the hover and in the table
  const LETTER = 7.5; // pixels
  const cut = (name, room) => {
    const text = name.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
    if (text.length <= room) return name;
    const ends = Math.floor((room - 1) / 2);
    const short = `${text.slice(0, ends)}\u2026${text.slice(-ends)}`;
    return short.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  };
  const fitted = (figure, width) => {
    const rooms = { tick: Math.max(12, Math.floor((0.38 * width) / LETTER)), legend: Math.floor((width - 70) / LETTER) };
    const data = figure.data.map((trace) => (trace.name ? { ...trace, name: cut(trace.name, rooms.legend) } : trace));
    const names = [...new Set(figure.data.flatMap((trace) => (trace.orientation === "h" ? trace.y : [])))];
    const ticks = { tickmode: "array", tickvals: names, ticktext: names.map((name) => cut(name, rooms.tick)) };
    const yaxis = names.length ? { ...figure.layout.yaxis, ...ticks } : figure.layout.yaxis;
    return { data, layout: { ...figure.layout, yaxis } };
  };
  const draw = (width, within = document) => all(".plot", within).forEach((plot) => {
    if (!plot.clientWidth) return; // folded away: drawn once that opens
    const read = JSON.parse(document.getElementById(`${plot.id}-figure`).textContent);
    const figure = fitted(read, width || plot.clientWidth);
    const layout = { ...themed(figure.layout, width), height: Number(plot.dataset.height) };
    const config = {
      displaylogo: false, responsive: !width, plotlyServerURL: "", showSendToCloud: false, showEditInChartStudio: false,
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
    };
    window.Plotly.react(plot, figure.data, layout, config);
  });
  if (window.Plotly) {
    draw();
    all("details.fold").forEach((details) => details.addEventListener("toggle", () => {
      if (details.open && root.dataset.printing === undefined) draw(undefined, details);
    }));
  }

  // dark and light: as the system has it, until the reader says otherwise
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const toggle = document.querySelector("button.theme");
  const relabel = () => { toggle.textContent = isDark() ? "Light" : "Dark"; };
  const redraw = () => { relabel(); if (window.Plotly) draw(); };
  toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; redraw(); });
  dark.addEventListener("change", redraw);
  relabel();

  // galleries: filters, order, and the first dozen until more is asked for
  const FIRST = 12;
  const makers = {
    "": (a, b) => a.dataset.place - b.dataset.place,
    gain: (a, b) => known(b, -Infinity) - known(a, -Infinity) || makers[""](a, b),
    loss: (a, b) => known(a, Infinity) - known(b, Infinity) || makers[""](a, b),
    title: (a, b) => name(a).localeCompare(name(b), undefined, { numeric: true }) || makers[""](a, b),
  };
  const known = (card, otherwise) => (card.dataset.gain === "" ? otherwise : Number(card.dataset.gain));
  const name = (card) => card.querySelector(".name strong").textContent;
  const galleries = all(".gallery").map((gallery) => {
    const list = gallery.querySelector(".cards");
    const more = gallery.querySelector("button.more");
    const said = gallery.querySelector("output");
    const state = { all: false, printed: false };
    const show = () => {
      const wanted = Object.fromEntries(all("[data-filter]", gallery).map((select) => [select.dataset.filter, select.value]));
      const order = gallery.querySelector("[data-order]");
      const cards = all(".card", list).sort(makers[order ? order.value : ""]);
      const fitting = cards.filter((card) => Object.entries(wanted).every(([key, value]) => !value || card.dataset[key] === value));
      const shown = new Set(state.all || state.printed ? fitting : fitting.slice(0, FIRST));
      cards.forEach((card) => { card.hidden = !shown.has(card); list.append(card); });
      more.hidden = shown.size === fitting.length;
      more.textContent = `Show all ${fitting.length}`;
      if (said) said.textContent = `${shown.size} of ${cards.length} shown`;
    };
    all("select", gallery).forEach((select) => select.addEventListener("change", show));
    more.addEventListener("click", () => {
      state.all = true;
      show();
      const next = all(".card", list)[FIRST];
      if (next) { next.tabIndex = -1; next.focus(); }
    });
    show();
    return { state, show };
  });

  // sliders: the first picture to the left of the line, the second one to its right
  all(".slider").forEach((slider) => {
    const range = slider.querySelector("input[type=range]");
    const select = slider.querySelector("select");
    const slides = all(".slide", slider);
    const move = () => {
      slides.forEach((slide) => slide.querySelector(".pair").style.setProperty("--at", `${range.value}%`));
      const text = `${range.value} % ${range.dataset.before}, ${100 - range.value} % ${range.dataset.after}`;
      range.setAttribute("aria-valuetext", text);
    };
    const choose = () => slides.forEach((slide, index) => { slide.hidden = Boolean(select) && index !== Number(select.value); });
    const drag = (event) => {
      if (!event.buttons) return;
      const box = event.currentTarget.getBoundingClientRect();
      range.value = String(Math.round(100 * (event.clientX - box.left) / box.width));
      move();
    };
    slides.forEach((slide) => {
      const pair = slide.querySelector(".pair");
      pair.addEventListener("pointerdown", drag);
      pair.addEventListener("pointermove", drag);
      all("img", pair).forEach((image) => { image.draggable = false; });
    });
    range.addEventListener("input", move);
    if (select) select.addEventListener("change", choose);
    move();
    choose();
  });

  // on paper everything is open, light, and as wide as the paper
  const PAPER = 660;
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = all("details.fold:not([open])");
    opened.forEach((details) => { details.open = true; });
    galleries.forEach(({ state, show }) => { state.printed = true; show(); });
    root.dataset.printing = root.dataset.theme || "";
    root.dataset.theme = "light";
    if (window.Plotly) draw(PAPER);
  });
  window.addEventListener("afterprint", () => {
    opened.forEach((details) => { details.open = false; });
    galleries.forEach(({ state, show }) => { state.printed = false; show(); });
    if (root.dataset.printing) root.dataset.theme = root.dataset.printing; else delete root.dataset.theme;
    delete root.dataset.printing;
    redraw();
  });
})();
