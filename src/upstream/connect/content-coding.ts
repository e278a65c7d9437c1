import type { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import {
  brotliDecompress,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  gunzip,
  inflate,
  type ZlibOptions,
} from 'node:zlib';
import { errorCode } from '../../lib/errors.ts';
import { type AnswerHeaders, BodyBrokenError } from '../upstream.ts';
import { headerText } from './headers.ts';

const DECODERS: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
};

const WHOLE_DECODERS: Readonly<Record<string, (bytes: Buffer, options: ZlibOptions) => Promise<Buffer>>> = {
  gzip: promisify<Buffer, ZlibOptions, Buffer>(gunzip),
  'x-gzip': promisify<Buffer, ZlibOptions, Buffer>(gunzip),
  deflate: promisify<Buffer, ZlibOptions, Buffer>(inflate),
  br: promisify<Buffer, ZlibOptions, Buffer>(brotliDecompress),
};

/** Each takes memory for a decoder of its own; nobody has a reason for more than one. */
const MAX_CODINGS = 3;

/** What was done to a body on its way (RFC 9110 section 8.4), last first; empty if nothing was. */
export function contentCodings(headers: AnswerHeaders): readonly string[] {
  return (headerText(headers, 'content-encoding') ?? '')
    .split(',')
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== '' && coding !== 'identity')
    .toReversed();
}

export function canDecode(codings: readonly string[]): boolean {
  return codings.length <= MAX_CODINGS && codings.every((coding) => Object.hasOwn(DECODERS, coding));
}

/** The chunks as they were before `codings`. Throws BodyBrokenError if they are no such thing, and what `chunks` throws. */
export function decoded(chunks: AsyncIterable<Buffer>, codings: readonly string[]): AsyncIterable<Buffer> {
  return codings.reduce((body, coding) => decodedOnce(body, coding), chunks);
}

/**
 * A short body as it was before `codings`, of at most `maxBytes`; undefined if it is longer. What is not encoded although
 * it is labelled so stays as it is.
 */
export async function decodedWhole(
  bytes: Buffer,
  codings: readonly string[],
  maxBytes: number,
): Promise<Buffer | undefined> {
  if (!canDecode(codings)) return bytes;
  let body = bytes;
  for (const coding of codings) {
    try {
      body = (await WHOLE_DECODERS[coding]?.(body, { maxOutputLength: maxBytes })) ?? body;
    } catch (error) {
      if (errorCode(error) === 'ERR_BUFFER_TOO_LARGE') return undefined;
      return bytes;
    }
  }
  return body;
}

async function* decodedOnce(
  chunks: AsyncIterable<Buffer>,
  coding: string,
): AsyncGenerator<Buffer, void, undefined> {
  const decoder = DECODERS[coding]?.();
  if (decoder === undefined) throw new TypeError(`no decoder for ${coding}`);
  // What goes wrong there comes out of the decoder as well.
  pipeline(chunks, decoder).catch(() => undefined);
  try {
    for await (const chunk of decoder) yield chunk as Buffer;
  } catch (error) {
    if (error instanceof BodyBrokenError) throw error;
    throw new BodyBrokenError('cut', `upstream sent what is not ${coding}, though it says so`, error);
  }
}
