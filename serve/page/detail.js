/* One open image. Its path stands in the address as image=PATH: opening goes one step further in
 * the history, so that Back closes it, and the next one takes its place there. */
"use strict";

const detail = {
  path: null,  /* of the open image */
  place: -1,   /* among the results; -1: not (yet) among those that are there */
  about: null, /* what the server tells of it; null: not yet */
};

function openDetail(path) {
  history.pushState({ ...history.state, opened: true }, "", address(wanted(), path));
  showDetail();
}

/* Shows the image that the address names, or none. */
function showDetail() {
  const path = opened(), dialog = at("detail");
  if (path === null) return dialog.close();
  if (dialog.open && detail.path === path) return;
  Object.assign(detail, { path, place: -1, about: null });
  at("detail-image").removeAttribute("src");
  for (const id of ["open", "download"]) at(id).removeAttribute("href");
  dialog.classList.remove("unknown");
  at("detail-name").textContent = nameOf(path);
  at("facts").replaceChildren();
  at("paths").replaceChildren();
  at("classes").replaceChildren();
  placeDetail();
  if (!dialog.open) dialog.showModal();
  askDetail(path);
}

async function askDetail(path) {
  let about;
  try {
    about = await ask("/api/image", new URLSearchParams({ image: path }));
  } catch (reason) {
    if (detail.path !== path) return;
    at("detail").classList.add("unknown");
    at("facts").replaceChildren(make("dd", { className: "bad" }, reason.message));
    return;
  }
  if (detail.path !== path) return;
  detail.about = about;
  showImage(about.number);
  showPaths(about);
  placeDetail();
  lookAgain();
}

/* Is an image open of which it is not known where among the results it is? */
const isSought = () => at("detail").open && detail.about && detail.place < 0;

function showImage(number) {
  const image = at("detail-image");
  const source = "/image/" + number;
  if (image.getAttribute("src") !== source) image.src = source;
  image.alt = nameOf(detail.path);
  at("open").href = source;
  at("download").href = "/file/" + number;
  at("download").download = nameOf(detail.path);
}

at("detail-image").addEventListener("load", showFacts);
/* What the browser cannot show it shows small. */
at("detail-image").addEventListener("error", ({ target }) => {
  if (detail.about && target.getAttribute("src").startsWith("/image/"))
    target.src = "/thumbnail/" + detail.about.number;
});

/* Finds the open image among the results; those that the results name stand for their copies. */
function placeDetail() {
  if (!at("detail").open && opened() === null) return;
  const numbers = detail.about ? detail.about.places.map((place) => place.number) : [];
  detail.place = view.results.findIndex(
    (r) => r.path === detail.path || numbers.includes(r.number));
  const result = view.results[detail.place];
  if (result && !detail.about) showImage(result.number);
  at("previous").disabled = detail.place <= 0;
  at("next").disabled = detail.place < 0 || detail.place + 1 >= view.total;
  showFacts();
}

function showFacts() {
  const { about, place } = detail, image = at("detail-image"), score = view.results[place]?.score;
  const facts = [];
  const add = (name, value) => facts.push(make("dt", {}, words[name]), make("dd", {}, value));
  if (!about) return;
  if (about.size !== undefined) add("size", fileSize(about.size));
  else add("size", words.lost);
  const whole = image.complete && image.getAttribute("src") === "/image/" + about.number;
  if (whole && image.naturalWidth > 0)
    add("dimensions", image.naturalWidth + " × " + image.naturalHeight);
  if (about.time !== undefined) add("date", moment(about.time));
  if (score !== undefined)
    add("similarity", similarity(score, 4) + ", " + words.place(place + 1, view.total));
  at("facts").replaceChildren(...facts);
}

function showPaths({ copies, places }) {
  const items = places.map(({ file }) => {
    const button = make("button", { type: "button", ariaLive: "polite" }, words.copyPath);
    button.onclick = async () => {
      await copyText(file);
      button.textContent = words.copied;
    };
    return make("li", {}, make("span", {}, file), button);
  });
  if (copies > 1) items.unshift(make("li", { className: "quiet" }, words.sameFile(copies)));
  at("paths").replaceChildren(...items);
}

/* The clipboard is there on this machine and with https alone; elsewhere the old way serves. */
async function copyText(text) {
  try {
    return await navigator.clipboard.writeText(text);
  } catch { /* goes on below */ }
  const field = make("textarea", { value: text });
  at("detail").append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/* ---- to others ---- */

async function step(by) {
  const place = detail.place + by;
  if (detail.place < 0 || place < 0 || place >= view.total) return;
  if (place >= view.results.length) await loadMore();
  const result = view.results[place];
  if (!result || !at("detail").open) return;
  history.replaceState(history.state, "", address(wanted(), result.path));
  showDetail();
  const after = view.results[place + by];
  if (after) new Image().src = "/image/" + after.number;
}
at("previous").addEventListener("click", () => step(-1));
at("next").addEventListener("click", () => step(1));

document.addEventListener("keydown", (event) => {
  const types = event.target.matches("input") && event.target.value !== "";
  if (event.altKey || event.ctrlKey || event.metaKey || types || !at("detail").open) return;
  if (event.key === "ArrowRight") step(1);
  if (event.key === "ArrowLeft") step(-1);
});

/* A swipe, by one finger, on an image that is not magnified. */
const FAR = 50; /* pixels */
let swipe = null;
const stage = document.querySelector(".stage");
stage.addEventListener("touchstart", ({ touches }) => {
  swipe = touches.length === 1 && visualViewport.scale < 1.05 ? touches[0] : null;
}, { passive: true });
stage.addEventListener("touchend", ({ changedTouches }) => {
  if (!swipe) return;
  const x = changedTouches[0].clientX - swipe.clientX;
  const y = changedTouches[0].clientY - swipe.clientY;
  if (Math.abs(x) > FAR && Math.abs(x) > 2 * Math.abs(y)) step(x < 0 ? 1 : -1);
  swipe = null;
});

/* ---- closing ---- */

at("detail-close").addEventListener("click", () => at("detail").close());
at("detail").addEventListener("click", (event) => {
  if (event.target === at("detail")) at("detail").close();
});
/* However it was closed: by Back the address is right already. */
at("detail").addEventListener("close", () => {
  if (opened() !== null) {
    if (history.state?.opened) history.back();
    else history.replaceState(history.state, "", address(wanted()));
  }
  at("detail-image").removeAttribute("src");
  focusTile(detail.place);
});

/* ---- what it can be asked for ---- */

function near(key) {
  const w = key === "like" ? fresh() : wanted(), number = String(detail.about.number);
  if (!w.getAll(key).includes(number)) w.append(key, number);
  go(w, key === "like" ? null : undefined);
}
at("like").addEventListener("click", () => { if (detail.about) near("like"); });
at("unlike").addEventListener("click", () => { if (detail.about) near("unlike"); });

async function classify() {
  const labels = at("labels").value.split(/[,，、]/).map((label) => label.trim()).filter(Boolean);
  const { path, about } = detail;
  if (!labels.length || !about) return;
  const w = new URLSearchParams({ image: about.number });
  for (const label of labels) w.append("label", label);
  let items;
  try {
    const answer = await ask("/api/classify", w);
    answer.labels.sort((a, b) => b.probability - a.probability);
    items = answer.labels.map(({ label, probability }) => make("li", {}, make("span", {}, label),
      make("span", {}, percent(probability)),
      make("meter", { max: 1, value: probability, ariaHidden: "true" })));
  } catch (reason) {
    items = [make("li", {}, reason.message)];
  }
  if (path === detail.path) at("classes").replaceChildren(...items);
}
at("classify").addEventListener("submit", (event) => { event.preventDefault(); classify(); });
