/* The page: what is looked for stands in the address (?text=a+dog&like=3&least=0.2), an image that
 * was sent in memory; each change of either asks the server and shows its answer. image=PATH in
 * the address is the one that is open (detail.js). Words are in words.js. */
"use strict";

const at = (id) => document.getElementById(id);
const PAGE = 60; /* results of one answer */

const view = {
  query: null,          /* what the results are of: address and sent image as one text */
  sent: null,           /* {file, url}: an image to look for, that was dropped or chosen */
  results: [], total: 0, searched: 0, best: null,
  asking: null,         /* what ends the request on its way */
  loading: null,        /* the promise of the last results that were asked for */
  about: null,
};

/* ---- asking the server ---- */

const REFUSALS = { 404: "unknownImage", 410: "stale", 413: "tooLarge", 422: "unreadable" };

async function ask(path, parameters, body, signal) {
  const url = path + (parameters ? "?" + parameters : "");
  let response;
  try {
    response = await fetch(url, { method: body ? "POST" : "GET", body, signal });
  } catch (reason) {
    if (reason.name === "AbortError") throw reason;
    throw new Error(words.unreachable);
  }
  let answer = {};
  try { answer = await response.json(); } catch { /* said below */ }
  if (response.ok) return answer;
  const refusal = response.status === 422 && !body ? "cancelled" : REFUSALS[response.status];
  throw new Error(words[refusal] || words.failed(answer.error || response.status));
}

/* ---- the address ---- */

const valid = {
  text: (value) => value.trim() !== "",
  minus: (value) => value.trim() !== "",
  like: (value) => value !== "",
  unlike: (value) => value !== "",
  under: (value) => value !== "",
  sort: (value) => value === "newest" || value === "oldest",
  least: (value) => value !== "" && Math.abs(Number(value)) <= 1,
};

/* What the address asks for. Whatever else stands in it is nothing to us. */
function wanted() {
  const w = new URLSearchParams();
  for (const [key, value] of new URLSearchParams(location.search))
    if (Object.hasOwn(valid, key) && valid[key](value)) w.append(key, value);
  return w;
}

const opened = () => new URLSearchParams(location.search).get("image"); /* a path, or null */

function address(w, image) {
  const all = new URLSearchParams(w);
  if (image) all.set("image", image);
  const text = all.toString().replaceAll("%2F", "/");
  return text ? "?" + text : "/";
}

const isSearch = (w) => view.sent || ["text", "minus", "like", "unlike"].some((key) => w.has(key));

/* Images that were sent: history.state names them, so that Back finds them again. Those of a page
 * that was loaded anew since are gone, and their names are nobody else's. */
const sentImages = new Map();

/* Goes to another query. */
function go(w, sent = history.state?.sent) {
  history.pushState({ sent }, "", address(w));
  arrive();
}

/* Shows what the address says, in whichever way it was reached. */
function arrive() {
  const w = wanted(), sent = history.state?.sent ?? "", query = w + " " + sent;
  view.sent = sentImages.get(sent) || null;
  document.title = [w.get("text"), words.title].filter(Boolean).join(" – ");
  if (query !== view.query) {
    view.query = query;
    show();
  }
  showDetail();
}

function show() {
  showTerms();
  showOptions();
  window.scrollTo(0, 0);
  view.loading = load(0);
}

/* ---- results ---- */

/* The results from `offset` on; the promise is true where they came. */
async function load(offset) {
  const w = wanted();
  if (view.asking) view.asking.abort();
  const asking = view.asking = new AbortController();
  if (!isSearch(w)) w.delete("least");
  w.set("offset", offset);
  w.set("limit", PAGE);
  if (offset === 0) document.body.classList.add("waiting");
  let answer = null;
  try {
    const path = isSearch(w) ? "/api/search" : "/api/images";
    answer = await ask(path, w, view.sent?.file, asking.signal);
  } catch (reason) {
    if (reason.name === "AbortError") return false;
    at("error").textContent = reason.message;
  }
  view.asking = null;
  document.body.classList.remove("waiting");
  at("error").hidden = answer !== null;
  if (offset === 0) {
    view.results = [];
    at("results").replaceChildren();
    showStatus(w, answer);
  }
  append(answer ? answer.results : []);
  placeDetail();
  lookAgain();
  return answer !== null;
}

const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);

/* An element with children, texts or elements. */
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function tile(result, place) {
  const name = nameOf(result.path);
  const button = make("button", { type: "button", className: "tile", title: result.path });
  const image = make("img", { loading: "lazy", decoding: "async", alt: name });
  image.onerror = () => {
    button.classList.add("lost");
    button.append(make("span", { className: "gone" }, words.lost));
  };
  image.src = "/thumbnail/" + result.number;
  button.dataset.place = place;
  /* what is seen, and what is read aloud */
  const add = (className, text, spoken) => button.append(
    make("span", { className, ariaHidden: "true" }, text),
    make("span", { className: "unseen" }, spoken));
  button.append(image);
  if (wanted().has("sort")) add("date", day(result.time), day(result.time));
  add("name", name, "");
  if (result.copies > 1) add("copies", "×" + result.copies, words.copies(result.copies));
  if (result.score !== undefined) {
    const score = similarity(result.score, 3);
    add("score", score, words.similarityOf(score));
  }
  return make("li", {}, button);
}

function append(results) {
  const first = view.results.length;
  view.results.push(...results);
  at("results").append(...results.map((result, i) => tile(result, first + i)));
  at("more").hidden = view.results.length >= view.total || results.length === 0;
}

/* How many there are; `answer` is the first of a query, null where it failed. */
function showStatus(w, answer) {
  const { total, searched, best } = answer || { total: 0 };
  const n = searched ?? total;
  view.total = total;
  at("status").textContent = !answer || total === 0 ? "" : !isSearch(w) ? words.count(n)
    : w.has("least") ? words.someOf(total, n)
    : w.has("sort") ? words.bestSomeOf(total, n) : words.bestOf(n);
  at("empty").hidden = !answer || total > 0;
  at("empty").firstElementChild.textContent = words.nothing;
  at("empty").lastElementChild.textContent =
    best !== undefined ? words.nothingSimilar(similarity(best, 3))
    : w.has("under") ? words.nothingInFolder : words.nothingInIndex;
}

/* ---- what is looked for ---- */

function term(label, source, remove) {
  const button = make("button", { type: "button", ariaLabel: words.remove(label) }, "×");
  const image = make("img", { alt: "", onerror: () => image.remove(), src: source });
  button.onclick = remove;
  return make("li", {}, image, label, button);
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
  if (view.sent) terms.push(term(words.likeSent, view.sent.url, () => go(wanted(), null)));
  for (const [key, label] of [["like", words.likeThis], ["unlike", words.unlikeThis]])
    for (const n of w.getAll(key))
      terms.push(term(label, "/thumbnail/" + n, () => go(without(wanted(), key, n))));
  at("terms").replaceChildren(...terms);
  at("text").value = w.get("text") || "";
}

const OPTIONS = ["minus", "under", "sort", "least"];

function showOptions() {
  const w = wanted();
  for (const key of OPTIONS) at(key).value = w.get(key) || "";
  at("least-label").hidden = !isSearch(w);
  at("sort-none").textContent = isSearch(w) ? words.bestFirst : words.asIndexed;
  at("options-count").textContent = OPTIONS.filter((key) => w.has(key)).length || "";
}

/* Of what was looked for, only the folder stays. */
const fresh = () => set(new URLSearchParams(), "under", wanted().get("under"));

function lookForFile(file) {
  const name = performance.timeOrigin + "/" + sentImages.size;
  sentImages.set(name, { file, url: URL.createObjectURL(file) });
  go(fresh(), name);
}

/* An empty value leaves the key out. */
function set(w, key, value) {
  if (value) w.set(key, value); else w.delete(key);
  return w;
}

at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const w = wanted();
  for (const key of ["text", ...OPTIONS]) set(w, key, at(key).value.trim());
  go(w);
});
for (const key of ["under", "sort", "least"])
  at(key).addEventListener("change", () => go(set(wanted(), key, at(key).value)));
at("options-button").addEventListener("click", () => {
  const open = at("options").classList.toggle("open");
  at("options-button").setAttribute("aria-expanded", open);
});
at("pick").addEventListener("click", () => at("file").click());
at("file").addEventListener("change", () => {
  if (at("file").files.length) lookForFile(at("file").files[0]);
  at("file").value = "";
});
document.querySelector(".home").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(new URLSearchParams(), null);
});
window.addEventListener("popstate", arrive);

/* ---- dropping ---- */

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
document.addEventListener("dragover", (event) => {
  if (carriesFiles(event)) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  depth = 0;
  at("drop").hidden = true;
  if (event.dataTransfer.files.length) lookForFile(event.dataTransfer.files[0]);
});

/* ---- moving about ---- */

at("results").addEventListener("click", (event) => {
  const button = event.target.closest(".tile");
  if (button) openDetail(view.results[button.dataset.place].path);
});

const tiles = () => [...at("results").querySelectorAll(".tile")];

function focusTile(place) {
  const button = tiles()[place];
  button?.focus({ preventScroll: true });
  button?.scrollIntoView({ block: "nearest" });
}

function isInSight(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return bottom > document.querySelector("header").offsetHeight && top < innerHeight;
}

/* An arrow moves on from the tile that has the focus and is in sight, else to the first in sight;
 * up from the first row to what is typed. */
function walk(key) {
  const all = tiles(), here = all.indexOf(document.activeElement);
  if (here < 0 || !isInSight(all[here])) return focusTile(all.findIndex(isInSight));
  const columns = getComputedStyle(at("results")).gridTemplateColumns.split(" ").length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key];
  if (here + step >= 0) return focusTile(Math.min(here + step, all.length - 1));
  if (key === "ArrowUp") at("text").focus();
}

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.altKey || event.ctrlKey || event.metaKey || at("detail").open) return;
  const types = target.matches("input, select");
  const leaves = key === "ArrowDown" && target.type === "search"; /* to what was found */
  if (key === "/" && !types) at("text").select();
  else if (key.startsWith("Arrow") && (!types || leaves)) walk(key);
  else return;
  event.preventDefault();
});

function loadMore() {
  if (!view.asking && view.results.length < view.total) view.loading = load(view.results.length);
  return view.loading;
}
at("more-button").addEventListener("click", loadMore);
const AHEAD = 800; /* pixels below the window that are filled */
const SEEK = 1000; /* results that are looked through for an open image */
new IntersectionObserver((entries) => { if (entries.at(-1).isIntersecting) loadMore(); },
  { rootMargin: AHEAD + "px" }).observe(at("more"));
/* The observer tells when the end comes near, not that it stays there: look anew each time. */
const lookAgain = () => requestAnimationFrame(() => {
  const more = at("more");
  if (more.hidden) return;
  if (isSought() && view.results.length < SEEK) loadMore();
  else if (more.getBoundingClientRect().top < innerHeight + AHEAD) loadMore();
});

/* ---- the start ---- */

/* The folders, and whether the index has changed since it was last asked for. */
async function about() {
  try {
    const before = view.about;
    view.about = await ask("/api/about");
    const folders = view.about.folders;
    const options = [new Option(words.folderAll, "")];
    for (const { path, count } of folders)
      if (path) options.push(new Option(path + " (" + number(count) + ")", path));
    at("under").replaceChildren(...options);
    at("under").value = wanted().get("under") || "";
    at("folder").hidden = folders.length < 2;
    return before && before.version !== view.about.version;
  } catch { return false; /* the images will tell what is wrong */ }
}

/* Back from somewhere else, the page shows the index as it is now. */
document.addEventListener("visibilitychange", async () => {
  if (!document.hidden && await about() && !at("detail").open) show();
});

/* detail.js, which comes last, is there by then. */
document.addEventListener("DOMContentLoaded", async () => {
  await about();
  arrive();
  if (!matchMedia("(pointer: coarse)").matches && !opened()) at("text").focus();
});
