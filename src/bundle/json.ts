import { JsonError, JsonReader, type JsonLimits } from '../lib/json-reader.ts';
import type { JsonShape } from '../lib/json-shape.ts';
import { parseDigest, type Digest } from '../oci/digest.ts';
import { BundleError } from './bundle-error.ts';

const MAX_NAME_LENGTH = 640;
/** 64 MiB of `{},` keep a server busy for a minute and take 2 GB. What is genuine has a value in 30 bytes. */
const LIMITS: JsonLimits = { maxDepth: 32, maxValues: 2_000_000, maxKeys: 2_000_000 };

/** Reading JSON that anybody may have written: each throws BundleError `corrupt`, which names `what`. */
export type Json = Readonly<Record<string, unknown>>;

export function parseJson(bytes: Buffer, what: string, shape: JsonShape): Json {
  try {
    return objectIn(new JsonReader(bytes, LIMITS).read(shape), what);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const why = error.code === 'malformed' ? 'is not JSON' : 'holds too many things';
    throw new BundleError('corrupt', `${what} ${why}`, error);
  }
}

export function objectIn(value: unknown, what: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw new BundleError('corrupt', `${what} is not an object`);
}

export function arrayIn(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new BundleError('corrupt', `${what} is not a list`);
}

export function textIn(value: unknown, what: string): string {
  if (typeof value === 'string') return value;
  throw new BundleError('corrupt', `${what} is not a text`);
}

/** What becomes part of a key, whose length is limited. */
export function nameIn(value: unknown, what: string): string {
  const text = textIn(value, what);
  if (text.length <= MAX_NAME_LENGTH) return text;
  throw new BundleError('corrupt', `${what} has ${text.length} characters`);
}

export function digestIn(value: unknown, what: string): Digest {
  const digest = parseDigest(textIn(value, what));
  if (digest === undefined) throw new BundleError('corrupt', `${what} is not a digest`);
  return digest;
}

export function bytesIn(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new BundleError('corrupt', `${what} is not a size`);
}
