"use strict";
(() => {
  const known = JSON.parse(document.getElementById("samples").textContent);
  const charts = document.getElementById("curves");

  const words = (value, unit) => {
    if (value === null || value === undefined) return "–";
    const shown = unit === "share" ? 100 * value : value;
    const size = Math.abs(shown);
    const decimals = size === 0 || size >= 100 ? 0 : Math.min(6, 2 - Math.floor(Math.log10(size)));
    return shown.toFixed(decimals).replace("-", "−") + (unit === "share" ? " %" : "");
  };
  const nearest = (times, at) => {
    let low = 0, high = times.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (times[middle] < at) low = middle; else high = middle;
    }
    return at - times[low] <= times[high] - at ? low : high;
  };

  if (charts) {
    const panels = [...charts.querySelectorAll(".panel")].map((panel) => {
      const cursor = document.createElement("div");
      cursor.className = "cursor";
      cursor.hidden = true;
      panel.querySelector(".plot").append(cursor);
      const read = panel.querySelector(".read");
      return { cursor, read, plain: read.innerHTML, samples: known.panels[panel.dataset.name] };
    });
    const clock = charts.querySelector(".now");
    const plainClock = clock.textContent;
    const times = [...new Set(panels.flatMap((p) => p.samples.lines.flatMap((l) => l.t)))]
      .sort((a, b) => a - b);
    const { first, last } = known;
    let shown = null;

    const show = (seconds) => {
      shown = seconds;
      const left = last > first ? 100 * (seconds - first) / (last - first) : 50;
      clock.textContent = `at ${seconds.toFixed(2)} s`;
      for (const { cursor, read, samples } of panels) {
        cursor.hidden = false;
        cursor.style.left = `${left}%`;
        read.textContent = samples.lines.map((line) => {
          const value = line.t.length ? line.v[nearest(line.t, seconds)] : null;
          return `${line.label} ${words(value, samples.unit)}`;
        }).join(", ");
      }
    };
    const hide = () => {
      if (shown === null) return;
      shown = null;
      clock.textContent = plainClock;
      for (const { cursor, read, plain } of panels) {
        cursor.hidden = true;
        read.innerHTML = plain;
      }
    };
    const pointed = (event) => {
      const plot = event.target.closest(".plot");
      if (!plot || !times.length) return;
      const box = plot.getBoundingClientRect();
      const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      show(times[nearest(times, first + part * (last - first))]);
    };
    charts.addEventListener("pointermove", pointed);
    charts.addEventListener("pointerdown", pointed);
    charts.addEventListener("pointerleave", hide);
    charts.tabIndex = 0;
    charts.addEventListener("blur", hide);
    charts.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step || event.target !== charts || !times.length) return;
      const next = shown === null ? 0 : nearest(times, shown) + step;
      show(times[Math.min(times.length - 1, Math.max(0, next))]);
      event.preventDefault();
    });
  }

  for (const hint of document.querySelectorAll(".only-script")) hint.hidden = false;
  for (const swapped of document.querySelectorAll("[data-flip]")) {
    const own = swapped.src;
    const target = document.getElementById(swapped.dataset.flip).src;
    const flip = (on) => () => { swapped.src = on ? target : own; };
    swapped.tabIndex = 0;
    swapped.draggable = false;
    swapped.addEventListener("pointerdown", flip(true));
    for (const end of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"]) {
      swapped.addEventListener(end, flip(false));
    }
    swapped.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      flip(true)();
    });
  }

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const part of closed) part.open = true;
  });
  addEventListener("afterprint", () => { for (const part of closed) part.open = false; });
})();
