(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  root.classList.add("js");

  // Highlight one group in all diagrams: preview on hover and focus, keep on click.
  const now = document.querySelector(".now");
  const buttons = all("[data-g]");
  let kept = null;
  const light = (button) => {
    root.classList.toggle("hl", button !== null);
    for (const use of all(".over")) {
      const id = button && `${use.dataset.panel}-${button.dataset.g}`;
      if (id && document.getElementById(id)) use.setAttribute("href", `#${id}`);
      else use.removeAttribute("href");
    }
    if (now) now.textContent = button === null ? "All objects" : button.dataset.name;
  };
  const keep = (button) => {
    kept = button;
    for (const b of buttons) b.setAttribute("aria-pressed", String(b === button));
    light(button);
  };
  for (const b of buttons) {
    b.addEventListener("click", () => keep(kept === b ? null : b));
    for (const event of ["mouseenter", "focus"]) b.addEventListener(event, () => light(b));
    for (const event of ["mouseleave", "blur"]) b.addEventListener(event, () => light(kept));
  }
  addEventListener("keydown", (e) => { if (e.key === "Escape") keep(null); });

  // Cards of one class.
  const picks = all(".pick");
  for (const b of picks) {
    b.addEventListener("click", () => {
      for (const other of picks) other.setAttribute("aria-pressed", String(other === b));
      for (const fold of all(".small-ones")) fold.open = b.dataset.class !== "";
      for (const card of all(".card")) card.hidden = b.dataset.class !== "" && card.dataset.class !== b.dataset.class;
    });
  }

  // Tables: sort, filter, and a first page of rows, since a phone scrolls far through hundreds.
  const PAGE = 25;
  for (const form of all("form.controls")) {
    const table = document.getElementById(form.dataset.for);
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, text: row.textContent.toLowerCase() }));
    const count = form.querySelector(".count");
    const more = document.createElement("button");
    let shown = PAGE;
    more.type = "button";
    more.className = "more";
    table.after(more);
    const update = () => {
      const { text, class: chosen, least } = Object.fromEntries(new FormData(form));
      const words = text.trim().toLowerCase();
      let n = 0;
      for (const { row, text: content } of rows) {
        const fits = content.includes(words) && (chosen === "" || row.dataset.c === chosen) && +row.dataset.v >= +least;
        row.hidden = !fits || ++n > shown;
      }
      const visible = Math.min(n, shown);
      count.textContent = `${visible.toLocaleString("en")} of ${n.toLocaleString("en")} objects shown` +
        (n < rows.length ? `, ${rows.length.toLocaleString("en")} in all` : "");
      more.hidden = n <= shown;
      more.textContent = `Show all ${n.toLocaleString("en")}`;
    };
    form.addEventListener("input", () => { shown = PAGE; update(); });
    form.addEventListener("submit", (e) => e.preventDefault());
    more.addEventListener("click", () => { shown = Infinity; update(); });
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const key = ({ row }) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
      const keys = new Map(rows.map((r) => [r, key(r)]));
      const compare = new Intl.Collator("en", { numeric: true }).compare;
      const numeric = rows.every((r) => keys.get(r) !== "" && isFinite(keys.get(r)));
      rows.sort((a, b) => (rising ? 1 : -1) * (numeric ? keys.get(a) - keys.get(b) : compare(keys.get(a), keys.get(b))));
      body.append(...rows.map(({ row }) => row));
      update();
    }));
    update();
  }
  // Stacked tables are tables still to a screen reader.
  for (const table of all("table.stacked")) {
    table.setAttribute("role", "table");
    for (const row of all("tr", table)) row.setAttribute("role", "row");
    for (const cell of all("td", table)) cell.setAttribute("role", "cell");
  }
  const open = (state) => { for (const d of all("details")) d.open = state; };
  addEventListener("beforeprint", () => open(true));
  addEventListener("afterprint", () => open(false));
})();
