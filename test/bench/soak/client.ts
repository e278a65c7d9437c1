import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf } from '../../../src/oci/digest.ts';
import type { Content } from '../../fake/content.ts';
import { ask, type Question, type Reply } from './ask.ts';
import { Comparison, Judge, type Span } from './judge.ts';
import type { Random } from './random.ts';
import type { Tally } from './tally.ts';
import type { SoakRepository, Version, World } from './world.ts';

const LAYERS_AT_A_TIME = 3;
/** How often a client goes on by a range with a blob that broke off. */
const MAX_RESUMES = 8;
const PARALLEL_RANGES = 4;

export interface ClientOptions {
  readonly url: string;
  /** The loopback address that it comes from. */
  readonly from: string;
  readonly world: World;
  readonly random: Random;
  readonly tally: Tally;
}

/** A client of the mirror: pulls as Docker and containerd do, reads ranges as lazy pullers do, and goes away. */
export class SoakClient {
  readonly #options: ClientOptions;
  readonly #judge: Judge;
  readonly #agent = new Agent({ keepAlive: true });
  #lastFailure = '';

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#judge = new Judge(options.world, options.tally);
  }

  /** What was last refused, or did not come to its end, and why. */
  get lastFailure(): string {
    return this.#lastFailure;
  }

  /** One thing after the other, until `signal` is aborted and the last one is over. */
  async run(signal: AbortSignal): Promise<void> {
    const { random } = this.#options;
    while (!signal.aborted) {
      await this.#actOnce();
      await sleep(random.spread(50, 3000));
    }
    this.close();
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Whether all of it came, and right. */
  async pull({ name }: SoakRepository, { root, manifest, blobs }: Version): Promise<boolean> {
    let isWhole = true;
    for (const digest of new Set([root.digest, manifest.digest])) {
      isWhole = (await this.#manifest(name, digest)) !== undefined && isWhole;
    }
    const waiting = [...blobs];
    const workers = Array.from({ length: LAYERS_AT_A_TIME }, async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        isWhole = (await this.#wholeBlob(name, next)) && isWhole;
      }
    });
    await Promise.all(workers);
    return isWhole;
  }

  async #actOnce(): Promise<void> {
    const { random, world, tally } = this.#options;
    const repository = random.pickPopular(world.repositories);
    const { name } = repository;
    const dice = random.next();
    if (dice < 0.45) {
      tally.count('actions', 'pull by tag');
      await this.#pullByTag(repository);
      return;
    }
    const version = random.pick(repository.versions);
    const blob = random.pick(version.blobs);
    if (dice < 0.6) {
      tally.count('actions', 'GET that is left');
      const leave = random.chance(0.5)
        ? { leaveAfterBytes: random.between(0, blob.size) }
        : { leaveAfterMs: random.spread(1, 2000) };
      await this.#question('blob', name, blob.digest, leave);
      return;
    }
    // What else asks for a layer knows of it by the manifest that names it.
    if ((await this.#manifest(name, version.manifest.digest)) === undefined) return;
    if (dice < 0.75) {
      tally.count('actions', 'parallel ranges');
      await this.#parallelRanges(name, largest(version.blobs));
    } else if (dice < 0.85) {
      tally.count('actions', 'footer and several ranges');
      await this.#footer(name, blob);
      await this.#severalRanges(name, blob);
    } else if (dice < 0.95) {
      tally.count('actions', 'HEADs');
      await this.#question('blob', name, blob.digest, { method: 'HEAD' });
      await this.#question('manifest', name, version.root.digest, { method: 'HEAD' });
      await this.#question('manifest', name, 'latest', { method: 'HEAD' });
    } else {
      tally.count('actions', 'slow GET');
      await this.#part(name, blob, undefined, { bytesPerSecond: random.spread(200_000, 5_000_000) });
    }
  }

  async #pullByTag(repository: SoakRepository): Promise<void> {
    const { name, versions } = repository;
    const { random, tally } = this.#options;
    if (random.chance(0.5)) await this.#question('manifest', name, 'latest', { method: 'HEAD' });
    const bytes = await this.#manifest(name, 'latest');
    if (bytes === undefined) return;
    const digest = digestOf(bytes);
    const version = versions.find(({ root }) => root.digest === digest);
    if (version === undefined) tally.violation('a tag named what it never named', `${name}: ${digest}`);
    else if (await this.pull(repository, version)) tally.count('actions', 'pull that got everything');
  }

  /** Its bytes; undefined if they were not to be had. */
  async #manifest(name: string, reference: string): Promise<Buffer | undefined> {
    const chunks: Buffer[] = [];
    const reply = await this.#question('manifest', name, reference, {
      onChunk: (chunk) => chunks.push(chunk),
    });
    if (reply.status !== 200 || reply.ending !== 'complete') return undefined;
    const bytes = Buffer.concat(chunks);
    this.#judge.manifest(this.#urlOf('manifest', name, reference), reply, bytes);
    return bytes;
  }

  /** As containerd does it: what breaks off goes on by a range. A reset says that what came is wrong. */
  async #wholeBlob(name: string, content: Content): Promise<boolean> {
    let at = 0;
    for (let resumes = 0; at < content.size && resumes <= MAX_RESUMES; resumes++) {
      const range = at === 0 ? undefined : { start: at, end: content.size };
      const { reply, position, isRight } = await this.#part(name, content, range);
      if (reply.status !== 200 && reply.status !== 206) return false;
      at = isRight ? position : 0;
    }
    return at === content.size;
  }

  async #parallelRanges(name: string, content: Content): Promise<void> {
    const step = Math.ceil(content.size / PARALLEL_RANGES);
    const starts = Array.from({ length: PARALLEL_RANGES }, (_, at) => at * step).filter(
      (at) => at < content.size,
    );
    await Promise.all(
      starts.map((start) => this.#part(name, content, { start, end: Math.min(start + step, content.size) })),
    );
  }

  async #footer(name: string, content: Content): Promise<void> {
    const { random } = this.#options;
    const start = Math.max(0, content.size - random.spread(100, 200_000));
    await this.#part(name, content, { start, end: content.size });
  }

  /** Several ranges in one question are answered by multipart/byteranges (RFC 9110 section 14.6). */
  async #severalRanges(name: string, content: Content): Promise<void> {
    const { random } = this.#options;
    if (content.size < 4096) return;
    const spans = [0, 1, 2].map((part) => {
      const third = Math.floor(content.size / 3);
      const start = part * third + random.between(0, third - 1024);
      return { start, end: start + random.between(1, Math.min(100_000, (part + 1) * third - start)) };
    });
    const chunks: Buffer[] = [];
    const range = `bytes=${spans.map(({ start, end }) => `${start}-${end - 1}`).join(',')}`;
    const onChunk = (chunk: Buffer): void => void chunks.push(chunk);
    const reply = await this.#question('blob', name, content.digest, { range, onChunk });
    if (reply.status !== 206 || reply.ending !== 'complete') return;
    this.#parts(name, content, spans, { reply, body: Buffer.concat(chunks) });
  }

  #parts(name: string, content: Content, spans: readonly Span[], got: { reply: Reply; body: Buffer }): void {
    const url = this.#urlOf('blob', name, content.digest);
    let rest = got.body;
    for (const span of spans) {
      const head = `Content-Range: bytes ${span.start}-${span.end - 1}/${content.size}\r\n\r\n`;
      const start = rest.indexOf(head) + head.length;
      const part =
        start < head.length ? Buffer.alloc(0) : rest.subarray(start, start + span.end - span.start);
      const isRight = part.equals(content.expectedBytes(span.start, span.end - span.start));
      this.#judge.blob(url, { span, content }, { ...got.reply, bytes: part.length }, isRight);
      rest = rest.subarray(start + part.length);
    }
  }

  /** A blob or, with `span`, that part of it. */
  async #part(
    name: string,
    content: Content,
    span: Span | undefined,
    how: Pick<Question, 'bytesPerSecond'> = {},
  ): Promise<{ readonly reply: Reply; readonly position: number; readonly isRight: boolean }> {
    const { start, end } = span ?? { start: 0, end: content.size };
    const comparison = new Comparison(content, start);
    const reply = await this.#question('blob', name, content.digest, {
      ...how,
      ...(span === undefined ? {} : { range: rangeHeader(span, content.size, this.#options.random) }),
      onChunk: (chunk) => comparison.take(chunk),
    });
    const url = this.#urlOf('blob', name, content.digest);
    this.#judge.blob(url, { span: { start, end }, content }, reply, comparison.isRight);
    return { reply, position: comparison.position, isRight: comparison.isRight };
  }

  async #question(
    kind: 'manifest' | 'blob',
    name: string,
    reference: string,
    how: Partial<Question>,
  ): Promise<Reply> {
    const url = this.#urlOf(kind, name, reference);
    const reply = await ask({ url, agent: this.#agent, from: this.#options.from, ...how });
    this.#judge.reply(kind, url, reply);
    const { status, ending, message } = reply;
    if (status >= 400 || ending !== 'complete') this.#lastFailure = `${url}: ${status} ${ending} ${message}`;
    return reply;
  }

  #urlOf(kind: 'manifest' | 'blob', name: string, reference: string): string {
    return `${this.#options.url}/v2/${name}/${kind}s/${reference}`;
  }
}

/** Ranges to the end are now open and now closed: some clients send these, some those. */
function rangeHeader({ start, end }: Span, size: number, random: Random): string {
  return end === size && random.chance(0.5) ? `bytes=${start}-` : `bytes=${start}-${end - 1}`;
}

function largest(blobs: readonly Content[]): Content {
  return blobs.reduce((one, other) => (other.size > one.size ? other : one));
}
