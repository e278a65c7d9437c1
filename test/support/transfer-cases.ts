import fc from 'fast-check';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { generatedContent } from '../fake/content.ts';
import type { AnswerScript } from '../fake/scripted-answers.ts';

export const KIB = 1024;
/** Where something changes on the way: reads of a socket, the queue of a body, its resumption, and their sums. */
const MARKS = [0, 1, 16 * KIB, 64 * KIB, 128 * KIB, 192 * KIB, 256 * KIB, 272 * KIB, 320 * KIB, 384 * KIB];
export const CONTENT = generatedContent({ size: 512 * KIB, seed: 1 }).expectedBytes(0, 512 * KIB);

export const EXCESS = {
  nothing: '',
  'a byte': 'x',
  'a lot': 'x'.repeat(70_000),
  'another answer': 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil',
  'line end': '\r\n',
  chunk: '4\r\nevil\r\n0\r\n\r\n',
} as const;

export type Reader = 'fast' | 'turns' | 'paused' | 'limited' | 'gone' | 'discarded';

/** How a server answers and ends, and who reads that. */
export interface Case {
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/1.1, close';
  readonly framing: 'length' | 'chunked' | 'until close';
  readonly size: number;
  readonly chunkBytes: number;
  /** How much of the answer is sent; undefined: all of it, its head included. */
  readonly cutAt: number | undefined;
  /** What follows an answer that is sent whole. */
  readonly excess: keyof typeof EXCESS;
  readonly ending: AnswerScript['ending'];
  readonly pieceBytes: number | undefined;
  readonly isFlushed: boolean;
  readonly reader: Reader;
  /** How much one who goes away reads before. */
  readonly leavesAfter: number;
}

const nearMark = fc
  .tuple(fc.constantFrom(...MARKS), fc.integer({ min: -2, max: 2 }))
  .map(([mark, offset]) => Math.max(0, mark + offset));
const anyLength = fc.oneof({ weight: 4, arbitrary: nearMark }, { weight: 1, arbitrary: fc.nat(400 * KIB) });
export const cases: fc.Arbitrary<Case> = fc.record({
  protocol: fc.constantFrom('HTTP/1.0', 'HTTP/1.1', 'HTTP/1.1, close'),
  framing: fc.constantFrom('length', 'chunked', 'until close'),
  size: anyLength,
  chunkBytes: fc.constantFrom(1000, 16 * KIB, 64 * KIB, 300 * KIB),
  cutAt: fc.oneof(
    { weight: 2, arbitrary: fc.constant(undefined) },
    { weight: 2, arbitrary: anyLength },
    { weight: 1, arbitrary: fc.nat(100) },
  ),
  excess: fc.constantFrom(
    'nothing',
    'nothing',
    'nothing',
    'a byte',
    'a lot',
    'another answer',
    'line end',
    'chunk',
  ),
  ending: fc.constantFrom('open', 'fin', 'half', 'rst'),
  pieceBytes: fc.constantFrom(undefined, undefined, 16 * KIB, 65_537),
  isFlushed: fc.boolean(),
  reader: fc.constantFrom('fast', 'turns', 'paused', 'limited', 'gone', 'discarded'),
  leavesAfter: anyLength,
});

/** A whole answer, and where in it the body begins. */
export interface Framed {
  readonly bytes: Buffer;
  readonly bodyAt: number;
}

export function framed(
  { protocol, framing, chunkBytes, ...one }: Case,
  body = CONTENT.subarray(0, one.size),
): Framed {
  const [version, close] = protocol.split(', ');
  const { length: size } = body;
  const head = [`${version} 200 OK`];
  if (close !== undefined) head.push('connection: close');
  if (framing === 'length') head.push(`content-length: ${size}`);
  if (framing === 'chunked') head.push('transfer-encoding: chunked');
  const start = Buffer.from(`${head.join('\r\n')}\r\n\r\n`);
  if (framing !== 'chunked') return { bytes: Buffer.concat([start, body]), bodyAt: start.length };
  const chunks: Buffer[] = [start];
  for (let at = 0; at < size; at += chunkBytes) {
    const chunk = body.subarray(at, at + chunkBytes);
    chunks.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'));
  }
  return { bytes: Buffer.concat([...chunks, Buffer.from('0\r\n\r\n')]), bodyAt: start.length };
}

/** Blobs at a registry whose first answers for each end as a case says, and whose later ones are sound. */
export class HostileRegistry {
  readonly #blobs = new Map<string, { readonly one: Case; readonly body: Buffer; asked: number }>();
  readonly #hostileAnswers = 2;

  /** The digest of a blob of its own. */
  add(one: Case): Digest {
    const salt = Buffer.from(String(this.#blobs.size));
    const body = Buffer.concat([salt, CONTENT.subarray(0, one.size)]);
    const digest = digestOf(body);
    this.#blobs.set(digest, { one, body, asked: 0 });
    return digest;
  }

  /** The whole blob, whatever range was asked for. */
  answer(head: string): AnswerScript | undefined {
    const sound = { pieceBytes: undefined, ending: 'open', isFlushed: false } as const;
    const [, digest = ''] = /^GET \/v2\/library\/any\/blobs\/(\S+)/.exec(head) ?? [];
    const blob = this.#blobs.get(digest);
    if (blob === undefined) return undefined;
    const { one, body } = blob;
    if (blob.asked++ >= this.#hostileAnswers) {
      const length = { ...one, protocol: 'HTTP/1.1', framing: 'length' } as const;
      return { bytes: framed(length, body).bytes, ...sound };
    }
    const { bytes } = framed(one, body);
    const { pieceBytes, isFlushed, cutAt = bytes.length } = one;
    const ending = one.ending === 'open' ? 'fin' : one.ending;
    return { bytes: bytes.subarray(0, cutAt), pieceBytes, isFlushed, ending };
  }
}
