import type { KeyObject } from 'node:crypto';
import { BundleError } from '../../bundle/error.ts';
import { unitsOf, type BundledUnit } from '../../bundle/images.ts';
import { BundleReader, type BundleHead } from '../../bundle/reader.ts';
import { KeyError, parsePublicKey } from '../../bundle/signature.ts';
import type { Tell } from '../../events/events.ts';
import { messageOf } from '../../lib/errors.ts';
import { unlessAborted } from '../../lib/promises.ts';
import { counted } from '../../lib/text.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatImageName, type ImageName } from '../../oci/image-name.ts';
import { BlobStoreError, type BlobStore } from '../../store/blobs.ts';
import { type Images, ImageError } from '../../store/images.ts';
import {
  type ImportProgress,
  type ImportRequest,
  type ImportSummary,
  OperationError,
  type OperationRun,
} from '../protocol.ts';
import type { BundlePublisher } from './publish.ts';
import { BundleBlobs, requireRight } from './receive.ts';

export interface BundleImportOptions {
  readonly blobs: BlobStore;
  readonly images: Pick<Images, 'requireRoom' | 'pinAll'>;
  readonly publisher: BundlePublisher;
  /** Protects a blob from eviction until the returned function is called. */
  readonly hold: (digest: Digest) => () => void;
  /** Evicts images until `bytes` bytes are free. Throws BlobStoreError `no-space`. */
  readonly makeRoom: (bytes: number) => Promise<void>;
  /** `importPins`: whether images are pinned if the request does not say. */
  readonly pins: boolean;
  /** `importVerify`: the public key (PEM) of all bundles; undefined: no key. Throws the system's error. */
  readonly requiredKey: () => Promise<string | undefined>;
  /** Whether a host is an upstream. */
  readonly isServed: (host: string) => boolean;
  readonly tell: Tell<'imported'>;
}

const PROGRESS_MS = 250;
const MAX_NAMED = 5;

/**
 * Imports bundles. Clients see the images of a bundle only after all of its bytes were verified. Verified blobs stay after a
 * failure, so the next attempt need not store them again.
 */
export class BundleImport {
  readonly #options: BundleImportOptions;
  #isRunning = false;

  constructor(options: BundleImportOptions) {
    this.#options = options;
  }

  /** `stream` is the bundle. Throws OperationError; `busy` during another import. */
  async run(
    request: ImportRequest,
    run: OperationRun<ImportProgress>,
    stream: AsyncIterable<Buffer>,
  ): Promise<ImportSummary> {
    if (this.#isRunning) throw new OperationError('busy', 'another import is running; try again later');
    this.#isRunning = true;
    try {
      const keys = await this.#keys(request);
      const summary = await new ImportRun(this.#options, request, run).all(new BundleReader(stream, keys));
      const { stored, known, signature, isPinned, durationMs } = summary;
      const images = summary.images.map(({ image }) => image);
      this.#options.tell('imported', { images, stored, known, signature, isPinned, durationMs });
      return summary;
    } finally {
      this.#isRunning = false;
    }
  }

  async #keys({ publicKey }: ImportRequest): Promise<KeyObject[]> {
    const required = await this.#options.requiredKey().catch((error: unknown) => {
      throw new OperationError(
        'failed',
        `cannot read the key of \`importVerify\`: ${messageOf(error)}`,
        error,
      );
    });
    return [keyOf(publicKey, 'the key'), keyOf(required, 'the key of `importVerify`')].flat();
  }
}

function keyOf(pem: string | undefined, what: string): KeyObject[] {
  try {
    return pem === undefined ? [] : [parsePublicKey(pem)];
  } catch (error) {
    if (!(error instanceof KeyError)) throw error;
    throw new OperationError('usage', `${what} is ${error.message}`, error);
  }
}

class ImportRun {
  readonly #options: BundleImportOptions;
  readonly #request: ImportRequest;
  readonly #run: OperationRun<ImportProgress>;
  readonly #startedAt = performance.now();
  readonly #intake: BundleBlobs;
  readonly #releases: (() => void)[] = [];
  #known = { blobs: 0, bytes: 0 };
  #seen = { blobs: 0, bytes: 0 };
  #published = 0;
  #toldAt = -Infinity;

  constructor(options: BundleImportOptions, request: ImportRequest, run: OperationRun<ImportProgress>) {
    this.#options = options;
    this.#request = request;
    this.#run = run;
    this.#intake = new BundleBlobs(options.blobs);
  }

  async all(reader: BundleReader): Promise<ImportSummary> {
    try {
      return await this.#import(reader);
    } catch (error) {
      await this.#intake.settled();
      throw this.#explained(error);
    } finally {
      for (const release of this.#releases) release();
    }
  }

  async #import(reader: BundleReader): Promise<ImportSummary> {
    const head = await this.#unlessEnded(reader.head());
    await this.#requireBase(head);
    const known = await this.#knownBlobs(head);
    await this.#requireRoom(head, known);
    const { manifests, referrers } = await this.#unlessEnded(reader.manifests());
    const units = unitsOf(head, manifests, referrers);
    await this.#takeBlobs(reader, head, known);
    await this.#requireAll(head);
    const pins = this.#request.pin ?? this.#options.pins;
    await this.#publish(units, pins);
    return {
      images: head.images.map(({ name, root }) => ({ image: formatImageName(name), digest: root.digest })),
      manifests: manifests.size,
      stored: this.#intake.totals,
      known: this.#known,
      signature: head.signature,
      isPinned: pins,
      unservedHosts: this.#unservedHosts(units),
      durationMs: Math.round(performance.now() - this.#startedAt),
    };
  }

  /** The blobs that `export --since` left out must be cached. Holds them until the import ends. */
  async #requireBase({ contents }: BundleHead): Promise<void> {
    const missing: Digest[] = [];
    for (const { digest } of contents.base) if (!(await this.#isHere(digest))) missing.push(digest);
    if (missing.length === 0) return;
    const named = missing.slice(0, MAX_NAMED).join(', ');
    const rest = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : '';
    throw new BundleError(
      'base-missing',
      `${missing.length} of ${contents.base.length} blobs that \`export --since\` left out are not cached: ${named}${rest}; import the earlier bundle first`,
    );
  }

  async #knownBlobs({ contents }: BundleHead): Promise<ReadonlySet<Digest>> {
    const known = new Set<Digest>();
    for (const { digest } of contents.blobs) if (await this.#isHere(digest)) known.add(digest);
    return known;
  }

  /** Holds first, so the blob cannot be evicted after the test. */
  async #isHere(digest: Digest): Promise<boolean> {
    this.#run.signal.throwIfAborted();
    this.#releases.push(this.#options.hold(digest));
    return (await this.#options.blobs.stat(digest)) !== undefined;
  }

  async #requireRoom({ contents }: BundleHead, known: ReadonlySet<Digest>): Promise<void> {
    const { images, makeRoom } = this.#options;
    const all = [...contents.blobs, ...contents.base];
    await images.requireRoom(new Map(all.map(({ digest, size }) => [digest, size])), 'this bundle');
    const fresh = contents.blobs.filter(({ digest }) => !known.has(digest));
    await makeRoom(fresh.reduce((sum, { size }) => sum + size, 0));
  }

  async #takeBlobs(reader: BundleReader, head: BundleHead, known: ReadonlySet<Digest>): Promise<void> {
    for await (const { digest, size, chunks } of this.#ending(reader.blobs())) {
      const bytes = this.#counted(this.#ending(chunks()), head);
      if (known.has(digest)) {
        this.#known = { blobs: this.#known.blobs + 1, bytes: this.#known.bytes + size };
        await requireRight({ digest, size }, bytes);
      } else {
        await this.#intake.take({ digest, size }, bytes);
      }
      this.#seen.blobs++;
      this.#tellProgress(head);
    }
    await this.#intake.finish();
  }

  /** Held blobs are not evicted, but a command or a user can remove them. */
  async #requireAll({ contents }: BundleHead): Promise<void> {
    for (const { digest } of [...contents.blobs, ...contents.base]) {
      if ((await this.#options.blobs.stat(digest)) !== undefined) continue;
      throw new BundleError('base-missing', `${digest} was removed during the import; import again`);
    }
  }

  async *#counted(chunks: AsyncIterable<Buffer>, head: BundleHead): AsyncGenerator<Buffer, void> {
    for await (const chunk of chunks) {
      yield chunk;
      this.#seen.bytes += chunk.length;
      this.#tellProgress(head);
    }
  }

  async #publish(units: readonly BundledUnit[], pins: boolean): Promise<void> {
    for (const unit of units) {
      await this.#options.publisher.publish(unit);
      if (unit.kind === 'image') this.#published++;
    }
    if (pins) await this.#options.images.pinAll(units.flatMap(namesOf));
  }

  #unservedHosts(units: readonly BundledUnit[]): string[] {
    const hosts = new Set(units.map(({ repository }) => repository.host));
    return [...hosts].filter((host) => !this.#options.isServed(host)).sort();
  }

  /** A stalled stream must not delay the end of the operation. */
  #unlessEnded<T>(promise: Promise<T>): Promise<T> {
    return unlessAborted(promise, this.#run.signal);
  }

  async *#ending<T>(items: AsyncIterable<T>): AsyncGenerator<T, void> {
    const iterator = items[Symbol.asyncIterator]();
    for (;;) {
      const next = await this.#unlessEnded(iterator.next());
      if (next.done === true) return;
      yield next.value;
    }
  }

  #tellProgress({ images, contents }: BundleHead): void {
    const now = performance.now();
    const isLast = this.#seen.blobs === contents.blobs.length;
    if (!isLast && now - this.#toldAt < PROGRESS_MS) return;
    this.#toldAt = now;
    this.#run.onEvent({
      images: images.length,
      blobs: this.#seen.blobs,
      totalBlobs: contents.blobs.length,
      bytes: this.#seen.bytes,
      totalBytes: contents.blobs.reduce((sum, { size }) => sum + size, 0),
    });
  }

  #explained(error: unknown): unknown {
    if (this.#run.signal.aborted) return this.#run.signal.reason;
    const isOurs =
      error instanceof BundleError || error instanceof ImageError || error instanceof BlobStoreError;
    if (!isOurs) return error;
    const { blobs } = this.#intake.totals;
    const what = this.#published === 0 ? 'nothing imported' : `only ${this.#published} images imported`;
    const kept = blobs === 0 ? '' : `; ${counted(blobs, 'blob')} kept for the next attempt`;
    return new OperationError('failed', `${what}: ${error.message}${kept}`, error);
  }
}

/** The names to pin. Attestations stay with their image; referrers need a pin of their own. */
function namesOf(unit: BundledUnit): ImageName[] {
  switch (unit.kind) {
    case 'image':
      return [unit.name];
    case 'referrers':
      return unit.manifests.map(({ descriptor: { digest } }) => ({
        repository: unit.repository,
        reference: { kind: 'digest', digest },
      }));
  }
}
