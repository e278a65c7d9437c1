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

/** Each coding takes a decoder's memory, and no real response has more than one. */
const MAX_CODINGS = 3;

/** The codings of a body (RFC 9110 section 8.4), last first; empty if it is not encoded. */
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

/** The decoded chunks. Throws BodyBrokenError if they are not of these `codings`, and errors of `chunks`. */
export function decoded(chunks: AsyncIterable<Buffer>, codings: readonly string[]): AsyncIterable<Buffer> {
  return codings.reduce((body, coding) => decodedOnce(body, coding), chunks);
}

/**
 * A decoded short body of at most `maxBytes`; undefined if it is longer. A body that is labelled but not encoded
 * stays as it is.
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
  // The decoder throws the same errors below.
  pipeline(chunks, decoder).catch(() => undefined);
  try {
    for await (const chunk of decoder) yield chunk as Buffer;
  } catch (error) {
    if (error instanceof BodyBrokenError) throw error;
    throw new BodyBrokenError('cut', `the body is not ${coding}, though its Content-Encoding says so`, error);
  }
}
