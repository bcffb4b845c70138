/* The page: what is looked for stands in the address (?text=...&like=3), a dropped image in
 * memory; each change of either asks the server and shows its answer. */
"use strict";

const at = (id) => document.getElementById(id);
const PAGE = 60;

const view = { image: null, imageUrl: "", results: [], total: 0, searched: 0, asking: null, open: -1, about: null };

/* ---- asking the server ---------------------------------------------------------------------- */

async function ask(path, parameters, body, signal) {
  const url = path + (parameters ? "?" + parameters : "");
  let response;
  try {
    response = await fetch(url, { method: body ? "POST" : "GET", body, signal });
  } catch (reason) {
    if (reason.name === "AbortError") throw reason;
    throw new Error("The server does not answer. Is clip_search serve still running?");
  }
  let answer = {};
  try { answer = await response.json(); } catch { /* said below */ }
  if (!response.ok) throw new Error(answer.error || "The server answered " + response.status + ".");
  return answer;
}

const wanted = () => new URLSearchParams(location.search);
const isSearch = (w) => view.image || w.has("text") || w.has("minus") || w.has("like") || w.has("unlike");

/* Goes to another query; an empty value leaves a key out. */
function go(w) {
  const text = w.toString();
  history.pushState(null, "", text ? "?" + text : "/");
  show();
}

/* ---- results -------------------------------------------------------------------------------- */

async function load(offset) {
  const w = wanted();
  if (view.asking) view.asking.abort();
  const asking = view.asking = new AbortController();
  w.set("offset", offset);
  w.set("limit", PAGE);
  if (offset === 0) document.body.classList.add("waiting");
  try {
    const path = isSearch(w) ? "/api/search" : "/api/images";
    const answer = await ask(path, w, view.image, asking.signal);
    if (offset === 0) clear();
    view.total = answer.total;
    view.searched = answer.searched ?? answer.total;
    append(answer.results);
    say();
    at("error").hidden = true;
  } catch (reason) {
    if (reason.name === "AbortError") return;
    if (offset === 0) clear();
    at("error").textContent = reason.message;
    at("error").hidden = false;
    at("status").textContent = "";
    at("more").hidden = true;
  }
  if (view.asking === asking) {
    view.asking = null;
    document.body.classList.remove("waiting");
    lookAgain();
  }
}

function clear() {
  view.results = [];
  at("results").replaceChildren();
  at("empty").hidden = true;
}

const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);

function tile(result, place) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  const image = document.createElement("img");
  const name = document.createElement("span");
  button.type = "button";
  button.className = "tile";
  button.dataset.place = place;
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = nameOf(result.path);
  image.onerror = () => button.classList.add("lost");
  image.src = "/thumbnail/" + result.number;
  name.className = "name";
  name.setAttribute("aria-hidden", "true");
  name.textContent = nameOf(result.path);
  button.append(image, name);
  if (result.score !== undefined) {
    const score = document.createElement("span");
    score.className = "score";
    score.textContent = result.score.toFixed(3);
    score.setAttribute("aria-label", "similarity " + result.score.toFixed(3));
    button.append(score);
  }
  item.append(button);
  return item;
}

function append(results) {
  const first = view.results.length;
  view.results.push(...results);
  at("results").append(...results.map((result, i) => tile(result, first + i)));
  at("more").hidden = view.results.length >= view.total || results.length === 0;
}

function say() {
  const n = view.searched.toLocaleString() + (view.searched === 1 ? " image" : " images");
  at("status").textContent = view.total === 0 ? "" : isSearch(wanted()) ? "The best of " + n : n;
  at("empty").hidden = view.total > 0;
  const head = document.createElement("strong");
  head.textContent = "No images here";
  at("empty").replaceChildren(head, wanted().get("under") ? "The index has none in this folder." :
    "The index is empty; add some with clip_search index.");
}

/* ---- what is looked for --------------------------------------------------------------------- */

function term(label, source, remove) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  if (source) {
    const image = document.createElement("img");
    image.src = source;
    image.alt = "";
    item.append(image);
  }
  button.type = "button";
  button.textContent = "×";
  button.setAttribute("aria-label", "Remove: " + label);
  button.onclick = remove;
  item.append(label, button);
  return item;
}

function without(w, key, value) {
  const rest = w.getAll(key).filter((v) => v !== value);
  w.delete(key);
  for (const v of rest) w.append(key, v);
  return w;
}

function showTerms() {
  const w = wanted();
  const terms = [];
  if (view.image) terms.push(term("like your image", view.imageUrl, () => { forget(); show(); }));
  for (const n of w.getAll("like"))
    terms.push(term("like this", "/thumbnail/" + n, () => go(without(wanted(), "like", n))));
  for (const n of w.getAll("unlike"))
    terms.push(term("unlike this", "/thumbnail/" + n, () => go(without(wanted(), "unlike", n))));
  at("terms").replaceChildren(...terms);
  at("text").value = w.get("text") || "";
  at("minus").value = w.get("minus") || "";
  at("under").value = w.get("under") || "";
}

function show() {
  showTerms();
  window.scrollTo(0, 0);
  load(0);
}

function forget() {
  if (view.imageUrl) URL.revokeObjectURL(view.imageUrl);
  view.image = null;
  view.imageUrl = "";
}

function lookForFile(file) {
  forget();
  view.image = file;
  view.imageUrl = URL.createObjectURL(file);
  closeDetail();
  const w = new URLSearchParams();
  if (wanted().get("under")) w.set("under", wanted().get("under"));
  go(w);
}

function set(w, key, value) {
  if (value) w.set(key, value); else w.delete(key);
  return w;
}

at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const w = wanted();
  set(w, "text", at("text").value.trim());
  set(w, "minus", at("minus").value.trim());
  go(w);
});
at("under").addEventListener("change", () => go(set(wanted(), "under", at("under").value)));
at("file").addEventListener("change", () => {
  if (at("file").files.length) lookForFile(at("file").files[0]);
  at("file").value = "";
});
at("pick").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  at("file").click();
});
document.querySelector(".home").addEventListener("click", (event) => {
  event.preventDefault();
  forget();
  go(new URLSearchParams());
});
window.addEventListener("popstate", () => { forget(); closeDetail(); show(); });

/* ---- dropping ------------------------------------------------------------------------------- */

let depth = 0;
const carriesFiles = (event) => [...event.dataTransfer.types].includes("Files");
document.addEventListener("dragenter", (event) => {
  if (!carriesFiles(event)) return;
  depth++;
  at("drop").hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!carriesFiles(event)) return;
  depth = Math.max(0, depth - 1);
  if (depth === 0) at("drop").hidden = true;
});
document.addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
document.addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  depth = 0;
  at("drop").hidden = true;
  if (event.dataTransfer.files.length) lookForFile(event.dataTransfer.files[0]);
});

/* ---- one image ---------------------------------------------------------------------------- */

function openDetail(place) {
  const result = view.results[place];
  if (!result) return;
  view.open = place;
  at("detail-name").textContent = nameOf(result.path);
  at("detail-path").textContent = result.path;
  at("detail-score").textContent =
    result.score === undefined ? "" : "Similarity " + result.score.toFixed(4) + ", number " + (place + 1);
  at("detail-image").src = "/image/" + result.number;
  at("detail-image").alt = nameOf(result.path);
  at("detail-open").href = "/image/" + result.number;
  at("classes").replaceChildren();
  if (!at("detail").open) at("detail").showModal();
  if (at("labels").value.trim()) classify();
}

function closeDetail() {
  if (at("detail").open) at("detail").close();
}

at("detail").addEventListener("close", () => {
  const tiles = at("results").querySelectorAll(".tile");
  if (tiles[view.open]) tiles[view.open].focus();
  at("detail-image").removeAttribute("src");
});
at("detail").addEventListener("click", (event) => { if (event.target === at("detail")) closeDetail(); });
at("detail").addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT") return;
  if (event.key === "ArrowRight") openDetail(view.open + 1);
  if (event.key === "ArrowLeft") openDetail(view.open - 1);
});
at("detail-close").addEventListener("click", closeDetail);

function near(key) {
  const number = view.results[view.open].number;
  const w = key === "like" ? new URLSearchParams() : wanted();
  if (key === "like") forget();
  if (key === "like" && wanted().get("under")) w.set("under", wanted().get("under"));
  if (!w.getAll(key).includes(String(number))) w.append(key, number);
  closeDetail();
  go(w);
}
at("detail-like").addEventListener("click", () => near("like"));
at("detail-unlike").addEventListener("click", () => near("unlike"));

async function classify() {
  const labels = at("labels").value.split(",").map((label) => label.trim()).filter(Boolean);
  const place = view.open;
  if (!labels.length) return;
  const w = new URLSearchParams();
  w.set("image", view.results[place].number);
  for (const label of labels) w.append("label", label);
  try {
    const answer = await ask("/api/classify", w);
    if (place !== view.open) return;
    answer.labels.sort((a, b) => b.probability - a.probability);
    at("classes").replaceChildren(...answer.labels.map(({ label, probability }) => {
      const item = document.createElement("li");
      const word = document.createElement("span");
      const share = document.createElement("span");
      const meter = document.createElement("meter");
      word.textContent = label;
      share.textContent = (100 * probability).toFixed(1) + " %";
      meter.max = 1;
      meter.value = probability;
      meter.setAttribute("aria-hidden", "true");
      item.append(word, share, meter);
      return item;
    }));
  } catch (reason) {
    const item = document.createElement("li");
    item.textContent = reason.message;
    at("classes").replaceChildren(item);
  }
}
at("classify").addEventListener("submit", (event) => { event.preventDefault(); classify(); });

/* ---- moving about --------------------------------------------------------------------------- */

at("results").addEventListener("click", (event) => {
  const button = event.target.closest(".tile");
  if (button) openDetail(Number(button.dataset.place));
});
at("results").addEventListener("keydown", (event) => {
  const tiles = [...at("results").querySelectorAll(".tile")];
  const here = tiles.indexOf(document.activeElement);
  if (here < 0) return;
  const columns = getComputedStyle(at("results")).gridTemplateColumns.split(" ").length;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns,
    Home: -here, End: tiles.length - 1 - here };
  if (!(event.key in steps) || !tiles[here + steps[event.key]]) return;
  event.preventDefault();
  tiles[here + steps[event.key]].focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || /^(INPUT|SELECT)$/.test(document.activeElement.tagName) || at("detail").open) return;
  event.preventDefault();
  at("text").select();
});

const loadMore = () => { if (!view.asking && view.results.length < view.total) load(view.results.length); };
at("more-button").addEventListener("click", loadMore);
const AHEAD = 800; /* pixels below the window that are filled */
new IntersectionObserver((entries) => { if (entries.at(-1).isIntersecting) loadMore(); },
  { rootMargin: AHEAD + "px" }).observe(at("more"));
/* The observer tells when the end comes near, not that it stays there: after each page look anew. */
const lookAgain = () => requestAnimationFrame(() => {
  const more = at("more");
  if (!more.hidden && more.getBoundingClientRect().top < innerHeight + AHEAD) loadMore();
});

/* ---- the start ------------------------------------------------------------------------------ */

/* The folders, and whether the index has changed since it was last asked for. */
async function about() {
  try {
    const before = view.about;
    view.about = await ask("/api/about");
    const folders = view.about.folders;
    const options = [new Option("all", "")];
    for (const { path, count } of folders)
      if (path) options.push(new Option(path + " (" + count.toLocaleString() + ")", path));
    at("under").replaceChildren(...options);
    at("under").value = wanted().get("under") || "";
    at("folder-label").hidden = folders.length < 2;
    return before && before.version !== view.about.version;
  } catch { return false; /* the images will tell what is wrong */ }
}

/* Back from somewhere else, the page shows the index as it is now. */
document.addEventListener("visibilitychange", async () => {
  if (!document.hidden && await about() && !at("detail").open) show();
});

about().then(show);
