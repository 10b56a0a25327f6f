// The model, away from the page, so that the slider never waits for it. One thread of WebAssembly.
import * as ort from './ort.js';
import { readImage, Refused } from './image.js';

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL('ort.wasm', import.meta.url).href };

let session, facts, images; // images: the model's input, float32 (1, 3, H, W) in [0, 1]
let picture = 0; // number of the picture that `images` holds
let latest = 0; // number of the newest request; older ones are dropped

const breath = () => new Promise((go) => setTimeout(go));

async function start() {
  facts = await (await fetch(new URL('data.json', import.meta.url))).json();
  const model = await (await fetch(new URL(facts.model, import.meta.url))).arrayBuffer();
  session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'], graphOptimizationLevel: 'all' });
  postMessage({ type: 'ready', facts });
}

// Planes, on the range of the training: (value - low)/(high - low), as Python does in float32.
function scale(rgba, H, W) {
  const [low, high] = facts.value_range,
    factor = Math.fround(1 / (high - low)),
    x = new Float32Array(3 * H * W);
  for (let i = 0; i < H * W; i++)
    for (let c = 0; c < 3; c++) x[c * H * W + i] = Math.min(1, Math.max(0, (rgba[4 * i + c] - low) * factor));
  return new ort.Tensor('float32', x, [1, 3, H, W]);
}

async function run(k) {
  const feeds = { images, k: new ort.Tensor('int64', BigInt64Array.of(BigInt(k)), []) };
  const t0 = performance.now(),
    out = await session.run(feeds),
    ms = performance.now() - t0;
  const logits = Array.from(out.logits.data),
    top = Math.max(...logits),
    e = logits.map((v) => Math.exp(v - top));
  const sum = e.reduce((a, b) => a + b),
    probabilities = e.map((v) => v / sum);
  return {
    ms,
    probabilities,
    coarse: out.coarse.data,
    fine: out.fine.data,
    pixels: Uint32Array.from(out.pixels.data, Number),
  };
}

const median = (v) => v.sort((a, b) => a - b)[v.length >> 1];

const tasks = {
  // A picture, from a file or an address: read, resized, and kept for what follows.
  async open({ blob, url, number, name, cell }) {
    const [, H, W] = facts.shape;
    try {
      blob ??= await (await fetch(new URL(url, import.meta.url))).blob();
      const { rgba, width, height } = await readImage(blob, W, H);
      images = scale(rgba, H, W);
      picture = number;
      postMessage({ type: 'opened', number, name, cell, rgba, width, height });
    } catch (e) {
      postMessage({
        type: 'refused',
        number,
        name,
        reason: e instanceof Refused ? e.message : `unreadable: ${e.message}`,
      });
    }
  },
  async show({ k, turn, number }) {
    if (number !== picture) {
      postMessage({ type: 'stale' });
      return;
    }
    const seen = await run(k);
    postMessage({ type: 'shown', k, turn, number, ...seen }, [seen.pixels.buffer]);
  },
  // The median of some runs, unless somebody asks for something else meanwhile.
  async time({ k, turn, number, runs }) {
    const ms = [];
    for (let i = 0; i < runs; i++) {
      if (turn < latest || number !== picture) return;
      ms.push((await run(k)).ms);
      await breath();
    }
    postMessage({ type: 'timed', k, turn, number, ms: median(ms), runs });
  },
  // Probabilities at several k, one by one.
  async curve({ ks, number, turn }) {
    for (const k of ks) {
      await breath();
      if (turn < latest || number !== picture) return;
      postMessage({ type: 'point', k, number, probabilities: (await run(k)).probabilities });
    }
  },
};

let line = Promise.resolve();
onmessage = ({ data }) => {
  latest = Math.max(latest, data.turn ?? 0);
  line = line
    .then(() => tasks[data.type](data))
    .catch((e) => postMessage({ type: 'failed', reason: String(e.message ?? e) }));
};
start().catch((e) => postMessage({ type: 'failed', reason: String(e.message ?? e) }));
