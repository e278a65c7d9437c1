import { digestOf } from '../../../src/oci/digest.ts';
import type { Content } from '../../fake/content.ts';
import type { Reply } from './ask.ts';
import type { Tally } from './tally.ts';
import type { World } from './world.ts';

export interface Span {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/** From which length on a range to the end of a blob waits for the verification, as a whole blob does. */
const HELD_FROM_BYTES = 1024 * 1024;

/** Compares what comes of a blob with what it ought to be. */
export class Comparison {
  readonly #expected: (offset: number, length: number) => Buffer;
  #position: number;
  #isRight = true;

  constructor(content: Content, start = 0) {
    this.#expected = content.reader();
    this.#position = start;
  }

  get position(): number {
    return this.#position;
  }

  get isRight(): boolean {
    return this.#isRight;
  }

  take(chunk: Buffer): void {
    this.#isRight &&= chunk.equals(this.#expected(this.#position, chunk.length));
    this.#position += chunk.length;
  }
}

/** Says which replies must not be. */
export class Judge {
  readonly #world: World;
  readonly #tally: Tally;

  constructor(world: World, tally: Tally) {
    this.#world = world;
    this.#tally = tally;
  }

  /** Of any reply: its ending and its status. */
  reply(kind: 'manifest' | 'blob', url: string, reply: Reply): void {
    const { status, ending, headers, headMs, bytes } = reply;
    this.#tally.count('answers', `${kind} ${status} ${ending}`);
    this.#tally.count('cache', String(headers['cache-status']));
    this.#tally.headCame(headMs);
    const told = `${url}: ${status} ${ending} after ${bytes} bytes, ${String(headers['cache-status'])}`;
    if (ending === 'silent') this.#tally.violation('an answer came to a halt', told);
    if (ending === 'none') this.#tally.violation('a request was not answered', told);
    else if (status !== 0 && !isExpected(kind, reply)) this.#tally.violation(`a ${kind} got ${status}`, told);
  }

  /** Of a manifest's bytes: they are the ones that the answer's own digest names. */
  manifest(url: string, { headers, ending }: Reply, bytes: Buffer): void {
    if (ending !== 'complete') return;
    const digest = digestOf(bytes);
    const asked = url.slice(url.lastIndexOf('/') + 1);
    const isAsked = !asked.startsWith('sha256:') || asked === digest;
    if (isAsked && headers['docker-content-digest'] === digest) return;
    this.#tally.violation('a manifest was wrong', `${url}: got ${digest}`);
  }

  /** Of a blob, or the part of it that was asked for. */
  blob(
    url: string,
    { span, content }: { span: Span; content: Content },
    reply: Reply,
    isRight: boolean,
  ): void {
    const { ending, status, bytes } = reply;
    if (ending !== 'complete' || (status !== 200 && status !== 206)) return;
    const length = span.end - span.start;
    if (isRight && bytes === length) return;
    if (bytes === length && this.#isUnverified(content, span, reply)) {
      this.#tally.count('answers', 'wrong bytes in a range that nothing verifies');
      return;
    }
    const told = `${url} ${span.start}-${span.end} of ${content.size}: ${status}, ${bytes} bytes, ${String(reply.headers['cache-status'])}`;
    this.#tally.violation('wrong bytes in an answer that ended cleanly', told);
  }

  /**
   * Nothing can verify a part of a blob by itself. A blob that is stored is right, a whole one is verified on its way,
   * and a long range to its end waits for the whole; of the rest, as upstream corrupts it, wrong bytes get through.
   */
  #isUnverified(content: Content, { start, end }: Span, { status, headers }: Reply): boolean {
    if (status === 200 || !this.#world.frail.has(content.digest)) return false;
    const cache = String(headers['cache-status']);
    if (cache === 'pierhead; hit') return false;
    const isHeldBack = end === content.size && end - start > HELD_FROM_BYTES && !cache.includes('bypass');
    return !isHeldBack;
  }
}

/** A manifest that is not cached is a 503 in an outage, a blob a 404 that nobody may remember. */
function isExpected(kind: 'manifest' | 'blob', { status, headers }: Reply): boolean {
  if (status === 200) return true;
  if (kind === 'manifest') return status === 503;
  return status === 206 || (status === 404 && headers['cache-control'] === 'no-store');
}
