// The dashboard's script. Pages work without it; with it they change in place, ask in dialogs and take keys.
"use strict";

const words = JSON.parse(document.body.dataset.words);
const root = document.body.dataset.root;
const main = document.getElementById("main");
const dialog = document.getElementById("dialog");
const lost = document.getElementById("lost");
const OURS = "x-rushes-script";

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

// --- changing HTML in place: what has not changed keeps its focus, its selection and its playing video ------

function sameKind(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName &&
    (a.nodeType !== 1 || (a.dataset.key || "") === (b.dataset.key || ""));
}

function morph(from, to) {
  if (from.nodeType !== 1) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if (from.isEqualNode(to) || from.classList.contains("upload")) return;
  const kept = from.nodeName === "DETAILS" || from.nodeName === "DIALOG" ? ["open"] : ["src", "poster", "preload", "controls"];
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !kept.includes(name) && name !== "data-on") from.removeAttribute(name);
  }
  for (const { name, value } of [...to.attributes]) {
    if (name === "src" && from.dataset.src === to.dataset.src && from.nodeName === "VIDEO") continue;
    if (name !== "open" && !(name === "preload" && from.preload) && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  let at = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    let found = at;
    while (found && !sameKind(found, wanted)) found = found.nextSibling;
    if (!found) {
      from.insertBefore(wanted, at);
      continue;
    }
    if (found === at) at = at.nextSibling;
    else from.insertBefore(found, at);
    morph(found, wanted);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function showPart(name, html) {
  const place = main.querySelector(`[data-part="${CSS.escape(name)}"]`);
  if (!place) return;
  const wanted = place.cloneNode(false);
  wanted.innerHTML = html;
  morph(place, wanted);
  afterChange(place);
}

// --- times -----------------------------------------------------------------------------------------------

const two = (n) => String(n).padStart(2, "0");

function age(seconds) {
  const whole = Math.max(1, Math.floor(Math.abs(seconds)));
  for (const [length, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (whole >= length) return fill(words[unit], { n: Math.floor(whole / length) });
  }
  return fill(words.s, { n: whole });
}

function tellTimes(within) {
  const now = Date.now() + clockSkew;
  for (const time of within.querySelectorAll("time[datetime]")) {
    const at = Date.parse(time.dateTime);
    const text = fill(at <= now ? words.ago : words.in, { age: age((now - at) / 1000) });
    if (time.textContent !== text) time.textContent = text;
  }
}

// the local time is added to a time's title when one points at it: a browser's first such text takes it long
function addLocalTime(event) {
  const time = event.target.closest?.("time[datetime]:not([data-on]), [data-clock]:not([data-on])");
  if (!time) return;
  time.dataset.on = "1";
  const at = new Date(time.dateTime || time.dataset.clock);
  time.title = `${time.title}\n${at.toLocaleString(document.documentElement.lang)}`;
}

document.addEventListener("pointerover", addLocalTime);
document.addEventListener("focusin", addLocalTime);

let clockSkew = 0;
setInterval(() => tellTimes(main), 5000);

// --- what changes: the server sends it --------------------------------------------------------------------

let stream = null;
let lastSign = Date.now();
let troubled = false;

async function listen() {
  if (stream || document.hidden || !main.dataset.version) return;
  const own = (stream = new AbortController());
  try {
    const answer = await fetch(location.href, {
      headers: { accept: "text/event-stream", [OURS]: main.dataset.version },
      signal: own.signal,
      cache: "no-store",
    });
    if (answer.status === 401) return leave();
    if (!answer.ok || !answer.body) throw new Error("no stream");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      text += value;
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) take(text.slice(0, end));
    }
  } catch {
    // tried again below
  }
  if (stream === own) {
    stream = null;
    setTimeout(listen, 1500);
  }
}

function take(frame) {
  const [, name, data] = frame.match(/^event: (.*)\ndata: ([^]*)$/) || [];
  if (name === "signed-out") return leave();
  if (name === "part") {
    const { name: part, html } = JSON.parse(data);
    showPart(part, html);
    if (part === "head") refillBlocks();
  }
  troubled = name === "trouble";
  if (!troubled) lastSign = Date.now();
  tellLoss();
}

function leave() {
  main.removeAttribute("data-version");
  location.assign(location.href); // the gate asks to sign in, and leads back here
}

function stopListening() {
  const own = stream;
  stream = null;
  if (own) own.abort();
}

const LOST_MS = 7000;

function tellLoss() {
  if (!main.dataset.version) return;
  const silence = Date.now() - lastSign;
  const isLost = !document.hidden && (silence > LOST_MS || !navigator.onLine || troubled);
  if (!isLost && lost.hidden) return;
  document.body.classList.toggle("is-lost", isLost);
  lost.hidden = !isLost;
  if (isLost) lost.textContent = fill(troubled ? words.trouble : words.lost, { age: age(silence / 1000) });
  for (const control of main.querySelectorAll("button, input, select, textarea")) {
    if (control.closest("[data-offline-too]")) continue;
    if (isLost && !control.disabled) {
      control.disabled = true;
      control.dataset.lost = "1";
    } else if (!isLost && control.dataset.lost) {
      control.disabled = false;
      delete control.dataset.lost;
    }
  }
}

setInterval(tellLoss, 1000);
addEventListener("offline", tellLoss);
addEventListener("online", () => { stopListening(); listen(); });
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stopListening();
  else {
    lastSign = Date.now();
    listen();
  }
});
addEventListener("pagehide", stopListening);
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

// --- saying what was done ---------------------------------------------------------------------------------

function say(text, isWarning) {
  document.querySelector(".toast")?.remove();
  const toast = document.createElement("p");
  toast.className = isWarning ? "toast warn" : "toast";
  toast.setAttribute("role", isWarning ? "alert" : "status");
  toast.textContent = text;
  main.before(toast);
  hideLater(toast);
}

function hideLater(toast) {
  setTimeout(() => toast.remove(), 9000);
}

document.querySelectorAll(".toast").forEach(hideLater);
const saved = sessionStorage.getItem("said");
if (saved) {
  sessionStorage.removeItem("said");
  const { text, isWarning } = JSON.parse(saved);
  say(text, isWarning);
}

// --- dialogs ----------------------------------------------------------------------------------------------

let opener = null;

async function ask(address) {
  if (document.body.classList.contains("is-lost")) return;
  try {
    const answer = await fetch(address, { headers: { [OURS]: "1" }, cache: "no-store" });
    if (answer.status === 401) return leave();
    showDialog(await answer.text());
  } catch {
    say(words.failed, true);
  }
}

function showDialog(html) {
  dialog.innerHTML = html;
  if (!dialog.open) dialog.showModal();
  for (const first of ["[aria-invalid]", "input:not([type=hidden]), select", "[data-close]"]) {
    const found = dialog.querySelector(first);
    if (found) {
      found.focus();
      break;
    }
  }
}

dialog.addEventListener("close", () => {
  dialog.replaceChildren();
  (opener && opener.isConnected ? opener : main).focus({ preventScroll: true });
  opener = null;
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
  const close = event.target.closest("[data-close]");
  if (close) {
    event.preventDefault();
    dialog.close();
  }
});
dialog.addEventListener("change", (event) => {
  const select = event.target.closest("[data-ask-again]");
  if (!select) return;
  const address = new URL(select.form.action);
  address.searchParams.set(select.name, select.value);
  ask(address);
});
dialog.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("[data-submit]");
  if (!button || button.disabled) return;
  button.disabled = true;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { [OURS]: "1" },
      body: new URLSearchParams(new FormData(form)),
    });
    if (answer.status === 401) return leave();
    if (!answer.headers.get("content-type").includes("json")) return showDialog(await answer.text());
    const { said, to, is_warning: isWarning } = await answer.json();
    dialog.close();
    clearSelection();
    const there = new URL(to, location.href);
    const isHere = there.pathname === location.pathname && (!there.search || there.search === location.search);
    if (isHere && main.dataset.version) {
      say(said, isWarning);
      stopListening();
      listen();
    } else {
      sessionStorage.setItem("said", JSON.stringify({ text: said, isWarning }));
      location.assign(to);
    }
  } catch {
    button.disabled = false;
    dialog.close();
    say(words.failed, true);
  }
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-dialog]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    opener = link;
    ask(link.href);
  }
  if (event.target.closest("[data-print]")) print();
  const copy = event.target.closest("[data-copy]");
  if (copy) copyText(copy.dataset.copy);
  for (const open of document.querySelectorAll("details.who[open], details.drop[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});
main.addEventListener("submit", (event) => {
  const form = event.target;
  const button = event.submitter;
  if (!form.dataset.selecting || !button) return;
  event.preventDefault();
  if (!selected.size || document.body.classList.contains("is-lost")) return;
  const address = new URL(button.hasAttribute("formaction") ? button.formAction : form.action);
  const chosen = fieldOf(form) === "items" ? ranges([...selected].map(Number)) : [...selected].join(",");
  address.searchParams.set(fieldOf(form), chosen);
  if (button.name) address.searchParams.set(button.name, button.value);
  if (button.hasAttribute("data-dialog")) {
    opener = button;
    ask(address);
  } else if (button.hasAttribute("data-direct")) act(address);
  else location.assign(address); // a download
});

async function act(address) {
  try {
    const answer = await fetch(address, { method: "POST", headers: { [OURS]: "1" } });
    if (answer.status === 401) return leave();
    if (!answer.headers.get("content-type").includes("json")) return showDialog(await answer.text());
    const { said, is_warning: isWarning } = await answer.json();
    clearSelection();
    say(said, isWarning);
    stopListening();
    listen();
  } catch {
    say(words.failed, true);
  }
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(words.copied);
}

// --- selecting items: kept while one leafs through the pages of a batch -------------------------------------

const selecting = () => main.querySelector("form[data-selecting]");
const fieldOf = (form) => form.dataset.field || "items";
const storeOf = (form) => `selected:${form.dataset.selecting}`;
let selected = new Set();

function ranges(numbers) {
  numbers.sort((a, b) => a - b);
  const found = [];
  for (const number of numbers) {
    const last = found[found.length - 1];
    if (last && last[1] === number - 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([first, end]) => (first === end ? `${first}` : `${first}-${end}`)).join(",");
}

function loadSelection() {
  const form = selecting();
  if (form) selected = new Set(JSON.parse(sessionStorage.getItem(storeOf(form)) || "[]"));
}

function keepSelection() {
  const form = selecting();
  if (!form) return;
  sessionStorage.setItem(storeOf(form), JSON.stringify([...selected]));
  tellSelection();
}

function clearSelection() {
  selected.clear();
  keepSelection();
}

function tellSelection(within = main) {
  const form = selecting();
  if (!form) return;
  for (const box of within.querySelectorAll(`input[name=${fieldOf(form)}]`)) {
    box.checked = selected.has(box.value);
    box.closest(".tile, tr")?.classList.toggle("is-selected", box.checked);
  }
  const bar = form.querySelector(".selection");
  if (!bar) return;
  bar.classList.toggle("has-some", selected.size > 0);
  bar.querySelector("[data-selected]").textContent = fill(words.selected, { n: selected.size });
}

main.addEventListener("change", (event) => {
  const box = event.target.closest("input[name=items], input[name=batches]");
  if (!box) return;
  if (box.checked) selected.add(box.value);
  else selected.delete(box.value);
  keepSelection();
});
main.addEventListener("click", (event) => {
  if (event.target.closest("[data-clear]")) clearSelection();
  if (event.target.closest("[data-copy-links]")) {
    const links = [...main.querySelectorAll(".is-selected [data-play]")].map((one) => one.dataset.play);
    copyText(links.map((link) => new URL(link, location.href).href).join("\n"));
  }
  const size = event.target.closest("[data-size]");
  if (size) {
    localStorage.setItem("size", size.dataset.size);
    tellSize();
  }
});

function tellSize() {
  const size = localStorage.getItem("size") || "M";
  if (size !== (document.documentElement.dataset.size || "M")) document.documentElement.dataset.size = size;
  for (const button of main.querySelectorAll("[data-size]")) {
    button.setAttribute("aria-pressed", String(button.dataset.size === size));
  }
}

// --- a long wall: pages of tiles come when they are near, and go when they are far --------------------------

const blocks = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting, boundingClientRect } of entries) {
    if (isIntersecting) fillBlock(target);
    else emptyBlock(target, boundingClientRect.height);
  }
}, { rootMargin: "1500px 0px" });

function makeBlocks() {
  const more = main.querySelector("[data-pages]");
  const wall = main.querySelector(".wall");
  if (!more || !wall) return;
  more.querySelector(".pager").hidden = true;
  if (main.querySelector(".blocks")) return;
  const height = wall.getBoundingClientRect().height;
  const place = document.createElement("div");
  place.className = "blocks";
  more.closest("[data-part]").after(place); // outside of what the server sends again
  for (let page = 2; page <= Number(more.dataset.pages); page += 1) {
    const block = document.createElement("div");
    block.className = "wall block";
    block.dataset.page = page;
    block.style.minHeight = `${height}px`;
    place.append(block);
    blocks.observe(block);
  }
}

async function fillBlock(block) {
  if (block.dataset.filled) return;
  block.dataset.filled = "1";
  const tiles = new URL(main.querySelector("[data-tiles]").dataset.tiles, location.href);
  tiles.searchParams.set("page", block.dataset.page);
  try {
    const answer = await fetch(tiles, { headers: { [OURS]: "1" }, cache: "no-store" });
    if (answer.status === 401) return leave();
    if (!answer.ok) throw new Error("no tiles");
    const html = await answer.text();
    if (!block.dataset.filled) return;
    if (block.hasChildNodes()) {
      const wanted = block.cloneNode(false);
      wanted.innerHTML = html;
      morph(block, wanted);
    } else block.innerHTML = html;
    const shapes = new Set([...block.children].map((tile) => tile.style.getPropertyValue("--aspect")));
    block.classList.toggle("even", shapes.size === 1);
    if (shapes.size === 1) block.style.setProperty("--aspect", [...shapes][0]);
    block.style.minHeight = "";
    watchVideos(block);
    tellSelection(block);
  } catch {
    delete block.dataset.filled;
  }
}

function emptyBlock(block, height) {
  if (!block.dataset.filled) return;
  block.style.minHeight = `${height}px`;
  for (const video of block.querySelectorAll("video")) forgetVideo(video);
  delete block.dataset.filled;
  block.replaceChildren();
}

let again = null;

function refillBlocks() {
  if (again) return;
  again = setTimeout(() => {
    again = null;
    for (const block of main.querySelectorAll(".block[data-filled]")) {
      delete block.dataset.filled;
      fillBlock(block);
    }
  }, 3000);
}

// --- the wall: videos load when they are near, play while pointed at, and take keys ------------------------

const CALM_MS = 120;
const waiting = new Set();
let calm = null;

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && !target.src) waiting.add(target);
    else waiting.delete(target);
  }
  if (!calm) loadWaiting();
}, { rootMargin: "300px" });

function watchVideos(place) {
  for (const video of place.querySelectorAll("video[data-src]:not([src])")) near.observe(video);
}

function loadWaiting() {
  for (const video of waiting) video.src = video.dataset.src;
  waiting.clear();
}

function forgetVideo(video) {
  near.unobserve(video);
  waiting.delete(video);
  if (!video.src) return;
  video.removeAttribute("src");
  video.load(); // what it had fetched is let go at once
}

// a video's first picture takes long to decode: while one scrolls, none is loaded and none plays
addEventListener("scroll", () => {
  clearTimeout(calm);
  calm = setTimeout(() => {
    calm = null;
    loadWaiting();
    if (pointed) play(pointed);
  }, CALM_MS);
}, { passive: true });

let pointed = null;

function play(screen) {
  if (!screen.isConnected || !screen.dataset.play || screen.querySelector("video.playing")) return;
  const video = document.createElement("video");
  Object.assign(video, { src: screen.dataset.play, muted: true, loop: true, playsInline: true });
  video.className = "playing";
  screen.append(video);
  video.play().catch(() => video.remove());
}

function stop(screen) {
  screen.querySelector("video.playing")?.remove();
}

main.addEventListener("pointerover", (event) => {
  const screen = event.target.closest(".screen[data-play]");
  if (!screen || event.pointerType !== "mouse" || screen.contains(event.relatedTarget)) return;
  pointed = screen;
  if (!calm) play(screen);
});
main.addEventListener("pointerout", (event) => {
  const screen = event.target.closest(".screen[data-play]");
  if (!screen || screen.contains(event.relatedTarget)) return;
  pointed = null;
  stop(screen);
});

let current = null;

function move(step) {
  const tiles = [...main.querySelectorAll(".tile")];
  if (!tiles.length) return;
  const at = current && current.isConnected ? tiles.indexOf(current) + step : step > 0 ? 0 : tiles.length - 1;
  current?.classList.remove("is-current");
  current = tiles[Math.min(Math.max(0, at), tiles.length - 1)];
  current.classList.add("is-current");
  current.querySelector(".screen").focus({ preventScroll: true });
  current.scrollIntoView({ block: "nearest" });
}

const wallKeys = {
  j: () => move(1),
  k: () => move(-1),
  " ": () => {
    const screen = current?.querySelector(".screen");
    if (!screen) return false;
    if (screen.querySelector("video.playing")) stop(screen);
    else play(screen);
  },
  x: () => current?.querySelector("input[name=items]")?.click(),
  p: () => current?.querySelector(".screen")?.click(),
  r: () => {
    if (!current) return false;
    if (!selected.size) {
      selected.add(current.dataset.index);
      keepSelection();
    }
    main.querySelector("button[data-dialog]")?.click();
  },
};

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    document.getElementById("search").focus();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, select, video")) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search").focus();
    return;
  }
  const link = main.querySelector(`[data-key-press="${CSS.escape(event.key)}"]`);
  if (link) return link.click();
  if (!main.querySelector(".wall") || !wallKeys[event.key]) return;
  if (event.key === " " && event.target.closest("button, summary")) return;
  if (wallKeys[event.key]() !== false) event.preventDefault();
});
main.addEventListener("focusin", (event) => {
  const tile = event.target.closest(".tile");
  if (!tile || tile === current) return;
  current?.classList.remove("is-current");
  current = tile;
  tile.classList.add("is-current");
});

// --- the chart: the numbers of what one points at -----------------------------------------------------------

let tip = null;

function placeIn(svg, clientX) {
  const rows = JSON.parse(svg.dataset.chart);
  const box = svg.getBoundingClientRect();
  const place = Math.floor(((clientX - box.left) / box.width) * rows.length);
  return Math.min(Math.max(0, place), rows.length - 1);
}

main.addEventListener("pointermove", (event) => {
  const svg = event.target.closest("svg[data-chart]");
  if (!svg) {
    tip?.remove();
    tip = null;
    return;
  }
  const rows = JSON.parse(svg.dataset.chart);
  const { width, height } = svg.viewBox.baseVal;
  const place = placeIn(svg, event.clientX);
  const at = ((place + 0.5) / rows.length) * width;
  const mark = svg.querySelector(".chart-hover");
  if (mark) mark.innerHTML = `<line x1="${at}" x2="${at}" y1="0" y2="${height}"></line>`;
  if (!tip) {
    tip = document.createElement("div");
    tip.className = "tip";
    document.body.append(tip);
  }
  tip.replaceChildren(...rows[place].map((text, n) => {
    const line = document.createElement(n ? "div" : "b");
    line.textContent = text;
    return line;
  }));
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${event.clientY + 14}px`;
  if (brush && brush.svg === svg) showBrush(place);
});

// --- the brush: a part of the chart that is dragged over is looked at by itself -----------------------------

let brush = null;

function showBrush(place) {
  const { width: whole, height } = brush.svg.viewBox.baseVal;
  const step = whole / JSON.parse(brush.svg.dataset.chart).length;
  brush.to = place;
  const [first, last] = [Math.min(brush.from, place), Math.max(brush.from, place)];
  const [x, width] = [first * step, (last - first + 1) * step];
  brush.svg.querySelector(".chart-hover").innerHTML +=
    `<rect class="brush" x="${x}" y="0" width="${width}" height="${height}"></rect>`;
}

main.addEventListener("pointerdown", (event) => {
  const svg = event.target.closest("svg[data-brush]");
  if (!svg || event.button) return;
  event.preventDefault();
  const place = placeIn(svg, event.clientX);
  brush = { svg, from: place, to: place };
});
addEventListener("pointerup", () => {
  const own = brush;
  brush = null;
  if (!own || own.from === own.to || !own.svg.isConnected) return;
  const [first, last] = [Math.min(own.from, own.to), Math.max(own.from, own.to)];
  const [start, step] = [Number(own.svg.dataset.start), Number(own.svg.dataset.step)];
  const there = new URL(own.svg.dataset.brush, location.href);
  there.searchParams.set("from", Math.floor(start + first * step));
  there.searchParams.set("to", Math.ceil(start + (last + 1) * step));
  location.assign(there);
});

// --- a form that is quoted while it is filled in -----------------------------------------------------------

const quoting = main.querySelector("form[data-quoting]");
let quotes = 0;
let soon = null;

async function quote() {
  const own = ++quotes;
  try {
    const answer = await fetch(quoting.action, {
      method: "POST",
      headers: { [OURS]: "1" },
      body: new URLSearchParams(new FormData(quoting)),
    });
    if (answer.status === 401) return leave();
    if (own !== quotes || !answer.ok) return;
    const { parts } = await answer.json();
    for (const [name, html] of Object.entries(parts)) showPart(name, html);
  } catch {
    say(words.failed, true);
  }
}

function quoteSoon() {
  clearTimeout(soon);
  soon = setTimeout(quote, 350);
}

async function readPromptFile(file) {
  const bytes = await file.arrayBuffer();
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    text = new TextDecoder("gb18030").decode(bytes);
  }
  quoting.elements.text.value = text;
  quoting.elements.file_name.value = file.name;
  quoting.querySelector("[name=mode][value=prompts]").checked = true;
  quote();
}

async function upload(file, field, said) {
  const address = new URL(quoting.action + "/upload");
  address.searchParams.set("account", quoting.elements.account.value);
  said.textContent = "…";
  try {
    const answer = await fetch(address, { method: "POST", headers: { [OURS]: "1" }, body: file });
    if (answer.status === 401) return leave();
    const { upload_id: id, said: facts, error } = await answer.json();
    said.textContent = error || `✓ ${file.name} ${facts}`;
    if (error) return;
    field.value = id;
    quote();
  } catch {
    said.textContent = words.failed;
  }
}

if (quoting) {
  quoting.addEventListener("input", (event) => {
    if (event.target.name === "text" && !event.target.value.trim()) quoting.elements.file_name.value = "";
    quoteSoon();
  });
  quoting.addEventListener("change", (event) => {
    const file = event.target.type === "file" && event.target.files[0];
    if (file && event.target.dataset.upload) {
      upload(file, document.getElementById(event.target.dataset.upload), event.target.nextElementSibling);
    } else if (file) readPromptFile(file);
    else quote();
  });
  for (const name of ["dragover", "drop"]) {
    quoting.addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      const file = event.dataTransfer.files[0];
      if (name !== "drop" || !file) return;
      const place = event.target.closest(".field")?.querySelector("[data-upload]") ||
        (/^(image|video|audio)\//.test(file.type) ? quoting.querySelector("[data-upload]") : null);
      if (place) upload(file, document.getElementById(place.dataset.upload), place.nextElementSibling);
      else readPromptFile(file);
    });
  }
  quoting.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.submitter;
    if (!button || button.disabled) return;
    button.disabled = true;
    quotes += 1;
    const body = new URLSearchParams(new FormData(quoting));
    body.set("act", "create");
    try {
      const answer = await fetch(quoting.action, { method: "POST", headers: { [OURS]: "1" }, body });
      if (answer.status === 401) return leave();
      const { to, said, parts } = await answer.json();
      if (to) {
        sessionStorage.setItem("said", JSON.stringify({ text: said }));
        location.assign(to);
        return;
      }
      for (const [name, html] of Object.entries(parts)) showPart(name, html);
    } catch {
      say(words.failed, true);
    }
    button.disabled = false;
  });
}

// --- at the start, and after each change --------------------------------------------------------------------

function reachTables() {
  for (const table of main.querySelectorAll(".table")) {
    if (table.scrollWidth > table.clientWidth) table.tabIndex = 0; // so that the keyboard can scroll it
    else table.removeAttribute("tabindex");
  }
}

addEventListener("resize", reachTables);

function afterChange(place) {
  reachTables();
  tellTimes(place);
  watchVideos(place);
  for (const video of place.querySelectorAll("video.late")) {
    video.controls = true;
    video.preload = "metadata";
  }
  tellSelection();
  tellSize();
  makeBlocks();
  if (document.body.classList.contains("is-lost")) tellLoss();
}

function start() {
  loadSelection();
  afterChange(main);
  setTimeout(listen, 300); // what the page shows was read just now
}

tellSize();
// what measures, loads and asks waits until the page is painted; a page in the background never is
if (document.hidden) start();
else requestAnimationFrame(() => setTimeout(start));
