import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { CLOCK_SKEW_MS } from '../../lib/clock.ts';
import { parseObject } from '../codec.ts';

/** Names this use of the secret, so that its HMACs are good for nothing else. */
const PURPOSE = 'pierhead redis claims v1';
const KEY_BYTES = 32;
/** An HMAC-SHA-256 in base64url. */
const MAC_LENGTH = 43;

/** What a server says of who may see what, and since when; ms since the epoch. */
export interface Claim {
  readonly at: number;
  readonly [field: string]: unknown;
}

/**
 * Claims as values of Redis keys that servers with the same secret believe each other. The HMAC covers the key with the
 * value, so a value that is put under another key is worth nothing; and a claim ages, so that an old one that is put
 * back does not count for longer than it would have.
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

  /** Undefined if no server with this secret has sealed `text` for `key`, or longer ago than `maxAgeMs`. */
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

  /** The length of the key tells where it ends. */
  #macOf(key: string, body: string): string {
    const message = `${Buffer.byteLength(key)}:${key}${body}`;
    return createHmac('sha256', this.#key).update(message).digest('base64url');
  }
}
