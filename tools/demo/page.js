// One state, one picture of it. The worker computes, `draw.js` draws.
import { drawCoarse, drawCurve, drawFine, drawImage, drawSelected } from './draw.js';

const $ = (id) => document.getElementById(id);
const number = (v) => v.toLocaleString('en');
const share = (s) => `${(100 * s).toFixed(s < 0.001 ? 3 : s < 0.01 ? 2 : s < 0.1 ? 1 : 0)} %`;
const percent = (p) => (p > 0.995 && p < 1 ? 'over 99 %' : p < 0.005 ? 'under 1 %' : `${Math.round(100 * p)} %`);
const article = (word) => `${/^[aeiou]/.test(word) ? 'an' : 'a'} ${word}`;
const RUNS = 9,
  PER_OCTAVE = 4,
  LEAST = 8; // repeats per timing; positions of the slider per doubling of k; its first k

const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
let facts, W, H, positions; // what data.json says; the values of k that the slider takes
let turn = 0,
  opened = 0,
  busy = false,
  waiting = false,
  idle; // numbers of requests; whether the worker computes
const state = { k: 0, cell: null, rgba: null, seen: null, curves: new Map(), number: 0 };
globalThis.sparseattnnet = state; // for tests, and for the curious

// --- asking ---

function ask() {
  if (busy) {
    waiting = true;
    return;
  }
  busy = true;
  waiting = false;
  worker.postMessage({ type: 'show', k: state.k, turn: ++turn, number: state.number });
}

function rest() {
  // nobody moves anything: measure the time, then fill the curve
  clearTimeout(idle);
  idle = setTimeout(() => {
    const { k, number } = state,
      has = curve();
    worker.postMessage({ type: 'time', k, turn, number, runs: RUNS });
    const ks = positions.filter((v, i) => i % PER_OCTAVE === 0 && !has.has(v));
    if (ks.length) worker.postMessage({ type: 'curve', ks, turn, number });
  }, 250);
}

function curve() {
  // k to probabilities, as far as they are known for this picture
  const of = state.cell ?? `file ${state.number}`;
  if (!state.curves.has(of)) state.curves.set(of, new Map());
  return state.curves.get(of);
}

function open(what) {
  opened += 1;
  clearTimeout(idle);
  worker.postMessage({ type: 'open', number: opened, turn: ++turn, ...what });
}

function choose(cell) {
  open({ url: facts.cells[cell].file, name: facts.cells[cell].file, cell });
}

function openFile(file) {
  if (file) open({ blob: file, name: file.name });
  $('file').value = '';
}

// --- k ---

const nearest = (k) =>
  positions.reduce(
    (best, v, i) => (Math.abs(Math.log(v / k)) < Math.abs(Math.log(positions[best] / k)) ? i : best),
    0,
  );

function setK(k) {
  state.k = k;
  $('k').value = k;
  $('slider').value = nearest(k);
  $('slider').setAttribute('aria-valuetext', `${number(k)} pixels, ${share(k / (W * H))}`);
  $('share').textContent = `of ${number(W * H)} pixels: ${share(k / (W * H))}`;
  say('k-problem', '');
  remember();
  ask();
}

function typeK(text) {
  const k = Number(text);
  if (text.trim() && Number.isInteger(k) && k >= 1 && k <= W * H) setK(k);
  else
    say(
      'k-problem',
      `k = ${text.trim() || 'nothing'}: expected a whole number from 1 to ${number(W * H)}. ` +
        `The picture still shows k = ${number(state.k)}.`,
    );
}

function remember() {
  const parts = new URLSearchParams({ k: state.k });
  if (state.cell !== null) parts.set('cell', state.cell);
  history.replaceState(null, '', `#${parts}`);
}

// --- showing ---

function say(id, words) {
  $(id).textContent = words;
  $(id).hidden = !words;
}

function truth() {
  return state.cell === null ? -1 : facts.class_names.indexOf(facts.cells[state.cell].label);
}

function showOpened({ number: n, name, cell = null, rgba, width, height }) {
  Object.assign(state, { number: n, rgba, cell, seen: null });
  say('problem', '');
  drawImage($('cell'), rgba, W, H);
  const label = cell === null ? '' : facts.cells[cell].label;
  const words =
    cell === null
      ? `${name}${width === W && height === H ? '' : `, resized from ${number(width)} × ${number(height)}`}. ` +
        'Its class is not known here, and the model knows simulated cells alone.'
      : `Simulated ${label}, number ${facts.cells[cell].number} of seed ${facts.cells[cell].seed}`;
  $('cell-caption').textContent = words;
  $('cell').setAttribute('aria-label', cell === null ? 'Your image' : words);
  for (const [i, b] of [...$('thumbs').children].entries()) b.setAttribute('aria-pressed', i === cell);
  remember();
  busy = false;
  ask();
}

function showSeen(seen) {
  const { k, pixels, coarse, fine, ms } = seen;
  if (state.seen === null) drawCoarse($('coarse'), state.rgba, coarse, W, H); // it does not depend on k
  state.seen = { ...seen, cell: state.cell };
  drawSelected($('selected'), state.rgba, pixels, W, H);
  drawFine($('fine'), state.rgba, pixels, fine, W, H);
  $('ms').textContent = `${ms.toFixed(1)} ms per image`;
  $('ms').dataset.timed = '';
  curve().set(k, seen.probabilities);
  showBars(seen.probabilities);
  $('sentence').textContent = sentence(seen);
  showCurve();
}

function showBars(probabilities) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  $('bars').replaceChildren(
    ...facts.class_names.map((name, i) => {
      const row = document.createElement('li'),
        bar = document.createElement('span'),
        fill = document.createElement('i');
      row.className = [i === best && 'best', i === truth() && 'true'].filter(Boolean).join(' ');
      const word = (cls, text) =>
        Object.assign(document.createElement('span'), { className: cls, textContent: text });
      fill.style.width = `${100 * probabilities[i]}%`;
      bar.className = 'bar';
      bar.append(fill);
      row.append(word('name', name), bar, word('p', `${(100 * probabilities[i]).toFixed(1)} %`));
      if (i === truth()) row.append(word('mark', 'true class'));
      return row;
    }),
  );
}

function sentence({ k, probabilities, fine }) {
  const best = probabilities.indexOf(Math.max(...probabilities)),
    t = truth(),
    names = facts.class_names;
  const right = t < 0 ? '' : best === t ? ', which is right' : `, which is wrong: it is ${article(names[t])}`;
  const from = `From ${number(k)} pixel${k > 1 ? 's' : ''}`;
  const said = `${from} the network says “${names[best]}” with ${percent(probabilities[best])}${right}.`;
  const sorted = Float32Array.from(fine).sort().reverse(),
    tenth = Math.ceil(k / 10);
  const sum = (v) => v.reduce((a, b) => a + b, 0),
    part = sum(sorted.subarray(0, tenth)) / sum(sorted);
  const few = k >= 30 ? ` The most attended tenth of them carries ${percent(part)} of their fine attention.` : '';
  const at = facts.trained_k,
    before = curve().get(at),
    c = t < 0 ? best : t;
  if (k === at) return `${said}${few} This is the k that it was trained with.`;
  if (!before) return said + few;
  const change = probabilities[c] - before[c];
  const effect = Math.abs(change) < 0.02 ? 'hardly changes' : change < 0 ? 'lowers' : 'raises';
  const span = Math.abs(change) < 0.02 ? '' : ` from ${percent(before[c])} to ${percent(probabilities[c])}`;
  const reading = `Reading ${k < at ? 'fewer' : 'more'} pixels than in training (${number(at)})`;
  return `${said}${few} ${reading} ${effect} the probability of “${names[c]}”${span}.`;
}

function showCurve() {
  const t = truth(),
    now = state.seen?.probabilities,
    c = t < 0 ? (now ? now.indexOf(Math.max(...now)) : 0) : t;
  $('curve-class').textContent = `“${facts.class_names[c]}”${t < 0 ? '' : ', the true class,'}`;
  drawCurve(
    $('curve'),
    [...curve()].map(([k, p]) => [k, p[c]]),
    {
      least: LEAST,
      most: W * H,
      now: now && [state.seen.k, now[c]],
      trained: facts.trained_k,
      chance: 1 / facts.class_names.length,
    },
  );
}

const replies = {
  ready(m) {
    begin(m.facts);
  },
  opened(m) {
    if (m.number === opened) showOpened(m);
  },
  refused({ number: n, name, reason }) {
    if (n !== opened) return;
    say('problem', `${name}: ${reason}. Choose another image; the page still shows the one before.`);
  },
  shown(m) {
    busy = false;
    if (m.number !== state.number) return;
    if (waiting) ask();
    showSeen(m);
    if (!busy) rest();
  },
  stale() {
    busy = false;
    if (waiting) ask();
  },
  timed({ k, number: n, ms, runs }) {
    if (n !== state.number || k !== state.k) return;
    $('ms').textContent = `${ms.toFixed(1)} ms per image (median of ${runs})`;
    $('ms').dataset.timed = ms;
  },
  point({ k, number: n, probabilities }) {
    if (n !== state.number) return;
    curve().set(k, probabilities);
    showCurve();
    if (k === facts.trained_k && state.seen) $('sentence').textContent = sentence(state.seen);
  },
  failed({ reason }) {
    say(
      'status',
      `The model does not run in this browser: ${reason}. ` +
        'A browser of the last three years with WebAssembly is needed.',
    );
  },
};
worker.onmessage = ({ data }) => replies[data.type](data);
worker.onerror = (e) => replies.failed({ reason: e.message || 'the worker did not start' });

// --- the beginning ---

function begin(given) {
  facts = given;
  [, H, W] = facts.shape;
  const n = W * H,
    steps = Math.round(Math.log2(n / LEAST) * PER_OCTAVE);
  positions = [
    ...new Set(Array.from({ length: steps + 1 }, (_, i) => Math.round(LEAST * (n / LEAST) ** (i / steps)))),
  ];
  $('slider').max = positions.length - 1;
  $('k').max = n;
  $('marks').append(new Option('', nearest(facts.trained_k)));
  facts.cells.forEach((c, i) => {
    const b = Object.assign(document.createElement('button'), { type: 'button', title: `Simulated ${c.label}` });
    b.append(
      Object.assign(new Image(), {
        src: c.file,
        alt: `Simulated ${c.label}, number ${c.number} of seed ${c.seed}`,
        width: 64,
        height: 64,
      }),
      Object.assign(document.createElement('span'), { textContent: c.label }),
    );
    b.onclick = () => choose(i);
    $('thumbs').append(b);
  });
  about();
  const at = new URLSearchParams(location.hash.slice(1)),
    k = Number(at.get('k')),
    cell = Number(at.get('cell') ?? NaN);
  say('status', '');
  $('main').hidden = false;
  busy = true; // until the first cell is there
  setK(Number.isInteger(k) && k >= 1 && k <= n ? k : facts.trained_k);
  const first = facts.cells.findIndex((c) => c.seed === 0);
  choose(Number.isInteger(cell) && facts.cells[cell] ? cell : Math.max(first, 0));
}

function about() {
  const { tested, trained_k: k, class_names: names, run_id: run } = facts,
    n = W * H;
  const how = tested.images
    ? ` Of ${tested.images} simulated test cells it names ${Math.round(100 * tested.accuracy)} % rightly at that k.`
    : '';
  $('about-model').textContent =
    `The published checkpoint ${run}, trained on simulated images of ${names.join(', ')}, ` +
    `with k = ${number(k)} (${share(k / n)} of the pixels) throughout.${how} ` +
    'At any other k it reads a number of pixels that it has not practised with.';
  $('about-image').textContent =
    `It is read as Python reads it: turned upright, transparent pixels laid on white, ` +
    `resized to ${W} × ${H} pixels by Pillow’s triangle filter, each channel divided by ${facts.value_range[1]}. ` +
    'Its sides are scaled one by one, so cut out a square around one cell, ' +
    `some ${Math.round(W * facts.pixel_um)} µm wide. A grey image is repeated in the three channels, ` +
    'where the command would refuse it. The model was never shown a real cell, so its verdict on one means little.';
  $('about-ms').textContent =
    `When you stop moving, the same image is classified ${RUNS} times, and the median is shown. ` +
    'It counts the network alone, from the scaled image to the four outputs, the maps that are drawn here included; ' +
    'neither decoding nor drawing.';
  $('curve-note').textContent =
    `Computed in this browser for the image above. The model has practised with k = ${number(k)} alone.`;
}

$('slider').oninput = (e) => setK(positions[e.target.value]);
$('k').onchange = (e) => typeK(e.target.value);
$('file').onchange = (e) => openFile(e.target.files[0]);
for (const name of ['dragenter', 'dragover'])
  addEventListener(name, (e) => {
    e.preventDefault();
    document.body.classList.add('over');
  });
for (const name of ['dragleave', 'drop']) addEventListener(name, () => document.body.classList.remove('over'));
addEventListener('drop', (e) => {
  e.preventDefault();
  if (e.dataTransfer.files.length) openFile(e.dataTransfer.files[0]);
  else if (facts) say('problem', 'What was dropped is no file: expected a PNG or JPEG file.');
});
