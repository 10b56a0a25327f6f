// Reads a PNG or JPEG file as Python does: upright, transparent pixels on white, resized by Pillow's triangle filter.

export const LIMIT = { bytes: 30e6, pixels: 40e6, side: 8 };

export class Refused extends Error {}

const text = (bytes, at, n) => String.fromCharCode(...bytes.subarray(at, at + n));
const thousands = (n) => n.toLocaleString('en');

// Width, height and bits of a PNG whose chunks are all there.
function pngHead(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 8,
    head;
  while (at + 12 <= bytes.length) {
    const long = view.getUint32(at),
      name = text(bytes, at + 4, 4);
    if (name === 'IHDR' && at + 21 <= bytes.length)
      head = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), bits: bytes[at + 16] };
    if (name === 'IEND') return head;
    at += 12 + long;
  }
  throw new Refused('truncated: the file ends before the image does');
}

// Width, height and bits of a JPEG that has its end mark.
function jpegHead(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 2,
    head;
  while (at + 4 <= bytes.length) {
    if (bytes[at] !== 0xff) break;
    const mark = bytes[at + 1];
    if (mark === 0xff) {
      at += 1;
      continue;
    }
    const frame = mark >= 0xc0 && mark <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(mark);
    if (frame && at + 10 <= bytes.length) {
      head = {
        bits: bytes[at + 4],
        height: view.getUint16(at + 5),
        width: view.getUint16(at + 7),
        channels: bytes[at + 9],
      };
    }
    at += 2 + view.getUint16(at + 2);
    if (mark !== 0xda) continue; // the coded image follows: a byte ff in it is followed by 00
    for (; at + 1 < bytes.length; at++) if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return head;
  }
  throw new Refused('truncated: the file ends before the image does');
}

// What a file's head says; throws Refused where it is no image that can be used.
export function checkFile(bytes) {
  if (!bytes.length) throw new Refused('empty: the file has 0 bytes');
  if (bytes.length > LIMIT.bytes)
    throw new Refused(`too large: ${thousands(bytes.length)} bytes, expected at most ${thousands(LIMIT.bytes)}`);
  const png = text(bytes, 0, 8) === '\x89PNG\r\n\x1a\n',
    jpeg = bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
  if (!png && !jpeg) throw new Refused('unreadable: it does not begin like a PNG or a JPEG, whatever its name says');
  const head = png ? pngHead(bytes) : jpegHead(bytes);
  if (!head) throw new Refused('unreadable: it does not say how large the image is');
  const { width, height, bits, channels } = head,
    size = `${thousands(width)} × ${thousands(height)} pixels`;
  if (width * height > LIMIT.pixels)
    throw new Refused(`too large: ${size}, expected at most ${LIMIT.pixels / 1e6} million; make it smaller first`);
  if (Math.min(width, height) < LIMIT.side)
    throw new Refused(`too small: ${size}, expected at least ${LIMIT.side} × ${LIMIT.side}`);
  if (bits > 8)
    throw new Refused(`oddly typed: ${bits} bits per value, but this model has learned from 8-bit images`);
  if (channels === 4) throw new Refused('oddly typed: four channels (CMYK), expected grey or RGB');
  return { type: png ? 'image/png' : 'image/jpeg' };
}

// Pillow's weights of a triangle filter: per output pixel the first input pixel, and whole numbers in units of 2^-22.
function weights(from, to) {
  const scale = from / to,
    support = Math.max(scale, 1),
    out = [];
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5)),
      last = Math.min(from, Math.trunc(centre + support + 0.5));
    const w = Array.from({ length: last - first }, (_, j) =>
      Math.max(0, 1 - Math.abs((j + first - centre + 0.5) * (1 / support))),
    );
    const sum = w.reduce((a, b) => a + b, 0);
    out.push([first, w.map((v) => Math.trunc((v / sum) * 2 ** 22 + 0.5))]);
  }
  return out;
}

const rounded = (sum) => Math.min(255, Math.max(0, Math.floor((sum + 2 ** 21) / 2 ** 22)));

// RGBA to RGBA of another size: along the rows, rounded to bytes, then along the columns, as Pillow does. For some
// tall images Pillow takes the columns first: there a value may differ by one grey level.
export function resize({ data, width, height }, W, H) {
  if (width !== W) {
    const out = new Uint8ClampedArray(W * height * 4);
    weights(width, W).forEach(([first, w], x) => {
      for (let y = 0; y < height; y++)
        for (let c = 0; c < 4; c++) {
          let sum = 0;
          for (let j = 0; j < w.length; j++) sum += w[j] * data[(y * width + first + j) * 4 + c];
          out[(y * W + x) * 4 + c] = rounded(sum);
        }
    });
    data = out;
  }
  if (height !== H) {
    const out = new Uint8ClampedArray(W * H * 4),
      row = W * 4;
    weights(height, H).forEach(([first, w], y) => {
      for (let i = 0; i < row; i++) {
        let sum = 0;
        for (let j = 0; j < w.length; j++) sum += w[j] * data[(first + j) * row + i];
        out[y * row + i] = rounded(sum);
      }
    });
    data = out;
  }
  return data;
}

// A file as RGBA bytes of H × W pixels, and the size it had.
export async function readImage(blob, W, H) {
  if (blob.size > LIMIT.bytes)
    throw new Refused(`too large: ${thousands(blob.size)} bytes, expected at most ${thousands(LIMIT.bytes)}`);
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const { type } = checkFile(bytes);
  let picture;
  try {
    picture = await createImageBitmap(new Blob([bytes], { type }), {
      colorSpaceConversion: 'none',
      premultiplyAlpha: 'none',
    });
  } catch {
    throw new Refused('damaged: the browser cannot decode it');
  }
  const { width, height } = picture;
  const pen = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  if (!pen)
    throw new Refused(`too large: this browser has no room for ${thousands(width)} × ${thousands(height)} pixels`);
  pen.fillStyle = '#fff';
  pen.fillRect(0, 0, width, height);
  pen.drawImage(picture, 0, 0);
  picture.close();
  const whole = pen.getImageData(0, 0, width, height);
  const all = new Uint32Array(whole.data.buffer);
  if (all.every((v) => v === all[0])) throw new Refused('empty: all pixels are equal');
  return { rgba: resize(whole, W, H), width, height };
}
