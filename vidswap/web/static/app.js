// What is chosen, looked at and run. Text from files is only ever set as text.

import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const LOOK_PAUSE = 140; // ms after the last change of a setting
const POLL = 400; // ms between two questions about a job
const LIVE_PAUSE = 4000; // ms after scrubbing until frames of the run are shown again
const WORDS_AFTER = 500; // ms that a look takes before it is said what it waits for

const SOURCE_TYPE = "application/x-vidswap-source"; // of what is dragged onto a person

const stage = new Stage();
const chosen = { sources: [], target: null, facts: null, number: 0, look: null, job: null, result: null, assigned: false };
let liveFrom = 0, lookTimer = 0, lookNumber = 0, scrubTimer = 0, running = false;

// Talking to the server

async function ask(path, body, method = "POST") {
  const given = body === undefined ? {} : { method, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, given);
  } catch {
    throw new Error("The server does not answer; start vidswap ui again and open its address.");
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(sentence(told.error || `The server answered ${answer.status}.`));
  return told;
}

const sentence = (text) => {
  const named = /^\S*[./]\S/.test(text); // a file's name stays as it is
  const whole = named ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
};
const query = (path, values) => `${path}?${new URLSearchParams(values)}`;
const say = (text) => { $("said").textContent = text || "\u00a0"; };
function fail(error) {
  $("error").hidden = !error;
  $("error").textContent = error ? error.message || String(error) : "";
}
const tried = (work) => (...given) => Promise.resolve(work(...given)).catch(fail);
const nameOf = (path) => path.split("/").pop() || path;
const byteWords = (size) => (size < 1e6 ? `${Math.max(1, Math.round(size / 1e3))} KB` : size < 1e9 ? `${(size / 1e6).toFixed(1)} MB` : `${(size / 1e9).toFixed(2)} GB`);
function timeWords(seconds) {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}
function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
function linkButton(text, label, action) {
  const button = element("button", text, { type: "button", class: "link", "aria-label": label });
  button.addEventListener("click", tried(action));
  return button;
}

// Settings

const fieldsOf = () => [...document.querySelectorAll("#settings .field")];
function rawValue(field) {
  const widget = field.dataset.widget;
  if (widget === "choice") return field.querySelector("input:checked").value;
  const input = field.querySelector("input, select");
  if (widget === "switch") return String(input.checked);
  return input.value.trim();
}
function setRaw(field, value) {
  const widget = field.dataset.widget;
  if (widget === "choice") {
    for (const radio of field.querySelectorAll("input")) radio.checked = radio.value === value;
    return;
  }
  const input = field.querySelector("input, select");
  if (widget === "switch") input.checked = value === "true";
  else input.value = value;
}
function isDefault(field) {
  const raw = rawValue(field), usual = field.dataset.default;
  return raw === usual || (field.dataset.widget === "slider" && Number(raw) === Number(usual));
}
function options() {
  const values = {};
  for (const field of fieldsOf()) {
    const raw = rawValue(field), widget = field.dataset.widget;
    if (isDefault(field) || raw === "") continue;
    if (widget === "switch") values[field.dataset.name] = raw === "true";
    else if (widget === "slider" || widget === "number") values[field.dataset.name] = Number(raw);
    else values[field.dataset.name] = raw;
  }
  if ($("overwrite").checked && !$("overwrite-box").hidden) values.overwrite = true;
  return values;
}
function markChanged(field) {
  const raw = rawValue(field), same = isDefault(field);
  field.classList.toggle("changed", !same);
  field.querySelector(".reset").hidden = same;
  const output = field.querySelector("output");
  if (output) output.textContent = Number(raw).toFixed(2);
}
function request() {
  return { sources: castFolder() ? [] : chosen.sources, target: chosen.target, output: $("output").value.trim(), options: options() };
}
const castFolder = () => rawValue(fieldNamed("cast"));
const isReady = () => Boolean(chosen.target && (castFolder() ? chosen.assigned : chosen.sources.length > 0));
function settingChanged(field) {
  const { label, shows, name } = field.dataset;
  if (name === "cast") tried(showPeople)();
  const before = field.dataset.last ?? field.dataset.default;
  const now = rawValue(field);
  field.dataset.last = now;
  markChanged(field);
  markRange();
  refreshCommand();
  if (shows === "coded") $("encoded").checked = true;
  if (shows === "nothing") return;
  const why = { label, words: `${label}: ${before || "default"} \u2192 ${now || "default"}`, lead: name === "temporal_smoothing" };
  requestLook(why);
}
for (const field of fieldsOf()) {
  markChanged(field);
  const live = field.dataset.widget === "slider" ? "input" : "change";
  field.addEventListener(live, () => settingChanged(field));
  field.querySelector(".reset").addEventListener("click", () => {
    setRaw(field, field.dataset.default);
    settingChanged(field);
    field.querySelector("input, select").focus();
  });
}
$("settings").addEventListener("submit", (event) => event.preventDefault());

let commandTimer = 0;
function refreshCommand() {
  clearTimeout(commandTimer);
  commandTimer = setTimeout(tried(async () => {
    const ready = isReady();
    $("run").disabled = !ready || running;
    $("command-box").hidden = !ready;
    await ask("session", request(), "PUT");
    if (!ready) return;
    try {
      const told = await ask("command", request());
      $("command").textContent = told.command;
      $("overwrite-box").hidden = !told.exists;
      fail(null);
    } catch (error) {
      $("command").textContent = "";
      throw error;
    }
  }), 150);
}
$("copy").addEventListener("click", tried(async () => {
  await navigator.clipboard.writeText($("command").textContent);
  $("copied").textContent = "copied";
  setTimeout(() => { $("copied").textContent = ""; }, 2000);
}));
$("output").addEventListener("change", refreshCommand);
$("overwrite").addEventListener("change", refreshCommand);

// Sources and target

function showSources() {
  const list = $("sources");
  list.replaceChildren(...chosen.sources.map((path) => {
    const item = element("li");
    const picture = element("img", "", { alt: "", src: query("thumbnail", { path }), draggable: "true" });
    picture.addEventListener("dragstart", (event) => event.dataTransfer.setData(SOURCE_TYPE, path));
    picture.addEventListener("error", () => { picture.removeAttribute("src"); });
    const remove = element("button", "\u00d7", { type: "button", "aria-label": `Remove ${nameOf(path)}` });
    remove.addEventListener("click", () => {
      chosen.sources = chosen.sources.filter((other) => other !== path);
      showSources();
      sourcesChanged();
      $("source-hint").querySelector("button").focus();
    });
    item.append(picture, element("span", nameOf(path), { class: "name", title: path }), remove);
    return item;
  }));
}
function sourcesChanged() {
  refreshCommand();
  if (castFolder()) {
    tried(showPeople)(); // they are what people can get
    return;
  }
  stage.clearAfter();
  requestLook({});
}
function addSource(path) {
  if (!chosen.sources.includes(path)) chosen.sources.push(path);
  showSources();
  sourcesChanged();
}

async function openTarget(path, output) {
  fail(null);
  say("Opening the target\u2026");
  const facts = await ask("open", { path });
  if (chosen.target && chosen.target !== facts.path && castFolder()) {
    setRaw(fieldNamed("cast"), ""); // that of another clip
    markChanged(fieldNamed("cast"));
    await showPeople();
  }
  chosen.target = facts.path;
  chosen.facts = facts;
  chosen.result = null;
  $("outcome").hidden = true;
  $("output").value = output || facts.output;
  $("overwrite").checked = false;
  const size = `${facts.width} \u00d7 ${facts.height}`;
  const rest = facts.kind === "clip" ? `, ${facts.frames} frames, ${facts.duration.toFixed(2)} s` : "";
  const said = $("target-said");
  said.replaceChildren(
    element("strong", facts.name), document.createTextNode(`, ${size}${rest}${facts.synthetic ? "; marked as made by vidswap" : ""}. `),
    linkButton("Choose another", "Choose another target", () => chooseFile("target")),
  );
  stage.open(facts.width, facts.height);
  const isClip = facts.kind === "clip" && facts.frames > 1;
  $("time").hidden = !isClip;
  $("people").hidden = false;
  $("scrub").max = facts.frames - 1;
  if (isClip) {
    $("strip").hidden = true;
    $("strip").src = query("strip", { path: facts.path });
    $("strip").onload = () => { $("strip").hidden = false; };
  }
  say("");
  markRange();
  refreshCommand();
  await goTo(isClip ? Math.floor(facts.frames / 2) : 0, true);
}

async function goTo(number, still) {
  const { facts } = chosen;
  if (!facts) return;
  if (running) { // look at the target meanwhile
    $("live").hidden = true;
    liveFrom = performance.now() + LIVE_PAUSE;
  }
  chosen.number = Math.min(facts.frames - 1, Math.max(0, number));
  const at = chosen.number;
  $("scrub").value = at;
  const seconds = facts.seconds[at];
  const words = `frame ${at + 1} of ${facts.frames}${seconds === undefined ? "" : `, ${seconds.toFixed(2)} s`}`;
  $("where").textContent = words;
  $("scrub").setAttribute("aria-valuetext", words);
  $("now").style.left = `${(100 * (at + 0.5)) / facts.frames}%`;
  clearTimeout(scrubTimer);
  clearTimeout(lookTimer);
  lookNumber += 1;
  stage.clearAfter();
  if (!still) {
    scrubTimer = setTimeout(tried(() => goTo(at, true)), 220);
    await stage.showBefore(query("frame", { path: facts.path, n: at, quick: 1 })).catch(() => {});
    return;
  }
  const address = query("frame", { path: facts.path, n: at });
  try {
    await stage.showBefore(address);
  } catch {
    const answer = await fetch(address);
    const told = await answer.json().catch(() => ({}));
    throw new Error(sentence(told.error || "The frame cannot be shown"));
  }
  if (at === chosen.number) requestLook({});
}
$("scrub").addEventListener("input", () => tried(goTo)(Number($("scrub").value), false));
$("previous").addEventListener("click", () => tried(goTo)(chosen.number - 1, true));
$("next").addEventListener("click", () => tried(goTo)(chosen.number + 1, true));
$("strip-box").addEventListener("click", (event) => {
  const box = $("strip-box").getBoundingClientRect();
  tried(goTo)(Math.floor(((event.clientX - box.left) / box.width) * chosen.facts.frames), true);
});

// The range of the run

const fieldNamed = (name) => document.querySelector(`.field[data-name=${name}]`);
function setOption(name, value) {
  const field = fieldNamed(name);
  setRaw(field, value);
  settingChanged(field);
}
$("start-here").addEventListener("click", () => setOption("start", String(chosen.facts.seconds[chosen.number])));
$("end-here").addEventListener("click", () => {
  const { seconds, duration } = chosen.facts;
  const next = seconds[chosen.number + 1];
  setOption("end", String(next ?? duration));
});
$("whole").addEventListener("click", () => { setOption("start", ""); setOption("end", ""); });
function markRange() {
  const { facts } = chosen;
  if (!facts || facts.kind !== "clip") return;
  const start = Number(rawValue(fieldNamed("start")) || 0), end = Number(rawValue(fieldNamed("end")) || facts.duration);
  const width = $("strip-box").clientWidth || 1;
  const left = Math.min(1, start / facts.duration), right = Math.max(0, 1 - end / facts.duration);
  $("range").style.borderLeftWidth = `${left * width}px`;
  $("range").style.borderRightWidth = `${right * width}px`;
}
addEventListener("resize", markRange);

// Looking at one frame

function requestLook(why) {
  clearTimeout(lookTimer);
  lookNumber += 1;
  if (!isReady() || running || chosen.result) return;
  const mine = lookNumber;
  lookTimer = setTimeout(tried(() => look(mine, why)), LOOK_PAUSE);
}
async function look(mine, why) {
  const began = performance.now();
  const at = chosen.number;
  $("stage").classList.add("waiting");
  const words = setInterval(async () => {
    const told = await ask("state").catch(() => null);
    if (mine === lookNumber && told && told.busy) say(`${sentence(told.doing || "waiting").slice(0, -1)}\u2026`);
  }, WORDS_AFTER);
  try {
    const told = await ask("look", { ...request(), number: at, lead: Boolean(why.lead), encoded: $("encoded").checked });
    if (told.superseded || mine !== lookNumber) return;
    chosen.look = told;
    const change = await stage.showAfter(`look/${told.id}/after`, told.boxes, Boolean(why.label));
    await stage.showLayers((name) => `look/${told.id}/${encodeURIComponent(name)}`);
    if (mine !== lookNumber) return;
    fail(null);
    say(lookWords(told, why, change, (performance.now() - began) / 1000));
    $("stage").dataset.shown = told.id;
  } catch (error) {
    if (mine === lookNumber) throw error; // else of what is no longer asked for
  } finally {
    clearInterval(words);
    if (mine === lookNumber) $("stage").classList.remove("waiting");
  }
}
function lookWords(told, why, change, seconds) {
  const took = `${seconds.toFixed(2)} s`;
  if (told.faces === 0) return `No face to swap in this frame (${took}).`;
  const faces = told.faces === 1 ? "1 face" : `${told.faces} faces`;
  const coded = told.encoded_bytes ? ` As a key frame ${byteWords(told.encoded_bytes)}.` : "";
  if (change) {
    const what = change.count === 0
      ? "nothing changes in this frame"
      : `${change.count.toLocaleString("en")} pixels change, by ${change.mean.toFixed(1)} of 255 on average and ${change.most} at most`;
    return `${why.words}: ${what} (${took}).${coded}`;
  }
  const notes = told.source.notes.map((note) => ` ${sentence(note)}`).join("");
  const left = told.source.left_out.length ? ` Left out: ${told.source.left_out.join("; ")}.` : "";
  return `${faces} swapped in ${took}.${coded}${left}${notes}`;
}
for (const box of document.querySelectorAll("#layers input[value]:not(#encoded)")) {
  box.addEventListener("change", tried(() => {
    const shown = chosen.look && !$("after").hidden ? chosen.look : null;
    return stage.showLayers((name) => (shown ? `look/${shown.id}/${encodeURIComponent(name)}` : null));
  }));
}
$("encoded").addEventListener("change", () => requestLook({ label: "As encoded", words: $("encoded").checked ? "As encoded" : "Before encoding" }));

// Choosing a file

let choosing = null;
const KINDS = {
  target: ["media"], source: ["media", "identity"], cast: ["cast"], batch: ["manifest", "state"], checkpoint: ["checkpoint"],
  face: ["media"], source_face: ["media"],
};
async function chooseFile(what) {
  choosing = what;
  const titles = { target: "Choose a target", source: "Choose a source", batch: "Choose a manifest of vidswap batch", cast: "Choose a cast folder" };
  $("files-title").textContent = titles[what] || "Choose a file";
  $("files-folder").hidden = what !== "source";
  $("files-upload").parentElement.hidden = what === "batch" || what === "cast";
  $("files-upload").toggleAttribute("multiple", what === "source");
  if (!$("files").open) $("files").showModal();
  await list(localStorage.getItem("folder") || "").catch(() => list(""));
}
async function list(path) {
  const told = await ask(query("files", path ? { path } : {}), undefined);
  localStorage.setItem("folder", told.path);
  $("files-path").textContent = told.path || "Folders that this page may use";
  $("files-folder").disabled = !told.path;
  const wanted = KINDS[choosing];
  const rows = told.entries.filter((entry) => ["folder", "cast"].includes(entry.kind) || wanted.includes(entry.kind));
  const items = rows.map((entry) => {
    const button = element("button", "", { type: "button", class: entry.kind });
    button.append(element("span", entry.shown + (["folder", "cast", "state"].includes(entry.kind) ? "/" : "")));
    if (entry.size) button.append(element("span", byteWords(entry.size), { class: "size" }));
    button.addEventListener("click", tried(() => (wanted.includes(entry.kind) ? take(entry.path) : list(entry.path))));
    const item = element("li");
    item.append(button);
    return item;
  });
  if (told.above !== null) {
    const up = element("button", "\u2191 one folder up", { type: "button" });
    up.addEventListener("click", tried(() => list(told.above)));
    const item = element("li");
    item.append(up);
    items.unshift(item);
  }
  $("files-list").replaceChildren(...items);
  $("files-note").hidden = rows.length > 0 && told.complete;
  $("files-note").textContent = told.complete ? "Nothing here can be used for this." : "The folder holds more than is shown.";
  ($("files-list").querySelector("button") || $("files-close")).focus();
}
async function take(path) {
  $("files").close();
  if (choosing === "target") await openTarget(path);
  else if (choosing === "source") addSource(path);
  else if (choosing === "batch") await showBatch(path);
  else setOption(choosing, path);
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-choose]");
  if (button) tried(chooseFile)(button.dataset.choose);
});
$("files-close").addEventListener("click", () => $("files").close());
$("files-folder").addEventListener("click", tried(() => take($("files-path").textContent)));
$("files-upload").addEventListener("change", tried(async () => {
  const given = [...$("files-upload").files];
  $("files-upload").value = "";
  $("files").close();
  await dropped(given, choosing);
}));

// Dropping files

function upload(file) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("PUT", query("upload", { name: file.name }));
    sending.upload.addEventListener("progress", (event) => {
      say(`${file.name}: ${Math.floor((100 * event.loaded) / Math.max(1, event.total))} % of ${byteWords(event.total)}`);
    });
    sending.addEventListener("load", () => {
      let told = {};
      try { told = JSON.parse(sending.responseText); } catch { /* said below */ }
      if (sending.status === 200) resolve(told.path);
      else reject(new Error(sentence(told.error || `The server answered ${sending.status}`)));
    });
    sending.addEventListener("error", () => reject(new Error(`${file.name} did not arrive whole; drop it again.`)));
    sending.send(file);
  });
}
async function dropped(files, what) {
  fail(null);
  for (const file of files) {
    const path = await upload(file);
    say("");
    choosing = what;
    await take(path);
    if (what === "target") break;
  }
}
function takesDrops(box, what) {
  let depth = 0;
  const over = (is) => box.classList.toggle("over", is);
  box.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; over(true); });
  box.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) over(false); });
  box.addEventListener("dragover", (event) => event.preventDefault());
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    depth = 0;
    over(false);
    tried(dropped)([...event.dataTransfer.files], what);
  });
}
takesDrops($("stage"), "target");
takesDrops($("target-drop"), "target");
takesDrops($("source-drop"), "source");
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());

// What takes a while beside a run: it is said how far it is, and it can be stopped

async function withWords(busy, words, button, work) {
  fail(null);
  button.disabled = true;
  $("stop-box").hidden = false;
  const saying = setInterval(async () => {
    const told = await ask("state").catch(() => null);
    if (told && told.busy === busy) say(`${words}: ${told.doing}`);
  }, POLL);
  try {
    await work();
  } catch (error) {
    say("");
    throw error;
  } finally {
    clearInterval(saying);
    button.disabled = false;
    $("stop-box").hidden = true;
  }
}
$("stop").addEventListener("click", tried(() => ask("stop", {})));

// People

async function showPeople() {
  const folder = castFolder();
  $("people-more").hidden = !folder;
  $("people-said").hidden = Boolean(folder);
  if (!folder) {
    $("people-list").replaceChildren();
    $("shots").replaceChildren();
    return;
  }
  const told = await ask(query("people", { path: folder }), undefined);
  fail(null);
  drawPeople(told);
}
function drawPeople(told) {
  const before = chosen.assigned;
  chosen.assigned = told.people.some((person) => person.sources.length > 0);
  if (!chosen.assigned) say("Give somebody a source: drag it onto them, or choose it beside them.");
  if (chosen.assigned !== before) { refreshCommand(); requestLook({}); }
  const length = Math.max(told.seconds, 1e-3);
  const place = (seconds) => `${Math.min(100, (100 * seconds) / length)}%`;
  $("shots").replaceChildren(...told.shots.map((seconds) => {
    const line = element("i");
    line.style.left = place(seconds);
    return line;
  }));
  const focused = document.activeElement?.id;
  $("people-list").replaceChildren(...told.people.map((person) => personRow(told, person, place)));
  if (focused && focused.startsWith("gets-")) $(focused)?.focus();
}
function personRow(told, person, place) {
  const item = element("li", "", { "data-person": person.id });
  const picture = element("img", "", { alt: "" });
  if (person.picture) picture.src = person.picture;
  const title = person.name ? `${person.id} (${person.name})` : person.id;
  const doubt = person.doubtful ? `, ${person.doubtful} doubtful` : "";
  const who = element("label", `${title}, ${person.seconds.toFixed(1)} s${doubt}`, { class: "who", for: `gets-${person.id}` });
  const gets = element("select", "", { id: `gets-${person.id}` });
  if (person.same_as) {
    gets.append(element("option", `the same as ${person.same_as}`));
    gets.disabled = true;
  } else {
    gets.append(element("option", "their own face", { value: "" }));
    const offered = [...new Set([...person.sources, ...chosen.sources])];
    for (const path of offered) gets.append(element("option", `gets ${nameOf(path)}`, { value: path, title: path }));
    gets.value = person.sources[0] || "";
    gets.addEventListener("change", tried(() => assign(person.id, gets.value || null)));
  }
  const spans = element("div", "", { class: "spans", role: "img", "aria-label": `${person.id} is seen from ${person.first.toFixed(2)} s` });
  for (const [start, end] of person.spans) {
    const bar = element("i");
    bar.style.left = place(start);
    bar.style.width = place(end - start);
    spans.append(bar);
  }
  spans.addEventListener("click", () => {
    const at = chosen.facts.seconds.findIndex((seconds) => seconds >= person.first + 0.04);
    tried(goTo)(Math.max(0, at), true);
  });
  item.append(picture, who, gets, spans);
  const takes = (event) => event.dataTransfer.types.includes(SOURCE_TYPE) && !person.same_as;
  item.addEventListener("dragover", (event) => { if (takes(event)) { event.preventDefault(); item.classList.add("over"); } });
  item.addEventListener("dragleave", () => item.classList.remove("over"));
  item.addEventListener("drop", (event) => {
    item.classList.remove("over");
    if (!takes(event)) return;
    event.preventDefault();
    tried(assign)(person.id, event.dataTransfer.getData(SOURCE_TYPE));
  });
  return item;
}
async function assign(person, source) {
  fail(null);
  drawPeople(await ask("people", { cast: castFolder(), person, source }));
  refreshCommand();
  requestLook({});
}
$("find-people").addEventListener("click", tried(() => withWords("find", "Looking for people", $("find-people"), async () => {
  const told = await ask("people/find", { target: chosen.target });
  say("");
  setOption("cast", told.folder);
})));
$("one-source").addEventListener("click", () => { setOption("cast", ""); $("find-people").focus(); });
addEventListener("focus", () => { if (castFolder()) showPeople().catch(() => {}); }); // edited elsewhere meanwhile

// Running

$("run").addEventListener("click", tried(async () => {
  fail(null);
  const told = await ask("jobs", request());
  await follow(told.id);
}));
$("cancel").addEventListener("click", tried(async () => {
  $("cancel").disabled = true;
  await ask(`jobs/${chosen.job}/cancel`, {});
}));

async function follow(id) {
  running = true;
  chosen.job = id;
  chosen.result = null;
  $("run").disabled = true;
  $("outcome").hidden = true;
  $("progress-box").hidden = false;
  $("cancel").disabled = false;
  $("cancel").focus();
  clearTimeout(lookTimer);
  lookNumber += 1;
  $("stage").classList.remove("waiting");
  let shown = 0, told;
  try {
    for (;;) {
      told = await ask(`jobs/${id}`, undefined);
      if (told.state !== "running") break;
      showProgress(told);
      if (told.shown > shown) {
        shown = told.shown;
        $("empty").hidden = true;
        $("live").src = `jobs/${id}/picture?n=${shown}`;
        $("live").hidden = performance.now() < liveFrom;
      }
      await new Promise((resolve) => setTimeout(resolve, POLL));
    }
  } finally {
    running = false;
    $("progress-box").hidden = true;
    $("live").hidden = true;
    $("run").disabled = false;
    await showJobs();
  }
  ended(told);
}
function showProgress(told) {
  const bar = $("progress");
  if (told.expected && told.frames) {
    bar.value = told.share;
  } else {
    bar.removeAttribute("value");
  }
  const words = [told.cancelling ? "ending after this frame" : told.doing];
  if (told.frames) words.push(`${told.frames} of ${told.expected} frames`);
  if (told.left !== null && told.left !== undefined) words.push(`${timeWords(told.left)} left`);
  $("progress-said").textContent = words.join(", ");
  say(`${sentence(words.join(", "))}`);
}
function ended(told) {
  if (told.state === "done") {
    say("");
    showOutcome(told);
    return;
  }
  if (told.state === "failed") fail(new Error(sentence(told.error || "The swap failed")));
  else {
    say(`Cancelled after ${told.frames} of ${told.expected} frames; Resume, under Jobs, goes on from the last whole segment.`);
    const resume = $("own-jobs").querySelector("button");
    if (resume) resume.focus();
  }
  refreshCommand();
  requestLook({});
}
function showOutcome(told) {
  chosen.job = told.id;
  $("outcome").hidden = false;
  const faces = told.faces === 1 ? "1 face" : `${(told.faces || 0).toLocaleString("en")} faces`;
  const kept = told.kept ? `, ${told.kept} frames kept from the run before` : "";
  const warnings = told.warnings.length ? ` ${told.warnings.map(sentence).join(" ")}` : "";
  $("outcome-said").textContent =
    `${told.output}: ${told.frames.toLocaleString("en")} frames, ${faces} swapped in ${timeWords(told.seconds || 0)}${kept}.${warnings}`;
  $("download").href = `jobs/${told.id}/download`;
  $("report-box").hidden = true;
  $("look-result").hidden = !(chosen.target === told.target && chosen.facts && chosen.facts.kind === "clip" && chosen.facts.frames === told.frames);
  $("verify-said").textContent = "Checking marks and signature\u2026";
  $("verify-more").hidden = true;
  $("download").focus();
  refreshCommand();
  if (told.report) showReport(told.id);
  tried(verify)(told.id);
}
async function verify(id) {
  let told;
  try {
    told = await ask(`jobs/${id}/verify`, {});
  } catch (error) {
    $("verify-said").textContent = error.message;
    return;
  }
  const [first, ...rest] = told.text.split("\n");
  const headline = first.slice(first.indexOf(": ") + 2);
  const good = ["holds", "unsigned"].includes(told.verdict);
  $("verify-said").replaceChildren(element("span", good ? "\u2713 " : "\u2717 ", { class: good ? "holds" : "broken" }), document.createTextNode(sentence(headline)));
  $("verify-more").hidden = rest.length === 0;
  $("verify-text").textContent = rest.map((line) => line.replace(/^ {2}/, "")).join("\n");
}
$("report-button").addEventListener("click", tried(() => withWords("report", "Measuring the result", $("report-button"), async () => {
  const id = chosen.job;
  await ask(`jobs/${id}/report`, {});
  say("");
  showReport(id);
})));
function showReport(id) {
  $("report-box").hidden = false;
  $("report").src = `jobs/${id}/report`;
  $("report-download").href = `jobs/${id}/report?download=1`;
}
$("look-result").addEventListener("click", tried(async () => {
  const told = await ask(`jobs/${chosen.job}`, undefined);
  await stage.showAfter(query("frame", { path: told.output, n: chosen.number }), stage.boxes, false);
  say("The slider now compares the target with the finished file, at this frame.");
  $("split").focus();
}));

// Jobs

function table(jobs, actions) {
  if (jobs.length === 0) return element("p", "No swap has been run from this page yet.", { class: "quiet" });
  const made = element("table");
  const head = element("tr");
  for (const name of ["State", "Output", "Frames", "Begun", ...(actions ? ["What next"] : [])]) head.append(element("th", name, { scope: "col", class: name.toLowerCase() }));
  made.append(element("thead"), element("tbody"));
  made.tHead.append(head);
  for (const job of jobs) {
    const row = element("tr");
    const output = element("td", job.output, { class: "output" });
    output.title = `${job.sources.join(", ")} \u2192 ${job.target}`;
    if (job.error) output.append(element("div", sentence(job.error), { class: "why" }));
    const frames = job.expected ? `${job.frames} of ${job.expected}` : "";
    const begun = job.started ? new Date(job.started * 1000).toLocaleString() : "";
    row.append(element("td", job.state, { class: "state" }), output, element("td", frames), element("td", begun, { class: "begun" }));
    if (actions) {
      const cell = element("td");
      cell.append(...actions(job));
      row.append(cell);
    }
    made.tBodies[0].append(row);
  }
  return made;
}
async function showJobs() {
  const told = await ask("jobs", undefined);
  $("own-jobs").replaceChildren(table(told.jobs, (job) => {
    const name = nameOf(job.output);
    const buttons = [];
    if (["interrupted", "cancelled", "failed"].includes(job.state)) {
      buttons.push(linkButton(job.state === "failed" ? "Try again" : "Resume", `Resume ${name}`, async () => {
        fail(null);
        await takeUp(job);
        await follow((await ask(`jobs/${job.id}/resume`, {})).id);
      }));
    }
    if (job.state === "done") {
      buttons.push(linkButton("Show", `Show ${name}`, async () => {
        await takeUp(job);
        showOutcome(await ask(`jobs/${job.id}`, undefined));
        $("outcome").scrollIntoView({ block: "nearest" });
      }));
    }
    return buttons;
  }));
}
async function takeUp(job) {
  if (chosen.target === job.target) return;
  await openTarget(job.target, job.output);
  chosen.sources = [...job.sources];
  showSources();
}
async function showBatch(path) {
  const told = await ask(query("batch", { path }), undefined);
  $("batch-box").hidden = false;
  $("batch-title").textContent = told.folder;
  $("batch-counts").textContent = Object.entries(told.counts).filter(([, n]) => n > 0).map(([state, n]) => `${n} ${state}`).join(", ");
  $("batch-jobs").replaceChildren(table(told.jobs, null));
}

// Beginning

async function begin() {
  const told = await ask("state");
  await showJobs();
  const before = told.session || {};
  if (Array.isArray(before.sources)) chosen.sources = before.sources.filter((path) => typeof path === "string");
  for (const [name, value] of Object.entries(before.options || {})) {
    const field = fieldNamed(name);
    if (field) {
      setRaw(field, String(value));
      field.dataset.last = String(value);
      markChanged(field);
    }
  }
  showSources();
  if (castFolder()) await showPeople().catch(fail);
  const target = told.target || before.target;
  const output = told.target && told.target !== before.target ? "" : before.output;
  if (target) await openTarget(target, output).catch(fail); // it may be gone by now
  else refreshCommand();
  if (told.running) await follow(told.running);
  else if (!isReady()) tried(ask)("warm", {});
}
$("error").addEventListener("click", () => fail(null));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("files").open) fail(null);
  if (event.target.closest("input, textarea, select, button, dialog, [contenteditable]") || !chosen.facts) return;
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const step = { ",": -1, ".": 1 }[event.key];
  if (step) tried(goTo)(chosen.number + step, true);
});
tried(begin)();
