// Pictures of what the network looked at. Every map has the image's H × W pixels.

// Viridis in eleven stops, even to the eye and for the colour-blind.
const STOPS = [
  '440154',
  '482475',
  '414487',
  '355f8d',
  '2a788e',
  '21918c',
  '22a884',
  '44bf70',
  '7ad151',
  'bddf26',
  'fde725',
].map((h) => [0, 2, 4].map((i) => parseInt(h.slice(i, i + 2), 16)));

export const VIRIDIS = Uint8Array.from({ length: 768 }, (_, i) => {
  const at = (Math.floor(i / 3) / 255) * 10,
    low = Math.min(9, Math.floor(at)),
    c = i % 3;
  return Math.round(STOPS[low][c] + (at - low) * (STOPS[low + 1][c] - STOPS[low][c]));
});

// The value below which a share of all values lies.
export function quantile(values, share) {
  const sorted = Float32Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

const luma = (rgba, i) => 0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2];

// The image as a shadow: where the network does not look.
function ghost(rgba, n, ground = 205, share = 0.12) {
  const out = new Uint8ClampedArray(4 * n);
  for (let i = 0; i < n; i++) {
    const v = ground + share * luma(rgba, i);
    out.set([v, v, v, 255], 4 * i);
  }
  return out;
}

const ZOOM = 3; // a pattern of single pixels must bear being drawn smaller than the image

function put(canvas, rgba, W, H) {
  if (canvas.width !== W || canvas.height !== H) Object.assign(canvas, { width: W, height: H });
  canvas.getContext('2d').putImageData(new ImageData(rgba, W, H), 0, 0);
}

// The same, each pixel as a square of ZOOM × ZOOM.
function putZoomed(canvas, rgba, W, H) {
  const small = new OffscreenCanvas(W, H),
    pen = canvas.getContext('2d');
  put(small, rgba, W, H);
  Object.assign(canvas, { width: ZOOM * W, height: ZOOM * H });
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, ZOOM * W, ZOOM * H);
  return pen;
}

export function drawImage(canvas, rgba, W, H) {
  put(canvas, rgba, W, H);
}

// Coarse attention as colour over the image in grey.
export function drawCoarse(canvas, rgba, coarse, W, H) {
  const out = new Uint8ClampedArray(4 * W * H),
    low = quantile(coarse, 0.002),
    high = quantile(coarse, 0.998);
  for (let i = 0; i < W * H; i++) {
    const v = Math.min(255, Math.max(0, Math.round((255 * (coarse[i] - low)) / (high - low || 1)))),
      grey = luma(rgba, i);
    for (let c = 0; c < 3; c++) out[4 * i + c] = 0.8 * VIRIDIS[3 * v + c] + 0.2 * grey;
    out[4 * i + 3] = 255;
  }
  putZoomed(canvas, out, W, H);
}

// The image where the network looks, its shadow elsewhere.
export function drawSelected(canvas, rgba, pixels, W, H) {
  const out = ghost(rgba, W * H);
  for (const i of pixels) out.set(rgba.subarray(4 * i, 4 * i + 4), 4 * i);
  putZoomed(canvas, out, W, H);
}

// A dot per selected pixel, larger and brighter with its fine attention; the strongest on top.
export function drawFine(canvas, rgba, pixels, fine, W, H) {
  const pen = putZoomed(canvas, ghost(rgba, W * H, 10, 0.12), W, H); // dark, so that what counts little fades
  const order = Uint32Array.from(pixels.keys()).sort((a, b) => fine[a] - fine[b]),
    high = quantile(fine, 0.995) || 1;
  const dots = pixels.length <= 12000;
  for (const j of order) {
    const v = Math.min(1, fine[j] / high),
      at = 3 * Math.round(40 + 215 * v),
      x = pixels[j] % W,
      y = Math.floor(pixels[j] / W);
    pen.fillStyle = `rgb(${VIRIDIS[at]},${VIRIDIS[at + 1]},${VIRIDIS[at + 2]})`;
    const r = (0.45 + 0.9 * v) * ZOOM * (pixels.length < 300 ? 2 : 1);
    if (dots) {
      pen.beginPath();
      pen.arc((x + 0.5) * ZOOM, (y + 0.5) * ZOOM, r, 0, 7);
      pen.fill();
    } else pen.fillRect(x * ZOOM, y * ZOOM, ZOOM, ZOOM);
  }
}

const SVG = 'http://www.w3.org/2000/svg';
const shape = (name, attributes, words = '') => {
  const e = document.createElementNS(SVG, name);
  for (const [n, v] of Object.entries(attributes)) e.setAttribute(n, v);
  e.textContent = words;
  return e;
};

// Probability of one class against k, on a logarithmic axis; `now` and `trained` are marked.
export function drawCurve(svg, points, { least, most, now, trained, chance }) {
  const [w, h, left, right, top, bottom] = [460, 210, 44, 14, 12, 38];
  const x = (k) => left + ((w - left - right) * Math.log(Math.max(k, least) / least)) / Math.log(most / least);
  const y = (p) => top + (h - top - bottom) * (1 - p);
  const parts = [0, 0.5, 1].flatMap((p) => [
    shape('line', { x1: left, x2: w - right, y1: y(p), y2: y(p), class: 'grid' }),
    shape('text', { x: left - 6, y: y(p) + 4, 'text-anchor': 'end' }, `${100 * p} %`),
  ]);
  for (const percent of [0.1, 1, 10, 100]) {
    const at = x((percent / 100) * most),
      end = percent === 100;
    parts.push(shape('line', { x1: at, x2: at, y1: h - bottom, y2: h - bottom + 4, class: 'grid' }));
    parts.push(
      shape(
        'text',
        { x: end ? at + 6 : at, y: h - bottom + 17, 'text-anchor': end ? 'end' : 'middle' },
        `${percent} %`,
      ),
    );
  }
  parts.push(
    shape(
      'text',
      { x: (left + w - right) / 2, y: h - 4, 'text-anchor': 'middle' },
      'share of the pixels that is read',
    ),
  );
  parts.push(shape('line', { x1: x(trained), x2: x(trained), y1: top, y2: h - bottom, class: 'trained' }));
  parts.push(
    shape(
      'text',
      { x: x(trained) - 5, y: h - bottom - 6, 'text-anchor': 'end', class: 'trained' },
      'k of the training',
    ),
  );
  parts.push(shape('line', { x1: left, x2: w - right, y1: y(chance), y2: y(chance), class: 'chance' }));
  parts.push(shape('text', { x: w - right, y: y(chance) - 5, 'text-anchor': 'end', class: 'chance' }, 'guessing'));
  const sorted = [...points].sort((a, b) => a[0] - b[0]);
  if (sorted.length)
    parts.push(shape('polyline', { points: sorted.map(([k, p]) => `${x(k)},${y(p)}`).join(' '), class: 'curve' }));
  for (const [k, p] of sorted) parts.push(shape('circle', { cx: x(k), cy: y(p), r: 2.5, class: 'curve' }));
  if (now) parts.push(shape('circle', { cx: x(now[0]), cy: y(now[1]), r: 6, class: 'now' }));
  svg.setAttribute('viewBox', `0 0 ${w} ${h}`);
  svg.replaceChildren(...parts);
}
