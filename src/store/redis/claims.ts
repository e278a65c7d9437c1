import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { CLOCK_SKEW_MS } from '../../lib/clock.ts';
import { parseObject } from '../codec.ts';

/** Derives a key for this use of the secret, so that its HMACs are not valid for another one. */
const PURPOSE = 'pierhead redis claims v1';
const KEY_BYTES = 32;
/** An HMAC-SHA-256 in base64url. */
const MAC_LENGTH = 43;

/** A server's statement on access to private images. */
export interface Claim {
  /** Time of the statement; ms since the epoch. */
  readonly at: number;
  readonly [field: string]: unknown;
}

/**
 * Signs claims, so that servers with the same secret can trust them in Redis. The HMAC covers the key and the value, so
 * a value under another key is invalid. A claim expires by its own time, so an old one that is written again does not
 * live longer.
 */
export class Claims {
  readonly #key: Buffer;

  constructor(secret: string) {
    this.#key = Buffer.from(hkdfSync('sha256', secret, '', PURPOSE, KEY_BYTES));
  }

  seal(key: string, claim: Claim): string {
    const body = JSON.stringify(claim);
    return this.#macOf(key, body) + body;
  }

  /** Undefined if `text` was not sealed for `key` with this secret, or is older than `maxAgeMs`. */
  open(
    key: string,
    text: string,
    { nowMs, maxAgeMs }: { readonly nowMs: number; readonly maxAgeMs: number },
  ): Claim | undefined {
    const [mac, body] = [Buffer.from(text.slice(0, MAC_LENGTH)), text.slice(MAC_LENGTH)];
    const expected = Buffer.from(this.#macOf(key, body));
    if (mac.length !== expected.length || !timingSafeEqual(mac, expected)) return undefined;
    const claim = parseObject(body);
    const at = claim?.['at'];
    if (typeof at !== 'number' || !(at <= nowMs + CLOCK_SKEW_MS) || nowMs - at >= maxAgeMs) return undefined;
    return { ...claim, at };
  }

  /** With the length of the key before it, no other pair of key and body gives the same message. */
  #macOf(key: string, body: string): string {
    const message = `${Buffer.byteLength(key)}:${key}${body}`;
    return createHmac('sha256', this.#key).update(message).digest('base64url');
  }
}
