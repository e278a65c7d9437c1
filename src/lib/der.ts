/** A value in the Distinguished Encoding Rules (ITU-T X.690): tag, length, content. */
function value(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const hex = body.length.toString(16);
  const length = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, body]);
}

export const sequence = (...items: readonly Buffer[]): Buffer => value(0x30, ...items);
export const set = (...items: readonly Buffer[]): Buffer => value(0x31, ...items);
export const octets = (bytes: Buffer): Buffer => value(0x04, bytes);
export const text = (utf8: string): Buffer => value(0x0c, Buffer.from(utf8));
export const yes = (): Buffer => value(0x01, Buffer.from([0xff]));

/** A number from 0 up, its bytes with the highest first. */
export function integer(bytes: Uint8Array): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const rest = first < 0 ? Buffer.from([0]) : bytes.subarray(first);
  // The highest bit is the sign.
  return (rest[0] ?? 0) < 0x80 ? value(0x02, rest) : value(0x02, Buffer.from([0]), rest);
}

/** A string of bits, of whose last byte so many are not used. */
export function bits(bytes: Buffer, unused = 0): Buffer {
  return value(0x03, Buffer.from([unused]), bytes);
}

/** `[number]` of a choice or an optional item, `constructed` if it holds other values. */
export function tagged(number: number, content: Buffer, form: 'primitive' | 'constructed'): Buffer {
  return value((form === 'constructed' ? 0xa0 : 0x80) | number, content);
}

/** An object identifier such as `2.5.29.17`. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...arcs] = dotted.split('.').map(Number);
  return value(0x06, Buffer.from([first * 40 + second, ...arcs.flatMap(base128)]));
}

function base128(arc: number): number[] {
  const digits = [arc & 0x7f];
  for (let rest = arc >>> 7; rest > 0; rest >>>= 7) digits.unshift((rest & 0x7f) | 0x80);
  return digits;
}

/** Seconds, as X.509 wants them: two digits of the year before 2050 (RFC 5280, section 4.1.2.5). */
export function time(date: Date): Buffer {
  const digits = `${date.toISOString().replaceAll(/\D/g, '').slice(0, 14)}Z`;
  return date.getUTCFullYear() < 2050
    ? value(0x17, Buffer.from(digits.slice(2)))
    : value(0x18, Buffer.from(digits));
}
